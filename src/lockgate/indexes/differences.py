"""What differs between two generations, record by record, and under which name."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from lockgate.indexes.causes import Cause
from lockgate.indexes.check import Check
from lockgate.indexes.embedders import Embedder
from lockgate.indexes.register import Generation
from lockgate.record.verdict import Verdict
from lockgate.stores.searching import SearchStore

Questions = Mapping[str, "str | Sequence[float]"]
ROUNDED = 0.9995
"""Two vectors of one record with this cosine or more are one vector in two roundings: eight bits keep 0.9999 and more."""


class Side(NamedTuple):
    """A generation with the store that it is in, and the questions in the form that it takes."""

    row: Generation
    store: SearchStore
    questions: Questions
    embedder: Embedder | None


class _Kept(NamedTuple):
    text: str
    payload: str
    hash: bytes
    vector: Sequence[float] | None


def differences(candidate: Side, against: Side) -> tuple[list[Cause], int]:
    """The causes, and how many records have the same vector in another rounding."""
    old, new = _read(against), _read(candidate)
    order = sorted(old)  # a store gives its records in any order; the tail is the newest ids
    missing = [d for d in order if d not in new]
    extra = [d for d in new if d not in old]
    both = [d for d in order if d in new]
    texts = [d for d in both if (old[d].text, old[d].payload) != (new[d].text, new[d].payload)]
    changed = [d for d in both if old[d].hash != new[d].hash]
    kinds = {d: _kind(old[d].vector, new[d].vector) for d in changed}
    rounded = [d for d in changed if kinds[d] == "rounded"]
    vectors = [d for d in changed if kinds[d] == "other" and d not in set(texts)]
    causes = []
    for kind, cause, words in _KINDS:
        if some := [d for d in changed if kinds[d] == kind]:
            causes.append(Cause(cause, True, f"{len(some)} of {len(old)} records {words}: {_some(some)}"))
    if missing:
        tail = order[-len(missing) :] == missing and len(missing) > 1
        causes.append(
            Cause("stale-tail" if tail else "documents-missing", True, f"{len(missing)} of {len(old)} records are missing: {_some(missing)}")
        )  # fmt: skip
    if extra:
        causes.append(
            Cause(
                "documents-extra", True, f"{len(extra)} records are not in the old generation: {_some(extra)}"
            )
        )
    owners = {kept.hash for kept in old.values()}
    moved = [d for d in vectors if new[d].hash in owners]
    if moved and len(moved) > 0.5 * len(vectors):
        causes.append(
            Cause(
                "ids-shuffled",
                True,
                f"{len(moved)} records have the vector of another record: {_some(moved)}",
            )
        )
    elif vectors:
        causes.append(
            Cause(
                "foreign-vectors",
                True,
                f"{len(vectors)} of {len(old)} records have another vector for the same text: {_some(vectors)}",
            )
        )
    if texts:
        causes.append(
            Cause(
                "documents-changed",
                True,
                f"{len(texts)} records have another text or payload: {_some(texts)}",
            )
        )
    return causes, len(rounded)


def _read(side: Side) -> dict[str, _Kept]:
    return {
        r.id: _Kept(r.text, r.payload, digest, r.vector) for r, digest in side.store.scan(side.row.physical)
    }


_KINDS = (
    ("length", "unnormalised-vectors", "have the vector that they had in another length"),
    ("cut", "dimensions-truncated", "have the first components of the vector that they had"),
)
"""What became of a vector, the cause that it names, and the words for it."""


def _kind(one: Sequence[float] | None, other: Sequence[float] | None) -> str:
    """What ``other`` is to ``one``: ``rounded``, of another ``length``, ``cut`` behind its first components, or just an ``other`` vector."""
    if not one or not other or len(other) > len(one):
        return "other"
    last = len(other)
    while last and not other[last - 1]:  # what was cut may have been filled up with zeros
        last -= 1
    if not _parallel(one[:last], other[:last]):
        return "other"
    if len(other) < len(one) or (last < len(one) and not _parallel(one, other)):
        return "cut"
    return "rounded" if 0.97 < math.hypot(*one) / math.hypot(*other) < 1.03 else "length"  # fmt: skip


def _parallel(one: Sequence[float], other: Sequence[float]) -> bool:
    length = math.hypot(*one) * math.hypot(*other)
    return 0 < length < math.inf and sum(a * b for a, b in zip(one, other, strict=True)) >= ROUNDED * length


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids[:3])


def as_rounded(check: Check, count: int) -> Check:
    """The check of equal contents where only the rounding of vectors differs."""
    return msgspec.structs.replace(
        check,
        value=0.0,
        answer=Verdict.PASS,
        details=f"{count} vectors are rounded copies; everything else is equal",
    )


def merged(seen: list[Cause], named: list[Cause]) -> list[Cause]:
    """Causes that checks saw and causes that the comparison of records named, each once, the more specific first."""
    specific = [
        c for c in seen if c.cause not in ("content-changed", "documents-missing", "specification-changed")
    ]
    if specific:
        # Zero, unnormalised or truncated vectors are other vectors too.
        named = [msgspec.structs.replace(c, sure=False) if c.cause == "foreign-vectors" else c for c in named]
    names = {c.cause for c in specific}
    rest = [c for c in seen if c.cause == "specification-changed"] if not (specific and named) else []
    return [*specific, *(c for c in named if c.cause not in names), *rest] or seen
