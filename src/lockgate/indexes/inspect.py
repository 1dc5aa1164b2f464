"""Is a generation what its manifest says? Pure: descriptions and recorded facts in, checks and named causes out."""

from typing import NamedTuple

from lockgate.indexes.causes import Cause
from lockgate.indexes.check import Check, within
from lockgate.indexes.register import Generation
from lockgate.record.verdict import Verdict
from lockgate.stores.content import Content
from lockgate.stores.manifest import Manifest
from lockgate.stores.searching import Description

UNIT, UNIT_UNDER_COSINE = 1e-3, 0.02
"""How far a length may be from 1 in an index that says it is normalised. A cosine does not see lengths, so there eight bits may round them."""

CAUSES = {
    "records-sealed": "documents-missing", "records-equal": "documents-missing", "content-sealed": "content-changed",
    "content-equal": "content-changed", "dimension": "dimensions-truncated", "metric": "wrong-metric",
    "zero-vectors": "zero-vectors", "finite-vectors": "zero-vectors", "unit-vectors": "unnormalised-vectors",
    "stored-vectors": "foreign-vectors", "unindexed-tail": "stale-tail", "duplicate-records": "duplicate-ids",
    "analyzer": "analyzer-changed", "canary": "foreign-vectors", "search-valid": "ann-recall", "ann-recall": "ann-recall",
    "search-breadth": "ann-search-narrow", "spec-equal": "specification-changed", "manifest-stored": "specification-changed",
}  # fmt: skip
"""The check that failed → the cause that it names."""


class Seen(NamedTuple):
    """Everything that is known of a generation. ``canary`` is whether the embedder still gives the vectors of the build."""

    row: Generation
    described: Description
    stored: Manifest | None
    content: Content
    canary: bool | None


def inspect(
    seen: Seen, against: Seen, *, same_model: bool, k: int, breadth: int, agreement: float | None
) -> list[Check]:
    """Check a generation against its own manifest and, like for like, against another one.

    ``breadth`` is how broad the search is asked to be, ``agreement`` the overlap of its answers with an exact search.
    """
    d, m = seen.described, seen.row.manifest
    checks = [
        _equal("manifest-stored", seen.stored is not None and seen.stored.spec_hash == seen.row.spec_hash, "the manifest in the store is the one that was recorded", "; ".join(seen.stored.differences(m)) if seen.stored else "the store has none"),
        _count("records-sealed", d.records, seen.row.records, "sealed with"),
        _equal("content-sealed", seen.content.root == seen.row.content_root, "the content is the one that was sealed", f"root {seen.content.root[:12]}, sealed {seen.row.content_root[:12]}"),
        _equal("search-valid", d.valid, "the search structure is valid", "the search structure is invalid or unfinished"),
        within("unindexed-tail", d.unindexed, 0, details="records that the search structure lacks"),
        within("duplicate-records", d.duplicates, 0, details="ids that stand there more than once"),
        within("stored-vectors", d.wrong_rows, 0, details="records that are not stored as they were written"),
    ]  # fmt: skip
    if m.kind == "vector":
        checks += look_at_vectors(d, m)
        checks.append(
            within(
                "search-breadth",
                max(breadth, k) if breadth else k,
                k,
                at_most=False,
                details="ef_search against k",
            )
        )
        if agreement is not None:
            checks.append(
                within(
                    "ann-recall",
                    agreement,
                    0.98,
                    at_most=False,
                    details="overlap of the search with an exact one over the gold queries",
                )
            )
        if seen.canary is not None:
            checks.append(
                _equal(
                    "canary",
                    seen.canary,
                    "the embedder gives the vectors of the build",
                    "the embedder is another model now",
                )
            )
    else:
        same = (
            d.analyzer_fingerprint == m.analyzer_fingerprint
            if m.analyzer_fingerprint
            else d.analyzer == m.analyzer
        )
        checks.append(
            _equal(
                "analyzer",
                same,
                f"analyzer {d.analyzer}",
                f"the store analyses with {d.analyzer!r}, the manifest says {m.analyzer!r}",
            )
        )
    return checks + (_alike(seen, against) if same_model else [])


def look_at_vectors(d: Description, m: Manifest) -> list[Check]:
    """What is wrong with the vectors themselves, by what the store tells of them. Pure."""
    low, high = d.norm_low or 1.0, d.norm_high or 1.0
    off = max(abs(low - 1), abs(high - 1))
    checks = [
        _equal("dimension", d.dimension in (None, m.dimension), f"{m.dimension} components", f"the store has {d.dimension} components, the manifest {m.dimension}"),
        _equal("metric", d.metric in ("", m.metric), f"{m.metric}", f"the search structure is for {d.metric}, queries ask for {m.metric}"),
        within("zero-vectors", d.zero, 0, details="vectors of length 0"),
        within("finite-vectors", d.broken, 0, details="vectors with a component that is no number"),
    ]  # fmt: skip
    if m.embedding is not None and m.embedding.normalised:
        checks.append(
            within(
                "unit-vectors",
                off,
                UNIT_UNDER_COSINE if m.metric == "cosine" else UNIT,
                details=f"lengths from {low:.4f} to {high:.4f}",
            )
        )
    return checks


def _alike(seen: Seen, against: Seen) -> list[Check]:
    """Like for like: the same records, the same specification up to storage and search."""
    unequal = seen.content.unequal(against.content)
    mine, theirs = _beyond_storage(seen.row.manifest), _beyond_storage(against.row.manifest)
    names = mine.without_names() == theirs.without_names() and mine != theirs
    renamed = names and _same_vectors(seen.row, against.row)
    differing = "; ".join(mine.differences(theirs))
    return [
        _count("records-equal", seen.described.records, against.described.records, f"generation {against.row.generation} has"),
        _equal("content-equal", not unequal, "the same records", f"{len(unequal)} of 1024 buckets differ"),
        _equal("spec-equal", mine == theirs or renamed, "renamed; the canaries are equal" if renamed else "the same specification, storage and search aside", differing),
    ]  # fmt: skip


def _beyond_storage(m: Manifest) -> Manifest:
    """The manifest without what may differ between two copies: the graph, and the rounding of what is stored."""
    import msgspec

    embedding = msgspec.structs.replace(m.embedding, dtype="float32") if m.embedding else None
    return msgspec.structs.replace(m, ann={}, embedding=embedding)


def _same_vectors(one: Generation, other: Generation) -> bool:
    from lockgate.indexes.embedders import same_canaries

    return same_canaries(one.canary, other.canary) is True or (
        not one.canary and one.content_root == other.content_root
    )


def _equal(name: str, holds: bool, good: str, bad: str) -> Check:
    return Check(
        name, 0.0 if holds else 1.0, 0.0, Verdict.PASS if holds else Verdict.FAIL, good if holds else bad
    )


def _count(name: str, value: int, wanted: int, words: str) -> Check:
    return Check(
        name,
        float(value),
        float(wanted),
        Verdict.PASS if value == wanted else Verdict.FAIL,
        f"{value} records, {words} {wanted}",
    )


def causes_of(checks: list[Check]) -> list[Cause]:
    """The causes that failed checks of the index itself name. They are seen, not guessed."""
    found: dict[str, Cause] = {}
    for check in checks:
        name = CAUSES.get(check.id)
        if name and check.answer is Verdict.FAIL and name not in found:
            found[name] = Cause(name, True, check.details if check.id == name else f"{check.id}: {check.details}")  # fmt: skip
    return list(found.values())


def causes_of_specification(mine: Manifest, theirs: Manifest) -> list[Cause]:
    """The names for what two specifications have otherwise, like for like; what has no name of its own is a specification that changed."""
    found = []
    old, new = theirs.embedding, mine.embedding
    if mine.metric != theirs.metric:
        found.append(("wrong-metric", f"{mine.metric}, and the other generation has {theirs.metric}"))
    if 0 < mine.dimension < theirs.dimension:
        found.append(("dimensions-truncated", f"{mine.dimension} components, and the other generation has {theirs.dimension}"))  # fmt: skip
    if old is not None and new is not None and old.normalised and not new.normalised:
        found.append(("unnormalised-vectors", "lengths are said not to be 1, and in the other generation they are"))  # fmt: skip
    if (mine.analyzer, mine.analyzer_fingerprint) != (theirs.analyzer, theirs.analyzer_fingerprint):
        found.append(("analyzer-changed", f"analyzer {mine.analyzer}, and the other generation has {theirs.analyzer}"))  # fmt: skip
    return [Cause(name, True, f"spec-equal: {told}") for name, told in found]
