"""The paper without which nothing is applied. ``release.authorise`` is the one place that gives it out."""

from collections.abc import Mapping

import msgspec

from lockgate.postgres.moves.empty import Awaited


class Permit(msgspec.Struct, frozen=True, rename="camel"):
    """What may be applied, by whom and on what grounds.

    ``plan_hash`` binds it to files and base state. ``until`` is the first revision that may not be applied yet, with
    ``held_because`` saying why and ``held_next`` what to do; "" when all of the plan may. ``evidence`` tells what was looked at.
    ``provided`` names, by revision, the moves that are asked when the file's turn has come, and must have nothing left to move.
    """

    plan_hash: str
    environment: str
    operator: str
    until: str = ""
    held_code: str = ""
    held_because: str = ""
    held_next: str = ""
    provided: Mapping[str, tuple[Awaited, ...]] = {}
    evidence: tuple[str, ...] = ()
