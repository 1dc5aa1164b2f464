"""Every hazard that has a page: those of the rules, those of deployments, and what settings let pass."""

from lockgate.policy.deploy.kinds import KINDS, as_hazard
from lockgate.policy.hazard import INFO, Hazard
from lockgate.policy.rules import HAZARDS

EARLY_STAGE = Hazard(
    id="policy-early-stage",
    name="Destructive resets are allowed",
    detects='`profile = "early-stage"` in `[policy]` of lockgate.toml.',
    effect="Drops, renames and resets, which are errors by default, are warnings: nothing keeps the release before working, and no data is safe from a file.",
    workaround="Take the profile out of lockgate.toml before anybody depends on the data.",
    severity=INFO,
    suppressible=False,
    source="Settings",
    bad="",
    good="",
)


def every_hazard() -> dict[str, Hazard]:
    """All of them by id."""
    return {**HAZARDS, **{kind: as_hazard(kind) for kind in KINDS}, EARLY_STAGE.id: EARLY_STAGE}
