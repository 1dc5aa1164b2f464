"""A release in Markdown: the step summary of GitHub, and the comment for a pull request."""

from collections.abc import Sequence
from typing import Any

from lockgate.release.verify import Check

MARKS = {"done": "✅", "skipped": "⏭️", "failed": "❌", "held": "✋", "running": "⏳", "not reached": "·"}


def summary(release: dict[str, Any], checks: Sequence[Check] = ()) -> str:
    """The summary: the verdict, what was changed, every step, the verification, and the checklist with its evidence."""
    where = f" to {release['environment']}" if release["environment"] else ""
    lines = [f"## Release `{release['headSha'][:12]}`{where}: {release['status']}", ""]
    lines += [f"> **{_cell(warning)}**" for warning in release["warnings"]]
    if release["reasonCode"]:
        lines += [f"**`{release['reasonCode']}`** {_cell(release['reason'])}", "", f"State: {_cell(release['state'])}", "", f"Next: `{_cell(release['next'])}`", ""]  # fmt: skip
    backup = release["backup"].get("backupId", "")
    facts = [
        ("run", release["runId"]), ("release", release["releaseKey"]), ("plan", release["planHash"][:12]), ("impact", release["impact"]),
        ("backup", backup or "none"), ("backfills", ", ".join(f"{m['name']} ({m['stage']})" for m in release["moves"]) or "none"), ("schema", f"{release['before'] or 'empty'} → {release['after'] or 'the same'}"),
        ("approved by", ", ".join(f"{a['approver']} ({a['role']})" for a in release["approvals"]) or "nobody was asked"),
    ]  # fmt: skip
    lines += ["| | |", "| --- | --- |", *(f"| {name} | {_cell(str(value))} |" for name, value in facts), ""]
    lines += ["| step | | took | evidence |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {s['name']} | {MARKS.get(s['state'], '')} {s['state']} | {s['seconds']:.1f} s | {_cell(s['message'])} |" for s in release["steps"]
    ]  # fmt: skip
    if checks:
        lines += ["", "### Verification", "", "| check | | evidence |", "| --- | --- | --- |"]
        lines += [
            f"| {c.id} | {'✅' if c.passed else '❌'} {c.answer} | {_cell(c.details)} |" for c in checks
        ]
    lines += ["", "### Checklist", ""]
    lines += [
        f"- [{'x' if item['done'] else ' '}] {item['item']}: {item['state']}{'. ' + _cell(item['evidence']) if item['evidence'] else ''}"
        for item in release["checklist"]
    ]
    return "\n".join(lines) + "\n\n"


def annotation(release: dict[str, Any]) -> str:
    """The failure as a command of GitHub's runner, which shows it above the log."""
    text = f"{release['reason']} Next: {release['next']}"
    for raw, escaped in (("%", "%25"), ("\r", "%0D"), ("\n", "%0A")):
        text = text.replace(raw, escaped)
    return f"::error title=lockgate {release['reasonCode']}::{text}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")[:600]
