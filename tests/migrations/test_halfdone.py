"""Which changes of the schema a half-done file's statements made: told by names, never more than they name."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lockgate.migrations.halfdone import made_by, names_in
from lockgate.postgres.fingerprint import Change

MADE = [
    ("CREATE INDEX CONCURRENTLY note_a ON note (created_at)", "index public.note_a"),
    ('CREATE UNIQUE INDEX CONCURRENTLY "Big_Id" ON "Sales"."Order" (id)', 'index "Sales"."Big_Id"'),
    ("CREATE INDEX CONCURRENTLY ON note (a, b)", "index public.note_a_b_idx"),
    ("DROP INDEX CONCURRENTLY old_one", "index public.old_one"),
    ("ALTER TABLE events DETACH PARTITION events_1 CONCURRENTLY", "table public.events_1"),
    (
        "ALTER TABLE events DETACH PARTITION events_1 CONCURRENTLY",
        "constraint public.events_1.events_1_at_check",
    ),
    ("ALTER TYPE mood ADD VALUE 'x'", "type public.mood"),
    ("CREATE TABLE made (id bigserial PRIMARY KEY)", "sequence public.made_id_seq"),
    ("CREATE TABLE made (id bigserial PRIMARY KEY)", "constraint public.made.made_pkey"),
    ("CREATE TABLE made (id bigserial PRIMARY KEY)", "column public.made.id"),
    ("CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql AS 'SELECT 1'", "function public.f(integer)"),
]
OTHERS = [
    ("CREATE INDEX CONCURRENTLY note_a ON note (created_at)", "index public.note_b"),
    ("CREATE INDEX CONCURRENTLY note_a ON note (created_at)", "index public.note_created_at_idx"),
    ("CREATE INDEX CONCURRENTLY note_a ON note (created_at)", "column public.other.created_at"),
    ("CREATE INDEX CONCURRENTLY note_a ON note (created_at)", "column public.note.by_hand"),
    ("CREATE INDEX CONCURRENTLY ON note (a)", "index public.other_a_idx"),
    ("INSERT INTO log VALUES ('by_hand')  -- by_hand", "table public.by_hand"),
    ("DO $x$ BEGIN PERFORM 'by_hand'; END $x$", "table public.by_hand"),
    ('CREATE INDEX CONCURRENTLY "A" ON t (x)', "index public.a"),
]


@pytest.mark.parametrize(("statement", "identity"), MADE)
def test_what_a_statement_made(statement, identity):
    """The object that a statement names, or that PostgreSQL names after its table, is the statement's own."""
    assert made_by([Change("added", identity)], [statement]) == {identity}


@pytest.mark.parametrize(("statement", "identity"), OTHERS)
def test_what_it_did_not(statement, identity):
    """An object that no statement names stays drift: other tables' columns, names in strings, comments and bodies."""
    assert made_by([Change("added", identity)], ["SELECT 1", statement]) == set()


@given(st.text(st.characters(exclude_characters='"\0', exclude_categories=["Cs"]), min_size=1, max_size=20))
@example("%")
@example(".")
def test_a_quoted_name_is_found_as_it_is(name):
    """Whatever stands between quotes is one name, with its case and blanks; nothing is known of an empty journal."""
    text = f'CREATE INDEX CONCURRENTLY "{name}" ON t (x)'
    if "'" not in name and "$" not in name and "--" not in name and "/*" not in name:
        assert name in names_in(text)
    assert made_by([Change("added", "index public.x")], []) == set()
