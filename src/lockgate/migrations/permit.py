"""The paper without which nothing is applied. ``release.authorise`` is the one place that gives it out."""

import msgspec


class Permit(msgspec.Struct, frozen=True, rename="camel"):
    """What may be applied, by whom and on what grounds.

    ``plan_hash`` binds it to files and base state. ``until`` is the first revision that may not be applied yet, with
    ``held_because`` saying why; "" when all of the plan may. ``evidence`` tells what was looked at.
    """

    plan_hash: str
    environment: str
    operator: str
    until: str = ""
    held_code: str = ""
    held_because: str = ""
    evidence: tuple[str, ...] = ()
