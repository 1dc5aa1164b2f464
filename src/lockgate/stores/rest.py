"""JSON over HTTP to a store's own API: waits when it is told to, repeats only what may be repeated, and never shows the key."""

import base64
import json
import time
from collections.abc import Callable
from http.client import HTTPException
from typing import Any, NamedTuple
from urllib import error, request

from lockgate.errors import LockgateError, Unreachable

PATIENCE = 60.0
"""Seconds that a store may go on saying 429 or 503 before that counts as a failure; each answer starts it anew."""
TIMEOUT = 60.0
"""Seconds that one request may take."""
BUSY = (429, 502, 503)


class Reply(NamedTuple):
    """One answer. ``status`` is 0 where there was none, and then ``body`` says what happened."""

    status: int
    body: Any

    @property
    def kind(self) -> str:
        """The type of an error, in the words of Elasticsearch and OpenSearch; "" where there is none."""
        said = self.body.get("error") if isinstance(self.body, dict) else None
        return str(said.get("type", "")) if isinstance(said, dict) else ""

    @property
    def reason(self) -> str:
        """What a person reads of an error."""
        said = self.body.get("error") if isinstance(self.body, dict) else self.body
        if isinstance(said, dict):
            cause = said.get("caused_by") or {}
            said = f"{said.get('reason', said.get('type', ''))}{'; ' + str(cause.get('reason')) if cause.get('reason') else ''}"
        return f"status {self.status}: {said}"[:400] if self.status else f"no answer: {said}"


class Rest:
    """One server. ``key`` is the value of ``Authorization``, or ``user:password``."""

    def __init__(
        self, url: str, key: str = "", *, timeout: float = TIMEOUT, patience: float = PATIENCE,
        sleep: Callable[[float], None] = time.sleep, clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.url = url.rstrip("/")
        self._headers = {"Accept": "application/json"}
        if key:
            basic = "Basic " + base64.b64encode(key.encode()).decode()
            self._headers["Authorization"] = key if " " in key else basic
        self._timeout, self._patience, self.sleep, self.clock = timeout, patience, sleep, clock

    def call(
        self, method: str, path: str, body: Any = None, *, repeatable: bool = True, raw: bytes | None = None
    ) -> Reply:
        """One request. Waits out 429 and 503; a lost answer is asked for again only where that changes nothing.

        Raises ``Unreachable`` where a repeatable request gets no answer, or the store stays busy.
        """
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        begin, pause = self.clock(), 0.5
        while True:
            reply, told = self._once(method, path, data, raw is not None)
            busy = reply.status in BUSY
            if not busy and (reply.status or not repeatable):
                return reply
            wait = told if told is not None else pause
            if self.clock() + wait - begin > self._patience:
                raise Unreachable(
                    f"the store at {self.url} {'stays busy' if busy else 'does not answer'}: {reply.reason}"
                )
            self.sleep(wait)
            pause = min(pause * 2, 10.0)

    def _once(self, method: str, path: str, data: bytes | None, lines: bool) -> tuple[Reply, float | None]:
        headers = dict(self._headers)
        if data is not None:
            headers["Content-Type"] = "application/x-ndjson" if lines else "application/json"
        asked = request.Request(self.url + path, data, headers, method=method)  # noqa: S310 - http or https, see OpenSearch
        try:
            with request.urlopen(asked, timeout=self._timeout) as answer:  # noqa: S310 - as above
                return Reply(answer.status, _json(answer.read())), None
        except error.HTTPError as refusal:
            with refusal:
                after = refusal.headers.get("Retry-After") or ""
                return Reply(refusal.code, _json(refusal.read())), float(after) if after.isdigit() else None
        except (OSError, HTTPException) as broken:
            return Reply(0, str(getattr(broken, "reason", "") or type(broken).__name__)), None

    def need(self, method: str, path: str, body: Any = None) -> Any:
        """The body of an answer that has to be good. Raises ``LockgateError`` for a refusal."""
        reply = self.call(method, path, body)
        if reply.status >= 400:
            raise LockgateError(f"the store at {self.url} refuses {method} {path.partition('?')[0]}: {reply.reason}", "INDEX_STORE")  # fmt: skip
        return reply.body


def _json(data: bytes) -> Any:
    try:
        return json.loads(data) if data else {}
    except ValueError:
        return data.decode("utf-8", "replace")[:300]
