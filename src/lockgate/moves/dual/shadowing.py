"""Shadow reads of a dual-written move: one query asked of two engines, whose answers are compared as values."""

import datetime as dt
import json
import time
from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from lockgate.errors import LockgateError
from lockgate.moves.dual.opened import Opened
from lockgate.moves.replay import Replayed, record
from lockgate.moves.shadow import Observation, describe
from lockgate.moves.stages import Stage, why
from lockgate.postgres.moves import ledger
from lockgate.record.redact import redact
from lockgate.stores.rendering import render
from lockgate.stores.speaking import Speaker, speak

OTHER = "=>"
"""Begins a line that says the query before it in the words of the target's engine."""
_KINDS: tuple[tuple[type, str], ...] = (
    (bool, "integer"), (int, "integer"), (float, "float"), (Decimal, "decimal"), (dt.datetime, "timestamp"), (dt.date, "date"), (dt.time, "time"), (dt.timedelta, "time"),
    (UUID, "uuid"), (bytes, "bytes"), (bytearray, "bytes"), (memoryview, "bytes"), (dict, "json"), (list, "json"),
)  # fmt: skip
_NUMBERS = frozenset({"integer", "float", "decimal"})


def same_values(old: Sequence[Sequence[Any]], new: Sequence[Sequence[Any]]) -> bool:
    """The comparator for rows of two engines: equal values in one order, whatever type each driver gives them."""
    return _rendered(old, new) == _rendered(new, old)


def same_values_in_any_order(old: Sequence[Sequence[Any]], new: Sequence[Sequence[Any]]) -> bool:
    """``same_values`` for answers whose order says nothing."""
    return sorted(_rendered(old, new), key=repr) == sorted(_rendered(new, old), key=repr)


def _rendered(rows: Sequence[Sequence[Any]], others: Sequence[Sequence[Any]]) -> list[tuple[str | None, ...]]:
    """``rows`` as texts that are equal where the values are; what a column holds is read off both answers."""
    width = max((len(row) for row in (*rows, *others)), default=0)
    families = [_family({_kind(row[i]) for row in (*rows, *others) if i < len(row) and row[i] is not None}) for i in range(width)]  # fmt: skip
    return [tuple(_text(value, families[i]) for i, value in enumerate(row)) for row in rows]


def _kind(value: Any) -> str:
    return next((family for type_, family in _KINDS if isinstance(value, type_)), "text")


def _family(kinds: set[str]) -> str:
    """How the values of a column are compared. One engine may give as text what another has a type for."""
    typed = kinds - {"text"}
    if len(typed) > 1 and typed <= _NUMBERS:
        return "decimal"
    return typed.pop() if len(typed) == 1 else "text"


def _text(value: Any, family: str) -> str | None:
    if value is None:
        return None
    try:
        if family == "json":  # by value: a driver that reads JSON has read 1.50 as 1.5
            return json.dumps(json.loads(value) if isinstance(value, str) else value, sort_keys=True)
        return render(bytes(value) if isinstance(value, memoryview) else value, family)
    except (ValueError, ArithmeticError, TypeError):
        return str(value)


def pairs_of(queries: list[str]) -> list[tuple[str, str]]:
    """Each query with its words for the target: the same, unless a line that begins with ``=>`` follows."""
    found: list[tuple[str, str]] = []
    for query in queries:
        text, _, other = query.partition(f"\n{OTHER}")
        if query.startswith(OTHER) and found:
            found[-1] = (found[-1][0], query[len(OTHER) :].strip())
        else:
            found.append((text.strip().rstrip(";"), (other or text).strip()))
    return found


def replay(move: Opened, queries: list[str], *, operator: str = "") -> Replayed:
    """Ask both stores each query, read-only, compare the answers (order does not count without ORDER BY) and write down what was seen."""
    row = move.row()
    asked = pairs_of(queries)
    if row.stage == Stage.RECONCILED:
        ledger.step(move.home, move.name, row.stage, Stage.SHADOWING, why(Stage.RECONCILED, Stage.SHADOWING), {"queries": len(asked)}, operator=operator)  # fmt: skip
    elif row.stage not in (Stage.SHADOWING, Stage.READY):
        why(Stage(row.stage), Stage.SHADOWING)
    speakers: list[Speaker] = []
    try:
        for url, side in zip(move.places.both, ("source", "target"), strict=True):
            speakers.append(speak(url, f"move {move.name} shadow", side))
            if speakers[-1].engine == "sqlite":
                speakers[-1].do("PRAGMA query_only = ON")
        seen = [_one(speakers, words) for words in asked]
    finally:
        for speaker in speakers:
            speaker.close()
    record(move.home, move.name, seen)
    return Replayed(len(seen), sum(o.equal is True for o in seen), tuple(o for o in seen if o.equal is not True))  # fmt: skip


def _one(speakers: list[Speaker], words: tuple[str, str]) -> Observation:
    answers: list[list[tuple[Any, ...]]] = []
    times: list[float] = []
    errors: list[str] = []
    for speaker, query in zip(speakers, words, strict=True):
        begin = time.monotonic()
        try:
            speaker.begin(read=True)
            if speaker.engine == "postgres":
                speaker.do("SET LOCAL statement_timeout = '30s'")
            answers.append(speaker.ask(query))
        except LockgateError as error:
            errors.append(error.message)
        finally:
            speaker.rollback()
        times.append((time.monotonic() - begin) * 1000)
    told = redact(words[0])
    if errors:
        return Observation(told, None, times[0], times[1], "", redact("; ".join(errors)))
    compare = same_values if "order by" in words[0].lower() else same_values_in_any_order
    equal = compare(answers[0], answers[1])
    return Observation(told, equal, times[0], times[1], "" if equal else describe(answers[0], answers[1]), "")
