"""``lockgate parity``."""

from typing import TYPE_CHECKING, Any

import click

from lockgate.cli.options import Session, leave, shared
from lockgate.record.reasons import Exit

if TYPE_CHECKING:
    from lockgate.gate.parity import Parity

WORDS = {
    "revision": ("the newest revision", "lockgate up --all-regions brings every region to the same revision"),
    "historyDigest": ("the history", "lockgate status, with the URL of that region, names the files that it has and others lack"),
    "schemaDigest": ("the live schema", "lockgate verify, with the URL of that region, names the objects"),
    "compatFloor": ("the compatibility floor", "lockgate up --all-regions"),
    "indexHashes": ("a live index", "lockgate index list, with the URL of each region"),
    "indexSpecs": ("the specification of an index", "lockgate index list, with the URL of each region"),
    "indexContents": ("the content of an index", "lockgate index list, with the URL of each region"),
    "indexCounts": ("the number of records of an index", "lockgate index list, with the URL of each region"),
    "secrets": ("the accepted secrets", "lockgate bootstrap, in that region, sets the revision of the secrets"),
}  # fmt: skip
"""What a field is for people, and the command that tells more."""


@click.command("parity")
@shared(target=False)
@click.option(
    "--env",
    metavar="NAME",
    default=None,
    help="Environment of lockgate.toml whose regions are compared (default: the only one that has some).",
)
@click.option(
    "--region", "given", metavar="NAME=VARIABLE", multiple=True,
    help="A region and the variable that holds its URL, in place of those of lockgate.toml. Repeat it.",
)  # fmt: skip
@click.option(
    "--timeout", metavar="SECONDS", type=click.FloatRange(min=0.5, max=300), default=10.0, show_default=True,
    help="How long a region may take to answer.",
)  # fmt: skip
def command(env: str | None, given: tuple[str, ...], timeout: float, **shared_options: Any) -> None:
    """The matrix over all regions of an environment: revision, history, live schema, floor, indexes, secrets.

    Exits 0 when all are equal, 1 on a difference, 69 when a region is unreachable and nothing else is in the way, 5 on any
    other doubt.
    """
    import msgspec

    from lockgate.cli.regions import only_environment, region_targets
    from lockgate.gate.regions import parity

    session = Session(**shared_options)
    output = session.output
    if env is None and not given:
        env = only_environment(session.settings)
    found = parity(region_targets(session.settings, env, given), timeout=timeout)
    output.json({"command": "parity", "environment": env or "", **msgspec.to_builtins(found)})
    kinds = {"equal": "good", "differs": "bad"}
    output.table(
        ("region", "answer", "revision", "history", "schema", "floor", "indexes"),
        [
            (
                name, output.mark(r.answer, kinds.get(r.answer, "warn")), r.revision, r.history_digest[:12], r.schema_digest[:12],
                r.compat_floor, " ".join(f"{index}={value[:8]}" for index, value in sorted(r.index_hashes.items())),
            )
            for name, r in found.regions.items()
        ],
    )  # fmt: skip
    for name, region in found.regions.items():
        if region.answer not in ("equal", "differs"):
            output.say(f"{name}: {region.answer}: {region.detail}")
    for line in differences(found):
        output.say(line)
    output.say("all regions are equal" if found.equal else "not equal")
    leave(Exit(found.exit_code))


def differences(found: "Parity") -> list[str]:
    """What differs, where, from what most regions have, and the next command for each."""
    lines, told = [], set()
    for difference in found.differences:
        what, next_ = WORDS[difference.field]
        # The digests of two server versions differ without a reason; the regions say so themselves.
        if not any(
            difference.field in r.detail.split(", ") for r in found.regions.values() if r.answer == "differs"
        ):
            continue
        lines.append(f"{what} differs")
        for value, regions in difference.values.items():
            most = "  (most)" if value == difference.common else ""
            lines.append(f"    {_short(value)}  {', '.join(regions)}{most}")
        if next_ not in told:
            lines.append(f"  next:  {next_}")
        told.add(next_)
    return lines


def _short(value: str) -> str:
    return "none" if value in ("", "{}") else value[:12] if len(value) == 64 else value[:60]
