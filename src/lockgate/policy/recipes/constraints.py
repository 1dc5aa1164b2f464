"""Constraints and indexes: added without a proof and proved in another file, or built beside the writes."""

from lockgate.policy.model.spelling import quote
from lockgate.policy.recipes.names import Table, expression_of, fitted, name_of, names_of, table_of
from lockgate.policy.recipes.recipe import Given, Parameter, Partitions, Recipe, RecipeError, Step

TABLE = Parameter("table", "the table, with its schema where it has another than the search path's first")
_NAME = Parameter("name", "the name of what is made (default: made of table and columns)", required=False)
_COLUMNS = Parameter("columns", "the columns, with commas")
_ACTIONS = ("no action", "restrict", "cascade", "set null", "set default")
_METHODS = ("btree", "hash", "gin", "gist", "spgist", "brin")
_PROVES = "Reads the whole table while reads and writes go on."
BUILDS = "Built while reads and writes go on, so no transaction can hold it."


def _listed(names: list[str]) -> str:
    return ", ".join(map(quote, names))


def named(given: Given, *words: str) -> str:
    """The name that was given for what is made, or the one that the server would take."""
    return name_of("name", given["name"]) if given["name"] else fitted(*words)


def _foreign_key(given: Given) -> list[Step]:
    table, parent = table_of("table", given["table"]), table_of("references", given["references"])
    columns = names_of("column", given["column"])
    targets = names_of("references_column", given["references_column"] or "id")
    if len(columns) != len(targets):
        raise RecipeError("column and references_column name different numbers of columns")
    action = given["on_delete"].lower()
    if action and action not in _ACTIONS:
        raise RecipeError(f"on_delete={given['on_delete']}: it is one of {', '.join(_ACTIONS)}")
    name = named(given, table.name, *columns, "fkey")
    ending = f" ON DELETE {action.upper()}" if action else ""
    index = quote(fitted(table.name, *columns, "idx"))
    steps = []
    if not given["index"] or given.flag("index"):
        if given.partitions is not None:
            raise RecipeError(
                f"table={given['table']}: it is partitioned, so its index is made part by part: follow add-index first, then give index=no"
            )
        steps.append(
            given.step(
                "index",
                f"CREATE INDEX CONCURRENTLY {index} ON {table.sql} ({_listed(columns)});",
                f"An index for the foreign key: without one each delete in {parent.sql} reads all of {table.sql}.\n{BUILDS}",
                transactional=False,
            )
        )
    return [
        *steps,
        given.step(
            "add",
            f"ALTER TABLE {table.sql} ADD CONSTRAINT {quote(name)} FOREIGN KEY ({_listed(columns)})\n"
            f"    REFERENCES {parent.sql} ({_listed(targets)}){ending} NOT VALID;",
            "New and changed rows are checked from here on; those that are there are proved in the next file.",
        ),
        _validated(given, table.sql, name),
    ]


def _validated(given: Given, table: str, name: str, after: tuple[str, ...] = ()) -> Step:
    return given.step(
        "validate", f"ALTER TABLE {table} VALIDATE CONSTRAINT {quote(name)};", _PROVES, after=after
    )


def _unique(given: Given) -> list[Step]:
    table, columns = table_of("table", given["table"]), names_of("columns", given["columns"])
    if given.partitions is not None:
        raise RecipeError(
            f"table={given['table']}: it is partitioned, and no constraint there can take an index that is built beside the writes; "
            "follow add-index with unique=yes"
        )
    name = quote(named(given, table.name, *columns, "key"))
    return [
        given.step(
            "index",
            f"CREATE UNIQUE INDEX CONCURRENTLY {name} ON {table.sql} ({_listed(columns)});",
            f"The index of the constraint; fails where rows are alike.\n{BUILDS}",
            transactional=False,
        ),
        given.step(
            "constraint",
            f"ALTER TABLE {table.sql} ADD CONSTRAINT {name} UNIQUE USING INDEX {name};",
            "The index becomes a constraint: a moment under the strongest lock, nothing is read.",
        ),
    ]


def _check(given: Given) -> list[Step]:
    table = table_of("table", given["table"])
    expression = expression_of("expression", given["expression"])
    name = named(given, table.name, given.name, "check")
    return [
        given.step(
            "add",
            f"ALTER TABLE {table.sql} ADD CONSTRAINT {quote(name)} CHECK ({expression}) NOT VALID;",
            "New and changed rows are checked from here on, so every running release has to keep to it already.",
        ),
        _validated(given, table.sql, name),
    ]


def _index(given: Given) -> list[Step]:
    table, columns = table_of("table", given["table"]), names_of("columns", given["columns"])
    method = given["method"].lower() or "btree"
    if method not in _METHODS:
        raise RecipeError(f"method={given['method']}: it is one of {', '.join(_METHODS)}")
    unique = "UNIQUE " if given.flag("unique") else ""
    where = f" WHERE {expression_of('where', given['where'])}" if given["where"] else ""
    using = "" if method == "btree" else f" USING {method}"
    ending = f"{using} ({_listed(columns)}){where};"
    name = quote(named(given, table.name, *columns, "idx"))
    if given.partitions is not None:
        return _part_by_part(given, given.partitions, table, columns, ending)
    return [
        given.step(
            "index",
            f"CREATE {unique}INDEX CONCURRENTLY {name} ON {table.sql}{ending}",
            BUILDS,
            transactional=False,
        )
    ]


def _part_by_part(
    given: Given, known: Partitions, table: Table, columns: list[str], ending: str
) -> list[Step]:
    """The index of a partitioned table: its own is empty and invalid until each part has one that is attached to it."""
    if known.obstacle:
        raise RecipeError(f"table={given['table']}: {known.obstacle}")
    if given.flag("unique") and not set(known.by) <= set(columns):
        told = ", ".join(by or "an expression" for by in known.by)
        raise RecipeError(
            f"columns={given['columns']}: a unique index of a partitioned table holds what it is divided by: {told}"
        )
    unique = "UNIQUE " if given.flag("unique") else ""
    whole = named(given, table.name, *columns, "idx")
    steps = [
        given.step(
            "parent",
            f"CREATE {unique}INDEX {quote(whole)} ON ONLY {table.sql}{ending}",
            "The index of the partitioned table itself: nothing is read. It is invalid until every part has its own.",
        )
    ]
    attached = []
    for number, (schema, part) in enumerate(known.parts, 1):
        one = Table(schema, part)
        index = fitted(part, whole) if given["name"] else fitted(part, *columns, "idx")
        steps.append(
            given.step(
                f"part{number}",
                f"CREATE {unique}INDEX CONCURRENTLY {quote(index)} ON {one.sql}{ending}",
                BUILDS,
                transactional=False,
            )
        )
        attached.append(f"ALTER INDEX {table.beside(whole)} ATTACH PARTITION {one.beside(index)};")
    if attached:
        why = "Every index of a part becomes one of the whole: nothing is read. A part that no file makes is added here."
        steps.append(given.step("attach", "\n".join(attached), why))
    return steps


RECIPES = (
    Recipe(
        "add-foreign-key",
        "A foreign key: index, NOT VALID, VALIDATE.",
        (
            TABLE,
            Parameter("column", "the column that refers, or several with commas"),
            Parameter("references", "the table that is referred to"),
            Parameter("references_column", "its column (default: id)", required=False),
            Parameter("on_delete", ", ".join(_ACTIONS), required=False),
            Parameter("index", "no: there is an index on the column already", required=False),
            _NAME,
        ),
        _foreign_key,
    ),
    Recipe(
        "add-unique",
        "A unique constraint over an index that is built concurrently.",
        (TABLE, _COLUMNS, _NAME),
        _unique,
    ),
    Recipe(
        "add-check",
        "A CHECK: NOT VALID, VALIDATE.",
        (TABLE, Parameter("expression", "what holds for every row"), _NAME),
        _check,
    ),
    Recipe(
        "add-index",
        "An index, built concurrently.",
        (
            TABLE,
            _COLUMNS,
            Parameter("unique", "yes: no two rows alike", required=False),
            Parameter("method", f"{', '.join(_METHODS)} (default: btree)", required=False),
            Parameter("where", "the rows that it covers", required=False),
            _NAME,
        ),
        _index,
    ),
)
