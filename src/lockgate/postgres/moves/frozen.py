"""What a release must know of running moves: which tables are frozen, and how far the moves are that files wait for.

``release.authorise`` asks ``read_moving`` on its connection and decides with the two pure functions below.
"""

import json
from collections.abc import Iterable
from typing import NamedTuple

from lockgate.postgres.link import Link
from lockgate.postgres.queries import query
from lockgate.postgres.wire import Wire

SETTLED = frozenset({"reconciled", "shadowing", "ready", "cut_over", "tail", "finished"})
"""Stages in which the target is complete, so that what waits for the move may go on."""

MARKED = """
SELECT COALESCE(pg_catalog.substring(o.relname::text, '^dual2?_(.*)_op$'), pg_catalog.substring(o.relname::text, '^into_(.*)_(?:new|old)_rev$')) AS move, pg_catalog.obj_description(o.oid, 'pg_class') AS mark
  FROM pg_catalog.pg_class o JOIN pg_catalog.pg_namespace s ON s.oid = o.relnamespace
 WHERE s.nspname = 'lockgate' AND o.relkind = 'r' AND o.relname ~ '^(dual2?_.*_op|into_.*_(new|old)_rev)$'
"""
"""Moves that the application writes and that are under way here, whichever database has their ledger, each with what its side table says that it stands beside."""

BARRED = r"""
SELECT b.move, b.schema, b.name FROM (
  SELECT DISTINCT CASE p.proname WHEN 'move_refuse' THEN pg_catalog.split_part(pg_catalog.encode(t.tgargs, 'escape'), '\000', 1)
                  ELSE pg_catalog.substring(p.proname::text, '^capture_(.*)_(?:forward|reverse)$') END AS move, n.nspname::text AS schema, c.relname::text AS name
    FROM pg_catalog.pg_trigger t
    JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
    JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE p.pronamespace = (SELECT s.oid FROM pg_catalog.pg_namespace s WHERE s.nspname = 'lockgate') AND t.tgparentid = 0
     AND (p.proname = 'move_refuse' OR p.proname ~ '^capture_.*_(forward|reverse)$')) b
 WHERE b.move <> '' AND NOT EXISTS (SELECT FROM lockgate.move m WHERE m.name = b.move)
"""
"""Tables here that the barrier or the capture of a move stands on whose ledger is in another database: the target of a move across two.
What a move of this ledger left on a table that it retired, perhaps in an earlier round, freezes nothing."""

_MOVING = f"""
SELECT m.name COLLATE "C", m.stage, n.nspname::text COLLATE "C", c.relname::text COLLATE "C", (m.declaration ->> 'kind' = 'in-place')::text, (m.declaration ->> 'blocking' = 'true')::text
  FROM lockgate.move m
  LEFT JOIN pg_catalog.pg_class c ON c.oid = m.source_oid OR (m.same_database AND c.oid = m.target_oid)
  LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 UNION ALL
SELECT d.move COLLATE "C", NULL, NULL, d.mark COLLATE "C", NULL, NULL FROM ({MARKED}) d WHERE d.mark IS NOT NULL
 UNION ALL
SELECT b.move COLLATE "C", NULL, NULL, pg_catalog.json_build_object('schema', b.schema, 'table', b.name)::text COLLATE "C", NULL, NULL FROM ({BARRED}) b
 ORDER BY 1, 2, 4
"""
_THERE = "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.relname = 'move' AND c.relnamespace = (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = 'lockgate'))"


class Moving(NamedTuple):
    """One move of this database and the tables of this database that belong to it, as ``(schema, name)``."""

    name: str
    stage: str
    tables: tuple[tuple[str, str], ...]
    in_place: bool = False
    broken: bool = False
    """True when what kept both sides of a move in place in step is not what its proof was made with."""

    blocking: bool = False
    elsewhere: bool = False
    """True when only tables of it stand here: the ledger that knows how far the move is, is another database's."""

    @property
    def holds_releases(self) -> bool:
        """True for a move declared ``blocking`` until it is settled and, where it switches, has switched."""
        return self.blocking and not self.over and self.stage not in ("cut_over", "tail")

    @property
    def over(self) -> bool:
        """True when its tables are free again. Files that end a move in place change its tables: after the proof they may."""
        return self.stage in ("finished", "aborted") or (self.in_place and self.stage in SETTLED)


def read_moving(wire: Wire) -> tuple[Moving, ...]:
    """Every move that this database knows, those that are over included."""
    if wire.value(_THERE) != "t":
        return ()
    found: dict[str, tuple[str, bool, bool, list[tuple[str, str]]]] = {}
    beside: dict[str, list[tuple[str, str]]] = {}
    for name, stage, schema, table, in_place, blocking in wire.one(_MOVING).rows:
        if stage is None:
            beside.setdefault(name or "", []).extend(told_by(table or ""))
            continue
        known = (stage, in_place == "true", blocking == "true")
        tables = found.setdefault(name or "", (*known, []))[3]
        if table is not None:
            tables.append((schema or "", table))
    broken = {row[0] or "" for row in wire.one(query("moves/broken_sync")).rows} if found else set()
    moves = [
        Moving(name, stage, (*tables, *beside.get(name, ())), in_place, name in broken, blocking)
        for name, (stage, in_place, blocking, tables) in found.items()
    ]
    # The side tables and triggers of a move that is over are gone: those that are here are another ledger's.
    here = {move.name for move in moves if not move.over}
    others = [Moving(n, "dual_write", tuple(tables), elsewhere=True) for n, tables in beside.items() if n not in here and tables]  # fmt: skip
    return (*moves, *others)


def other_moves(link: Link, oid: int, name: str) -> tuple[str, ...]:
    """Moves under way beside ``name`` that the table ``oid`` is in, by this database's ledger and by the marks that stand here."""
    found: set[str] = set()
    if link.value("SELECT pg_catalog.to_regclass('lockgate.move') IS NOT NULL"):
        rows = link.rows(
            "SELECT name FROM lockgate.move WHERE name <> $2 AND stage NOT IN ('finished', 'aborted') AND ($1::oid = source_oid OR same_database AND $1::oid = target_oid)",
            oid, name,
        )  # fmt: skip
        found |= {row[0] for row in rows}
        barred = link.rows(f"SELECT b.move, b.schema, b.name FROM ({BARRED}) b JOIN pg_catalog.pg_class c ON c.oid = $1::oid AND c.relname = b.name AND c.relnamespace = (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = b.schema)", oid)  # fmt: skip
        found |= {move for move, *_ in barred if move != name}
    here = link.rows("SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1::oid", oid)  # fmt: skip
    marks = link.rows(f"SELECT d.move, d.mark FROM ({MARKED}) d WHERE d.mark IS NOT NULL")
    found |= {move for move, mark in marks if move != name and told_by(mark) == here}
    return tuple(sorted(found))


def mark_of(schema: str, table: str) -> str:
    """What the side table of a move says of the table beside it."""
    return json.dumps({"schema": schema, "table": table})


def told_by(mark: str) -> list[tuple[str, str]]:
    """The table that a mark names, as ``(schema, name)``; none where a person has written something else there."""
    try:
        said = json.loads(mark)
        return [(str(said["schema"]), str(said["table"]))]
    except (ValueError, KeyError, TypeError):
        return []


def frozen(moving: Iterable[Moving], relations: Iterable[str]) -> list[tuple[str, str]]:
    """Which of ``relations`` (as ``check`` names them: bare in ``public``, else ``schema.name``) may not be changed now, each with its move.

    ``relations`` are those on which a statement takes a lock that DDL takes; reading and writing rows is free.
    """
    held = {
        (table if schema == "public" else f"{schema}.{table}"): m.name
        for m in moving
        if not m.over
        for schema, table in m.tables
    }
    return [(relation, held[relation]) for relation in relations if relation in held]


def waits_for(moving: Iterable[Moving], after: Iterable[str]) -> str:
    """Why a file with ``after=move:<name>`` has to wait; empty when every named move is reconciled or further."""
    known = {m.name: m for m in moving if not m.elsewhere}
    for wanted in after:
        name = wanted.removeprefix("move:")
        move = known.get(name)
        if move is None:
            return f"the move {name} was never started here"
        if move.stage not in SETTLED:
            return f"the move {name} is {move.stage}, not reconciled"
        if move.broken:
            return f"what kept both sides of the move {name} in step was changed or switched off since it was proved"
    return ""
