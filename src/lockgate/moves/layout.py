"""From a declaration and what the catalogs say: both directions of the move, and everything that stands in its way. Pure, but that functions which make columns are loaded."""

import re
from typing import NamedTuple

import msgspec

from lockgate.moves.declaration import Declaration
from lockgate.moves.functions import expression_of, functions_of, made_by, mentions
from lockgate.moves.transforms import Map, Transform
from lockgate.postgres.moves.mapping import KeyPart, Mapping, Value
from lockgate.postgres.quoting import identifier
from lockgate.postgres.relation import ColumnFacts, Relation


class Problem(NamedTuple):
    """One thing that keeps a move from starting, and how it is mended."""

    what: str
    fix: str
    kind: str = ""
    """What ``accept`` of a declaration calls it; empty for what cannot be accepted."""


class Layout(NamedTuple):
    """Both directions. ``reverse`` is None for a move that is declared one-way."""

    forward: Mapping
    reverse: Mapping | None


class Surroundings(msgspec.Struct, frozen=True):
    """What else the catalog knows about a table: foreign keys that point at it, views on it, its own triggers and rules."""

    referenced_by: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    views: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    indexes: tuple[str, ...] = ()
    publications: tuple[str, ...] = ()
    other_moves: tuple[str, ...] = ()
    row_security: bool = False
    """True when rows are hidden from this very role."""
    heirs: tuple[str, ...] = ()
    """Tables that inherit from it, its partitions among them."""
    parents: tuple[str, ...] = ()
    grants: tuple[str, ...] = ()
    """What others than the owner may, in words."""
    grantees: tuple[str, ...] = ()
    row_level: bool = False
    row_forced: bool = False
    policies: tuple[tuple[str, str], ...] = ()
    """Name of each, and what stands in CREATE POLICY behind the name of the table."""
    policy_roles: tuple[str, ...] = ()
    may_select: bool = True
    may_write: bool = True
    is_owner: bool = True


def key_of(declared: Declaration, source: Relation) -> tuple[str, ...]:
    """The columns that identify a row of the source."""
    return declared.key or source.primary_key


def layout(declared: Declaration, source: Relation, target: Relation) -> tuple[Layout | None, list[Problem]]:
    """Both mappings, with the problems that were accepted; or None, and the problems that keep them from being made too."""
    found: list[Problem] = []
    key = key_of(declared, source)
    there = {c.name: c for c in target.columns}
    here = {c.name: c for c in source.columns}
    found += key_problems(declared, source, target, key)
    for column in declared.columns:
        if column not in there:
            found.append(
                Problem(
                    f"columns.{column}: {target.name} has no such column",
                    f"Its columns: {', '.join(there)}."
                    + (
                        ""
                        if target.oid
                        else " create = true makes it like the source: leave that out and make the table by a migration."
                    ),
                )
            )
    for column in declared.reverse:
        if column not in here:
            found.append(
                Problem(
                    f"reverse.{column}: {source.name} has no such column", f"Its columns: {', '.join(here)}."
                )
            )
    found += _coverage(declared.columns, source, target, "columns")
    if not declared.one_way:
        found += _coverage(declared.reverse, target, source, "reverse")
    for name in sorted(here.keys() & there.keys()):
        found += _sequence_problems(here[name], there[name], target)
        # A generated column beside a mapping is made of what the mapping gives.
        if name not in declared.columns and not (declared.columns and there[name].generated):
            found += _type_problems(here[name], there[name], declared)
    if any(p.kind not in declared.accept for p in found):
        return None, found
    same_order = all(
        here[k].type == there[k].type and here[k].collation == there[k].collation
        and (not declared.two_databases or not _collates(here[k]))
        for k in key
    )  # fmt: skip
    forward = _mapping(declared, "forward", source, target, key, declared.columns, same_order)
    reverse = (
        None
        if declared.one_way
        else _mapping(declared, "reverse", target, source, key, declared.reverse, same_order)
    )
    return Layout(forward, reverse), found


def _collates(column: ColumnFacts) -> bool:
    # Two servers may sort one collation differently (versions of ICU and libc), so a range of texts is not the same range.
    return column.category == "S" or column.class_ == "e"


def key_problems(
    declared: Declaration, source: Relation, target: Relation, key: tuple[str, ...]
) -> list[Problem]:
    """The key must identify rows on both sides, by an index, and be copied as it is."""
    if not key:
        return [
            Problem(
                f"{source.name} has no primary key",
                'Add one, or name unique NOT NULL columns: key = ["a", "b"]',
            )
        ]
    found = []
    for side, relation in (("source", source), ("target", target)):
        names = {c.name for c in relation.columns}
        missing = [k for k in key if k not in names]
        if missing:
            found.append(
                Problem(
                    f"the {side} {relation.name} has no key column {', '.join(missing)}",
                    "The key has one name on both sides.",
                )
            )
        elif not any(tuple(sorted(u.columns)) == tuple(sorted(key)) and u.not_null for u in relation.uniques):
            found.append(
                Problem(
                    f"the {side} {relation.name} has no unique index on exactly ({', '.join(key)}) whose columns are NOT NULL",
                    "Create it: without it batches cannot be found and rows cannot be told apart.",
                )
            )
    for k in key:
        by = declared.columns.get(k, k)
        if not isinstance(by, str) or by.strip().strip('"') != k:
            found.append(Problem(f"columns.{k}: the key is copied as it is", f"Take {k} out of [columns]."))
    return found


def _coverage(expressions: Map, origin: Relation, destination: Relation, part: str) -> list[Problem]:
    """Every column of the destination must get a value, and none of the origin may be dropped without a word."""
    names = {c.name for c in origin.columns}
    found = [
        Problem(f"{part}.{column}.of: {origin.name} has no column {', '.join(absent)}", f"Its columns: {', '.join(sorted(names))}.")
        for column, by in functions_of(expressions).items()
        if (absent := [c for c in by.of if c not in names])
    ]  # fmt: skip
    for column in destination.columns:
        if column.generated or column.name in expressions or column.name in names:
            continue
        if column.not_null and column.default is None and not column.identity:
            found.append(
                Problem(
                    f"{destination.name}.{column.name} is NOT NULL and nothing gives it a value",
                    f'[{part}] {column.name} = "<SQL over {origin.name}>"',
                )
            )
    for column in origin.columns:
        if column.generated or column.name in {c.name for c in destination.columns}:
            continue
        if not any(mentions(e, column.name) for e in expressions.values()):
            found.append(
                Problem(
                    f"{origin.name}.{column.name} has no place in {destination.name}: its values would be lost",
                    f"Add the column to {destination.name}, or use it in [{part}]"
                    + ("" if part == "columns" else "; or declare one_way = true")
                    + ".",
                )
            )
    return found


def _sequence_problems(source: ColumnFacts, target: ColumnFacts, table: Relation) -> list[Problem]:
    if source.sequence and not target.sequence and target.default is None and not target.generated:
        return [
            Problem(
                f"{source.name} takes its values from the sequence {source.sequence}, in the target from nothing",
                f"Inserts after the cutover would fail: ALTER TABLE {table.sql} ALTER COLUMN {identifier(source.name)} ADD GENERATED BY DEFAULT AS IDENTITY.",
            )
        ]
    return []


def default_problems(source: Relation, target: Relation) -> list[Problem]:
    """Columns of one name that the source fills in by itself and the target does not; those of sequences are told elsewhere. Pure."""
    there = {c.name: c for c in target.columns}
    found = []
    for column in source.columns:
        other = there.get(column.name)
        if other is None or column.default is None or column.generated or column.sequence:
            continue
        if other.default is None and not (other.generated or other.identity):
            what = "fail" if other.not_null else "leave it NULL"
            found.append(
                Problem(
                    f"{column.name} has the default {column.default} in the source and none in the target",
                    f"Inserts after the cutover that do not name it would {what}: ALTER TABLE {target.sql} ALTER COLUMN {identifier(column.name)} SET DEFAULT {column.default}; or accept = ['defaults'].",
                    "defaults",
                )
            )
    return found


_WIDER = {
    ("smallint", "integer"), ("smallint", "bigint"), ("integer", "bigint"), ("real", "double precision"),
    ("character varying", "text"), ("character", "text"), ("smallint", "numeric"), ("integer", "numeric"), ("bigint", "numeric"), ("json", "jsonb"),
}  # fmt: skip


def _type_problems(source: ColumnFacts, target: ColumnFacts, declared: Declaration) -> list[Problem]:
    found = []
    if (
        source.type != target.type
        and (source.base, target.base) not in _WIDER
        and not (source.base == target.base and "(" not in target.type)
    ):
        found.append(
            Problem(
                f"{source.name} is {source.type} in the source and {target.type} in the target",
                f'Say how it becomes the other: [columns] {source.name} = "{source.name}::{target.type}", and [reverse] likewise.',
            )
        )
    if source.type == target.type and source.collation != target.collation:
        found.append(
            Problem(
                f"{source.name} has the collation {source.collation or 'of the database'} in the source and {target.collation or 'of the database'} in the target",
                "Order and equality of texts would change at the switch: give both one collation, or accept = ['collation'].",
                "collation",
            )
        )
    if target.generated and not source.generated:
        found.append(
            Problem(
                f"{source.name} is stored in the source and generated in the target: the values that are there would be lost",
                f"Make it a stored column there, or name what it is made of: [columns] and [reverse] without {source.name}.",
            )
        )
    if (
        source.not_null
        and not (target.not_null or target.generated or declared.one_way)
        and source.name not in declared.reverse
    ):
        found.append(
            Problem(
                f"{source.name} is NOT NULL in the source and may be NULL in the target",
                "The way back could fail: make it NOT NULL there, or give [reverse], or one_way = true.",
            )
        )
    return found


def _mapping(
    declared: Declaration,
    feed: str,
    origin: Relation,
    destination: Relation,
    key: tuple[str, ...],
    expressions: Map,
    same_order: bool,
) -> Mapping:
    here = {c.name: c for c in origin.columns}
    values, made = [], []
    for column in destination.columns:
        by = expressions.get(column.name)
        if column.generated or (by is None and column.name not in here):
            continue
        if isinstance(by, Transform):
            made.append(made_by(column, by, origin))
            sql = expression_of(declared.name, feed, column, made[-1])
        else:
            sql = by if by is not None else identifier(column.name)
        values.append(Value(column.name, sql, column.type, column.portable, column.base))
    return Mapping(
        move=declared.name, feed=feed, origin=origin.sql, destination=destination.sql,
        key=tuple(KeyPart(k, k, here[k].type) for k in key), values=tuple(values),
        same_database=not declared.two_databases, same_order=same_order, made=tuple(made),
    )  # fmt: skip


def index_problems(
    declared: Declaration, source: Surroundings, target: Surroundings, relations: tuple[Relation, Relation]
) -> tuple[list[Problem], list[Problem]]:
    """Indexes that the new table lacks, and unique ones that the old one never had: (what stands in the way, what a person judges). Pure.

    An index on a column that the mapping makes, or that one side alone has, may be another one there: which is which is a person's word.
    """
    here, there = relations
    columns = {c.name for c in here.columns} ^ {c.name for c in there.columns} | {*declared.columns, *declared.reverse}  # fmt: skip
    mapped = re.compile("|".join(rf"(?<![\w$]){re.escape(c)}(?![\w$])" for c in sorted(columns)) or "(?!)")
    missing = [i for i in source.indexes if i not in target.indexes]
    unknown = [i for i in target.indexes if i.startswith("unique ") and i not in source.indexes]
    found: tuple[list[Problem], list[Problem]] = ([], [])
    for judged in (False, True):
        lacks = [i for i in missing if bool(mapped.search(i)) == judged]
        adds = [i for i in unknown if bool(mapped.search(i)) == judged]
        if lacks:
            found[judged].append(
                Problem(
                    f"{there.name} lacks indexes that {here.name} has: {'; '.join(lacks)}",
                    "Create them before the move, or accept = ['indexes'].",
                    "indexes",
                )
            )
        if adds:
            found[judged].append(
                Problem(
                    f"{there.name} has unique indexes that {here.name} has not: {'; '.join(adds)}",
                    "Rows that are alike there would be refused: see that there are none, then accept = ['indexes'].",
                    "indexes",
                )
            )
    return found


def budget_problems(workers: int, servers: "list[tuple[str, int, int]]") -> list[Problem]:
    """Whether the move's sessions fit beside those that are there; a server is (its name, sessions free, sessions wanted). Pure."""
    return [
        Problem(
            f"{name} has {free} free connections, and the move wants {wanted} ({workers} workers, relay, comparison)",
            "limits.workers = 1, or more max_connections.",
        )
        for name, free, wanted in servers
        if free < wanted
    ]


def surroundings_problems(
    declared: Declaration, source: Surroundings, target: Surroundings, relations: tuple[Relation, Relation]
) -> list[Problem]:
    """What stands around the tables that a move would break or miss."""
    found = []
    here, there = relations
    if here.oid == there.oid and not declared.two_databases:
        found.append(Problem("source and target are one table", "Name two tables."))
    found += owned_problems((("source", source, here), ("target", target, there)))
    if declared.switch == "rename":
        if here.schema != there.schema:
            found.append(
                Problem(
                    f"{here.name} is in schema {here.schema}, {there.name} in {there.schema}",
                    "A rename stays in one schema.",
                )
            )
        if source.referenced_by:
            found.append(
                Problem(
                    f"foreign keys point at {here.name} ({', '.join(source.referenced_by)}): after the rename they would still point at the old table",
                    "Drop them before the move and add them NOT VALID to the new table after it.",
                )
            )
        if source.views:
            found.append(
                Problem(
                    f"views read {here.name} ({', '.join(source.views)}): after the rename they would still read the old table",
                    "Recreate them in the release that follows, or drop them first.",
                    "views",
                )
            )
    if target.referenced_by:
        found.append(
            Problem(
                f"foreign keys point at {there.name} ({', '.join(target.referenced_by)}): rows that are replaced would break them",
                "Add them after the cutover.",
            )
        )
    if target.triggers:
        found.append(
            Problem(
                f"{there.name} has triggers ({', '.join(target.triggers)}): they would fire for every copied row",
                "Drop them, and create them after the cutover.",
                "triggers",
            )
        )
    if source.triggers and declared.switch == "rename" and not declared.target.create:
        found.append(
            Problem(
                f"{here.name} has triggers ({', '.join(source.triggers)}) that the new table would not have after the rename",
                "Drop them first, or create them in the release that follows.",
                "triggers",
            )
        )
    return found


def owned_problems(sides: "tuple[tuple[str, Surroundings, Relation], ...]") -> list[Problem]:
    """What keeps this role from moving the rows of a table at all."""
    found = []
    for side, around, relation in sides:
        if relation.kind not in "rp":
            found.append(Problem(f"the {side} {relation.name} is not a table", "Only tables can be moved."))
        if around.other_moves:
            found.append(
                Problem(
                    f"{relation.name} is already in the move {', '.join(around.other_moves)}",
                    "Finish or abort that one first.",
                )
            )
        if not (around.may_select and around.may_write and around.is_owner):
            found.append(
                Problem(
                    f"this role does not own {relation.name}, so it cannot put triggers on it",
                    f"Run as {relation.owner}, or GRANT that role to this one.",
                )
            )
        if around.row_security:
            found.append(
                Problem(
                    f"{relation.name} has row level security in force for this role: rows would be hidden from the move",
                    "ALTER TABLE ... NO FORCE ROW LEVEL SECURITY while it runs, or run as a role with BYPASSRLS.",
                )
            )
        if around.rules:
            found.append(
                Problem(
                    f"{relation.name} has rules ({', '.join(around.rules)}), which rewrite writes",
                    "Replace them by triggers or drop them.",
                )
            )
    return found
