"""Run files: what an index answered to each query. TREC's six columns, or JSON lines ``{qid, hits: [{id, score}]}``."""

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import msgspec

from lockgate.errors import ConfigError
from lockgate.indexes.gold import GoldSet


class RunError(ConfigError):
    """A run cannot be read, or does not join with the gold set; the message names file, line and the fix."""

    default_reason = "RUN_FILE"


class Hit(NamedTuple):
    """One answer: a document and its score. Higher is better, also where the file held distances (they are negated)."""

    id: str
    score: float


class Run(msgspec.Struct, frozen=True):
    """The answers of one generation, best first; each document once.

    ``duplicates`` lists (query, document) that the file named more than once, ``broken`` the queries with a score that
    is no finite number. ``distances`` tells that scores grew downwards and were negated.
    """

    name: str
    hits: dict[str, tuple[Hit, ...]]
    duplicates: tuple[tuple[str, str], ...] = ()
    broken: tuple[str, ...] = ()
    distances: bool = False

    @property
    def depth(self) -> int:
        """The length of the longest list."""
        return max(map(len, self.hits.values()), default=0)


def read_run(path: Path) -> Run:
    """Read a run file of either format. Raises ``RunError``."""
    if not path.is_file():
        raise RunError(f"{path}: there is no such file")
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RunError(f"{path}: byte {error.start} is not UTF-8", next="Save the file as UTF-8.") from None
    except OSError as error:
        raise RunError(f"{path}: {error.strerror}") from None
    lines = [(n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines:
        raise RunError(f"{path}: is empty", next="A query without an answer is a JSON line with empty hits.")
    listed = _json_lines(path, lines) if lines[0][1].lstrip().startswith("{") else _trec(path, lines)
    return make_run(path.name, listed)


def make_run(name: str, listed: dict[str, list[tuple[str, float]]]) -> Run:
    """The run of lists in their own order. A list whose scores never fall is one of distances if all lists are so."""
    distances = _grow(listed)
    hits: dict[str, tuple[Hit, ...]] = {}
    duplicates: list[tuple[str, str]] = []
    broken: list[str] = []
    for qid, pairs in listed.items():
        if not all(math.isfinite(score) for _, score in pairs):
            broken.append(qid)
        seen: dict[str, float] = {}
        for doc, score in pairs:
            if doc in seen:
                duplicates.append((qid, doc))
            else:
                seen[doc] = -score if distances else score
        # Best first; ties by id, or two indexes with equal scores would differ by their luck.
        hits[qid] = tuple(
            Hit(d, s) for d, s in sorted(seen.items(), key=lambda pair: (_descending(pair[1]), pair[0]))
        )
    return Run(name, hits, tuple(duplicates), tuple(broken), distances)


def _descending(score: float) -> float:
    return math.inf if math.isnan(score) else -score


def _grow(listed: dict[str, list[tuple[str, float]]]) -> bool:
    """True when scores are distances: in no list do they fall, and in some they rise."""
    rises = 0
    for pairs in listed.values():
        scores = [score for _, score in pairs if not math.isnan(score)]
        if any(later < earlier for earlier, later in pairwise(scores)):
            return False
        rises += bool(scores) and scores[-1] > scores[0]
    return rises > 0


def _json_lines(path: Path, lines: list[tuple[int, str]]) -> dict[str, list[tuple[str, float]]]:
    listed: dict[str, list[tuple[str, float]]] = {}
    for number, line in lines:
        try:
            row = json.loads(line)
        except ValueError as error:
            raise RunError(f"{path}:{number}: not JSON: {error}") from None
        hits = row.get("hits") if isinstance(row, dict) else None
        qid = row.get("qid") if isinstance(row, dict) else None
        if not isinstance(qid, str | int) or isinstance(qid, bool) or not isinstance(hits, list):
            raise RunError(f"{path}:{number}: not {{qid, hits: [{{id, score}}]}}")
        if str(qid) in listed:
            raise RunError(f"{path}:{number}: query {str(qid)!r} stands there twice")
        pairs: list[tuple[str, float]] = []
        for place, hit in enumerate(hits):
            doc = hit.get("id") if isinstance(hit, dict) else None
            score = hit.get("score") if isinstance(hit, dict) else None
            if not isinstance(doc, str | int) or isinstance(doc, bool):
                raise RunError(f"{path}:{number}: hits[{place}].id is missing")
            if score is None:
                score = math.nan  # what NaN becomes in strict JSON
            if not isinstance(score, int | float) or isinstance(score, bool):
                raise RunError(f"{path}:{number}: hits[{place}].score is not a number")
            pairs.append((str(doc), float(score)))
        listed[str(qid)] = pairs
    return listed


def _trec(path: Path, lines: list[tuple[int, str]]) -> dict[str, list[tuple[str, float]]]:
    ranked: dict[str, list[tuple[int, int, str, float]]] = {}
    for number, line in lines:
        cells = line.split()
        if len(cells) != 6:
            raise RunError(
                f"{path}:{number}: {len(cells)} columns, not the six of TREC",
                next="qid Q0 docid rank score tag; or JSON lines {qid, hits: [{id, score}]}.",
            )
        try:
            rank, score = int(cells[3]), float(cells[4])
        except ValueError:
            raise RunError(
                f"{path}:{number}: rank {cells[3]!r} or score {cells[4]!r} is not a number"
            ) from None
        ranked.setdefault(cells[0], []).append((rank, number, cells[2], score))
    return {qid: [(doc, score) for _, _, doc, score in sorted(rows)] for qid, rows in ranked.items()}


def join(gold: GoldSet, baseline: Run, candidate: Run) -> None:
    """Refuse runs that are not of this gold set, or not of the same queries: a wrong join gives plausible nonsense.

    Raises ``RunError``. Paraphrases may be left out of both runs, unjudged queries too.
    """
    for run in (baseline, candidate):
        unknown = [q for q in run.hits if q not in gold.queries]
        if unknown:
            raise RunError(
                f"{run.name}: {_some(unknown)} of its {len(run.hits)} queries {_are(unknown)} not in the gold set",
                next="Run the queries of this gold set, or name the gold set that the run is of.",
            )
        strange = sorted({h.id for hits in run.hits.values() for h in hits} - gold.documents.keys())
        if strange:
            raise RunError(
                f"{run.name}: {_some(strange)} {_are(strange)} not in the gold set's corpus (document ids)",
                next="Map the index's ids to those of corpus.jsonl; an index that returns other documents cannot be judged with it.",
            )
        missing = [q for q in gold.judgements if q not in run.hits]
        if missing:
            raise RunError(
                f"{run.name}: {_some(missing)} of {len(gold.judgements)} judged queries {_are(missing)} missing (query ids)",
                next='Run every query; one without an answer is the JSON line {"qid": ..., "hits": []}.',
            )
    for one, other in ((baseline, candidate), (candidate, baseline)):
        missing = [q for q in one.hits if q not in other.hits]
        if missing:
            raise RunError(
                f"{other.name}: {_some(missing)} {_are(missing)} missing, and {one.name} has {'it' if len(missing) == 1 else 'them'} (query ids)",
                next='Run the same queries on both; one without an answer is the JSON line {"qid": ..., "hits": []}.',
            )


def _some(ids: list[str]) -> str:
    shown = ", ".join(repr(i) for i in ids[:3])
    return f"{shown} and {len(ids) - 3} more" if len(ids) > 3 else shown


def _are(ids: list[str]) -> str:
    return "is" if len(ids) == 1 else "are"
