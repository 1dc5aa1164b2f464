"""JUnit XML: one test case for each finding, and one that passes for each file without any."""

from collections.abc import Iterator
from html import escape

from lockgate.cli.reports.report import Report
from lockgate.policy.finding import Finding


def render(report: Report) -> str:
    """The document. A finding that does not make the check fail is a case that passes, with its words as output."""
    found: dict[str, list[Finding]] = {name: [] for name in report.names}
    for finding in report.findings:
        found.setdefault(finding.file, []).append(finding)
    cases = [case for file, findings in found.items() for case in _cases(report, file, findings)]
    failures = sum(map(report.fails, report.findings))
    head = f'tests="{len(cases)}" failures="{failures}" errors="0" skipped="0"'
    body = "".join(f"    {case}\n" for case in cases)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<testsuites name="lockgate check" {head}>\n'
        f'  <testsuite name="lockgate check" {head}>\n{body}  </testsuite>\n</testsuites>\n'
    )


def _cases(report: Report, file: str, findings: list[Finding]) -> Iterator[str]:
    path = xml(report.path(file))
    if not findings:
        yield f'<testcase classname="{path}" name="clean" file="{path}"/>'
    for finding in findings:
        name = xml(f"{finding.id} line {finding.line}" if finding.line else finding.id)
        words = xml(f"{finding.message}\nFix: {finding.fix}" if finding.fix else finding.message)
        inner = (
            f'<failure type="{xml(finding.id)}" message="{xml(finding.message)}">{words}</failure>'
            if report.fails(finding)
            else f"<system-out>{xml(finding.severity)}: {words}</system-out>"
        )
        line = f' line="{finding.line}"' if finding.line else ""
        yield f'<testcase classname="{path}" name="{name}" file="{path}"{line}>{inner}</testcase>'


def xml(text: str) -> str:
    """``text`` for an element or an attribute; what no XML document may hold is shown as an escape."""
    return "".join(c if _legal(c) else c.encode("unicode_escape").decode() for c in escape(text)).replace(
        "\n", "&#10;"
    )


def _legal(c: str) -> bool:
    return c in "\t\n" or " " <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c >= "\U00010000"
