"""NULL that the release that stays alive may send, into a column that holds none from now on."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import pytest

from lockgate.config import Migrations
from lockgate.migrations.limits import Limits
from lockgate.policy.model.snapshot import Snapshot
from lockgate.postgres.placeholders import queries_of
from lockgate.postgres.tables import ColumnOf, Table
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Wire
from lockgate.rehearsal.likeness import percent
from lockgate.rehearsal.nulls import Sent, judged, written
from lockgate.rehearsal.report import Rehearsal
from lockgate.rehearsal.scaling import Scaling
from lockgate.release.snapshot import take
from support.calls import Project

USERS = "create table users (id bigint primary key, email text not null, nick text, age int check (age >= 0), kind text);"
BASE = f"""
{USERS}
create domain word as text check (value is not null);
create function fill() returns trigger language plpgsql as 'begin new.nick := coalesce(new.nick, new.email); return new; end';
create function refuse() returns trigger language plpgsql as 'begin if new.nick is null then raise exception ''no nick''; end if; return new; end';
"""
INSERT = "INSERT INTO users (id, email, nick) VALUES ($1, $2, $3);"
UPDATE = "UPDATE users SET age = $1, nick = $2::text WHERE id = $3;"
SET = "alter table users alter column nick set not null;"
CHECK = "alter table users add constraint told check (nick is not null) not valid;"
CHANGED = "1700000000001"


def told(found: Rehearsal) -> str:
    """The words of the check that says what the queries of the old release may expect."""
    return next(check.details for check in found.checks if check.id == "compatibility:old")


def states(found: Rehearsal) -> list[list[str]]:
    """The SQLSTATE of every query at every revision."""
    return [[o.sqlstate for o in proof.outcomes] for proof in found.compatibility["old"].queries]


CHANGES: Sequence[tuple[str, str]] = [
    (SET, "23502"),
    (CHECK, "23514"),
    ("alter table users add constraint told check (nick is not null);", "23514"),
    ("alter table users alter column nick type word;", "23514"),
    ("create trigger refuse before insert or update on users for each row execute function refuse();", "P0001"),
    # The move fills in the rows that are there, and knows nothing of those that the old release writes afterwards.
    (f"-- lockgate: after=move:nicks\n{SET}", "23502"),
]  # fmt: skip


@pytest.mark.postgres("16", "18")
@pytest.mark.parametrize(("change", "sqlstate"), CHANGES)
@pytest.mark.parametrize("query", [INSERT, UPDATE])
def test_a_null_that_may_be_sent(
    rehearse: Callable[..., Rehearsal], change: str, sqlstate: str, query: str
) -> None:
    """A query that wrote NULL into a column that takes none from now on holds, as an INSERT and as an UPDATE: migration, query and column are named, and what the server said."""
    found = rehearse(BASE, change, base=1, queries=query)
    assert found.compatibility["old"].answer == "hold", told(found)
    assert states(found) == [["", sqlstate]]
    words = f"at {CHANGED}: {query[:-1]}: fails when the release sends NULL for users.nick, and nothing shows whether it does: "
    assert told(found).startswith(words)
    assert found.compatibility["old"].breaks == ()


@pytest.mark.postgres("18")
@pytest.mark.parametrize("later", ["", " not valid"])
def test_a_named_not_null(rehearse: Callable[..., Rehearsal], later: str) -> None:
    """NOT NULL as a constraint with a name, which 18 has, refuses new NULLs also where it is NOT VALID."""
    found = rehearse(
        BASE, f"alter table users add constraint told not null nick{later};", base=1, queries=INSERT
    )
    assert (found.compatibility["old"].answer, states(found)) == ("hold", [["", "23502"]])


@pytest.mark.postgres("16", "18")
@pytest.mark.parametrize(
    ("change", "query"),
    [
        # The query never writes NULL there, whatever is sent, or only through an expression of its own.
        (SET, "INSERT INTO users (id, email, nick) VALUES ($1, $2, coalesce($3, ''));"),
        (SET, "UPDATE users SET nick = coalesce($1, '') WHERE id = $2;"),
        (SET, "INSERT INTO users (id, email, nick) VALUES ($1, $2, 'x');"),
        # It looks for the column, and writes another.
        (SET, "UPDATE users SET age = $1 WHERE nick = $2;"),
        # The column held no NULL before.
        ("alter table users add constraint told check (email is not null) not valid;", INSERT),
        # NULL satisfies it, another column is meant, or somebody fills it in.
        ("alter table users add constraint told check (length(nick) < 100000) not valid;", INSERT),
        ("alter table users alter column kind set not null; alter table users alter column kind set default 'x';", INSERT),
        (f"create trigger fill before insert or update on users for each row execute function fill(); {SET}", INSERT),
    ],
)  # fmt: skip
def test_what_is_untouched(rehearse: Callable[..., Rehearsal], change: str, query: str) -> None:
    """No false alarm: values that are never NULL, columns that were NOT NULL before, checks that NULL satisfies, triggers that fill in."""
    found = rehearse(BASE, change, base=1, queries=query)
    assert found.compatibility["old"].answer == "compatible", told(found)
    assert not [o for proof in found.compatibility["old"].queries for o in proof.outcomes if o.note]


@pytest.mark.postgres("18")
def test_between_the_files(rehearse: Callable[..., Rehearsal]) -> None:
    """It is in doubt from the file that refuses NULL to the one that takes it again, also where the column has another name by then; what breaks for every value breaks."""
    files = (
        "create view people as select id, email, nick from users;",
        "alter table users alter column nick set not null; alter table users rename column nick to nickname;",
        "alter table users alter column nickname drop not null;",
        "drop view people;",
    )
    found = rehearse(BASE, *files, base=2, queries=INSERT.replace("users", "people"))
    old = found.compatibility["old"]
    assert [s.answer for s in old.migrations] == ["compatible", "hold", "compatible", "breaks"]
    assert "sends NULL for people.nick" in old.queries[0].outcomes[1].message
    assert [b.sqlstate for b in old.breaks] == ["42P01"]


@pytest.mark.postgres("18")
def test_where_production_stands(rehearse: Callable[..., Rehearsal]) -> None:
    """A NOT NULL that the base has already is nothing that could refuse a release of today; from an empty history it is a file like others."""
    files = (BASE, SET, "create table extra (id int primary key);")
    answers = {base: rehearse(*files, base=base, queries=INSERT).compatibility["old"].answer for base in (0, 2)}  # fmt: skip
    assert answers == {0: "hold", 2: "compatible"}


@pytest.mark.postgres("18")
def test_a_null_for_a_row_that_is_there(rehearse: Callable[..., Rehearsal]) -> None:
    """What only ON CONFLICT writes is tried on a row whose key is there already."""
    query = (
        "INSERT INTO users (id, email, nick) VALUES ($1, $2, 'new') ON CONFLICT (id) DO UPDATE SET nick = $3;"
    )
    found = rehearse(BASE, SET, base=1, queries=query)
    assert (found.compatibility["old"].answer, states(found)) == ("hold", [["", "23502"]])


@pytest.mark.postgres("18")
def test_an_old_row_and_a_new_null(rehearse: Callable[..., Rehearsal]) -> None:
    """Where both a row from before the constraint and a NULL that is sent stand against a query, both are told."""
    files = f"{CHECK} alter table users alter column age set not null;"
    both = rehearse(BASE, files, base=1, queries="UPDATE users SET age = $1 WHERE id = $2;")
    assert "(NOT VALID) refuses this on a row of users that holds NULL in nick" in told(both)
    assert "; fails when the release sends NULL for users.age" in told(both)


@pytest.fixture
def snapshot(database: str) -> Callable[[int], Snapshot]:
    """A snapshot of a production with 1,000 users, of which every n-th has no nick; 0: each has one."""

    def taken(every: int) -> Snapshot:
        production = Target(database, source="test")
        wire = Wire(production, "production")
        wire.one(USERS)
        wire.one(
            f"insert into users (id, email, nick) select g, 'e' || g, case when {every} > 0 and g % {max(every, 1)} = 0 then null else 'n' || g end from generate_series(1, 1000) g"
        )
        wire.one("analyze")
        wire.close()
        return take(production, "nobody", Limits.of(Migrations()), at=datetime.now(UTC).isoformat())

    return taken


@pytest.mark.postgres("16", "18")
@pytest.mark.parametrize("change", [SET, CHECK, f"-- lockgate: after=move:nicks\n{SET}"])
@pytest.mark.parametrize("query", [INSERT, "UPDATE users SET nick = $1 WHERE id = $2;"])
def test_what_production_shows(
    rehearse: Callable[..., Rehearsal], snapshot: Callable[[int], Snapshot], change: str, query: str
) -> None:
    """With a snapshot the answer is certain: it breaks where rows hold NULL, and how many is told; where none does it passes, with a note."""
    found = rehearse(BASE, change, base=1, queries=query, scaling=Scaling(snapshot(4), 1000, 1))
    assert found.compatibility["old"].answer == "breaks", told(found)
    assert "sends NULL for users.nick, and 25% of the rows of users hold NULL in nick: " in told(found)
    assert [b.revision for b in found.compatibility["old"].breaks] == [CHANGED]


@pytest.mark.postgres("16", "18")
@pytest.mark.parametrize("query", [INSERT, "UPDATE users SET nick = $1 WHERE id = $2;"])
def test_a_production_without_null(
    rehearse: Callable[..., Rehearsal], snapshot: Callable[[int], Snapshot], query: str
) -> None:
    """Where no row of production holds NULL in the column the query goes on, and a note tells what it must not send; the name that the table has by then does not matter."""
    change = f"{SET} alter table users rename to people; create view users as select * from people;"
    found = rehearse(BASE, change, base=1, queries=query, scaling=Scaling(snapshot(0), 1000, 1))
    old = found.compatibility["old"]
    assert old.answer == "compatible", told(found)
    assert [o.note for o in old.queries[0].outcomes] == ["", "fails when the release sends NULL for users.nick, which no row of production shows"]  # fmt: skip


_UNPROVEN = "alter table users add constraint nicked check (nick is not null) not valid;"
_PROVEN = "alter table users validate constraint nicked;"


@pytest.mark.postgres("18")
@pytest.mark.parametrize(
    ("files", "base", "holds"),
    [
        ((_UNPROVEN, _PROVEN), 1, False),
        ((_UNPROVEN, _PROVEN), 2, False),
        (("alter table users add constraint nicked not null nick not valid;", _PROVEN), 1, False),
        ((SET,), 1, False),
        ((_UNPROVEN, "update users set nick = 'none' where nick is null;", _PROVEN), 1, True),
        ((_UNPROVEN, f"-- lockgate: after=move:nicks\n{_PROVEN}"), 1, True),
    ],
)
def test_nulls_that_the_snapshot_knows_fail_a_validation(
    rehearse: Callable[..., Rehearsal],
    snapshot: Callable[[int], Snapshot],
    files: tuple[str, ...],
    base: int,
    holds: bool,
) -> None:
    """Rows that are NULL in production make VALIDATE and SET NOT NULL fail there: the rehearsal fails, unless a file or a move before it fills them in."""
    found = rehearse(BASE, *files, base=base, scaling=Scaling(snapshot(4), 1000, 1))
    checks = {check.id.partition(":")[0]: check for check in found.checks}
    assert ("rows" in checks) is not holds, found.checks
    if not holds:
        assert str(checks["rows"].answer) == "fail"
        assert "where the snapshot has NULLs" in checks["rows"].details


def test_what_a_share_says() -> None:
    """Without a share it holds, with none it goes on, with any it breaks, and a small one is not told as 0%."""
    sent = Sent("users", "nick", ())
    answers = {known: judged(Sent("users", "nick", (), known), "no")[0] for known in (None, 0.0, 0.0001)}
    assert answers == {None: "hold", 0.0: "compatible", 0.0001: "breaks"}
    assert judged(sent, "no")[1].startswith("fails when the release sends NULL for users.nick, and nothing shows whether it does: no")  # fmt: skip
    assert [percent(share) for share in (0.0001, 0.25, 0.333)] == ["less than 0.1%", "25%", "33.3%"]


def test_which_parameters_are_tried() -> None:
    """Those that are written into a column that may hold NULL, through casts, functions, operators, sources and documents too; of several rows the first one's."""
    columns = (ColumnOf("a", "text", "text", not_null=True), ColumnOf("b", "text", "text"), ColumnOf("c", "int", "int4"))  # fmt: skip
    tables = [Table(7, "r", "public", "t", columns)]

    def tried(text: str) -> list[tuple[object, str]]:
        (query,) = queries_of(text)
        found = []
        for holes, _, column in written(query, tables):
            told = [".".join(map(str, (number, *path))) if path else number for number, path in holes]
            found.append((told[0] if len(told) == 1 else tuple(told), column.name))
        return found

    assert tried("insert into t values ($1, $2, $3::int)") == [(2, "b"), (3, "c")]
    assert tried("insert into t (a, b) values ($1, 'x'), ($2, $3 || 'x'), ($4, lower($5)), ($6, $7)") == [(3, "b"), (5, "b"), (7, "b")]  # fmt: skip
    assert tried("update t set b = $1, c = c + $2 where b = $3") == [(1, "b"), (2, "c")]
    assert tried("insert into t (a, b, c) values ('x', $1 || 'y', ($2 > 3 and $3)::int)") == [
        (1, "b"),
        (2, "c"),
        (3, "c"),
    ]
    assert tried("select * from t where b = $1") == tried("delete from t where b = $1") == []
    assert tried("insert into t (a, b) values ('x', $1), ('x', $2)") == [(1, "b")]
    assert tried("update t set (b, c) = ($1, $2) where a = $3") == [(1, "b"), (2, "c")]
    assert tried("update t set b = v.b from (values ($1, $2), ($3, $4)) v (a, b) where t.a = v.a") == [
        (2, "b")
    ]
    assert tried("insert into t select * from unnest($1::text[], $2::text[], $3::int[])") == [
        (2, "b"),
        (3, "c"),
    ]
    assert tried("insert into t (a, b) select v.x, v.y from (select $1::text x, $2::text y) v") == [(2, "b")]
    assert tried("with v (x, y) as (values ($1, $2)) insert into t (a, b) select * from v") == [(2, "b")]
    assert tried("with v as (select $1 as x, $2 as y) update t set b = v.y from v where t.a = v.x") == [
        (2, "b")
    ]
    assert tried("insert into t (a, b) select $1, $2 union all select $3, $4") == [(2, "b")]
    assert tried("insert into t (a, b) values ($1, (select $2))") == [(2, "b")]
    assert tried("update t set (b, c) = (select $1, $2)") == [(1, "b"), (2, "c")]
    assert tried("insert into t (a, b) select 'x', lower(v.y) from (values ($1)) v (y)") == [(1, "b")]
    assert tried(
        "insert into t (a, b) select 'x', upper(b) from (select lower(b) as b from (select $1 as b) w) b"
    ) == [(1, "b")]
    assert tried("insert into t select $1->>'a', $1->'p'->>'b', ($1#>>'{p,0}')::int") == [
        ("1.p.b", "b"),
        ("1.p.0", "c"),
    ]
    assert tried("update t set b = $1['b'], c = ($2::t).c where a = $1->>'a'") == [("1.b", "b"), ("2.c", "c")]
    rows = "jsonb_to_recordset($1) as x (a text, b text, c int)"
    every = [("1.0.b", "b"), ("1.0.c", "c")]
    assert tried(f"insert into t select * from {rows}") == every
    assert tried(f"with v as (select a, b, c from {rows}) insert into t select * from v") == every
    assert tried("insert into t select * from jsonb_populate_recordset(null::t, $1)") == every
    assert tried("insert into t select (r).* from unnest($1::t[]) r") == every
    assert tried("insert into t (a, b) select (r).a, r.b from unnest($1::public.t[]) r") == every[:1]
    assert tried("insert into t select ($1::t).*") == [("1.b", "b"), ("1.c", "c")]
    assert tried(
        "insert into t select * from json_table($1, '$.all[*]' columns (a text, b text path '$.in.b', n for ordinality))"
    ) == [("1.all.0.in.b", "b")]
    assert (
        tried("insert into t (a, b) select e->>'a', lower(e->>'b') from jsonb_array_elements($1) e")
        == every[:1]
    )
    assert tried(
        "insert into t (a, b) select x.a, x.b from jsonb_array_elements($1) e, jsonb_to_record(e->'in') x (a text, b text)"
    ) == [("1.0.in.b", "b")]
    assert tried("insert into t (a, b) values ('x', coalesce($1, $2))") == [((1, 2), "b")]
    assert tried("insert into t (a, b) values ('x', case when $1 then $2 else $3 end)") == [((2, 3), "b")]
    assert tried("insert into t (a, b) values ('x', left(nullif($1, '') collate \"C\", 3))") == [(1, "b")]
    merge = "merge into t using (select $1::text as a, $2::text as b) s on s.a = t.a when matched then update set b = s.b when not matched then insert (a, b, c) values (s.a, s.b, $3)"
    assert tried(merge) == [(2, "b"), (3, "c")]
    assert tried("insert into t (a, b) values ('x', $1) on conflict (a) do update set b = $2") == [(1, "b"), (2, "b")]  # fmt: skip


@pytest.mark.postgres("18")
def test_a_wide_row(rehearse: Callable[..., Rehearsal]) -> None:
    """Beyond eight parameters a column is found, too, and only the one that refuses NULL is named."""
    names = [f"c{n}" for n in range(12)]
    base = f"create table wide (id bigint primary key, {', '.join(f'{name} text' for name in names)});"
    values = ", ".join(f"${n}" for n in range(1, 14))
    query = f"INSERT INTO wide (id, {', '.join(names)}) VALUES ({values});"
    for name in ("c2", "c10"):
        found = rehearse(base, f"alter table wide alter column {name} set not null;", base=1, queries=query)
        assert found.compatibility["old"].answer == "hold"
        assert told(found).count("sends NULL for") == 1
        assert f"sends NULL for wide.{name}, " in told(found)


@pytest.mark.postgres("18")
@pytest.mark.parametrize(
    "query",
    [
        "INSERT INTO users (id, email, nick) SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[]);",
        "INSERT INTO users (id, email, nick) VALUES ($1, $2, lower($3));",
        "UPDATE users SET (age, nick) = ($1, $2) WHERE id = $3;",
        "INSERT INTO users (id, email, nick) VALUES ($1, $2, coalesce($3, $4));",
        "WITH v (id, nick) AS (VALUES ($1::bigint, $2)) INSERT INTO users (id, email, nick) SELECT id, 'x' || id, nick FROM v;",
        "UPDATE users SET nick = v.nick FROM (VALUES ($1::bigint, $2)) v (id, nick) WHERE users.id = v.id;",
        "MERGE INTO users u USING (SELECT $1::bigint AS id, $2::text AS email, $3::text AS nick) s ON s.id = u.id"
        " WHEN MATCHED THEN UPDATE SET nick = s.nick WHEN NOT MATCHED THEN INSERT (id, email, nick) VALUES (s.id, s.email, s.nick);",
    ],
)
def test_a_null_by_another_way(rehearse: Callable[..., Rehearsal], query: str) -> None:
    """NULL in an array of rows, below a function, in an assignment of several columns, in a source of UPDATE or MERGE: a later NOT NULL holds."""
    found = rehearse(BASE, SET, base=1, queries=query)
    assert found.compatibility["old"].answer == "hold", told(found)
    assert "sends NULL for users.nick, " in told(found)


@pytest.mark.postgres("18")
@pytest.mark.parametrize("kind", ["json", "jsonb", "text[]", "point"])
def test_a_null_of_any_type(rehearse: Callable[..., Rehearsal], kind: str) -> None:
    """A column of a type whose values are written in braces or brackets is tried like any other."""
    base = f"create table docs (id bigint primary key, doc {kind});"
    found = rehearse(
        base,
        "alter table docs alter column doc set not null;",
        base=1,
        queries="INSERT INTO docs VALUES ($1, $2);",
    )
    assert found.compatibility["old"].answer == "hold", told(found)
    assert "sends NULL for docs.doc, " in told(found)


def test_a_doubt_that_goes_on_is_told_once(tmp_path, database: str):
    """For people each query in doubt stands once, with the first revision and that it is so at every later one, and the SQLSTATE where there is one; the report keeps all."""
    project = Project(tmp_path, database)
    first = project.write("t", "CREATE TABLE t (id bigint PRIMARY KEY, note text);\n")
    refusing = project.write(
        "refuses", "ALTER TABLE t ADD CONSTRAINT said CHECK (note IS NOT NULL) NOT VALID;\n"
    )
    for number in range(3):
        project.write(f"more{number}", f"ALTER TABLE t ADD COLUMN more{number} text;\n")
    (tmp_path / "old.sql").write_text("INSERT INTO t (id, note) VALUES ($1, $2);\n", "utf-8")
    answer = project.text("rehearse", "--from", first, "--queries", "old=old.sql")
    lines = [line for line in answer.out.splitlines() if "in doubt at" in line]
    assert len(lines) == 1, answer.out
    assert f"in doubt at {refusing} and at every later one: INSERT INTO t" in lines[0]
    assert "    23514: fails when the release sends NULL for t.note, " in answer.out
    project.write("cut", "ALTER TABLE t ALTER COLUMN id TYPE text;\n")
    (tmp_path / "old.sql").write_text("SELECT id FROM t;\n", "utf-8")
    answer = project.text("rehearse", "--from", first, "--queries", "old=old.sql")
    assert (
        "\n    its result changes, and nothing shows whether the release can read it: id is text and was int8\n"
        in answer.out
    )
