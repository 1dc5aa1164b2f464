"""GitLab's code quality report."""

from msgspec import json

from lockgate.cli.reports.report import Report
from lockgate.policy.hazard import ERROR, INFO, WARNING

_LEVELS = {ERROR: "critical", WARNING: "minor", INFO: "info"}


def render(report: Report) -> str:
    """A list with one entry for each finding; the first line stands for a whole file."""
    entries = [
        {
            "description": f"{finding.message}{' Fix: ' + finding.fix if finding.fix else ''}",
            "check_name": finding.id,
            "fingerprint": print_,
            "severity": _LEVELS.get(finding.severity, "critical"),
            "location": {"path": report.path(finding.file), "lines": {"begin": max(finding.line, 1)}},
        }
        for finding, print_ in zip(report.findings, report.fingerprints(), strict=True)
    ]
    return json.format(json.encode(entries), indent=2).decode() + "\n"
