"""For people: the place, the line with a mark under it, the message and the fix."""

from collections.abc import Callable, Iterator

from lockgate.cli.reports.report import Report, shown
from lockgate.policy.finding import Finding
from lockgate.policy.hazard import ERROR, INFO, WARNING

Mark = Callable[[str, str], str]
_COLOURS = {ERROR: "bad", WARNING: "warn", INFO: "dim"}
_WIDEST = 100


def render(report: Report, mark: Mark, *, notes: bool = False) -> Iterator[str]:
    """The lines. ``mark`` colours a word; findings of severity info are only counted unless ``notes``."""
    hidden = 0
    for finding in report.findings:
        if finding.id == "policy-early-stage":
            continue  # said last, where it is seen
        if finding.severity == INFO and not notes:
            hidden += 1
            continue
        yield from _finding(report, finding, mark)
    if report.profile != "default":
        told = [found.message for found in report.findings if found.id == "policy-early-stage"]
        said = told[0].partition(": ")[2] if told else "what takes data or names away is allowed"
        yield f"{mark(f'PROFILE {report.profile}', 'warn')}: {said}"
    tally = report.tally()
    if hidden:
        tally += " (--verbose shows notes)"
    if report.failed:
        yield f"{mark('failed', 'bad')}: {tally} in {report.scope()}; `lockgate explain ID` tells more"
    else:
        yield f"{mark('clean', 'good')}: {report.scope()}{': ' + tally if tally else ''}"


def _finding(report: Report, finding: Finding, mark: Mark) -> Iterator[str]:
    place = shown(report.path(finding.file)) + (f":{finding.line}" if finding.line else "")
    word = "" if finding.severity == ERROR else f"{'note' if finding.severity == INFO else 'warning'} "
    colour = _COLOURS.get(finding.severity, "bad")
    yield f"{mark(place, 'bold')}: {mark(word + finding.id, colour)}: {shown(finding.message)}"
    line = shown(report.line(finding)).rstrip()
    if line.strip():
        number = str(finding.line)
        cut = line if len(line) <= _WIDEST else line[: _WIDEST - 3] + "..."
        start = len(cut) - len(cut.lstrip())
        yield f"  {mark(f'{number} |', 'dim')} {cut}"
        yield f"  {mark(' ' * len(number) + ' |', 'dim')} {' ' * start}{mark('^' * (len(cut) - start), colour)}"
    if finding.fix:
        first, *more = finding.fix.split("\n")
        yield f"    fix: {shown(first)}"
        for part in more:
            yield f"         {shown(part)}"
