"""Rows from before a constraint that spares them: the release that stays alive updates one of them."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from lockgate.config import Migrations
from lockgate.migrations.limits import Limits
from lockgate.postgres.tables import ColumnOf, Table
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Wire
from lockgate.rehearsal.likeness import Likeness
from lockgate.rehearsal.names import Named, Proven, renaming, under
from lockgate.rehearsal.older import Unproven, planted_for
from lockgate.rehearsal.report import Rehearsal
from lockgate.rehearsal.scaling import Scaling
from lockgate.release.snapshot import take

BASE = """
create table users (id bigint primary key, email text not null, nick text, plan text check (plan in ('free', 'paid', 'gold')), age int);
create function fill() returns trigger language plpgsql as 'begin new.nick := coalesce(new.nick, new.email); return new; end';
"""
QUERIES = """
UPDATE users SET email = $1 WHERE id = $2;
INSERT INTO users (id, email, nick) VALUES ($1, $2, coalesce($3, 'none'));
"""
CHECK = "alter table users add constraint told check (nick is not null) not valid;"


def answer(found: Rehearsal) -> tuple[str, str, list[tuple[str, str]]]:
    """The answer, the check's words, and revision and SQLSTATE where a query does not simply go on."""
    old = found.compatibility["old"]
    told = next(check.details for check in found.checks if check.id == "compatibility:old")
    bad = [
        (o.revision, o.sqlstate) for q in old.queries for o in q.outcomes if o.answer in ("hold", "breaks")
    ]
    return old.answer, told, bad


@pytest.mark.postgres("16", "18")
@pytest.mark.parametrize(
    ("change", "word"),
    [
        (CHECK, "NULL in nick"),
        ("alter table users add constraint told check (coalesce(nick, '') <> '') not valid;", "NULL in nick"),
        ("alter table users add constraint told check (num_nonnulls(nick, age) >= 1) not valid;", "NULL in nick and NULL in age"),
        ("alter table users drop constraint users_plan_check; alter table users add constraint told check (plan in ('free', 'paid')) not valid;", "'gold' in plan"),
    ],
)  # fmt: skip
def test_an_old_row_that_the_constraint_refuses(
    rehearse: Callable[..., Rehearsal], change: str, word: str
) -> None:
    """A query that changes another column of an old row holds: query, constraint and what the row holds are named; nobody knows whether there is one."""
    found = rehearse(BASE, change, base=1, queries=QUERIES)
    said, told, bad = answer(found)
    # What takes '' for NULL refuses the '' that the INSERT could send, too.
    queries = 2 if "coalesce" in change else 1
    assert (found.verdict, said, bad) == ("hold", "hold", [("1700000000001", "23514")] * queries)
    assert "UPDATE users SET email" in told
    assert "constraint told (NOT VALID)" in told
    assert word in told


@pytest.mark.postgres("18")
def test_a_not_null_that_is_not_valid(rehearse: Callable[..., Rehearsal]) -> None:
    """NOT NULL itself may spare old rows from 18 on, and refuses an UPDATE of one in the same way."""
    change = "alter table users add constraint told not null nick not valid;"
    said, told, bad = answer(rehearse(BASE, change, base=1, queries=QUERIES))
    assert (said, bad) == ("hold", [("1700000000001", "23502")])
    assert "NULL in nick" in told


@pytest.mark.postgres("18")
@pytest.mark.parametrize(
    "files",
    [
        # The file fills the rows in itself, or an earlier one did.
        (f"{CHECK} update users set nick = email where nick is null;",),
        ("update users set nick = email where nick is null;", CHECK),
        (f"{CHECK} do $$ begin update users set nick = '' where nick is null; end $$;",),
        # A trigger fills in what the old release leaves.
        (f"create trigger fill before insert or update on users for each row execute function fill(); {CHECK}",),
        # A data move has been there.
        (f"-- lockgate: after=move:nicks\n{CHECK}",),
        # NULL satisfies it, it is wider than before, or it is on a column that never held NULL.
        ("alter table users add constraint told check (age >= 0) not valid;",),
        ("alter table users drop constraint users_plan_check; alter table users add constraint told check (plan in ('free', 'paid', 'gold', 'new')) not valid;",),
        ("alter table users add constraint told check (email is not null) not valid;",),
        # The table came with it.
        ("create table notes (id int, told text); alter table notes add constraint told check (told is not null) not valid;", "comment on table notes is 'x';"),
        # A rule that the base has already.
        ("comment on table users is 'people';",),
    ],
)  # fmt: skip
def test_old_rows_that_nothing_refuses(rehearse: Callable[..., Rehearsal], files: tuple[str, ...]) -> None:
    """No false alarm: rows that the files fill in, constraints that NULL satisfies, wider ones, and those that were there before."""
    base = BASE + (CHECK if files[0].startswith("comment") else "")
    asked = QUERIES + ("UPDATE notes SET id = $1;" if "notes" in files[0] else "")
    found = rehearse(base, *files, base=1, queries=asked)
    assert answer(found)[::2] == ("compatible", []), found.checks


JOBS = """
create table people (id bigint primary key, nick text, note text, constraint short check (nick is not null and length(nick) < 50));
create table jobs (id bigint primary key, state text not null check (state in ('open', 'done')), done_at timestamptz, note text, constraint ended check ((state = 'done') = (done_at is not null)));
"""
LOOSER = "alter table people add constraint told check (nick is not null and length(nick) < 100) not valid;"


@pytest.mark.postgres("16", "18")
@pytest.mark.parametrize(
    ("files", "word"),
    [
        # Loosened, in one file or in two, and renamed by hand: what was proven is still in every row.
        ((f"alter table people drop constraint short; {LOOSER}",), ""),
        ((LOOSER, "alter table people drop constraint short;"), ""),
        (("alter table jobs drop constraint ended; alter table jobs add constraint told check ((state = 'done') = (done_at is not null)) not valid;",), ""),
        # Narrower than what was proven, or nothing was proven any more when it came.
        (("alter table jobs drop constraint ended; alter table jobs add constraint told check (done_at is not null) not valid;",), "NULL in done_at"),
        (("alter table people drop constraint short;", LOOSER), "NULL in nick"),
        # A check that speaks of a column that is gone says nothing any more.
        (("alter table jobs drop column done_at; alter table jobs add constraint told check (state = 'done') not valid;",), "'open' in state"),
    ],
)  # fmt: skip
def test_what_was_proven_before(
    rehearse: Callable[..., Rehearsal], files: tuple[str, ...], word: str
) -> None:
    """Old rows hold what the validated checks accepted right before the constraint came, and nothing else: looser ones meet no row, narrower ones hold."""
    said, told, _ = answer(
        rehearse(
            JOBS,
            *files,
            base=1,
            queries="UPDATE people SET note = $1 WHERE id = $2; UPDATE jobs SET note = $1 WHERE id = $2;",
        )
    )
    assert said == ("hold" if word else "compatible"), told
    assert word in told


NICKNAME = "alter table people rename column nick to nickname;"
TOLD = "alter table people add constraint told check (nickname is not null and length(nickname) < 100) not valid;"
NO_SHORT = "alter table people drop constraint short;"
CLOSED = "alter table jobs drop constraint ended; alter table jobs rename column done_at to closed_at;"
FILLED = "update people set nick = '' where nick is null;"


@pytest.mark.postgres("16", "18")
@pytest.mark.parametrize(
    ("files", "word"),
    [
        # The same rule, or a looser one, under another name: in one file in either order, in two, of two columns.
        ((f"{NO_SHORT} {NICKNAME} {TOLD}",), ""),
        ((f"{NICKNAME} {NO_SHORT} {TOLD}",), ""),
        ((f"{NICKNAME} {TOLD}", NO_SHORT), ""),
        ((f"{CLOSED} alter table jobs add constraint told check ((state = 'done') = (closed_at is not null)) not valid;",), ""),
        # Another column stands where it was: the old check speaks of the renamed one only.
        ((f"{NO_SHORT} {NICKNAME} alter table people add column nick text; {TOLD}",), ""),
        ((f"{NO_SHORT} {NICKNAME} alter table people add column nick text default 'x'; alter table people add constraint told check (nick is not null and nickname is not null) not valid;",), ""),
        ((f"{NO_SHORT} alter table people rename note to aside; {NICKNAME} alter table people rename aside to nick; alter table people add constraint told check (nick is not null) not valid; create view old as select id, nick as note from people;",), "NULL in nick"),
        # What the file did to rows it did under the names of then.
        ((NO_SHORT, f"{FILLED} {NICKNAME} {TOLD}"), ""),
        ((NO_SHORT, f"{FILLED} alter table people rename to persons; alter table persons add constraint told check (nick is not null) not valid; create view people as select * from persons;"), ""),
        # Narrower under the new name, or nothing was proven any more.
        ((f"{CLOSED} alter table jobs add constraint told check (closed_at is not null) not valid;",), "NULL in closed_at"),
        ((NO_SHORT, f"{NICKNAME} {TOLD}"), "NULL in nickname"),
    ],
)  # fmt: skip
def test_what_was_proven_under_another_name(
    rehearse: Callable[..., Rehearsal], files: tuple[str, ...], word: str
) -> None:
    """A column or table that the same file renames keeps what was proven of it, and what files did to its rows; what is narrower still holds."""
    asked = "UPDATE people SET id = id WHERE id = $1; UPDATE jobs SET note = $1 WHERE id = $2;"
    said, told, _ = answer(rehearse(JOBS, *files, base=1, queries=asked))
    assert said == ("hold" if word else "compatible"), told
    assert word in told


def test_names_of_then_and_now() -> None:
    """A check is told under the names of now by the columns' numbers, and not at all where one is gone; two columns that changed places go there and back."""
    then = Named(7, "public", "t", {1: "a", 2: "b", 3: "c"})
    now = Named(7, "public", "u", {1: "b", 2: "a", 4: "c"})
    assert under(Proven("(a > 0)", (1,)), then, then) == "(a > 0)"
    assert under(Proven("(a > b)", (1, 2)), then, now) == '(SELECT (a > b) FROM (SELECT "b" AS "a", "a" AS "b") lockgate_row)'  # fmt: skip
    assert under(Proven("(c > 0)", (3,)), then, now) is None
    there, back = renaming(then, now)
    assert len(there) == len(back) == 5
    assert there[-1] == 'ALTER TABLE "public"."u" RENAME TO "t"'
    assert back[0] == 'ALTER TABLE "public"."t" RENAME TO "u"'
    assert renaming(then, then) == ([], [])


@pytest.mark.postgres("16", "18")
def test_what_on_conflict_updates(rehearse: Callable[..., Rehearsal]) -> None:
    """An INSERT that satisfies the constraint meets an old row by its key, and what ON CONFLICT does to that one is refused; where it fills the row in, it goes on."""
    insert = "INSERT INTO users (id, email, nick) VALUES ($1, $2, coalesce($3, '')) ON CONFLICT (id) DO UPDATE SET email = excluded.email"
    said, told, bad = answer(rehearse(BASE, CHECK, base=1, queries=f"{insert};"))
    assert (said, bad) == ("hold", [("1700000000001", "23514")])
    assert "NULL in nick" in told
    filled = rehearse(BASE, CHECK, base=1, queries=f"{insert}, nick = excluded.nick;")
    assert answer(filled)[::2] == ("compatible", [])


@pytest.mark.postgres("18")
def test_where_no_row_is(rehearse: Callable[..., Rehearsal]) -> None:
    """Without any row nothing can be shown: the query that updates the table holds, and says so; an INSERT and a query of another table go on."""
    asked = "UPDATE users SET email = $1 WHERE id = $2; UPDATE other SET id = $1; INSERT INTO users (id, email, nick) VALUES ($1, $2, coalesce($3, ''));"
    found = rehearse(f"{BASE} create table other (id int);", CHECK, base=1, queries=asked, rows=0)
    said, told, bad = answer(found)
    assert (said, bad) == ("hold", [("1700000000001", "")])
    assert "users holds no rows here" in told


@pytest.mark.postgres("18")
def test_rows_that_are_proven_later(rehearse: Callable[..., Rehearsal]) -> None:
    """Between the files the query is in doubt; once the constraint is validated it is not."""
    files = (CHECK, "alter table users validate constraint told;")
    old = rehearse(BASE, *files, base=1, queries=QUERIES).compatibility["old"]
    assert [(s.revision[-1], s.answer) for s in old.migrations] == [("0", "compatible"), ("1", "hold"), ("2", "compatible")]  # fmt: skip


@pytest.mark.postgres("18")
@pytest.mark.parametrize(("every", "said"), [(4, "breaks"), (0, "compatible")])
def test_production_holds_such_rows(
    rehearse: Callable[..., Rehearsal], database: str, every: int, said: str
) -> None:
    """With a snapshot the answer is certain: rows with NULL are there, and how many is told; or there are none."""
    production = Target(database, source="test")
    wire = Wire(production, "production")
    wire.one(BASE.strip().partition(";")[0])
    wire.one(
        f"insert into users (id, email, nick) select g, 'e' || g, case when {every} > 0 and g % {max(every, 1)} = 0 then null else 'n' || g end from generate_series(1, 1000) g"
    )
    wire.one("analyze")
    wire.close()
    snapshot = take(production, "nobody", Limits.of(Migrations()), at=datetime.now(UTC).isoformat())
    found = rehearse(BASE, CHECK, base=1, queries=QUERIES, scaling=Scaling(snapshot, 1000, 1))
    answered, told, _ = answer(found)
    assert answered == said, told
    assert ("25% of the rows of users hold NULL in nick" in told) == (said == "breaks"), told


def test_what_the_snapshot_knows() -> None:
    """A column in which production has no NULL gets none, one in which it has some says how many; a column that is NOT NULL gets none."""
    columns = (ColumnOf("a", "text", "text"), ColumnOf("b", "text", "text", not_null=True))
    table = Table(7, "r", "public", "t", columns)
    constraint = Unproven(1, "public.t", "t", "c", "", 7, ("a", "b"))

    def shares(like: dict[str, dict[str, Likeness]]) -> list[float | None]:
        return [row.known for row in planted_for(constraint, [table], like, filled_in=False)]

    assert shares({}) == [None]
    assert shares({"t": {"a": Likeness(null_share=0.0)}}) == []
    assert shares({"t": {"a": Likeness(null_share=0.25)}}) == [0.25]
    assert planted_for(constraint, [table], {}, filled_in=True) == []
