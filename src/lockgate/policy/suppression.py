"""``-- lockgate: allow=<hazard> until=YYYY-MM-DD reason="…"`` directly above the one statement it covers."""

from collections.abc import Mapping
from datetime import date

from msgspec import Struct

from lockgate.migrations.directives import LINE, DirectiveError, pairs_of
from lockgate.policy.hazard import Hazard


class Suppression(Struct, frozen=True):
    """One allowance and the statement line it stands above; ``covers`` is 0 when it stands above none.

    ``statement`` is the number of the statement that it covers, where several start in that line; else -1.
    """

    hazard: str
    line: int
    covers: int
    until: str = ""
    reason: str = ""
    statement: int = -1

    def problem(self, today: date, known: Mapping[str, Hazard]) -> tuple[str, str] | None:
        """Why it does not count: (hazard id, message), or None when it does."""
        if self.hazard not in known:
            return "suppression-unknown", f"allow={self.hazard}: there is no such hazard"
        if not known[self.hazard].suppressible:
            return "suppression-unknown", f"allow={self.hazard}: nobody can allow this one; it stays"
        if not self.reason.strip():
            return "rep-suppression-expired", f"allow={self.hazard} gives no reason"
        try:
            end = date.fromisoformat(self.until)
        except ValueError:
            return "rep-suppression-expired", f"allow={self.hazard} has no end date until=YYYY-MM-DD"
        if end < today:
            return "rep-suppression-expired", f"allow={self.hazard} ended on {self.until}"
        return None


def suppressions_of(text: str, statement_lines: list[int]) -> list[Suppression]:
    """The allowances in ``text``. Only comment lines may stand between one and its statement."""
    if "allow" not in text or "lockgate:" not in text:
        return []
    found = []
    starts = set(statement_lines)
    lines = text.split("\n")
    for match in LINE.finditer(text):
        number = text.count("\n", 0, match.start()) + 1
        pairs = _allowance(match["rest"].strip(), number)
        if pairs is None:
            continue
        below = number + 1
        while below <= len(lines) and lines[below - 1].lstrip().startswith("--") and below not in starts:
            below += 1
        found.append(
            Suppression(
                pairs.get("allow") or "",
                number,
                below if below in starts else 0,
                pairs.get("until") or "",
                pairs.get("reason") or "",
                statement_lines.index(below) if statement_lines.count(below) > 1 else -1,
            )
        )
    return found


def _allowance(rest: str, line: int) -> dict[str, str | None] | None:
    """The parts of an ``allow=`` line; empty for one that cannot be read, which then allows nothing."""
    if "allow" not in rest:
        return None
    try:
        pairs = pairs_of(rest, line)
    except DirectiveError:
        return {}
    return pairs if "allow" in pairs else None
