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
