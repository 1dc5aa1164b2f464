"""Parity: are all regions equal? A pure comparison of what they showed; a region that showed nothing is never equal."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from lockgate.postgres.parity import Sight

EQUAL, DIFFERS, UNREACHABLE, UNKNOWN = "equal", "differs", "unreachable", "unknown"


class Region(msgspec.Struct, frozen=True, rename="camel"):
    """The line of one region in the matrix. ``answer`` is equal, differs, unreachable or unknown; ``detail`` says why."""

    answer: str
    revision: str
    schema_digest: str
    index_hashes: Mapping[str, str]
    history_digest: str
    compat_floor: str
    secrets: tuple[str, ...]
    basis: str
    standby: bool
    detail: str


class Difference(msgspec.Struct, frozen=True, rename="camel"):
    """One field in which regions differ: every value with the regions that have it, and what most have ("" in a tie)."""

    field: str
    values: Mapping[str, tuple[str, ...]]
    common: str


class Parity(msgspec.Struct, frozen=True):
    """The matrix over all regions."""

    equal: bool
    regions: Mapping[str, Region]
    differences: tuple[Difference, ...]

    @property
    def exit_code(self) -> int:
        """0 all equal, 1 a difference that was seen, 69 when nothing but unreachability is in the way, 5 any other doubt."""
        answers = {region.answer for region in self.regions.values()}
        if DIFFERS in answers:
            return 1
        if UNKNOWN in answers or not answers:
            return 5
        return 69 if UNREACHABLE in answers else 0


def _parts(of: "Mapping[str, str] | None") -> "str | None":
    return None if of is None else json.dumps(dict(of), sort_keys=True)


_FIELDS: "dict[str, Callable[[Sight], str | None]]" = {
    "revision": lambda s: s.revision,
    "historyDigest": lambda s: s.history_digest,
    "schemaDigest": lambda s: s.schema_digest,
    "compatFloor": lambda s: s.compat_floor,
    "indexHashes": lambda s: json.dumps(dict(s.index_hashes), sort_keys=True),
    # An index hash says that something differs; these say what: the specification, the records, or how many there are.
    "indexSpecs": lambda s: _parts(s.index_specs),
    "indexContents": lambda s: _parts(s.index_contents),
    "indexCounts": lambda s: _parts(s.index_counts),
    "secrets": lambda s: " ".join(sorted(s.secrets)),
}
"""What is compared, in the order of the report."""


def compare(sights: "Mapping[str, Sight]") -> Parity:
    """Compare all regions. Of the values of a field the commonest is the measure; in a tie every region differs."""
    seen = {name: sight for name, sight in sights.items() if sight.kind == "seen"}
    differences, odd = [], {name: list[str]() for name in sights}
    doubts = {name: list[str]() for name in sights}
    # Servers of different major versions write definitions differently: then a difference of digests says nothing.
    comparable = len({sight.basis for sight in seen.values()}) < 2
    for field, value in _FIELDS.items():
        told = {name: value(sight) for name, sight in seen.items()}
        found = {name: one for name, one in told.items() if one is not None}
        counted = Counter(found.values()).most_common(2)
        if len(counted) < 2:
            continue
        tie = counted[0][1] == counted[1][1]
        common = "" if tie else counted[0][0]
        values = {v: tuple(n for n in found if found[n] == v) for v in dict.fromkeys(found.values())}
        differences.append(Difference(field, values, common))
        for name, own in found.items():
            if tie or own != common:
                (odd if field != "schemaDigest" or comparable else doubts)[name].append(field)
    same = twins({name: sight.identity for name, sight in seen.items()})
    regions = {
        name: _region(sight, odd[name], doubts[name], same.get(name, "")) for name, sight in sights.items()
    }
    equal = bool(regions) and all(region.answer == EQUAL for region in regions.values())
    return Parity(equal, regions, tuple(differences))


def twins(identities: Mapping[str, str]) -> dict[str, str]:
    """Every name whose identity an earlier one has already, and that one's name."""
    first: dict[str, str] = {}
    found = {}
    for name, own in identities.items():
        if own and first.setdefault(own, name) != name:
            found[name] = first[own]
    return found


def _region(sight: "Sight", odd: list[str], doubts: list[str], twin: str) -> Region:
    if sight.kind == "unreachable":
        answer, detail = UNREACHABLE, sight.why
    elif sight.kind != "seen":
        answer, detail = UNKNOWN, sight.why
    elif twin:
        answer = UNKNOWN
        detail = f"this is the database of {twin}: both URLs lead to one place, and the region's own was not looked at"
    elif odd:
        answer, detail = DIFFERS, ", ".join(odd)
    elif doubts:
        answer = UNKNOWN
        detail = f"the schema digest is of {sight.basis} and cannot be compared with that of another server version"
    else:
        answer, detail = EQUAL, sight.why
    return Region(
        answer, sight.revision, sight.schema_digest, sight.index_hashes, sight.history_digest, sight.compat_floor, sight.secrets,
        sight.basis, sight.standby, detail,
    )  # fmt: skip
