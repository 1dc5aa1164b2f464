"""The incident file of a release that failed: what is known, who is asked, and when the next word is due."""

from datetime import datetime, timedelta
from typing import Any

from lockgate.release.outlook import traffic_of

NEXT_UPDATE = timedelta(minutes=10)


def incident(release: dict[str, Any]) -> dict[str, Any]:
    """The content of ``incident.json``, from that of ``release.json``."""
    at = datetime.fromisoformat(release["generatedAt"])
    failed = [s for s in release["steps"] if s["state"] in ("failed", "held", "running")]
    workers = next((n for n in release["notes"] if n.upper().startswith("WORKERS")), "")
    return {
        "schemaVersion": "1",
        "generatedAt": release["generatedAt"],
        "headSha": release["headSha"],
        "releaseKey": release["releaseKey"],
        "environment": release["environment"],
        "status": release["status"],
        "reasonCode": release["reasonCode"],
        "reason": release["reason"],
        "failedStep": failed[-1]["name"] if failed else "",
        "warnings": release["warnings"],
        "durablyChanged": [f"migration {r} is applied" for r in release["migrations"]],
        "traffic": traffic_of(release["steps"]),
        "workers": workers or "they were not paused",
        "backupId": release["backup"].get("backupId", ""),
        "runId": release["runId"],
        "timeline": release["timeline"],
        "owners": release["owners"],
        "pager": release["pager"],
        "channel": release["channel"],
        "nextUpdateDue": (at + NEXT_UPDATE).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "next": release["next"],
        "recover": f"lockgate release recover {release['headSha']}"
        + (f" --env {release['environment']}" if release["environment"] else ""),
    }
