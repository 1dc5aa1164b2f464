"""Tables: rows kept in step between two of them while both are written, and the drop of what nobody uses."""

from itertools import pairwise

from msgspec import Struct

from lockgate.policy.model.spelling import literal, quote
from lockgate.policy.recipes.columns import MOVE
from lockgate.policy.recipes.constraints import TABLE
from lockgate.policy.recipes.declared import Declared, move_name, same
from lockgate.policy.recipes.names import SYNC_TAG, Table, fitted, name_of, names_of, split, table_of, type_of
from lockgate.policy.recipes.recipe import Given, Parameter, Recipe, RecipeError, Step


class _Pair(Struct, frozen=True):
    """Two tables and the columns they share; ``key`` tells rows of the old one apart, ``unique`` rows of the new one."""

    old: Table
    new: Table
    key: list[str]
    unique: list[str]
    columns: list[str]

    @property
    def forth(self) -> tuple[str, str]:
        """Function and trigger that write the new table."""
        return (
            fitted(self.old.name, self.new.name, "sync"),
            fitted("zz", self.old.name, self.new.name, "sync"),
        )

    @property
    def emptied(self) -> tuple[str, str]:
        """The triggers that empty the new table with the old one, and the other way round."""
        return (
            fitted("zz", self.old.name, self.new.name, "truncate"),
            fitted("zz", self.new.name, self.old.name, "truncate"),
        )

    @property
    def back(self) -> tuple[str, str]:
        """Function and trigger that write the old table."""
        return (
            fitted(self.new.name, self.old.name, "sync"),
            fitted("zz", self.new.name, self.old.name, "sync"),
        )

    def unsync(self, given: Given, move: str, *, emptied: bool) -> Step:
        """The way back taken away: the new table is written alone from then on."""
        function, trigger = self.back
        names = [trigger, self.emptied[1]] if emptied else [trigger]
        drops = "\n".join(f"DROP TRIGGER {quote(name)} ON {self.new.sql};" for name in names)
        return given.contract(
            f"{drops}\nDROP FUNCTION {self.new.beside(function)}();",
            f"{self.new.sql} no longer writes {self.old.sql}. It goes before the file that is called {given.name}_2_drop.",
            part="1_unsync",
            after=(move,),
        )

    def forget(self) -> str:
        """The function behind the trigger of the old table taken away, once nothing calls it."""
        return f"DROP FUNCTION {self.old.beside(self.forth[0])}();"


def _list(names: list[str], prefix: str = "") -> str:
    return ", ".join(prefix + quote(name) for name in names)


def _equal(names: list[str], prefix: str) -> str:
    return " AND ".join(f"it.{quote(name)} = {prefix}.{quote(name)}" for name in names)


def _differs(names: list[str], prefix: str) -> str:
    mine = ", ".join(f"it.{quote(name)}::text" for name in names)
    other = ", ".join(f"{prefix}.{quote(name)}::text" for name in names)
    return f"ROW({mine}) IS DISTINCT FROM ROW({other})"


def _upsert(table: Table, unique: list[str], key: list[str], columns: list[str]) -> str:
    every = [*key, *columns]
    values = [name for name in every if name not in unique]
    return f"""\
    INSERT INTO {table.sql} AS it ({_list(every)}) OVERRIDING SYSTEM VALUE
    VALUES ({_list(every, "NEW.")})
    ON CONFLICT ({_list(unique)}) DO UPDATE
        SET {", ".join(f"{quote(name)} = EXCLUDED.{quote(name)}" for name in values)}
        WHERE {_differs(values, "EXCLUDED")};"""  # noqa: S608 - every name in it is quoted


def _trigger(names: tuple[str, str], table: Table, body: str, emptied: tuple[str, Table] | None) -> str:
    """The function and its trigger; with ``emptied``, TRUNCATE empties that table too, by a trigger of that name."""
    function, name = names
    more = ""
    if emptied is not None:
        empty, other = emptied
        # The other table's own trigger then finds this one empty, and so ends.
        body = f"""\
    IF TG_OP = 'TRUNCATE' THEN
        IF EXISTS (SELECT FROM {other.sql}) THEN
            TRUNCATE {other.sql};
        END IF;
        RETURN NULL;
    END IF;
{body}"""
        more = f"""

CREATE TRIGGER {quote(empty)} AFTER TRUNCATE ON {table.sql}
    FOR EACH STATEMENT EXECUTE FUNCTION {table.beside(function)}();"""
    return f"""\
CREATE FUNCTION {table.beside(function)}() RETURNS trigger LANGUAGE plpgsql AS {SYNC_TAG}
BEGIN
{body}
    RETURN NULL;
END
{SYNC_TAG};

CREATE TRIGGER {quote(name)} AFTER INSERT OR UPDATE OR DELETE ON {table.sql}
    FOR EACH ROW EXECUTE FUNCTION {table.beside(function)}();{more}"""


def _forth(pair: _Pair) -> str:
    """Rows of the old table into the new one. A write that changes nothing is none, so the two do not call each other."""
    moved = " OR ".join(f"NEW.{quote(n)} IS DISTINCT FROM OLD.{quote(n)}" for n in pair.unique)
    body = f"""\
    IF TG_OP = 'DELETE' OR (TG_OP = 'UPDATE' AND ({moved})) THEN
        DELETE FROM {pair.new.sql} AS it WHERE {_equal(pair.unique, "OLD")};
    END IF;
    IF TG_OP = 'DELETE' THEN
        RETURN NULL;
    END IF;
{_upsert(pair.new, pair.unique, pair.key, pair.columns)}"""  # noqa: S608 - every name in it is quoted
    return _trigger(pair.forth, pair.old, body, (pair.emptied[0], pair.new))


def _note(move: str, pair: _Pair) -> str:
    every = [*pair.key, *pair.columns]
    return (
        f"Rows that are there already belong to the move {move}, which goes through {pair.old.sql} by its key\n"  # noqa: S608 - a comment
        f"in batches and waits between them. One batch is:\n\n"
        f"    INSERT INTO {pair.new.sql} ({_list(every)})\n    SELECT {_list(every)} FROM {pair.old.sql}\n"
        f"    WHERE <key> > <last> AND <key> <= <last + 1000> FOR UPDATE\n"
        f"    ON CONFLICT ({_list(pair.unique)}) DO NOTHING;"
    )


_FORTH = "Whoever writes {old} writes {new} too. Made before the other direction, and in a file of its own: each locks one table."
_BACK = "Whoever writes {new} writes {old} too, so that a release that knows only {old} still sees it."


def _split_table(given: Given) -> list[Step]:
    old, new = table_of("table", given["table"]), table_of("to", given["to"])
    key, kind = name_of("key", given["key"]), type_of("key_type", given["key_type"])
    columns: list[tuple[str, str]] = []
    for part in split(given["columns"]):
        name, colon, type_ = part.rpartition(":")
        if not colon:
            raise RecipeError(f"columns={given['columns']}: write name:type,name:type")
        columns.append((name_of("columns", name), type_of("columns", type_.strip())))
    names = [name for name, _ in columns]
    if not names or key in names or len(set(names)) != len(names):
        raise RecipeError(f"columns={given['columns']}: a list of different columns, without the key")
    _apart(old, new)
    pair, move = _Pair(old, new, [key], [key], names), given.move
    lines = ",\n".join(f"    {quote(name)} {type_}" for name, type_ in columns)
    back = f"""\
    IF TG_OP = 'DELETE' THEN
        RETURN NULL;
    END IF;
    UPDATE {old.sql} AS it SET {", ".join(f"{quote(n)} = NEW.{quote(n)}" for n in names)}
    WHERE {_equal([key], "NEW")} AND {_differs(names, "NEW")};"""  # noqa: S608 - every name in it is quoted
    drops = ", ".join(f"DROP COLUMN {quote(name)}" for name in names)
    return [
        given.step(
            "table",
            f"CREATE TABLE {new.sql} (\n    {quote(key)} {kind} PRIMARY KEY,\n{lines}\n);",
            f"The table that {_list(names)} of {old.sql} go to, a row for each row there.",
        ),
        *_both(given, pair, _forth(pair), _trigger(pair.back, new, back, None), move),
        pair.unsync(given, move, emptied=False),
        given.contract(
            f"DROP TRIGGER {quote(pair.forth[1])} ON {old.sql};\nDROP TRIGGER {quote(pair.emptied[0])} ON {old.sql};\n{pair.forget()}\nALTER TABLE {old.sql} {drops};",
            f"Takes {_list(names)} of {old.sql} away; they stay in {new.sql}.",
            part="2_drop",
            after=(move,),
        ),
    ]


def _split_declared(given: Given) -> Declared:
    old, new = table_of("table", given["table"]), table_of("to", given["to"])
    key = name_of("key", given["key"])
    names = [name_of("columns", part.rpartition(":")[0]) for part in split(given["columns"])]
    return _declared(given, "split-table", _Pair(old, new, [key], [key], names), back=False)


def _partition_declared(given: Given) -> Declared:
    old, new = table_of("table", given["table"]), table_of("to", given["to"])
    key, by = names_of("key", given["key"]), name_of("by", given["by"])
    columns = [n for n in names_of("columns", given["columns"]) if n not in key]
    return _declared(
        given,
        "partition-table",
        _Pair(old, new, key, key, columns + ([by] if by not in (*key, *columns) else [])),
        back=True,
    )


def _declared(given: Given, recipe: str, pair: _Pair, *, back: bool) -> Declared:
    """``back``: TRUNCATE of the new table empties the old one too."""
    emptied = pair.emptied if back else pair.emptied[:1]
    return Declared(
        move_name(given.move), recipe, pair.old.sql, pair.new.sql, same(pair.columns), same(pair.columns),
        triggers=(pair.forth[1], pair.back[1], *emptied), key=tuple(pair.key),
    )  # fmt: skip


def _both(given: Given, pair: _Pair, forth: str, back: str, move: str) -> list[Step]:
    names = {"old": pair.old.sql, "new": pair.new.sql}
    return [
        given.step("sync", forth, f"{_FORTH.format(**names)}\n\n{_note(move, pair)}"),
        given.step("sync_back", back, _BACK.format(**names)),
    ]


def _apart(old: Table, new: Table) -> None:
    if old == new:
        raise RecipeError(f"to={new.sql}: this is the old table")


def _partition(given: Given) -> list[Step]:
    old, new = table_of("table", given["table"]), table_of("to", given["to"])
    by = name_of("by", given["by"])
    key = names_of("key", given["key"])
    columns = [name for name in names_of("columns", given["columns"]) if name not in (*key, by)]
    columns += [] if by in key else [by]
    bounds = split(given["bounds"])
    _apart(old, new)
    if len(bounds) < 2:
        raise RecipeError(f"bounds={given['bounds']}: at least two, as 2026-01-01,2026-02-01")
    if columns in ([], [by]):
        raise RecipeError(f"columns={given['columns']}: every column of the table, with commas")
    unique = key if by in key else [*key, by]
    pair, move = _Pair(old, new, key, unique, columns), given.move
    lines = [
        f"CREATE TABLE {new.sql} (LIKE {old.sql}, PRIMARY KEY ({_list(unique)})) PARTITION BY RANGE ({quote(by)});"
    ]
    for number, (low, high) in enumerate(pairwise(bounds), 1):
        part = new.beside(fitted(new.name, f"p{number}"))
        lines.append(
            f"CREATE TABLE {part} PARTITION OF {new.sql} FOR VALUES FROM ({literal(low)}) TO ({literal(high)});"
        )
    lines.append(f"CREATE TABLE {new.beside(fitted(new.name, 'rest'))} PARTITION OF {new.sql} DEFAULT;")
    back = f"""\
    IF TG_OP = 'DELETE' THEN
        DELETE FROM {old.sql} AS it WHERE {_equal(unique, "OLD")};
        RETURN NULL;
    END IF;
{_upsert(old, key, key, columns)}"""  # noqa: S608 - every name in it is quoted
    return [
        given.step(
            "table",
            "\n".join(lines),
            f"The partitioned table beside {old.sql}. Defaults, indexes and constraints that it needs besides are added here,\n"
            "while it is empty.",
        ),
        *_both(given, pair, _forth(pair), _trigger(pair.back, new, back, (pair.emptied[1], old)), move),
        pair.unsync(given, move, emptied=True),
        given.contract(
            f"DROP TABLE {old.sql};\n{pair.forget()}",
            f"Takes {old.sql} away; its rows are in {new.sql}.",
            part="2_drop",
            after=(move,),
        ),
    ]


def _drop(given: Given) -> list[Step]:
    table = table_of("table", given["table"])
    last = given.contract(
        f"DROP TABLE {table.sql};",
        f"Takes {table.sql} away, with its rows.",
        part="2_table" if given["foreign_keys"] else "",
    )
    if not given["foreign_keys"]:
        return [last]
    names = names_of("foreign_keys", given["foreign_keys"])
    drops = ",\n    ".join(f"DROP CONSTRAINT {quote(name)}" for name in names)
    return [
        given.contract(
            f"ALTER TABLE {table.sql}\n    {drops};",
            "Its foreign keys go first, so that the tables they refer to are locked for a moment only.",
            part="1_foreign_keys",
        ),
        last,
    ]


RECIPES = (
    Recipe(
        "split-table",
        "Columns that go to a table of their own.",
        (
            TABLE,
            Parameter("to", "the table that they go to"),
            Parameter("key", "the primary key of both tables, one column"),
            Parameter("key_type", "its type"),
            Parameter("columns", "the columns with their types, as note:text,size:integer"),
            MOVE,
        ),
        _split_table,
        _split_declared,
    ),
    Recipe(
        "partition-table",
        "A partitioned table (by range) beside the one that is there, and that one dropped last.",
        (
            TABLE,
            Parameter("to", "the name of the partitioned table"),
            Parameter("by", "the column that rows are divided by, never NULL"),
            Parameter("key", "the primary key of the table, with commas"),
            Parameter("columns", "every column of the table, with commas"),
            Parameter(
                "bounds", "where partitions begin and end, as 2026-01-01,2026-02-01; one more takes the rest"
            ),
            MOVE,
        ),
        _partition,
        _partition_declared,
    ),
    Recipe(
        "drop-table",
        "A table nobody uses any more.",
        (
            TABLE,
            Parameter("foreign_keys", "its foreign keys by name, to be dropped apart", required=False),
        ),
        _drop,
    ),
)
