"""Unique indexes and checks that come while a release lives: what it may send and a sample of values does not hold."""

from collections.abc import Callable

import pytest

from lockgate.postgres.placeholders import queries_of
from lockgate.postgres.tables import read_tables
from lockgate.postgres.wire import Wire
from lockgate.rehearsal.references import known_of
from lockgate.rehearsal.refusing import Edges, Sending
from lockgate.rehearsal.report import Rehearsal
from lockgate.rehearsal.rules import read_rules

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


@pytest.mark.postgres("16", "18")
@pytest.mark.parametrize(
    ("kept", "columns", "answer"),
    [("code, day", "lower(code), day", "hold"), ("id, day", "lower(code), day", "breaks"), ("id, day", "code, day", "breaks")],
)  # fmt: skip
def test_a_unique_index_of_a_partitioned_table(
    rehearse: Callable[..., Rehearsal], kept: str, columns: str, answer: str
) -> None:
    """The server names the index of the partition where one of the whole table refuses: it is known as that one all the same, below two levels too."""
    base = (
        f"create table marks (id bigint not null, code text not null, day date not null, unique ({kept})) partition by range (day);"
        "create table marks_old partition of marks for values from (minvalue) to ('2020-01-01');"
        "create table marks_new partition of marks for values from ('2020-01-01') to (maxvalue) partition by range (day);"
        "create table marks_all partition of marks_new default;"
    )
    change = f"create unique index marks_one on marks ({columns});"
    asked = "INSERT INTO marks (id, code, day) VALUES ($1, $2, $3);"
    found = told(rehearse(base, change, base=1, queries=asked))
    assert [one for one, _ in found] == [answer], found


@pytest.mark.postgres("16", "18")
def test_rules_that_cannot_be_put_on_again(rehearse: Callable[..., Rehearsal]) -> None:
    """Where nothing can show what was allowed before, since the rows do not satisfy an old rule any more, what is refused holds the query, and that is said."""
    change = (
        "alter table users drop constraint users_email_key; insert into users (email) values ('twice'), ('twice');"
        "alter table users add constraint told check (tenant < 70000000) not valid;"
    )
    asked = "UPDATE users SET tenant = $2 WHERE id = $1;"
    ((answer, message),) = told(rehearse(SHOP, change, base=1, queries=asked))
    assert answer == "hold", message
    assert "users.tenant = 70000000" in message, message
    assert "cannot be put on again" in message, message


def test_an_attempt_that_is_late(wire: Wire) -> None:
    """A value with which the query is late ends the attempts; that is told, and once nothing is late any more all are made."""
    wire.one("create table t (id int primary key, total int)")
    (query,) = queries_of("INSERT INTO t (id, total) VALUES ($1, $2)")
    wire.one(f"PREPARE q (int, int) AS {query.text}")
    sending = Sending(query, ["integer", "integer"], [[["1", "50"]]], lambda t: [f"EXECUTE q ({', '.join(map(str, t[0]))})"])  # fmt: skip
    edges = Edges(read_rules(wire), known_of(read_tables(wire)))
    for text in (
        "alter table t add constraint told check (total > 7)",
        "create function late() returns trigger language plpgsql as $$ begin if new.total <= 7 then perform pg_sleep(60); end if; return new; end $$",
        "create trigger late before insert on t for each row execute function late()",
        "set statement_timeout = '200ms'",
    ):
        wire.one(text)
    first = edges.refusal(wire, sending, read_rules(wire), lambda: read_tables(wire))
    assert first is not None
    assert (first.answer, "were not tried" in first.message) == ("compatible", True), first
    wire.one("drop trigger late on t")
    wire.one("reset statement_timeout")
    second = edges.refusal(wire, sending, read_rules(wire), lambda: read_tables(wire))
    assert second is not None
    assert (second.answer, "not tried" in second.message) == ("hold", False), second


@pytest.mark.postgres("16", "18")
@pytest.mark.parametrize(
    ("check", "answer"), [("size > 0", "compatible"), ("size > 0 and size < 70000000", "hold")]
)  # fmt: skip
@pytest.mark.parametrize("away", ["alter table items rename to items_old;", "drop table items;"])
def test_a_table_that_is_made_anew(
    rehearse: Callable[..., Rehearsal], away: str, check: str, answer: str
) -> None:
    """A new table under the name of one that was there is that one: its checks hold what the old one let pass, and no more."""
    base = "create table items (id bigint primary key, size int not null check (size > 0));"
    change = f"{away} create table items (id bigint primary key, size int not null check ({check}));"
    asked = "INSERT INTO items (id, size) VALUES ($1, $2);"
    found = told(rehearse(base, change, base=1, queries=asked))
    assert [one for one, _ in found] == [answer], found
