"""A hazard as data: what is looked for, what it does, what to do instead, and examples that are run.

This one record feeds the report, ``lockgate explain``, the docs page, the case files and their proof.
"""

from msgspec import Struct

from lockgate.policy.model.environment import UNKNOWN, Environment

ERROR, WARNING, INFO = "error", "warning", "info"


class Hazard(Struct, frozen=True, kw_only=True):
    """One row of the catalogue. Ids never change meaning."""

    id: str
    name: str
    # What is looked for, in one sentence.
    detects: str
    # What happens to others while it runs.
    effect: str
    # The lock that makes it a hazard, as PostgreSQL calls it; empty when it is not about locks.
    lock: str = ""
    # What to do instead.
    workaround: str
    severity: str = ERROR
    # Severity in a file that declares itself contract, where that differs: drops belong there.
    contract_severity: str = ""
    # The phases whose files are judged by it.
    phases: tuple[str, ...] = ("expand", "contract")
    # Tables known to be small lower it to info.
    by_size: bool = False
    # A snapshot, a time-out or a try on the target could prove it harmless, as ``by_size`` always could.
    by_target: bool = False
    # Takes data or names away, which the profile early-stage allows.
    destructive: bool = False
    suppressible: bool = True
    # An allowance makes it a warning that names who takes the blame; it never hides it.
    lowered: bool = False
    source: str
    # Statements that build what the examples change; then a file that has the hazard, and one that avoids it.
    setup: str = ""
    bad: str
    good: str
    # What a snapshot says of the tables of the setup, for what only a snapshot shows: (rows, bytes).
    sizes: dict[str, tuple[int, int]] = {}
    # What it says of the server around them.
    environment: Environment = UNKNOWN
    # The examples cannot be run or measured inside a transaction on a bare server; says why.
    unproven: str = ""
