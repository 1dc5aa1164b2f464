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
        "alter table orders add constraint positive check (total >= 0) not valid;",
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
def test_several_releases_and_revisions(rehearse: Callable[..., Rehearsal]) -> None:
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
