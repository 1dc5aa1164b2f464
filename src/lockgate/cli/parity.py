"""``lockgate parity``."""

import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from lockgate.cli.options import Session, leave, shared
from lockgate.record.reasons import Exit

if TYPE_CHECKING:
    from lockgate.gate.parity import Difference, Parity

EVERYWHERE = "lockgate up"
"""The one command that works on all regions at once, where an environment names them."""
ALONE = "lockgate status"
"""What is asked of a region that no environment names: an ``up`` by its URL would go round what its environment demands."""

WORDS = {
    "revision": ("the newest revision", EVERYWHERE, "applies what the files say to the database"),
    "historyDigest": ("the history", "lockgate status", "names the files in the history"),
    "schemaDigest": ("the live schema", "lockgate verify", "names the objects that are not as recorded"),
    "compatFloor": ("the compatibility floor", EVERYWHERE, "applies what the files say to the database"),
    "indexHashes": ("a live index", "lockgate index list", "names the generation that serves"),
    "indexSpecs": ("the specification of an index", "lockgate index list", "names the generation that serves"),
    "indexContents": ("the content of an index", "lockgate index list", "names the generation that serves"),
    "indexCounts": ("the number of records of an index", "lockgate index list", "names the generation that serves"),
    "secrets": ("the set of accepted secrets", "lockgate gate secrets list", "shows the accepted revisions"),
}  # fmt: skip
"""What a field is for people, the command that tells more or mends it, and what that does."""

ASKED = 3
"""How many regions get a command of their own; more of them are alike."""


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

    from lockgate.cli.regions import only_environment, region_calls, region_targets
    from lockgate.gate.regions import parity

    session = Session(**shared_options)
    output = session.output
    if env is None and not given:
        env = only_environment(session.settings)
    found = parity(region_targets(session.settings, env, given), timeout=timeout)
    told = differences(found, region_calls(session.settings, env, given), env or "")
    document = msgspec.to_builtins(found)
    for difference, one in zip(document["differences"], told, strict=True):
        difference["next"] = list(one.commands)
    output.json({"command": "parity", "environment": env or "", **document})
    kinds = {"equal": "good", "differs": "bad"}
    regions = found.regions.values()
    history, schema = (
        shortener(r.history_digest for r in regions),
        shortener(r.schema_digest for r in regions),
    )
    index = shortener((value for r in regions for value in r.index_hashes.values()), 8)
    output.table(
        ("region", "answer", "revision", "history", "schema", "floor", "indexes", "secrets"),
        [
            (
                name, output.mark(r.answer, kinds.get(r.answer, "warn")), r.revision, history(r.history_digest), schema(r.schema_digest),
                r.compat_floor, " ".join(f"{name}={index(value)}" for name, value in sorted(r.index_hashes.items())),
                " ".join(one[:9] for one in r.secrets),
            )
            for name, r in found.regions.items()
        ],
    )  # fmt: skip
    for name, region in found.regions.items():
        if region.answer not in ("equal", "differs"):
            output.say(f"{name}: {region.answer}: {region.detail}")
    for one in told:
        for line in one.lines:
            output.say(line)
    output.say("all regions are equal" if found.equal else "not equal")
    leave(Exit(found.exit_code))


class Told(NamedTuple):
    """One difference for people, and its next commands by themselves."""

    lines: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()


def differences(found: "Parity", calls: "Mapping[str, Callable[[str], str]]", environment: str) -> list[Told]:
    """What differs, where, which value most have, and what to type next: one for each difference of ``found``.

    ``calls`` makes a command one that speaks to that region.
    """
    asked: set[str] = set()
    return [_told(found, difference, calls, environment, asked) for difference in found.differences]


def _told(
    found: "Parity", difference: "Difference", calls: "Mapping[str, Callable[[str], str]]", environment: str, asked: set[str]
) -> Told:  # fmt: skip
    odd = [
        name
        for name, region in found.regions.items()
        if region.answer == "differs" and difference.field in region.detail.split(", ")
    ]
    # The digests of two server versions differ without a reason; the regions say so themselves.
    if not odd:
        return Told()
    what, command, does = WORDS[difference.field]
    if command == EVERYWHERE and not environment:
        command, does = ALONE, "names the files that it lacks"
    called, rest = [(calls[name](command), f"{name}: {does}") for name in odd[:ASKED]], odd[ASKED:]
    if command == EVERYWHERE and environment:
        called, rest = (
            [(f"{EVERYWHERE} --env {shlex.quote(environment)} --all-regions", "the canary first")],
            [],
        )
    if difference.field == "secrets":
        lacking = _lacking(difference)
        if lacking:
            called = [
                (calls[name](f"lockgate gate secrets accept {shlex.quote(one)} --reason {shlex.quote('as in ' + other)}"), f"{name}: accepts what {other} accepts")
                for name, one, other in lacking[:ASKED]
            ]  # fmt: skip
            rest = [name for name, _, _ in lacking[ASKED:]]
    lines = [f"{what} differs"]
    short = shortener(difference.values)
    most = max(len(regions) for regions in difference.values.values())
    single = sum(len(regions) == most for regions in difference.values.values()) == 1
    for value, regions in difference.values.items():
        mark = "  (most)" if single and len(regions) == most else ""
        lines.append(f"    {_plain(short(value), difference)}  {', '.join(regions)}{mark}")
    new = [
        (call, why) for call, why in called if call not in asked
    ]  # the fields of an index share their command
    lines += [f"  next:  {call}  # {why}" for call, why in new]
    if new and rest:
        lines.append(f"         and so for {', '.join(rest)}")
    asked.update(call for call, _ in called)
    return Told(tuple(lines), tuple(call for call, _ in called))


def _lacking(difference: "Difference") -> list[tuple[str, str, str]]:
    """(region, revision that it does not accept, region that does). Empty where there are more than two: one has to be retired first."""
    having: dict[str, str] = {}
    for value, regions in difference.values.items():
        for one in value.split():
            having.setdefault(one, regions[0])
    if len(having) > 2:
        return []
    return [
        (name, one, having[one])
        for value, regions in difference.values.items()
        for one in having
        if one not in value.split()
        for name in regions
    ]


_DIGEST = re.compile(r"\b[0-9a-f]{32,}\b")


def shortener(values: Iterable[str], least: int = 12) -> Callable[[str], str]:
    """What cuts every digest inside of a text to as many signs, at least ``least``, as tell those of ``values`` apart."""
    digests = {digest for value in values for digest in _DIGEST.findall(value)}
    signs = least
    while len({digest[:signs] for digest in digests}) < len(digests):
        signs += 1
    return lambda text: _DIGEST.sub(lambda match: match[0][:signs], text)


def _plain(value: str, difference: "Difference") -> str:
    """``value`` for people: of what is kept for each index only those in which regions differ."""
    if value in ("", "{}"):
        return "none"
    if not difference.field.startswith("index"):
        return value
    import json

    sides = [json.loads(one) for one in difference.values]
    own = json.loads(value)
    names = [
        n for n in sorted({n for side in sides for n in side}) if len({side.get(n) for side in sides}) > 1
    ]
    return ", ".join(f"{name} {own.get(name) or 'none'}" for name in names)
