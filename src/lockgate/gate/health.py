"""What the health paths and a closed gate say: `application/health+json`, with details only for those allowed."""

import json
from typing import TYPE_CHECKING, NamedTuple

from lockgate.record.redact import redact

if TYPE_CHECKING:
    from lockgate.gate.service import Gate

_HEALTH = "application/health+json"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
RETRY_AFTER = 5
SHOWN, LONGEST = 50, 400
"""Departures that one answer shows at most, and characters of a definition."""


class Answer(NamedTuple):
    """An HTTP answer: status, headers, body."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


def livez() -> Answer:
    """Alive: the process answers. Depends on nothing else, least of all on the database."""
    return _answer(200, {"status": "pass"}, _HEALTH)


def readyz(gate: "Gate", *, details: bool) -> Answer:
    """Ready: 200 while traffic may flow (``warn`` while the database does not answer), else 503."""
    readiness = gate.readiness
    may = gate.open
    status = {"ready": "pass", "stale": "warn"}.get(readiness.state, "fail") if may else "fail"
    return _answer(200 if may else 503, _document(gate, status, details), _HEALTH)


def startupz(gate: "Gate", *, details: bool) -> Answer:
    """Started: 200 for ever after the first success."""
    started = gate.readiness.started
    return _answer(200 if started else 503, _document(gate, "pass" if started else "fail", details), _HEALTH)


def closed(gate: "Gate") -> Answer:
    """The answer to traffic while the gate is closed."""
    # A verdict that is overdue is being renewed: the process was frozen and goes on now.
    answer, again = ("UNKNOWN", 1) if gate.overdue else (gate.report.answer, RETRY_AFTER)
    document = {
        "schemaVersion": "1", "status": "fail", "reasonCode": "GATE_CLOSED", "answer": answer,
        "state": gate.readiness.state, "retryAfterSeconds": again,
    }  # fmt: skip
    return _answer(503, document, "application/json", again)


def read_only(gate: "Gate", status: int) -> Answer:
    """The answer to a write in read-only mode; ``status`` is 503 or 423."""
    return refused(status, "READ_ONLY_MODE", retry_after_of(gate))


def other_schema(gate: "Gate", *, details: bool) -> Answer:
    """The answer to a write while the schema is not the one that the code was built for; the diff is for those allowed."""
    assert gate.guard is not None
    verdict = gate.guard.verdict
    more: dict[str, object] = {"answer": verdict.answer, "differing": len(verdict.departures)}
    if details:
        more["evidence"] = redact(verdict.evidence)
        more["departures"] = [
            {"kind": d.kind, "object": d.object, "expected": _short(d.expected), "live": _short(d.live)}
            for d in verdict.departures[:SHOWN]
        ]
    return refused(503, "SCHEMA_SIGNATURE", 30, **more)


def refused(status: int, code: str, retry_after: int, **more: object) -> Answer:
    """The answer to a write that is not taken: a stable ``code``, and when to come again."""
    document = {"schemaVersion": "1", "status": "fail", "reasonCode": code, "retryAfterSeconds": retry_after}
    return _answer(status, {**document, **more}, "application/json", retry_after)


def answer_json(status: int, document: dict[str, object], retry_after: int) -> Answer:
    """A JSON answer that says when to come again, where its status has a use for that."""
    return _answer(status, document, "application/json", retry_after)


def retry_after_of(gate: "Gate") -> int:
    """What writers are told in read-only mode, in seconds."""
    seconds = (gate.read_only or {}).get("retry_after", 30)
    return seconds if isinstance(seconds, int) else 30


def _short(definition: str) -> str:
    text = redact(definition)
    return text if len(text) <= LONGEST else text[:LONGEST] + "..."


def _document(gate: "Gate", status: str, details: bool) -> dict[str, object]:
    document: dict[str, object] = {"status": status}
    if not details:
        return document
    report = gate.report
    words = {"pass": "pass", "fail": "fail", "unknown": "warn"}
    checks: dict[str, list[dict[str, object]]] = {}
    for c in report.conditions:
        found: dict[str, object] = {
            "componentType": "component" if c.id.startswith("probe:") else "datastore",
            "status": words[c.answer], "observedValue": c.code,
        }  # fmt: skip
        if c.answer != "pass":
            found["output"] = c.evidence
        checks.setdefault(c.id, []).append(found)
    if gate.guard is not None:
        verdict = gate.guard.verdict
        found = {
            "componentType": "datastore",
            "status": words[verdict.answer],
            "observedValue": len(verdict.departures),
        }
        checks["schema:signature"] = [
            found if verdict.answer == "pass" else {**found, "output": redact(verdict.evidence)}
        ]
    document.update(
        releaseId=gate.contract.release_id,
        serviceId=gate.service,
        description=f"{report.answer}; {gate.readiness.reason}",
        notes=list(report.warnings),
        checks=checks,
    )
    if gate.overdue:
        document["output"] = "the last verdict is too old: this process was held up, and asks again"
    elif status != "pass":
        document["output"] = (
            "; ".join(c.evidence for c in report.conditions if c.answer != "pass") or gate.readiness.reason
        )
    return document


def _answer(status: int, document: dict[str, object], kind: str, retry_after: int = RETRY_AFTER) -> Answer:
    body = json.dumps(document).encode()
    headers = [("content-type", kind), ("cache-control", "no-store"), ("content-length", str(len(body)))]
    if status in (503, 423, 202):
        headers.append(("retry-after", str(retry_after)))
    return Answer(status, tuple(headers), body)


def token_allows(token: str, authorization: str) -> bool:
    """True when ``authorization`` is the bearer of ``token``; an empty token allows nobody."""
    import hmac

    return bool(token) and hmac.compare_digest(authorization.encode(), f"Bearer {token}".encode())
