"""The smoke test of a released service: health, a call without a token, a call with one; and ``api-smoke.json``."""

import http.client
import os
import ssl
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import msgspec

from lockgate.config import seconds
from lockgate.config.release import Smoke
from lockgate.errors import ConfigError, LockgateError
from lockgate.record.redact import redact, remember
from lockgate.record.words import counted
from lockgate.release.budget import Budget
from lockgate.release.smoke_judge import Assertion, Response, judge_smoke, settled

SNIPPET = 300
"""Characters of an answer that the artifact keeps."""
_MOST = 65_536


class Smoked(msgspec.Struct):
    """What a smoke test saw: ``code`` is "" when all assertions hold."""

    status: str = "pass"
    code: str = ""
    reason: str = ""
    elapsed: float = 0.0
    responses: dict[str, Response] = {}
    assertions: list[Assertion] = []
    timeline: list[dict[str, object]] = []


def smoke_service(
    smoke: Smoke,
    release: str,
    budget: Budget,
    *,
    now: Callable[[], str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Smoked:
    """Make the calls of ``[smoke]``; ``release`` is what the release header has to say.

    Never raises for what the service does: that is the finding. Raises ``ConfigError`` for a wrong URL or a missing token.
    """
    now = now or _utc
    environ = os.environ if environ is None else environ
    base = check_url(smoke.base_url)
    token = _token(smoke, environ)
    smoked = Smoked()
    limit = seconds(smoke.timeout)

    def get(path: str, headers: dict[str, str]) -> Response:
        return fetch(base + path, headers, min(limit, max(0.1, budget.left)), now, budget.clock)

    def patiently(name: str, path: str, headers: dict[str, str], good: frozenset[int]) -> Response:
        for attempt in range(1, smoke.retry_attempts + 1):
            response = get(path, headers)
            if name == "authorized":
                smoked.timeline.append(
                    {"attempt": attempt, "at": response.requested_at, "status": response.status}
                )
            if settled(response, smoke, release, good) or attempt == smoke.retry_attempts:
                break
            budget.sleep(seconds(smoke.retry_delay))
        return response

    try:
        smoked.responses["health"] = patiently("health", smoke.health, {}, frozenset({200}))
        if smoke.protected:
            # 401 is the right answer here, so only what is not an answer of the service is tried again.
            tolerant = msgspec.structs.replace(
                smoke, retry_on=tuple(c for c in smoke.retry_on if c not in (401, 403)), release_header=""
            )
            for attempt in range(1, smoke.retry_attempts + 1):
                response = get(smoke.protected, {})
                smoked.responses["unauthorized"] = response
                if (
                    settled(response, tolerant, release, frozenset({401, 403}))
                    or attempt == smoke.retry_attempts
                ):
                    break
                budget.sleep(seconds(smoke.retry_delay))
            header = {smoke.token_header: f"{smoke.token_prefix}{token}"}
            smoked.responses["authorized"] = patiently(
                "authorized", smoke.protected, header, frozenset({200})
            )
        smoked.assertions = judge_smoke(smoked.responses, smoke, release, seconds(smoke.max_seconds))
        if len(smoked.timeline) > 1 or (smoked.timeline and smoked.responses["authorized"].status != 200):
            told = f"{counted(len(smoked.timeline), 'attempt')}, the last one answered {smoked.timeline[-1]['status']}"
            good = smoked.responses["authorized"].status == 200
            smoked.assertions.append(Assertion("authorized-propagation-window", good, told))
    except LockgateError as error:
        if error.code != "STEP_TIMEOUT":
            raise
        smoked.assertions = judge_smoke(smoked.responses, smoke, release, seconds(smoke.max_seconds))
        smoked.assertions.append(Assertion("api-smoke-runtime-error", False, error.message))
    smoked.elapsed = round(budget.clock() - budget.begun, 3)
    _conclude(smoked)
    return smoked


def refuse_unready(smoke: Smoke, environ: Mapping[str, str] | None = None) -> str:
    """What a smoke test needs of us is there: found before anything is touched, not after it. Raises ``ConfigError``."""
    if not smoke.base_url:
        return "no calls are configured"
    check_url(smoke.base_url)
    _token(smoke, os.environ if environ is None else environ)
    return "URL and token are there"


def _token(smoke: Smoke, environ: Mapping[str, str]) -> str:
    token = environ.get(smoke.token_env, "") if smoke.protected else ""
    if smoke.protected and not token:
        raise ConfigError(
            f"smoke.protected is configured and {smoke.token_env} is {'empty' if smoke.token_env in environ else 'not set'}",
            next=f"Set {smoke.token_env} to a token for {smoke.protected}.",
        )
    remember(token)
    return token


def _conclude(smoked: Smoked) -> None:
    wrong = [a for a in smoked.assertions if not a.pass_]
    if not wrong:
        return
    silent = [name for name, r in smoked.responses.items() if r.status == 0]
    runtime = bool(silent) or any(a.id == "api-smoke-runtime-error" for a in wrong)
    smoked.status = "fail"
    smoked.code = "API_SMOKE_RUNTIME_ERROR" if runtime else "API_SMOKE_ASSERTION_FAILED"
    # Not "id: details": what follows an id such as ...-without-token and a colon has the shape of a secret.
    smoked.reason = redact("; ".join(f"{a.id} ({a.details})" for a in wrong))


def document(smoked: Smoked, smoke: Smoke, sha: str) -> dict[str, Any]:
    """The content of ``api-smoke.json``."""
    return {
        "schemaVersion": "2",
        "generatedAt": _utc(),
        "headSha": sha,
        "status": smoked.status,
        "reasonCode": smoked.code,
        "reason": smoked.reason,
        "targetBaseUrl": smoke.base_url,
        "elapsedSeconds": smoked.elapsed,
        "responses": {
            name: {
                "requestedAt": r.requested_at,
                "url": r.url,
                "status": r.status,
                "textSnippet": redact(r.text or r.error)[:SNIPPET],
            }
            for name, r in smoked.responses.items()
        },
        "assertions": [
            {"id": a.id, "pass": a.pass_, "details": redact(a.details)} for a in smoked.assertions
        ],
        "retry": {
            "authorizedRetryAttempts": smoke.retry_attempts,
            "authorizedRetryDelayMs": round(seconds(smoke.retry_delay) * 1000),
            "timeline": smoked.timeline,
        },
    }


def fetch(
    url: str,
    headers: Mapping[str, str],
    limit: float,
    now: Callable[[], str],
    clock: Callable[[], float],
    most: int = _MOST,
) -> Response:
    """One GET without following redirects, within ``limit`` seconds, of ``most`` bytes. Whatever goes wrong is a response of status 0."""
    parts = urlsplit(url)
    begun, at = clock(), now()
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(
            parts.hostname or "", parts.port, timeout=limit, context=ssl.create_default_context()
        )
    else:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=limit)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request(
            "GET",
            path,
            headers={"User-Agent": "lockgate-smoke", "Accept": "application/json, */*", **headers},
        )
        answer = connection.getresponse()
        body = answer.read(most)
        fields = {k.lower(): v for k, v in answer.getheaders()}
        return Response(
            at, url, answer.status, body.decode("utf-8", "replace"), fields, round(clock() - begun, 3)
        )
    except (OSError, http.client.HTTPException, ValueError) as error:
        told = f"{type(error).__name__}: {error}"
        return Response(at, url, 0, seconds=round(clock() - begun, 3), error=redact(told)[:300])
    finally:
        connection.close()


def check_url(url: str) -> str:
    """``url`` without a slash at its end. Raises ``ConfigError`` for what is no http(s) URL."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise ConfigError(f"smoke.base_url = {redact(url)!r} is not like https://shop.example.org")
    return url.rstrip("/")


def _utc() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
