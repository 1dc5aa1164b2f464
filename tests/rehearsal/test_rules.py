"""Unique indexes and checks that come while a release lives: what it may send and a sample of values does not hold."""

from collections.abc import Callable

import pytest

from lockgate.rehearsal.report import Rehearsal

SHOP = """
create table users (id bigint generated always as identity primary key, email text not null unique, name text, tenant int not null default 1);
create table orders (id bigint generated always as identity primary key, user_id bigint not null references users (id), slot int not null default 1,
  total numeric(10,2) not null, note text, placed_on date not null default current_date, made_at timestamptz not null default now(), hour timestamptz not null default date_trunc('hour', now()));
create unique index orders_note on orders (total, note);
"""
SENT = """
INSERT INTO users (email, name) VALUES ($1, $2) RETURNING id;
UPDATE users SET email = $2 WHERE id = $1;
INSERT INTO orders (user_id, total, note) VALUES ($1, $2, $3);
"""


def told(found: Rehearsal) -> list[tuple[str, str]]:
    """Answer and words of each query of the old release after the last file."""
    return [(q.outcomes[-1].answer, q.outcomes[-1].message) for q in found.compatibility["old"].queries]


@pytest.mark.postgres("16", "18")
@pytest.mark.parametrize(
    ("change", "answers"),
    [
        # The default of a day is the same all day long, that of an hour all the hour; that of a moment is another for each transaction.
        ("create unique index orders_one on orders (user_id, placed_on);", ["compatible", "compatible", "breaks"]),
        ("create unique index orders_one on orders (user_id, hour);", ["compatible", "compatible", "breaks"]),
        ("create unique index orders_one on orders (user_id, made_at);", ["compatible", "compatible", "compatible"]),
        # Of a key that was there before, only the part that the new one has too is the same.
        ("alter table orders add constraint orders_one unique (note, slot);", ["compatible", "compatible", "breaks"]),
        # Another spelling of what was unique as it is written.
        ("create unique index users_low on users (lower(email));", ["hold", "hold", "compatible"]),
        ("create unique index users_low on users (trim(email)) include (tenant);", ["hold", "hold", "compatible"]),
        ("create unique index users_low on users (tenant, upper(name));", ["breaks", "compatible", "compatible"]),
        # Nothing that was allowed before is refused.
        ("create unique index users_low on users (email, lower(name));", ["compatible", "compatible", "compatible"]),
        ("alter table users drop constraint users_email_key; create unique index users_low on users (email);", ["compatible", "compatible", "compatible"]),
        ("alter table users drop constraint users_email_key; create unique index users_low on users (tenant, email) where tenant > 0;", ["compatible", "compatible", "compatible"]),
        ("create unique index users_low on users (lower(email)) where tenant < 0;", ["compatible", "compatible", "compatible"]),
    ],
)  # fmt: skip
def test_unique_by_what_was_not(rehearse: Callable[..., Rehearsal], change: str, answers: list[str]) -> None:
    """A second write with the same values, or with others that the index takes for the same, is refused since the file: it breaks, or holds and both values are shown."""
    found = told(rehearse(SHOP, change, base=1, queries=SENT))
    assert [answer for answer, _ in found] == answers, found
    for answer, message in found:
        assert answer != "hold" or ("is refused by users_low" in message and " beside " in message), message


@pytest.mark.postgres("16", "18")
def test_a_partition_that_the_file_makes(rehearse: Callable[..., Rehearsal]) -> None:
    """A new partition never had an index, and no query is told that it lost one; a table that did lose one is told."""
    base = (
        "create table events (id bigint not null, at timestamptz not null, kind text not null) partition by range (at);"
        "create table events_26 partition of events for values from ('2026-01-01') to ('2027-01-01'); create table codes (code text primary key, told text);"
    )
    attach = (
        "create table events_27 (like events including all); alter table events attach partition events_27 for values from ('2027-01-01') to ('2028-01-01');"
        "alter table codes drop constraint codes_pkey;"
    )
    asked = "SELECT count(*) FROM events WHERE kind = $1; SELECT told FROM codes WHERE code = $1;"
    old = rehearse(base, attach, base=1, queries=asked).compatibility["old"]
    notes = [q.outcomes[-1].note for q in old.queries]
    assert notes == ["", "reads codes from end to end: no index serves it any more"], notes


ITEMS = """
create domain label as text;
create table items (id bigint primary key, email text not null, nick varchar(40), total numeric(10,2) not null, size int check (size > 0),
  starts date, ends date, doc jsonb, code label not null default 'x', fixed int not null default 1);
"""
WRITTEN = """
INSERT INTO items (id, email, total, size, starts, ends, doc, code) VALUES ($1, $2, $3, $4, $5, $6, $7, $8);
UPDATE items SET total = $1 WHERE id = $2;
INSERT INTO items (id, email, total, nick) VALUES ($1, lower($2), greatest($3, 1), coalesce($4, 'none'));
INSERT INTO items (id, email, total) SELECT r.id, r.email, r.total FROM jsonb_to_recordset($1) r (id bigint, email text, total numeric);
UPDATE items SET fixed = 2, nick = 'paid' WHERE id = $1;
"""
ALL = ["compatible"] * 5


@pytest.mark.postgres("16", "18")
@pytest.mark.parametrize(
    ("change", "answers", "words"),
    [
        ("alter table items add constraint told check (total > 0) not valid;", ["hold", "hold", "compatible", "hold", "compatible"], "items.total = 0, -1 is refused by told"),
        ("alter table items add constraint told check (total >= 0);", ["hold", "hold", "compatible", "hold", "compatible"], "items.total = -1, "),
        ("alter table items add constraint told check (email ~ '^[^@]+@[^@]+$') not valid;", ["hold", "compatible", "hold", "hold", "compatible"], "items.email = ''"),
        ("alter table items add constraint told check (email = lower(email)) not valid;", ["hold", "compatible", "compatible", "hold", "compatible"], "@EXAMPLE.COM'"),
        ("alter table items add constraint told check (length(nick) > 0);", ["compatible", "compatible", "hold", "compatible", "compatible"], "items.nick = ''"),
        ("alter table items add constraint told check (length(email) < 3000) not valid;", ["hold", "compatible", "hold", "hold", "compatible"], "items.email = 'xxxxxxxx"),
        ("alter table items add constraint told check (starts > '2020-01-01') not valid;", ["hold", *ALL[1:]], "items.starts = '2020-01-01', '2019-12-31'"),
        ("alter table items add constraint told check (ends > starts) not valid;", ["hold", *ALL[1:]], "items.starts and items.ends = "),
        ("alter table items add constraint told check (doc ? 'number') not valid;", ["hold", *ALL[1:]], "items.doc = '{}'"),
        ("alter domain label add constraint told check (value <> '') not valid;", ["hold", *ALL[1:]], "items.code = ''"),
        ("alter table items drop constraint items_size_check; alter table items add constraint told check (size > 0 and size < 70000000) not valid;", ["hold", *ALL[1:]], "items.size = 70000000, 70000001 is refused"),
        # What no query writes by a parameter, what was refused before, in one file and in two, and what is only named anew.
        ("alter table items add constraint told check (fixed < 5000) not valid;", ALL, ""),
        ("alter table items add constraint told check (size > -5) not valid;", ALL, ""),
        ("alter table items drop constraint items_size_check; alter table items add constraint told check (size > -5) not valid;", ALL, ""),
        ("alter table items drop constraint items_size_check; alter table items add constraint told check (size > 0) not valid;", ALL, ""),
        ("alter table items alter column size type bigint;", ALL, ""),
        ("create table more (id int check (id > 0)); alter table items add column extra int check (extra > 0);", ALL, ""),
    ],
)  # fmt: skip
def test_a_check_on_what_is_sent(
    rehearse: Callable[..., Rehearsal], change: str, answers: list[str], words: str
) -> None:
    """A value around what a new check says, which was allowed before and is refused now, holds each query that could write it by a parameter, and is shown; nothing else does."""
    found = told(rehearse(ITEMS, change, base=1, queries=WRITTEN))
    assert [answer for answer, _ in found] == answers, found
    held = [message for answer, message in found if answer == "hold"]
    assert any(words in message for message in held) if words else not held, held


@pytest.mark.postgres("18")
def test_a_check_that_stays(rehearse: Callable[..., Rehearsal]) -> None:
    """The query holds from the check on until it is gone; a check that was there when the query first worked holds nothing."""
    files = (
        "alter table items add constraint told check (total > 0) not valid;",
        "comment on table items is 'x';",
        "alter table items drop constraint told;",
    )
    asked = "UPDATE items SET total = $1 WHERE id = $2;"
    old = rehearse(ITEMS, *files, base=1, queries=asked).compatibility["old"]
    assert [s.answer for s in old.migrations] == ["compatible", "hold", "hold", "compatible"], old.queries
    later = rehearse(ITEMS, *files[:2], base=2, queries=asked).compatibility["old"]
    assert [s.answer for s in later.migrations] == ["compatible", "compatible"], later.queries
