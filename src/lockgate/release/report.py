"""What a run did, as one value: the same facts for the terminal, for JSON and for the artifact."""

import msgspec

from lockgate.migrations.progress import AppliedFile


class RunReport(msgspec.Struct, rename="camel"):
    """What a run did: the same facts for the terminal, for JSON and for the artifact."""

    run_id: str
    status: str = "pass"
    reason_code: str = ""
    reason: str = ""
    plan_hash: str = ""
    before: str = ""
    after: str = ""
    epoch: int = 0
    operator: str = ""
    elapsed_seconds: float = 0.0
    applied: list[AppliedFile] = []
    pending: list[str] = []
    held_because: str = ""
    database_identity: dict[str, str] = {}
    notes: list[str] = []
    timeline: list[dict[str, str]] = []
