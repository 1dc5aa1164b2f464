"""Columns: NOT NULL with a proof, another name or type by a second column kept in step, and the drop."""

from lockgate.policy.model.spelling import quote
from lockgate.policy.recipes.constraints import TABLE
from lockgate.policy.recipes.declared import Declared, move_name
from lockgate.policy.recipes.names import SYNC_TAG, Table, expression_of, fitted, name_of, table_of, type_of
from lockgate.policy.recipes.recipe import Given, Parameter, Recipe, RecipeError, Step

VALUE = "{value}"
MOVE = Parameter(
    "move", "the name of the move that fills in (default: the name of the change)", required=False
)


def not_null(given: Given, table: Table, column: str, after: tuple[str, ...] = ()) -> list[Step]:
    """A CHECK without proof, its proof, and NOT NULL that takes the proof instead of reading the table."""
    name = quote(fitted(table.name, column, "not_null"))
    shown = quote(column)
    return [
        given.step(
            "not_null_add",
            f"ALTER TABLE {table.sql} ADD CONSTRAINT {name} CHECK ({shown} IS NOT NULL) NOT VALID;",
            f"Writes without {shown} fail from here on, so no running release may still make them. So does an UPDATE of a row\n"
            f"that holds NULL there, whatever it changes, until that row is filled in: where rows with NULL are updated, fill\n"
            f"them in before this file is applied.",
        ),
        given.step(
            "not_null_validate",
            f"ALTER TABLE {table.sql} VALIDATE CONSTRAINT {name};",
            "Reads the whole table while reads and writes go on. It fails where a NULL is left.",
            after=after,
        ),
        given.step(
            "not_null_set",
            f"ALTER TABLE {table.sql} ALTER COLUMN {shown} SET NOT NULL;",
            "The proved CHECK spares the server reading the table under the strongest lock.",
        ),
        given.step(
            "not_null_tidy",
            f"ALTER TABLE {table.sql} DROP CONSTRAINT {name};",
            "NOT NULL says it now; the CHECK has done its work.",
        ),
    ]


def _add_not_null(given: Given) -> list[Step]:
    table, column = table_of("table", given["table"]), name_of("column", given["column"])
    if not given["fill"]:
        return not_null(given, table, column)
    fill = expression_of("fill", given["fill"])
    move = given.move
    first, *others = not_null(given, table, column, (move,))
    why = f"{first.why}\n\n{backfill(move, table, f'{quote(column)} = {fill}', f'{quote(column)} IS NULL')}"
    return [given.step("not_null_add", first.sql, why), *others]


def _fill_declared(given: Given) -> Declared | None:
    if not given["fill"]:
        return None
    table, column = table_of("table", given["table"]), name_of("column", given["column"])
    shown = quote(column)
    return Declared(
        move_name(given.move), "add-not-null", table.sql, table.sql, {column: f"COALESCE({shown}, {given['fill']})"},
        checks=(fitted(table.name, column, "not_null"),), not_null=(column,),
    )  # fmt: skip


def _rename_declared(given: Given) -> Declared:
    old, new = name_of("column", given["column"]), name_of("to", given["to"])
    return _beside_declared(given, "rename-column", old, new, VALUE, VALUE)


def _retype_declared(given: Given) -> Declared:
    return _beside_declared(given, "change-type", *_retyped(given))


def _beside_declared(given: Given, recipe: str, old: str, new: str, forward: str, backward: str) -> Declared:
    table = table_of("table", given["table"])
    return Declared(
        move_name(given.move), recipe, table.sql, table.sql, {new: forward.replace(VALUE, quote(old))}, {old: backward.replace(VALUE, quote(new))},
        triggers=(_trigger(table, old, new),), not_null=(new,) if given.flag("not_null") else (),
    )  # fmt: skip


def _trigger(table: Table, old: str, new: str) -> str:
    return fitted("zz", table.name, old, new, "sync")


def _retyped(given: Given) -> tuple[str, str, str, str]:
    """(old name, new name, the new value, the old value) of a change of type."""
    old = name_of("column", given["column"])
    new = name_of("to", given["to"]) if given["to"] else fitted(old, "new")
    forward = given["forward"] or f"{VALUE}::{given['type']}"
    return old, new, forward, given["backward"] or f"{VALUE}::{given['from']}"


def backfill(move: str, table: Table, change: str, left: str) -> str:
    """The note on what the move ``move`` does to the rows that are there, in batches by its key."""
    return (
        f"Rows that are there already belong to the move {move}, which goes through the table by its key\n"  # noqa: S608 - a comment
        f"in batches and waits between them. One batch is:\n\n"
        f"    UPDATE {table.sql} SET {change}\n    WHERE {left} AND <key> > <last> AND <key> <= <last + 1000>;"
    )


def _rename(given: Given) -> list[Step]:
    old, new = name_of("column", given["column"]), name_of("to", given["to"])
    return _beside(given, old, new, type_of("type", given["type"]), VALUE, VALUE)


def _change_type(given: Given) -> list[Step]:
    to = type_of("type", given["type"])
    type_of("from", given["from"])
    old, new, forward, backward = _retyped(given)
    for key, value in (("forward", forward), ("backward", backward)):
        if VALUE not in value:
            raise RecipeError(f"{key}={value}: {VALUE} stands for the column in it")
        expression_of(key, value.replace(VALUE, "c"))
    return _beside(given, old, new, to, forward, backward)


def _beside(given: Given, old: str, new: str, kind: str, forward: str, backward: str) -> list[Step]:
    """A second column, kept in step both ways while both are written; the first one goes when nobody uses it."""
    table = table_of("table", given["table"])
    if old == new:
        raise RecipeError(f"to={new}: this is the old name")
    move, was, now = given.move, quote(old), quote(new)
    words = (table.name, old, new, "sync")
    function, trigger = table.beside(fitted(*words)), quote(_trigger(table, old, new))
    there, here = forward.replace(VALUE, f"NEW.{was}"), backward.replace(VALUE, f"NEW.{now}")
    copied = forward.replace(VALUE, was)
    body = f"""\
CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS {SYNC_TAG}
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.{now} IS NULL THEN
            NEW.{now} := {there};
        ELSE
            NEW.{was} := {here};
        END IF;
    ELSIF NEW.{now}::text IS DISTINCT FROM OLD.{now}::text THEN
        IF NEW.{now}::text IS DISTINCT FROM ({there})::text THEN
            NEW.{was} := {here};
        END IF;
    ELSIF NEW.{was}::text IS DISTINCT FROM OLD.{was}::text OR NEW.{now} IS NULL THEN
        NEW.{now} := {there};
    END IF;
    RETURN NEW;
END
{SYNC_TAG};

CREATE TRIGGER {trigger} BEFORE INSERT OR UPDATE ON {table.sql}
    FOR EACH ROW EXECUTE FUNCTION {function}();"""
    note = backfill(move, table, f"{now} = {copied}", f"{now} IS NULL AND {was} IS NOT NULL")
    steps = [
        given.step(
            "column", f"ALTER TABLE {table.sql} ADD COLUMN {now} {kind};", f"The column beside {was}, empty."
        ),
        given.step(
            "sync",
            body,
            f"Whoever writes {was} writes {now} too, and the other way round. Its name lets it run after other triggers.\n\n{note}",
        ),
    ]
    if given.flag("not_null"):
        steps += not_null(given, table, new, (move,))
    default = ""
    if given["default"]:
        value = expression_of("default", given["default"])
        default = f"ALTER TABLE {table.sql} ALTER COLUMN {now} SET DEFAULT {value};\n"
    ending = f"DROP TRIGGER {trigger} ON {table.sql};\nDROP FUNCTION {function}();\n{default}ALTER TABLE {table.sql} DROP COLUMN {was};"
    return [*steps, given.contract(ending, f"Takes {was} away; {now} stays.", after=(move,))]


def _drop(given: Given) -> list[Step]:
    table, column = table_of("table", given["table"]), name_of("column", given["column"])
    shown = quote(column)
    steps = []
    if given["default"]:
        value = expression_of("default", given["default"])
        steps.append(
            given.step(
                "default",
                f"ALTER TABLE {table.sql} ALTER COLUMN {shown} SET DEFAULT {value};",
                f"A release that no longer writes {shown} may insert beside one that still reads it.",
            )
        )
    return [
        *steps,
        given.contract(
            f"ALTER TABLE {table.sql} DROP COLUMN {shown};", f"Takes {shown} of {table.sql} away."
        ),
    ]


_COLUMN = Parameter("column", "the column")
_KEPT = (
    Parameter("not_null", "yes: the new column gets NOT NULL once it is filled", required=False),
    Parameter("default", "the default that the new column gets with the contract file", required=False),
    MOVE,
)

RECIPES = (
    Recipe(
        "add-not-null",
        "NOT NULL without reading the table under the strongest lock.",
        (
            TABLE,
            _COLUMN,
            Parameter("fill", "what a move writes where there is a NULL", required=False),
            MOVE,
        ),
        _add_not_null,
        _fill_declared,
    ),
    Recipe(
        "rename-column",
        "Another name: a second column kept in step, and the old one dropped last.",
        (
            TABLE,
            Parameter("column", "the name that it has"),
            Parameter("to", "the name that it gets"),
            Parameter("type", "its type"),
            *_KEPT,
        ),
        _rename,
        _rename_declared,
    ),
    Recipe(
        "change-type",
        "Another type: a second column kept in step, and the old one dropped last.",
        (
            TABLE,
            _COLUMN,
            Parameter("from", "the type that it has"),
            Parameter("type", "the type that the new column has"),
            Parameter(
                "to", "the name of the new column (default: that of the old one and _new)", required=False
            ),
            Parameter("forward", f"the new value, made of {VALUE} (default: a cast)", required=False),
            Parameter("backward", f"the old value, made of {VALUE} (default: a cast)", required=False),
            *_KEPT,
        ),
        _change_type,
        _retype_declared,
    ),
    Recipe(
        "drop-column",
        "A column nobody uses any more.",
        (
            TABLE,
            _COLUMN,
            Parameter(
                "default",
                "for a NOT NULL column: what it gets from releases that no longer write it",
                required=False,
            ),
        ),
        _drop,
    ),
)
