"""What an aborted move leaves for people: the incident, and the postmortem that it opens. Pure."""

from datetime import UTC, datetime
from typing import Any

from lockgate.moves.stages import SOURCE_SERVES, Stage


def incident(
    move: str,
    stage: str,
    reason: str,
    details: dict[str, object],
    events: list[dict[str, object]],
    at: datetime,
) -> dict[str, Any]:
    """The content of ``incident.json``. The two facts that are asked for first: who serves, and what was durably changed."""
    return {
        "schemaVersion": "1",
        "generatedAt": at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "move": move,
        "stage": stage,
        "reason": reason,
        "traffic": "source" if Stage(stage) in SOURCE_SERVES else "target",
        "durablyChanged": "the target holds copied rows; the source was only read" if Stage(stage) in SOURCE_SERVES else "the target serves",
        "details": details,
        "events": events,
        "next": f"lockgate move status {move}",
    }  # fmt: skip


def postmortem(document: dict[str, Any]) -> str:
    """The template of a postmortem with the facts of ``incident`` filled in; what only people know is asked for."""
    lines = [
        f"# Postmortem: data move {document['move']}", "", "Write it within 48 hours. It is about causes, not about people.", "", "## Facts", "",
        f"- Outcome: {document['stage']}: {document['reason']}", f"- Traffic: the {document['traffic']} serves", f"- Durably changed: {document['durablyChanged']}",
        "", "## Timeline", "",
    ]  # fmt: skip
    lines += [
        f"- {e.get('at', '')} {e.get('kind', '')} {e.get('from_stage', '')} -> {e.get('to_stage', '')}: {e.get('reason', '')}"
        for e in document["events"]
    ]
    lines += [
        "", "## Impact", "", "TODO: which rows, who read them, from when until when.", "", "## Root cause", "", "TODO", "",
        "## The regression test", "", "TODO: the test that fails before the fix and passes after it.", "",
        "## Actions", "", "| what | who | until |", "| --- | --- | --- |", "| TODO | TODO | TODO |", "",
    ]  # fmt: skip
    return "\n".join(lines)
