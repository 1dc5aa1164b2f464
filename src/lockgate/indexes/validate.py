"""Validate one generation against another: the index itself, then its answers to the gold queries, as one verdict."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from lockgate.errors import ConfigError
from lockgate.indexes.advice import told_by_looking
from lockgate.indexes.causes import Cause
from lockgate.indexes.check import Check
from lockgate.indexes.differences import Questions, Side, as_rounded, differences, merged
from lockgate.indexes.drift import Drift, compare
from lockgate.indexes.embedders import CANARIES, Embedder, embed_all, open_embedder, same_canaries
from lockgate.indexes.figures import figures
from lockgate.indexes.gold import GoldSet
from lockgate.indexes.inspect import Seen, causes_of, causes_of_specification, inspect
from lockgate.indexes.limits import Limits
from lockgate.indexes.measures import overlap
from lockgate.indexes.records import as_vector
from lockgate.indexes.register import Generation, record_event
from lockgate.indexes.runs import Run, make_run
from lockgate.postgres.link import Link
from lockgate.record.verdict import Verdict
from lockgate.stores.searching import SearchStore


def questions_of(
    row: Generation, gold: GoldSet, embedder: Embedder | None, given: Mapping[str, Sequence[float]]
) -> Questions:
    """The gold queries as text, or as vectors: ``given`` ones, or made by the generation's own embedder.

    Raises ``ConfigError`` where a vector index was built from ready vectors and the queries have none.
    """
    if row.manifest.kind == "text":
        return gold.queries
    if given:
        missing = [q for q in gold.queries if q not in given]
        if missing:
            raise ConfigError(
                f"--query-vectors: query {missing[0]!r} and {len(missing) - 1} more have no vector",
                "GOLD_SET",
            )
        wrong = next((q for q in gold.queries if len(given[q]) != row.manifest.dimension), None)
        if wrong is not None:
            raise ConfigError(f"--query-vectors: query {wrong!r} has {len(given[wrong])} components, generation {row.generation} has {row.manifest.dimension}", "GOLD_SET")  # fmt: skip
        return given
    if embedder is None:
        raise ConfigError(
            f"generation {row.generation} was built from ready vectors, so the gold queries need theirs", "GOLD_SET",
            next="--query-vectors FILE, with lines {_id, vector}.",
        )  # fmt: skip
    prefix = row.manifest.embedding.query_prefix if row.manifest.embedding else ""
    return dict(
        zip(gold.queries, embed_all(embedder, [prefix + t for t in gold.queries.values()]), strict=True)
    )


def side_of(
    row: Generation, store: SearchStore, gold: GoldSet, key: str, given: Mapping[str, Sequence[float]]
) -> Side:
    """A generation with its store, its questions and, where one made its vectors, its embedder. ``key`` is an endpoint's key.

    Raises ``ConfigError`` as ``questions_of`` does.
    """
    embedder = open_embedder(row.embedder, key) if row.embedder and row.manifest.kind == "vector" else None
    return Side(row, store, questions_of(row, gold, embedder, given), embedder)


def read_query_vectors(path: Path) -> dict[str, tuple[float, ...]]:
    """Lines ``{_id, vector}``. Raises ``ConfigError`` that names the line."""
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such file", "USAGE")
    found: dict[str, tuple[float, ...]] = {}
    for number, line in enumerate(path.read_text("utf-8-sig").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            name, vector = str(row["_id"]), as_vector(row["vector"], f"{path}:{number}")
        except (ValueError, KeyError, TypeError):
            raise ConfigError(f"{path}:{number}: not {{_id, vector}}", "GOLD_SET") from None
        found[name] = tuple(vector or ())
    return found


def ask(
    side: Side,
    k: int,
    *,
    breadth: int = 0,
    exact: bool = False,
    progress: Callable[[str, float], None] | None = None,
    doing: str = "",
) -> Run:
    """The generation's answers to every question; each has to come from that generation."""
    listed: dict[str, list[tuple[str, float]]] = {}
    for place, (qid, question) in enumerate(side.questions.items(), 1):
        answer = side.store.query(side.row.physical, question, k, search=breadth, exact=exact)
        assert answer.generation == side.row.physical
        listed[qid] = [(hit.id, hit.score) for hit in answer.hits]
        if progress is not None:
            progress(doing, place / len(side.questions))
    return make_run(side.row.generation, listed)


def look(side: Side) -> Seen:
    """Everything that the store tells of a generation."""
    embedder = side.embedder
    canary = same_canaries(side.row.canary, embed_all(embedder, CANARIES)) if embedder is not None else None
    physical = side.row.physical
    return Seen(
        side.row,
        side.store.describe(physical),
        side.store.manifest(physical),
        side.store.content(physical),
        canary,
    )


def validate(
    gold: GoldSet,
    candidate: Side,
    against: Side,
    limits: Limits,
    *,
    breadth: int = 0,
    seed: int = 20250101,
    progress: Callable[[str, float], None] | None = None,
) -> Drift:
    """Compare ``candidate`` with ``against``: digests, norms and search structure first, then retrieval over the gold set."""
    if progress is not None:
        progress("reading the generations", 0.0)
    seen, other = look(candidate), look(against)
    depth = max(limits.k, min(50, seen.described.records))
    runs = []
    for side, words in ((against, "asking the old generation"), (candidate, "asking the new one")):
        runs.append(ask(side, depth, breadth=breadth, progress=progress, doing=words))
    agreement = None
    if candidate.row.manifest.kind == "vector":
        # Asked as applications ask: a search for more answers looks further, and hides what one for k misses.
        exact, narrow = ask(candidate, limits.k, exact=True), ask(candidate, limits.k, breadth=breadth)
        shares = [overlap(_ids(exact, q), _ids(narrow, q), limits.k) for q in exact.hits]
        agreement = sum(shares) / len(shares)
    checks = inspect(
        seen, other, same_model=limits.same_model, k=limits.k, breadth=breadth, agreement=agreement
    )
    causes = _causes(checks, candidate.row, against.row)
    if any(c.id == "content-equal" and c.answer is Verdict.FAIL for c in checks):
        # The contents differ, so they are compared record by record and what changed gets its own name.
        named, rounded = differences(candidate, against)
        if rounded and not named:
            checks = [as_rounded(c, rounded) if c.id == "content-equal" else c for c in checks]
        causes = merged(_causes(checks, candidate.row, against.row), named)
    known = within_corpus(gold, runs)
    drift = compare(gold, [known[0]], [known[1]], limits, seed=seed, found=checks)
    return told_by_looking(msgspec.structs.replace(drift, causes=tuple(causes) or drift.causes))


def _causes(checks: list[Check], mine: Generation, theirs: Generation) -> list[Cause]:
    """What the checks of the index itself name; of two specifications also what they have otherwise."""
    found = causes_of(checks)
    if any(c.id == "spec-equal" and c.answer is Verdict.FAIL for c in checks):
        names = {c.cause for c in found}
        found = [*(c for c in causes_of_specification(mine.manifest, theirs.manifest) if c.cause not in names), *found]  # fmt: skip
    return found


def _ids(run: Run, qid: str) -> list[str]:
    return [hit.id for hit in run.hits[qid]]


def within_corpus(gold: GoldSet, runs: list[Run]) -> list[Run]:
    """An index may hold more than the gold corpus; documents outside of it are left out of both runs.

    Raises ``ConfigError`` where hardly any answer is of the corpus: then the ids do not join.
    """
    for run in runs:
        answers = [hit.id for hits in run.hits.values() for hit in hits]
        inside = sum(d in gold.documents for d in answers)
        if answers and inside < 0.05 * len(answers):
            raise ConfigError(
                f"only {inside} of {len(answers)} answers of generation {run.name} are documents of the gold set", "RUN_FILE",
                next="Map the ids of the index to those of corpus.jsonl.",
            )  # fmt: skip
    return [
        msgspec.structs.replace(
            run, hits={q: tuple(h for h in hits if h.id in gold.documents) for q, hits in run.hits.items()}
        )
        for run in runs
    ]


def remember(
    link: Link, row: Generation, drift: Drift, against: str, *, actor: str, at: float, next: str = ""
) -> None:
    """Keep the verdict with the generation, because a swap asks for it, and the figures as an event, for the metrics. ``next`` is what comes after a hold."""
    told = {"against": against, "profile": drift.profile, "failed": [c.id for c in drift.checks if c.answer is not Verdict.PASS], "causes": [c.cause for c in drift.causes], "next": next}  # fmt: skip
    with link.transaction():
        link.run(
            "UPDATE lockgate.index_generation SET verdict = $3, validated_at = clock_timestamp(), validation = $4::text::jsonb WHERE name = $1 AND generation = $2",
            row.name, row.generation, str(drift.verdict), json.dumps(told),
        )  # fmt: skip
        look = msgspec.to_builtins(figures(drift, at))
        record_event(link, row.name, "validate", actor, before=against, after=row.generation, details={**told, "verdict": str(drift.verdict), "look": look})  # fmt: skip
