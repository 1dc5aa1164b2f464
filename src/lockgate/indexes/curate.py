"""Is a gold set fit to judge with, and how does one begin: findings of a set, and a draft from a log of queries."""

import json
import random
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import msgspec

from lockgate.errors import ConfigError
from lockgate.indexes.gold import CORPUS, QRELS, QUERIES, GoldError, GoldSet
from lockgate.indexes.hashing import HashingEmbedder, cosine

PARAPHRASES = 3
FEW, STABLE = 20, 50


class Finding(msgspec.Struct, frozen=True):
    """One finding: an error makes the set unfit, a warning weakens what it can tell."""

    id: str
    severity: str
    message: str
    items: tuple[str, ...] = ()


def lint(gold: GoldSet, frozen: str = "") -> list[Finding]:
    """What is wrong or weak in a joined gold set. ``frozen`` is the digest that it should have."""
    judged = gold.judged
    own = [q for q in gold.queries if gold.origin(q) == q]
    found: list[Finding] = []

    def tell(id: str, severity: str, message: str, items: list[str] | None = None) -> None:
        found.append(Finding(id, severity, message, tuple((items or [])[:20])))

    if frozen and frozen != gold.digest:
        tell("frozen", "error", f"the set has digest {gold.digest}, not {frozen}: it was changed")
    if len(judged) < FEW:
        tell(
            "few-queries",
            "error",
            f"{len(judged)} queries with a relevant document; below {FEW} every check holds",
        )
    elif len(judged) < STABLE:
        tell(
            "some-queries",
            "warning",
            f"{len(judged)} queries with a relevant document; {STABLE} give steadier figures",
        )
    if unjudged := [q for q in own if q not in set(judged)]:
        tell("no-relevant", "warning", f"{len(unjudged)} queries have no relevant document", unjudged)
    if thin := [q for q in judged if len(gold.paraphrases.get(q, ())) < PARAPHRASES]:
        tell(
            "paraphrases",
            "warning",
            f"{len(thin)} queries have fewer than {PARAPHRASES} paraphrases; lambda needs them",
            thin,
        )
    texts = Counter(" ".join(t.casefold().split()) for t in gold.queries.values())
    if twice := [q for q, t in gold.queries.items() if texts[" ".join(t.casefold().split())] > 1]:
        tell("same-text", "error", f"{len(twice)} queries or paraphrases have the text of another", twice)
    bodies = Counter(" ".join(t.casefold().split()) for t in gold.documents.values())
    if copies := [d for d, t in gold.documents.items() if bodies[" ".join(t.casefold().split())] > 1]:
        tell(
            "same-document",
            "warning",
            f"{len(copies)} documents have the text of another: they tie in every index",
            copies,
        )
    if empty := [d for d, t in gold.documents.items() if not t.strip()]:
        tell("empty-document", "warning", f"{len(empty)} documents have no text", empty)
    if judged and len({g for grades in gold.judgements.values() for g in grades.values() if g > 0}) < 2:
        tell(
            "one-grade",
            "warning",
            "all relevant documents have one grade; nDCG cannot tell the best from the good",
        )
    if far := _far(gold):
        tell(
            "far-anchor",
            "warning",
            f"{len(far)} queries share hardly a word with their best document, by the reference embedder",
            far,
        )
    return found


def _far(gold: GoldSet) -> list[str]:
    """Queries whose best-graded document looks no nearer than a document at random: often a sign of a wrong join."""
    embedder = HashingEmbedder()
    pool = [embedder.sparse(t) for t in list(gold.documents.values())[:200]]
    far = []
    for qid in gold.judged:
        query = embedder.sparse(gold.queries[qid])
        grades = gold.judgements[qid]
        top = max(grades.values())
        best = max(cosine(query, embedder.sparse(gold.documents[d])) for d, g in grades.items() if g == top)
        if pool and best < sorted(cosine(query, d) for d in pool)[len(pool) // 2]:
            far.append(qid)
    return far


class Sampled(NamedTuple):
    """A draft: the chosen queries with how often each was asked, and documents to judge for each."""

    queries: list[tuple[str, int]]
    candidates: list[list[str]]


def sample(log: Path, documents: dict[str, str], count: int, seed: int) -> Sampled:
    """Choose ``count`` queries of a log: half of them the most asked, half at random from the rest, no text twice.

    The log has one query a line, as text or as JSON with ``query`` or ``text``. Raises ``GoldError``.
    """
    if not log.is_file():
        raise GoldError(f"{log}: there is no such file")
    asked: Counter[str] = Counter()
    words: dict[str, str] = {}
    for number, line in enumerate(log.read_text("utf-8-sig", errors="replace").splitlines(), 1):
        text = _query(line, f"{log}:{number}")
        if text:
            key = " ".join(text.casefold().split())
            words.setdefault(key, text)
            asked[key] += 1
    if not asked:
        raise GoldError(f"{log}: holds no query")
    ranked = [key for key, _ in sorted(asked.items(), key=lambda pair: (-pair[1], pair[0]))]
    head, tail = ranked[: count - count // 2], ranked[count - count // 2 :]
    random.Random(seed).shuffle(tail)  # noqa: S311 - a sample, not a secret
    chosen = head + tail[: count - len(head)]
    embedder = HashingEmbedder()
    vectors = {d: embedder.sparse(t) for d, t in documents.items()}
    candidates = []
    for key in chosen:
        query = embedder.sparse(words[key])
        candidates.append(sorted(vectors, key=lambda d: (-cosine(query, vectors[d]), d))[:5])
    return Sampled([(words[key], asked[key]) for key in chosen], candidates)


def _query(line: str, where: str) -> str:
    line = line.strip()
    if line.startswith("{"):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise GoldError(f"{where}: not JSON: {error}") from None
        value = row.get("query", row.get("text")) if isinstance(row, dict) else None
        if not isinstance(value, str):
            raise GoldError(f"{where}: neither `query` nor `text` is a text")
        line = value.strip()
    return re.sub(r"\s+", " ", line)


def write_draft(folder: Path, corpus: Path, sampled: Sampled) -> None:
    """Write the draft in a new folder: the corpus, the queries without paraphrases, and judgements of grade 0 to be mended.

    Raises ``ConfigError`` where the folder is there already.
    """
    from lockgate.record.artifact import write_atomically

    if folder.exists():
        raise ConfigError(f"{folder} is there already", "USAGE", next="Name a new folder.")
    try:
        folder.mkdir(parents=True)
        write_atomically(folder / CORPUS, corpus.read_bytes())
        queries = [
            json.dumps(
                {"_id": f"q{n}", "text": text, "paraphrases": [], "metadata": {"asked": times}},
                ensure_ascii=False,
            )
            for n, (text, times) in enumerate(sampled.queries, 1)
        ]
        write_atomically(folder / QUERIES, ("\n".join(queries) + "\n").encode())
        rows = [f"q{n}\t{doc}\t0" for n, docs in enumerate(sampled.candidates, 1) for doc in docs]
        write_atomically(folder / QRELS, ("query-id\tcorpus-id\tscore\n" + "\n".join(rows) + "\n").encode())
    except OSError as error:
        raise ConfigError(f"{folder}: {error.strerror}", "USAGE") from None
