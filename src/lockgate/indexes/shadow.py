"""Shadow queries: the same questions to the generation that serves and to the one that shall, answers and latency side by side.

Reads only, and no user waits for it. The deciding is a function of the two lists of times.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from lockgate.errors import ConfigError
from lockgate.indexes.differences import Side
from lockgate.indexes.measures import overlap
from lockgate.indexes.resample import percentile
from lockgate.record.verdict import Verdict

NOTICEABLE_MS = 5.0
"""A p95 that grew by less than this many milliseconds is noise, whatever share it is."""


class Shadowed(msgspec.Struct, frozen=True, rename="camel"):
    """What shadow queries showed: how many, p95 of both sides in milliseconds, mean overlap@k, and how many got fewer answers."""

    queries: int
    p95_before_ms: float
    p95_after_ms: float
    overlap: float
    short: int
    answer: Verdict
    reason: str


def read_shadow(path: Path) -> dict[str, str]:
    """Queries of a log: JSON lines ``{_id, text}``. Raises ``ConfigError`` that names the line."""
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such file", "USAGE")
    found: dict[str, str] = {}
    for number, line in enumerate(path.read_text("utf-8-sig").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            found[str(row["_id"])] = str(row["text"])
        except (ValueError, KeyError, TypeError):
            raise ConfigError(f"{path}:{number}: not {{_id, text}}", "GOLD_SET") from None
    return found


def shadow(
    old: Side, new: Side, k: int, *, breadth: int, most_percent: float, clock: Callable[[], float] = time.perf_counter
) -> Shadowed:  # fmt: skip
    """Ask every question of ``new`` of both sides, one after the other, so that load falls on both alike."""
    times: tuple[list[float], list[float]] = ([], [])
    overlaps, short = [], 0
    for qid in new.questions:
        answers = []
        for place, side in enumerate((old, new)):
            begin = clock()
            found = side.store.query(side.row.physical, side.questions[qid], k, search=breadth)
            times[place].append((clock() - begin) * 1000)
            answers.append([hit.id for hit in found.hits])
        overlaps.append(overlap(answers[0], answers[1], k))
        short += len(answers[1]) < len(answers[0])
    return judge_shadow(times[0], times[1], overlaps, short, most_percent)


def judge_shadow(
    before: Sequence[float],
    after: Sequence[float],
    overlaps: Sequence[float],
    short: int,
    most_percent: float,
) -> Shadowed:
    """The answer: fails where queries get fewer answers, or the p95 grew by more than ``most_percent`` (index swap: p95 +-15 %)."""
    one, other = (percentile(list(times), 0.95) if times else 0.0 for times in (before, after))
    mean = sum(overlaps) / len(overlaps) if overlaps else 1.0
    answer, reason = Verdict.PASS, ""
    if short:
        answer, reason = Verdict.FAIL, f"{short} of {len(after)} shadow queries get fewer answers than before"
    elif other > one * (1 + most_percent / 100) and other - one > NOTICEABLE_MS:
        answer, reason = Verdict.FAIL, f"p95 of {len(after)} shadow queries went from {one:.1f} to {other:.1f} ms, more than {most_percent:g} %"  # fmt: skip
    return Shadowed(len(after), round(one, 3), round(other, 3), round(mean, 6), short, answer, reason)


def sided(side: Side, questions: Mapping[str, "str | Sequence[float]"]) -> Side:
    """The side with other questions."""
    return side._replace(questions=questions)
