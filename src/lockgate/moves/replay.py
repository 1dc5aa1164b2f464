"""``move shadow --queries``: ask both sides the application's own queries, without touching the application."""

import time
from pathlib import Path
from typing import NamedTuple

from lockgate.errors import ConfigError
from lockgate.moves.opened import Opened
from lockgate.moves.shadow import Observation, describe, same_rows
from lockgate.moves.stages import Stage, why
from lockgate.postgres.link import Link
from lockgate.postgres.moves import ledger
from lockgate.postgres.quoting import identifier
from lockgate.postgres.sqlstate import ServerError
from lockgate.record.redact import redact


class Replayed(NamedTuple):
    """Queries that were replayed: how many agreed, and those that did not."""

    queries: int
    equal: int
    observations: tuple[Observation, ...]


def read_queries(path: Path) -> list[str]:
    """The queries of a file: one a line, or separated by lines that hold a single ``;``. Comments of whole lines are left out."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--queries {path}: {error}", "USAGE") from None
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("--")]
    long_ones = any(line.strip() == ";" for line in lines)
    parts = "\n".join(lines).split("\n;") if long_ones else lines
    found = [part.strip().rstrip(";").strip() for part in parts]
    return [q for q in found if q]


def replay(move: Opened, queries: list[str], *, operator: str = "") -> Replayed:
    """Run each query on both sides, read-only, compare the answers (order does not count without ORDER BY) and write down what was seen.

    In one database the query is asked once as it is, and once with the target standing in for the source by a temporary view.
    """
    row = move.row()
    if row.stage == Stage.RECONCILED:
        ledger.step(
            move.home,
            move.name,
            row.stage,
            Stage.SHADOWING,
            why(Stage.RECONCILED, Stage.SHADOWING),
            {"queries": len(queries)},
            operator=operator,
        )
    elif row.stage not in (Stage.SHADOWING, Stage.READY):
        why(Stage(row.stage), Stage.SHADOWING)
    source, target = move.relations(row)
    old = Link(move.places.source, f"move {move.name} shadow")
    new = Link(move.places.target or move.places.source, f"move {move.name} shadow")
    try:
        if move.places.target is None:
            # pg_temp is searched first, so the same words mean the other table here.
            new.run(f"CREATE TEMPORARY VIEW {identifier(source.name)} AS SELECT * FROM {target.sql}")
        seen = [_one(old, new, query) for query in queries]
    finally:
        old.close()
        new.close()
    record(move.home, move.name, seen)
    return Replayed(
        len(seen), sum(o.equal is True for o in seen), tuple(o for o in seen if o.equal is not True)
    )


def record(home: Link, name: str, seen: list[Observation]) -> None:
    """Write observations into the ledger."""
    for o in seen:
        home.run(
            "INSERT INTO lockgate.move_shadow (move, query, equal, old_ms, new_ms, difference, error) VALUES ($1, $2, $3, $4::float8, $5::float8, $6, $7)",
            name, o.query, o.equal, o.old_ms, o.new_ms, o.difference, o.error,
        )  # fmt: skip


def _one(old: Link, new: Link, query: str) -> Observation:
    ordered = "order by" in query.lower()
    answers: list[list[tuple[object, ...]] | None] = []
    times: list[float] = []
    errors: list[str] = []
    for link in (old, new):
        begin = time.monotonic()
        try:
            with link.transaction("READ ONLY"):
                link.run("SET LOCAL statement_timeout = '30s'")
                answers.append(link.rows(query))
        except ServerError as error:
            answers.append(None)
            errors.append(error.message)
        times.append((time.monotonic() - begin) * 1000)
    if answers[0] is None or answers[1] is None:
        # A query that fails on both sides in the same way says nothing against the new one.
        both = answers[0] is None and answers[1] is None and len(set(errors)) == 1
        return Observation(redact(query), True if both else None, times[0], times[1], "", "; ".join(errors))
    query = redact(query)
    equal = answers[0] == answers[1] if ordered else same_rows(answers[0], answers[1])
    return Observation(
        query, equal, times[0], times[1], "" if equal else describe(answers[0], answers[1]), ""
    )
