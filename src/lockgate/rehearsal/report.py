"""The whole of a rehearsal as one frozen value: what is printed, written as rehearsal.json, and read back by a release."""

from typing import Any

import msgspec

from lockgate.policy.finding import Finding
from lockgate.rehearsal.compatibility import Compatibility
from lockgate.rehearsal.filling import Filled
from lockgate.rehearsal.impact import Impact
from lockgate.rehearsal.load import Load
from lockgate.rehearsal.trace import MigrationTrace
from lockgate.rehearsal.verdict import Check

SCHEMA_VERSION = "1"
_SHOWN = ("id", "file", "line", "severity", "phase", "message", "fix", "evidence")
"""What of a finding stands in the document, as in that of `check`."""


class Server(msgspec.Struct, frozen=True, rename="camel"):
    """Where it was rehearsed: server_version_num, and embedded, bindir or scratch-url."""

    version: int
    where: str


class Rehearsal(msgspec.Struct, frozen=True, rename="camel"):
    """A rehearsal and its verdict. ``second_apply`` is noop, changed or "" when it was not reached."""

    verdict: str
    reason_code: str
    reason: str
    plan_hash: str
    base: str
    goal: str
    generated_at: str
    elapsed_seconds: float
    tool_version: str
    server: Server
    checks: tuple[Check, ...]
    migrations: tuple[MigrationTrace, ...]
    compatibility: dict[str, Compatibility]
    second_apply: str
    schema_digest: str
    claims: dict[str, int]
    findings: tuple[Finding, ...]
    rows: Filled
    impact: Impact | None = None
    load: Load | None = None
    notes: tuple[str, ...] = ()


def document(rehearsal: Rehearsal) -> dict[str, Any]:
    """The rehearsal as plain JSON values, with its ``schemaVersion``."""
    plain = msgspec.to_builtins(rehearsal, str_keys=True)
    assert isinstance(plain, dict)
    plain["findings"] = [{name: getattr(finding, name) for name in _SHOWN} for finding in rehearsal.findings]
    return {"schemaVersion": SCHEMA_VERSION, "command": "rehearse", **plain}
