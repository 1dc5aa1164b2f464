"""Markdown, for the summary of a CI step or a comment."""

import re

from lockgate.cli.reports.report import Report, shown

MOST = 200
"""Rows. A step summary of GitHub holds one mebibyte."""
_SPECIAL = re.compile(r"([\\`*_\[\]#|~$@])")


def render(report: Report) -> str:
    """A headline, a table of findings, the worst first, and what is left out."""
    state = "failed" if report.failed else "passed"
    lines = [
        f"## lockgate check {state}",
        "",
        f"{report.tally() or 'Nothing found'} in {report.scope()}.",
        "",
    ]
    if report.findings:
        order = {"error": 0, "warning": 1, "info": 2}
        findings = sorted(report.findings, key=lambda f: order.get(f.severity, 0))
        lines += ["| | place | finding | what to do |", "|---|---|---|---|"]
        for finding in findings[:MOST]:
            place = f"{report.path(finding.file)}{f':{finding.line}' if finding.line else ''}"
            lines.append(
                f"| {finding.severity} | {cell(place)} | {cell(finding.id)}: {cell(finding.message)} | {cell(finding.fix)} |"
            )
        if len(findings) > MOST:
            lines += ["", f"{len(findings) - MOST} more are left out."]
    return "\n".join(lines).rstrip() + "\n"


def cell(text: str) -> str:
    """``text`` in a cell: nothing in it is Markdown, HTML, a mention or a link; it is cut at 600 characters."""
    cut = shown(text if len(text) <= 600 else text[:597] + "...")
    cut = cut.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", cut).replace("://", ":&#47;/").replace("\\@", "&#64;")
