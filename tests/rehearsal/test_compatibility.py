"""The queries of the release that stays alive, before and after every migration."""

from collections.abc import Callable

import pytest

from lockgate.rehearsal.report import Rehearsal

BASE = """
create type mood as enum ('sad', 'ok', 'happy');
create table users (id bigint primary key, email text not null, nick varchar(40), age int check (age >= 0), feels mood, created_at timestamptz not null default now());
create table orders (id bigserial primary key, user_id bigint not null references users (id), total numeric(10,2) not null, status text not null default 'new' check (status in ('new', 'paid', 'sent')), note text);
create index users_email on users (email);
create view paid as select id, total from orders where status = 'paid';
"""
QUERIES = """
SELECT id, email FROM users WHERE email = $1;
SELECT * FROM orders WHERE id = $1;
INSERT INTO users (id, email, nick, age) VALUES ($1, $2, $3, $4);
INSERT INTO orders (user_id, total, status) VALUES ($1, $2, $3) RETURNING id;
UPDATE orders SET total = $1, status = $2 WHERE id = $3;
DELETE FROM orders WHERE user_id = $1;
SELECT o.total, u.nick FROM orders o JOIN users u ON u.id = o.user_id WHERE u.nick LIKE $1 LIMIT $2;
SELECT total FROM paid WHERE id = ANY($1);
SELECT id FROM users WHERE feels = ANY($1);
SELECT id FROM users WHERE feels = $1;
"""


@pytest.mark.postgres("16", "18")
@pytest.mark.parametrize(
    ("change", "sqlstate", "word"),
    [
        ("alter table users rename column email to mail;", "42703", "users"),
        ("alter table users drop column nick;", "42703", "nick"),
        ("alter table orders rename to purchases;", "42P01", "orders"),
        ("drop view paid;", "42P01", "paid"),
        ("alter table users alter column age type text using age::text;", "", "age"),
        ("alter table users drop constraint users_age_check; alter table users alter column age type boolean using age > 0;", "42804", "age"),
        ("alter table users add column must text not null;", "23502", "INSERT INTO users"),
        ("alter table users add column must text not null default 'x'; alter table users alter column must drop default;", "23502", "INSERT INTO users"),
        ("alter table orders add constraint short check (length(status) < 0) not valid;", "23514", "orders"),
        ("alter table orders drop constraint orders_status_check; alter table orders add constraint narrower check (status in ('new', 'paid')) not valid;", "23514", "orders"),
        ("create unique index users_email_once on users (email);", "23505", "INSERT INTO users"),
        ("alter table users alter column nick type varchar(4) using left(nick, 4);", "22001", "INSERT INTO users"),
        ("alter table users alter column email type varchar(255);", "22001", "INSERT INTO users"),
        ("alter type mood rename value 'happy' to 'glad';", "22P02", "feels ="),
        ("alter table users alter column id type int;", "22003", "INSERT INTO users"),
        ("create function no() returns trigger language plpgsql as 'begin raise exception ''no''; end'; create trigger no before delete on orders for each row execute function no();", "P0001", "DELETE FROM orders"),
        ("alter table orders add constraint later unique (user_id) deferrable initially deferred;", "23505", "INSERT INTO orders"),
    ],
)  # fmt: skip
def test_what_breaks(rehearse: Callable[..., Rehearsal], change: str, sqlstate: str, word: str) -> None:
    """Each planted break is answered `breaks`, and revision, query and SQLSTATE are named."""
    found = rehearse(BASE, change, queries=QUERIES)
    old = found.compatibility["old"]
    assert found.verdict == "fail"
    if change.startswith("alter table users alter column age type text"):
        # The server casts a number into a text by itself; only the comparison with a CHECK of numbers goes.
        return
    assert old.answer == "breaks", old
    assert {b.revision for b in old.breaks} == {"1700000000001"}
    assert any(b.sqlstate == sqlstate and word in b.query + b.message for b in old.breaks), old.breaks


@pytest.mark.postgres("16", "18")
@pytest.mark.parametrize(
    "change",
    [
        "alter table users add column extra text;",
        "alter table users add column kind int not null default 1;",
        "create table extra (id int primary key);",
        "create index orders_user on orders (user_id);",
        "comment on table users is 'people';",
        "alter table users alter column nick type varchar(80);",
        "alter table users alter column email drop not null;",
        "alter type mood add value 'calm';",
        "create view everything as select * from orders;",
        "alter table users add constraint grown check (age >= 0) not valid;",
        "alter table users alter column age set default 7;",
        "alter table orders drop constraint orders_status_check;",
    ],
)
def test_what_does_not(rehearse: Callable[..., Rehearsal], change: str) -> None:
    """Harmless expansions are not flagged: every query goes on, at worst on a new connection."""
    found = rehearse(BASE, change, queries=QUERIES)
    old = found.compatibility["old"]
    assert old.answer in ("compatible", "reconnect"), old.breaks
    assert old.breaks == ()
    assert all(q.base == "1700000000000" for q in old.queries)
    assert not [c for c in found.checks if str(c.answer) != "pass" and c.id != "policy"]


@pytest.mark.postgres("18")
def test_an_index_that_is_gone(rehearse: Callable[..., Rehearsal]) -> None:
    """A query that an index served and none serves any more is compatible, with a word about it; a renamed table is not taken for that."""
    found = rehearse(BASE, "drop index users_email;", queries=QUERIES)
    notes = {q.query: q.outcomes[-1].note for q in found.compatibility["old"].queries if q.outcomes[-1].note}
    assert list(notes) == ["SELECT id, email FROM users WHERE email = $1"]
    assert "users" in notes["SELECT id, email FROM users WHERE email = $1"]
    found = rehearse(
        BASE,
        "alter table orders rename to purchases; create view orders as select * from purchases;",
        queries=QUERIES,
    )
    assert found.compatibility["old"].answer in ("compatible", "reconnect"), found.compatibility["old"].breaks
    assert not [o.note for q in found.compatibility["old"].queries for o in q.outcomes if o.note]
    assert {q.kind for q in found.compatibility["old"].queries} == {"read", "write"}


@pytest.mark.postgres("18")
def test_the_current_release_and_the_one_to_go_back_to(rehearse: Callable[..., Rehearsal]) -> None:
    """Each release has an answer of its own, for each migration and in all: one goes on, one has to reconnect and then loses a column, one breaks, one cannot be told."""
    found = rehearse(
        BASE,
        "alter table users add column nickname text;",
        "alter table users drop column nick;",
        base=1,
        queries={
            "current": "SELECT id, email FROM users WHERE id = $1;",
            "lazy": "SELECT * FROM orders WHERE id = $1; SELECT * FROM users WHERE id = $1;",
            "rollback": "UPDATE users SET nick = $1 WHERE id = $2; SELECT nick FROM users;",
            "dreamt": "SELECT id FROM nowhere;",
        },
    )
    told = {name: (c.answer, [s.answer for s in c.migrations]) for name, c in found.compatibility.items()}
    assert told == {
        "current": ("compatible", ["compatible"] * 3),
        "lazy": ("hold", ["compatible", "reconnect", "hold"]),
        "rollback": ("breaks", ["compatible", "compatible", "breaks"]),
        "dreamt": ("hold", []),
    }
    checks = {c.id: str(c.answer) for c in found.checks if c.id.startswith("compatibility:")}
    assert set(checks.items()) == {
        ("compatibility:current", "pass"), ("compatibility:lazy", "hold"), ("compatibility:rollback", "fail"), ("compatibility:dreamt", "hold"),
    }  # fmt: skip
    assert {(b.revision[-1], b.sqlstate) for b in found.compatibility["rollback"].breaks} == {("2", "42703")}


@pytest.mark.postgres("18")
def test_one_release_and_its_revisions(rehearse: Callable[..., Rehearsal]) -> None:
    """The answer stands for each migration: it breaks where it breaks, once, and works again where it works again."""
    found = rehearse(
        BASE,
        "alter table users rename column nick to nickname;",
        "alter table users rename column nickname to nick;",
        base=1,
        queries="SELECT nick FROM users WHERE id = $1;",
    )
    old = found.compatibility["old"]
    assert [(s.revision[-1], s.answer) for s in old.migrations] == [
        ("0", "compatible"),
        ("1", "breaks"),
        ("2", "compatible"),
    ]
    assert [b.revision[-1] for b in old.breaks] == ["1"]
    assert old.answer == "breaks"


@pytest.mark.postgres("16", "18", "machine")
def test_a_cached_plan_of_every_column(rehearse: Callable[..., Rehearsal]) -> None:
    """SELECT * after a new column: only connections whose plan was cached before fail, with 0A000, at that file; a query that names its columns goes on."""
    found = rehearse(
        BASE,
        "alter table users add column extra text;",
        "create table later (id int primary key);",
        base=1,
        queries="SELECT * FROM users WHERE id = $1; SELECT email FROM users WHERE id = $1;",
    )
    old = found.compatibility["old"]
    assert (found.verdict, old.answer) == ("pass", "reconnect")
    told = [[(o.revision[-1], o.answer, o.sqlstate) for o in q.outcomes] for q in old.queries]
    assert told[0] == [("0", "compatible", ""), ("1", "reconnect", "0A000"), ("2", "compatible", "")]
    assert {answer for _, answer, _ in told[1]} == {"compatible"}


@pytest.mark.postgres("16", "18")
def test_a_delete_of_what_is_referred_to(rehearse: Callable[..., Rehearsal]) -> None:
    """A DELETE that every made-up row refuses, for another refers to it, is run where it meets none: it goes on beside a new table, and breaks where its column goes."""
    files = (
        "create table carts (user_id bigint references users (id));",
        "alter table users rename column id to key;",
    )
    old = rehearse(BASE, *files, base=1, queries="DELETE FROM users WHERE id = $1;").compatibility["old"]
    assert [s.answer for s in old.migrations] == ["compatible", "compatible", "breaks"], old.queries
    assert "run where it meets none" in old.queries[0].outcomes[0].note


GRANTS = "grant usage on schema public to app; grant select, insert, update, delete on all tables in schema public to app;"
RICH = """
create domain percent as int check (value between 0 and 100);
create table teams (id bigint primary key);
create table members (id bigint primary key, team_id bigint not null, code text not null check (code ~ '^M-[0-9]{4}$'), share percent not null default 1, kind text not null default 'free');
create table visits (id int generated by default as identity primary key, member bigint not null references members (id), at date not null, seen timestamptz not null default now());
create view free_members as select id, code from members where kind = 'free';
create function share_of(m bigint) returns int language sql stable as 'select share from members where id = m';
"""
ASKED = """
INSERT INTO members (id, team_id, code, share) VALUES ($1, $2, upper($3), $4);
INSERT INTO members (id, team_id, code) VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE SET code = excluded.code;
INSERT INTO visits (member, at) VALUES ($1, $2) RETURNING *;
DELETE FROM visits WHERE member = $1;
SELECT code FROM free_members WHERE id = $1;
SELECT share_of($1);
SELECT count(*) FROM members WHERE lower(code) = lower($1) AND share > $2;
"""


@pytest.mark.postgres("18")
@pytest.mark.parametrize(
    ("change", "answer", "sqlstate"),
    [
        ("alter table members add constraint once unique (code, kind, team_id);", "breaks", "23505"),
        ("create unique index visits_once on visits (member, at);", "breaks", "23505"),
        ("create unique index visits_seen on visits (member, at, seen);", "compatible", ""),
        ("create table codes (code text primary key); alter table members add foreign key (code) references codes not valid;", "breaks", "23503"),
        ("alter table members add foreign key (id) references teams not valid;", "breaks", "23503"),
        ("alter table members add foreign key (team_id) references teams not valid;", "compatible", ""),
        ("create table notes (visit int references visits (id));", "compatible", ""),
        ("alter domain percent add constraint low check (value < 3) not valid;", "breaks", "23514"),
        ("alter table members drop constraint members_pkey cascade;", "breaks", "42P10"),
        ("alter table visits alter column id drop identity;", "breaks", "23502"),
        ("create or replace view free_members as select id, code, kind from members where kind = 'free';", "compatible", ""),
        ("drop view free_members; create view free_members as select id from members;", "breaks", "42703"),
        ("drop function share_of(bigint); create function share_of(m bigint, t text) returns int language sql as 'select 1';", "breaks", "42883"),
        ("create function share_of(m int) returns int language sql as 'select 1';", "breaks", "42725"),
        ("create function share_of(m bigint, t text) returns int language sql as 'select 1';", "compatible", ""),
        ("create schema crm; alter table visits set schema crm;", "breaks", "42P01"),
        ("alter table members alter column kind drop default;", "breaks", "23502"),
        ("alter table members add column cents int generated always as (share * 100) stored;", "compatible", ""),
        (GRANTS, "compatible", ""),
    ],
)  # fmt: skip
def test_what_a_release_may_expect(
    rehearse: Callable[..., Rehearsal], change: str, answer: str, sqlstate: str
) -> None:
    """Pairs of inserts, foreign keys to parents old and new, domains, targets of ON CONFLICT, identities, views, functions, schemas: each told apart."""
    found = rehearse(RICH, change, queries=ASKED).compatibility["old"]
    assert found.answer == answer, found.breaks
    assert {b.sqlstate for b in found.breaks} <= {sqlstate}
    assert all(q.base == "1700000000000" for q in found.queries), [
        q.outcomes for q in found.queries if q.base is None
    ]


@pytest.mark.postgres("16", "18")
@pytest.mark.parametrize(
    ("change", "answer"),
    [
        ("revoke insert on visits from app;", "breaks"),
        ("drop view free_members; create view free_members as select id, code from members;", "breaks"),
        ("alter table visits enable row level security;", "breaks"),
        ("alter table visits enable row level security; create policy all_of_them on visits using (true);", "compatible"),
        ("create table more (id int); revoke truncate on visits from app;", "compatible"),
    ],
)  # fmt: skip
def test_what_a_role_could_do_before(rehearse: Callable[..., Rehearsal], change: str, answer: str) -> None:
    """A query that worked for the application's role and does not any more breaks, and the role is named; the owner would not notice."""
    found = rehearse(RICH, GRANTS, change, base=2, queries=ASKED).compatibility["old"]
    assert found.answer == answer, found.breaks
    assert all("as role app: " in b.message for b in found.breaks)


@pytest.mark.postgres("18")
@pytest.mark.parametrize(
    ("change", "answer"),
    [("alter table acc add column z int;", "compatible"), ("alter table acc add column must text not null;", "breaks"), ("create unique index once on acc (note);", "breaks")],
)  # fmt: skip
def test_an_insert_of_several_rows(rehearse: Callable[..., Rehearsal], change: str, answer: str) -> None:
    """Rows of one INSERT have keys of their own, as an application's do: it works before the change, and what breaks it is seen."""
    base = "create table acc (id bigint primary key, email text unique, note text, size int check (size in (1, 2)));"
    queries = "INSERT INTO acc (id, email, note, size) VALUES ($1, $2, $3, $4), ($5, $6, $7, $8), ($9, $10, $11, $12);"
    found = rehearse(base, change, queries=queries)
    assert found.compatibility["old"].answer == answer
    assert all(proof.base is not None for proof in found.compatibility["old"].queries)


@pytest.mark.postgres("18")
@pytest.mark.parametrize(
    ("change", "query", "word", "answer"),
    [
        ("create or replace function seen() returns trigger language plpgsql as $$ begin return null; end $$;", "INSERT INTO acc (id, bal) VALUES ($1, $2);", "writes no row any more", "hold"),
        ("create rule quiet as on insert to acc do instead nothing;", "INSERT INTO acc (id, bal) VALUES ($1, $2);", "writes no row any more", "hold"),
        ("create or replace view v as select id, bal from acc where false;", "SELECT id FROM v WHERE id = $1;", "gives no row any more", "compatible"),
        ("alter table acc add column z int;", "SELECT id FROM v WHERE id = $1;", "", "compatible"),
    ],
)  # fmt: skip
def test_rows_that_a_query_does_not_meet_any_more(rehearse: Callable[..., Rehearsal], change: str, query: str, word: str, answer: str) -> None:  # fmt: skip
    """A query that goes on without an error and without a row is told, and an INSERT that vanishes holds: nobody else notices it."""
    base = (
        "create table acc (id bigint primary key, bal int); create view v as select id, bal from acc;"
        "create function seen() returns trigger language plpgsql as $$ begin return new; end $$; create trigger s before insert on acc for each row execute function seen();"
    )
    found = rehearse(base, change, base=1, queries=query)
    outcomes = [o for proof in found.compatibility["old"].queries for o in proof.outcomes]
    told = [o.message if answer == "hold" else o.note for o in outcomes]
    assert any(word in one for one in told) if word else not any("any more" in one for one in told)
    assert found.compatibility["old"].answer == answer


@pytest.mark.postgres("18")
def test_a_query_that_takes_long_is_tried_once(rehearse: Callable[..., Rehearsal]) -> None:
    """A query that is not over in time with made-up values is a hold that says so, is not tried behind each file, and costs no other proof."""
    found = rehearse(
        "create table acc (id bigint primary key, bal int);",
        "alter table acc add column a int;",
        "alter table acc add column b int;",
        queries="SELECT pg_sleep($1 + 60);\nSELECT id FROM acc WHERE id = $1;",
        base=1,
    )
    slow, quick = found.compatibility["old"].queries
    assert (slow.answer, quick.answer) == ("hold", "compatible")
    assert all("not over within" in o.message for o in slow.outcomes)
    assert found.second_apply == "noop"
    assert found.elapsed_seconds < 60
