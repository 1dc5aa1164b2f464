"""What a recipe takes: names as SQL reads them, types and expressions that are nothing else."""

import re

import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from lockgate.migrations.contract import prepare
from lockgate.migrations.files import Migration
from lockgate.policy.model.spelling import quote
from lockgate.policy.recipes import RECIPES, RecipeError, steps_of
from lockgate.policy.recipes.names import expression_of, fitted, name_of, split, table_of, type_of
from lockgate.postgres.tree import statements_of

RENAME = {"table": "orders", "column": "note", "to": "remark", "type": "text"}


@pytest.mark.parametrize(
    ("given", "sql"),
    [
        ("orders", "orders"),
        ("Orders", "orders"),
        ('"Orders"', '"Orders"'),
        ("order", '"order"'),
        ("shop.order", 'shop."order"'),
        ('"a.b"."c""d"', '"a.b"."c""d"'),
        ("größe", '"größe"'),
    ],
)
def test_names_are_read_and_quoted_as_the_server_does(given, sql):
    """Bare words fold to lower case, quoted ones stay, and what needs quotes gets them."""
    assert table_of("table", given).sql == sql


@pytest.mark.parametrize(
    "given", ["", "a$sync$", "a b", "a.b.c", "a.", ".a", "1a", '"', '"a', "a;b", "x" * 64, "ä" * 32, '""']
)
def test_what_is_no_name_is_refused(given):
    """A table that is no name, or longer than 63 bytes, is refused with the parameter that has it."""
    with pytest.raises(RecipeError, match="table="):
        table_of("table", given)


@pytest.mark.parametrize("word", [*RECIPES, "user", "select", "between", "a", "_", "naïve", "X"])
def test_quoted_names_parse_as_columns(word):
    """Whatever quote gives is one column for the server's grammar."""
    assert len(statements_of(f"SELECT {quote(word)} FROM t")) == 1
    assert name_of("column", quote(word)) == word


@pytest.mark.parametrize(
    "given", ["text", "numeric(12, 2)", "timestamp with time zone", "int[]", "shop.mood", '"M"']
)
def test_types(given):
    """Types with their arguments are taken as they are."""
    assert type_of("type", given) == given


@pytest.mark.parametrize(
    "given",
    ["", "text NOT NULL", "text; DROP TABLE t", "text, ADD COLUMN d text", "text DEFAULT 1", "text USING 1",
     "text COLLATE \"C\" -- x", "text /*", "1", "text, DROP COLUMN e", "text $sync$"],
)  # fmt: skip
def test_what_is_no_type_alone_is_refused(given):
    """A type cannot carry anything else into a statement."""
    with pytest.raises(RecipeError, match="type="):
        type_of("type", given)


@pytest.mark.parametrize(
    "given",
    ["", "a; b", "true) NOT VALID, ADD COLUMN x int, ADD CHECK (true", "true) NOT VALID; DROP TABLE t; --", "a -- b",
     "true) NO INHERIT NOT VALID --", "a, b", "$sync$ || a", "(a"],
)  # fmt: skip
def test_what_is_no_expression_alone_is_refused(given):
    """An expression cannot carry anything else into a statement."""
    with pytest.raises(RecipeError, match="expression="):
        expression_of("expression", given)


def test_lists_keep_what_stands_in_parentheses_and_quotes():
    """Commas in types and quoted names do not divide a list."""
    assert split('a:numeric(12,2), "b,c":text,') == ["a:numeric(12,2)", '"b,c":text']


def test_made_names_fit_and_differ():
    """A name that is made of long ones has at most 63 bytes, keeps its ending, and two of them stay two."""
    first, second = fitted("ä" * 30, "a", "idx"), fitted("ä" * 30, "b", "idx")
    assert first != second
    assert all(len(name.encode()) <= 63 and name.endswith("_idx") for name in (first, second))


@pytest.mark.parametrize(
    ("recipe", "change", "told"),
    [
        ("rename-colum", {}, "rename-column"),
        ("rename-column", {"to": ""}, "needs to"),
        ("rename-column", {"too": "x"}, "no parameter 'too'"),
        ("rename-column", {"to": "note"}, "the old name"),
        ("rename-column", {"not_null": "maybe"}, "yes or no"),
        ("rename-column", {"move": "A b"}, "move="),
        ("rename-column", {"type": "text\n"}, "line end"),
    ],
)
def test_wrong_parameters_are_named(recipe, change, told):
    """The refusal names the recipe, parameter or value that is wrong."""
    with pytest.raises(RecipeError, match=told):
        steps_of(recipe, "x", {**RENAME, **change})


@pytest.mark.parametrize(
    ("recipe", "values"),
    [
        ("add-foreign-key", {"table": "a", "column": "b,c", "references": "d"}),
        ("add-foreign-key", {"table": "a", "column": "b", "references": "d", "on_delete": "explode"}),
        ("add-index", {"table": "a", "columns": "b,b"}),
        ("add-index", {"table": "a", "columns": "b", "method": "magic"}),
        ("add-enum-value", {"type": "a", "value": "b", "before": "c", "after": "d"}),
        ("change-type", {"table": "a", "column": "b", "from": "int", "type": "bigint", "forward": "1"}),
        ("split-table", {"table": "a", "to": "a", "key": "id", "key_type": "int", "columns": "b:text"}),
        ("split-table", {"table": "a", "to": "c", "key": "id", "key_type": "int", "columns": "b"}),
        ("split-table", {"table": "a", "to": "c", "key": "id", "key_type": "int", "columns": "id:int"}),
        ("partition-table", {"table": "a", "to": "c", "by": "d", "key": "id", "columns": "id,d,e", "bounds": "1"}),
        ("partition-table", {"table": "a", "to": "c", "by": "d", "key": "id", "columns": "id,d", "bounds": "1,2"}),
    ],
)  # fmt: skip
def test_parameters_that_do_not_fit_together(recipe, values):
    """What makes no change is refused before any file is made."""
    with pytest.raises(RecipeError):
        steps_of(recipe, "x", values)


def test_long_names_of_the_user_make_names_that_fit():
    """With names of 63 bytes every made name still fits, and the two columns' function and trigger differ."""
    long = {**RENAME, "table": "t" * 63, "column": "c" * 63, "to": "d" * 63, "not_null": "yes"}
    text = "\n".join(step.sql for step in steps_of("rename-column", "x", long))
    assert max(map(len, re.findall(r"\w+", text))) == 63


_WORDS = st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=12)


@settings(max_examples=150, deadline=None)
@drawn(table=_WORDS, column=_WORDS, to=_WORDS)
def test_any_name_makes_files_that_keep_the_contract(table, column, to):
    """Whatever three names are, the files parse with those very names, or the names are refused."""
    values = {"table": table, "column": column, "to": to}
    values = {key: '"' + name.replace('"', '""') + '"' for key, name in values.items()} | {"type": "text"}
    if column == to or "$sync$" in table + column + to:
        with pytest.raises(RecipeError):
            steps_of("rename-column", "x", values)
        return
    steps = steps_of("rename-column", "x", values)
    for step in steps:
        prepared, problems = prepare(Migration("0" * 13, step.name, "x.sql", "", step.text))
        assert prepared is not None or {p.id for p in problems} == {"FILE_IDENTIFIER"}, problems
        assert prepared is None or len(prepared.statements) == {"x_column": 1, "x_sync": 2, "x": 3}[step.name]
