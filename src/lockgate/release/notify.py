"""Who is told, and when: a webhook or a command. Telling never fails a release; that nobody was told is in its record."""

import http.client
import json
import os
import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

from lockgate.config import seconds
from lockgate.config.release import Notify
from lockgate.errors import LockgateError
from lockgate.postgres.child import run
from lockgate.record.redact import redact, redact_value, remember


def notify(settings: Notify, event: str, fields: Mapping[str, object]) -> list[str]:
    """Tell ``event`` (planned, started, finished, failed, held, restored) to whoever is configured; returns what went wrong."""
    content = redact_value(
        {
            "schemaVersion": "1", "event": event, "owners": list(settings.owners), "pager": settings.pager,
            "channel": settings.channel, **fields,
        }
    )  # fmt: skip
    body = json.dumps(content, default=str).encode()
    wrong = []
    if settings.command:
        try:
            done = run(
                settings.command,
                seconds=seconds(settings.timeout),
                stdin=body,
                environ={"LOCKGATE_EVENT": event},
            )
            if not done.ok:
                wrong.append(f"notify.command ended with {done.code}: {done.told(300)}")
        except LockgateError as error:
            wrong.append(f"notify.command: {error.message}")
    if settings.webhook_env:
        url = os.environ.get(settings.webhook_env, "")
        remember(url)
        problem = _post(url, body, seconds(settings.timeout)) if url else "is not set"
        if problem:
            wrong.append(f"webhook of {settings.webhook_env}: {redact(problem)}")
    return wrong


def _post(url: str, body: bytes, limit: float) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "it is no http(s) URL"
    connection: http.client.HTTPConnection = (
        http.client.HTTPSConnection(
            parts.hostname, parts.port, timeout=limit, context=ssl.create_default_context()
        )
        if parts.scheme == "https"
        else http.client.HTTPConnection(parts.hostname, parts.port, timeout=limit)
    )
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        status = connection.getresponse().status
        return "" if 200 <= status < 300 else f"answered {status}"
    except (OSError, http.client.HTTPException, ValueError) as error:
        return type(error).__name__
    finally:
        connection.close()
