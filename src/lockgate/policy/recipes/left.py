"""Who still uses what a contract file takes away. A view makes the server refuse the drop; of a function it says nothing at all."""

from collections.abc import Iterator

from msgspec import Struct

from lockgate.policy.model.dependents import checks_lost
from lockgate.policy.model.replay import replay
from lockgate.policy.model.schema import Schema
from lockgate.policy.model.spelling import spelled
from lockgate.policy.model.users import users_of_column, users_of_relation
from lockgate.postgres.tree import SyntaxProblem, statements_of
from lockgate.postgres.tree import words as w


class Left(Struct, frozen=True):
    """A user in words, and what to do about it."""

    said: str
    remedy: str


def views(schema: Schema, key: str, column: str = "", *, cascade: bool = False) -> list[Left]:
    """The views that use the column of the table ``key``, or the table where no column is named."""
    state = schema.relations.get(key)
    found = []
    for name in state.dependents if state is not None else ():
        view = schema.relations.get(name)
        if view is None or (column and not {column, "*"} & set(view.source_columns)):
            continue
        stored = view.kind == "m"
        kind = "materialized view" if stored else "view"
        anew = f"DROP {kind.upper()} {spelled(name)} and CREATE {kind.upper()} anew without it"
        how = "goes with it" if cascade else "makes the server refuse the drop"
        found.append(
            Left(
                f"the {kind} {name} uses {_what(key, column)} and {how}",
                anew if stored else f"CREATE OR REPLACE VIEW {spelled(name)} without it where its columns stay as they are, else {anew}",
            )
        )  # fmt: skip
    return found


def functions(schema: Schema, key: str, column: str = "") -> list[Left]:
    """The functions whose bodies use the column of the table ``key``, or the table where no column is named."""
    found = users_of_column(schema, key, column, dropped=True) if column else users_of_relation(schema, key)
    return [
        Left(
            f"the function {use.routine}(){f', which {use.fired} runs,' if use.fired else ''} {'uses' if use.sure else 'may use'} {_what(key, column)}",
            "CREATE OR REPLACE FUNCTION without it",
        )
        for use in found
    ]


def checks(schema: Schema, key: str, column: str) -> list[Left]:
    """The CHECKs over several columns that go with the column without a word."""
    return [
        Left(
            f"the CHECK {lost.name} of {table} goes with {_what(key, column)}",
            f"ALTER TABLE {spelled(table)} ADD CONSTRAINT … CHECK (…) NOT VALID on {', '.join(c for c in lost.columns if c != column)} alone",
        )
        for table, lost in (checks_lost(schema, key, column) if column else ())
    ]


def left_by(schema: Schema, text: str, number: int) -> list[Left]:
    """What the statements of the file ``text`` leave behind that they neither drop nor make anew; ``schema`` goes along with them."""
    try:
        located = statements_of(text)
    except SyntaxProblem:
        return []
    schema.search_path = ["public"]
    found: list[Left] = []
    gone = []
    for item in located:
        for key, column, cascade in _taken(schema, item.statement):
            found += views(schema, key, column, cascade=cascade)
            found += checks(schema, key, column)
            gone.append((key, column))
        replay(schema, item.statement, number)
    # A body may be replaced behind the drop as well as before it.
    for key, column in gone:
        found += functions(schema, key, column)
    return list(dict.fromkeys(found))


def _taken(schema: Schema, word: w.Statement) -> Iterator[tuple[str, str, bool]]:
    """(table, column or "", whether with CASCADE) of what the statement drops."""
    if isinstance(word, w.AlterTable) and word.kind == "table":
        for action in word.actions:
            if isinstance(action, w.DropColumn):
                yield schema.resolve(word.name), action.column, action.cascade
    if isinstance(word, w.Drop) and word.kind == "table":
        for name in word.names:
            yield schema.resolve(name), "", word.cascade


def _what(key: str, column: str) -> str:
    return f"{key}.{column}" if column else key
