"""GitHub's workflow commands: annotations beside the changed lines.

A step shows about ten annotations of each kind and drops the rest in silence; so the tenth tells how many more there
are, and those stand in the log as plain lines.
"""

from collections.abc import Iterator

from lockgate.cli.reports.report import Report, shown
from lockgate.policy.finding import Finding
from lockgate.policy.hazard import ERROR, INFO, WARNING

MOST = 10
_KINDS = {ERROR: "error", WARNING: "warning", INFO: "notice"}


def render(report: Report) -> str:
    """The commands of all findings, then one plain line that sums up."""
    lines: list[str] = []
    for severity, kind in _KINDS.items():
        found = [finding for finding in report.findings if finding.severity == severity]
        shown_here = found if len(found) <= MOST else found[: MOST - 1]
        lines += [_command(kind, report, finding) for finding in shown_here]
        rest = found[len(shown_here) :]
        if rest:
            lines.append(f"::{kind} title=lockgate::{len(rest)} more of this kind: see the log of this step")
            lines += _plain(report, rest)
    lines.append(f"lockgate: {report.tally() or 'clean'} in {report.scope()}")
    return "".join(line + "\n" for line in lines)


def _command(kind: str, report: Report, finding: Finding) -> str:
    place = f"file={_property(report.path(finding.file))}"
    if finding.line:
        place += f",line={finding.line}"
    text = finding.message + (f"\nFix: {finding.fix}" if finding.fix else "")
    return f"::{kind} {place},title={_property(f'lockgate {finding.id}')}::{_data(text)}"


def _plain(report: Report, findings: list[Finding]) -> Iterator[str]:
    # The place stands first, so whatever a message says, the line cannot be a command.
    for finding in findings:
        place = f"{shown(report.path(finding.file))}:{finding.line}"
        yield f"- {place}: {finding.id}: {shown(finding.message)}".replace("##[", "## [")


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
