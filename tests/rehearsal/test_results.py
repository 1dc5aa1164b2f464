"""What an old release reads, and what it copies: columns that come back as something else, NULLs that go from row to row."""

import os
from collections.abc import Callable

import psycopg
import pytest

from lockgate.postgres.alarm import Alarm
from lockgate.postgres.placeholders import queries_of
from lockgate.postgres.scratch import Ground
from lockgate.postgres.tables import ColumnOf, Table
from lockgate.postgres.target import Target
from lockgate.rehearsal.nulls import copies
from lockgate.rehearsal.report import Rehearsal
from lockgate.rehearsal.results import Gives, changed
from rehearsal.rehearsals import rehearsed

BASE = """
create type mood as enum ('sad', 'ok');
create table users (id bigint primary key, nick text, old_nick text, age int, feels mood, born date, seen timestamp, doc json);
create table others (key bigint generated always as identity primary key, nick text, told text not null default '');
create view people as select id, age from users;
"""
READS = "SELECT * FROM users WHERE id = $1; SELECT age FROM people; UPDATE users SET nick = $1 WHERE id = $2 RETURNING age;"


@pytest.mark.postgres("16", "18")
@pytest.mark.parametrize(
    ("change", "answers", "words"),
    [
        ("drop view people; alter table users alter column age type text; create view people as select id, age from users;", ["hold", "hold", "hold"], "age is text and was int4"),
        ("alter table users alter column born type timestamptz;", ["hold", "compatible", "compatible"], "born is timestamptz and was date"),
        ("drop view people; create view people as select id, age::text from users;", ["compatible", "hold", "compatible"], "age is text and was int4"),
        ("drop view people; alter table users alter column age type bigint; create view people as select id, age from users;", ["reconnect", "reconnect", "reconnect"], "age as int8, which was int4"),
        ("alter table users alter column feels type text;", ["reconnect", "compatible", "compatible"], ""),
        ("alter table users alter column seen type timestamptz;", ["reconnect", "compatible", "compatible"], "seen as timestamptz, which was timestamp"),
        ("alter table users alter column doc type jsonb;", ["reconnect", "compatible", "compatible"], "doc as jsonb, which was json"),
        ("alter table users drop column nick; alter table users add column nick varchar;", ["reconnect", "compatible", "compatible"], "nick as varchar, which was text"),
        ("alter table users add column more text; alter table users drop column born;", ["hold", "compatible", "compatible"], "it has no column born any more"),
        ("drop view people; create view people as select age from users; alter table users rename column nick to alias;", ["hold", "compatible", "breaks"], "it has no column nick any more"),
        ("alter table users add column more text;", ["reconnect", "compatible", "compatible"], ""),
    ],
)  # fmt: skip
def test_what_comes_back(
    rehearse: Callable[..., Rehearsal], change: str, answers: list[str], words: str
) -> None:
    """A result of which a column changes from one family of types to another holds, by name, whether it is read from a table, a view or RETURNING; so does one that has lost a column, which is worse. Within a family it is a note, and a column more is nothing."""
    old = rehearse(BASE, change, base=1, queries=READS).compatibility["old"]
    assert [q.answer.replace("reconnect", "compatible") for q in old.queries] == [
        a.replace("reconnect", "compatible") for a in answers
    ], old.queries
    assert words in " ".join(f"{q.outcomes[-1].message} {q.outcomes[-1].note}" for q in old.queries)


def test_columns_of_one_name() -> None:
    """Columns are compared by name, and several of one name in their order; new ones are nothing."""
    number, text = Gives("id", "int8", "N"), Gives("id", "text", "S")
    assert changed([number, text], [number, text, Gives("more", "bool", "B")]) == ("", "")
    assert changed([number, number], [number, text])[0].endswith("id is text and was int8")
    assert changed([number, number], [number])[0].endswith("it has no column id any more")


@pytest.mark.postgres("16", "18")
@pytest.mark.parametrize(
    ("before", "after", "answer"),
    [
        ("numeric(10,2)", "int", "hold"), ("numeric(10,2)", "numeric(12,1)", "hold"), ("numeric", "numeric(30,9)", "hold"), ("timestamptz", "date", "hold"), ("float8", "bigint", "hold"),
        ("numeric(10,2)", "numeric(12,2)", "compatible"), ("int", "numeric", "compatible"), ("date", "timestamptz", "compatible"), ("float4", "float8", "compatible"),
    ],
)  # fmt: skip
def test_what_is_written_and_rounded(
    rehearse: Callable[..., Rehearsal], before: str, after: str, answer: str
) -> None:
    """A query that writes what the column no longer keeps whole works, and holds: the digits or the time are dropped without an error."""
    tables = f"create table t (id bigint primary key, v {before});"
    writes = "INSERT INTO t (id, v) VALUES ($1, $2); UPDATE t SET v = $1 WHERE id = $2; INSERT INTO t SELECT * FROM jsonb_populate_recordset(NULL::t, $1);"
    old = rehearse(tables, f"alter table t alter column v type {after};", "alter table t rename column v to w; alter table t rename column w to v;", base=1, queries=writes).compatibility["old"]  # fmt: skip
    insert, update, document = (q.answer for q in old.queries)
    assert (insert, update) == (answer, answer), old.queries
    # A number in a document is a text, which an integer does not take with digits behind the point.
    assert document in (answer, "breaks" if answer == "hold" else answer), old.queries
    if answer == "hold":
        assert all(
            "the server drops a part of what it writes" in q.outcomes[-1].message for q in old.queries[:2]
        )


COPIES = """
UPDATE users SET nick = old_nick WHERE id = $1;
INSERT INTO others (nick) SELECT lower(nick) FROM users WHERE id = $1;
INSERT INTO others (nick) SELECT coalesce(nick, '') FROM users WHERE id = $1;
UPDATE others o SET nick = u.nick FROM users u WHERE u.id = $1;
"""


@pytest.mark.postgres("16", "18")
@pytest.mark.parametrize(
    ("change", "answers"),
    [
        ("alter table users alter column nick set not null;", ["hold", "compatible", "compatible", "compatible"]),
        ("alter table others alter column nick set not null;", ["compatible", "hold", "compatible", "hold"]),
        ("alter table others add constraint told check (nick is not null) not valid;", ["compatible", "hold", "compatible", "hold"]),
        ("alter table others add constraint told check (length(nick) < 10000) not valid;", ["compatible"] * 4),
        ("alter table users alter column old_nick set not null;", ["compatible"] * 4),
    ],
)  # fmt: skip
def test_a_null_that_is_copied(rehearse: Callable[..., Rehearsal], change: str, answers: list[str]) -> None:
    """A query that copies a column from rows into a column that takes no NULL from now on holds, and the column that it copies is named; not where no row can hold NULL there any more."""
    old = rehearse(BASE, change, base=1, queries=COPIES).compatibility["old"]
    assert [q.answer for q in old.queries] == answers, old.queries
    told = [q.outcomes[-1].message for q in old.queries if q.answer == "hold"]
    assert all("fails when it copies NULL from users." in message for message in told)


@pytest.mark.postgres("18")
def test_a_null_that_is_copied_without_a_superuser(databases: Callable[[], str], alarm: Alarm) -> None:
    """On a server where the role may only create databases, NULL is put into rows with their triggers."""
    url = databases()
    role = f"maker_{os.urandom(4).hex()}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"create role {role} login createdb")  # type: ignore[call-overload]
    try:
        with Ground(Target(url.replace("postgres@", f"{role}@"), source="test"), ours=False) as ground:
            change = "alter table users alter column nick set not null;"
            old = rehearsed(ground, alarm, BASE, change, base=1, queries=COPIES).compatibility["old"]
            assert [q.answer for q in old.queries] == ["hold", "compatible", "compatible", "compatible"]
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"drop role {role}")  # type: ignore[call-overload]


@pytest.mark.postgres("18")
def test_a_copy_into_keys_that_are_there(rehearse: Callable[..., Rehearsal]) -> None:
    """A query that copies keys works where the rows that have them are not there: it is not in doubt, and breaks where its column goes."""
    tables = "create table a (id bigint primary key, v text); create table b (id bigint primary key, v text);"
    query = "INSERT INTO b (id, v) SELECT id, v FROM a WHERE id = $1;"
    found = rehearse(tables, "create table c (id int primary key);", "alter table b rename column v to w;", base=1, queries=query)  # fmt: skip
    old = found.compatibility["old"]
    assert [s.answer for s in old.migrations] == ["compatible", "compatible", "breaks"], old.queries


def test_which_columns_are_copied() -> None:
    """Those that are written from rows, by star, join, sub-select and MERGE too; not those of conditions."""
    tables = [_table(1, "a", "x", "y"), _table(2, "b", "y", "z")]

    def told(text: str) -> list[str]:
        (query,) = queries_of(text)
        return [f"{table.name}.{column.name}" for table, column in copies(query, tables)]

    assert told("insert into b select * from a where x = $1") == ["a.x", "a.y"]
    assert told("insert into b (y) select lower(a.y) from a join b on a.y = b.y") == ["a.y"]
    assert told("with s as (select x from a) insert into b (z) select x from s") == ["a.x"]
    assert told("update b set z = (select y from a where x = $1), y = $2") == ["a.y"]
    assert told("merge into b using a on a.y = b.y when matched then update set z = a.x when not matched then insert (y) values (a.y)") == ["a.x", "a.y"]  # fmt: skip
    assert told("select * from a") == told("delete from a where x = $1") == []


def _table(oid: int, name: str, *columns: str) -> Table:
    return Table(oid, "r", "public", name, tuple(ColumnOf(c, "text", "text") for c in columns))
