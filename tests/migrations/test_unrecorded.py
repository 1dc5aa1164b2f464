"""Objects that no file applied since the last recorded schema can have made: told by names, and only where names tell everything."""

import pytest

from lockgate.migrations.unrecorded import strangers
from lockgate.postgres.fingerprint import Change

FILE = "CREATE TABLE one (id bigserial PRIMARY KEY, note text CHECK (note <> ''));\nALTER TABLE two ADD COLUMN three int;\nINSERT INTO log VALUES ('four');"


def strange(identity: str, *texts: str, kind: str = "added") -> bool:
    """Whether the object is told as nobody's."""
    return bool(strangers([Change(kind, identity)], list(texts)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "identity",
    [
        "table public.hand", "column public.two.hand", "column public.hand.id", "index public.hand_idx",
        "constraint public.hand.hand_pkey", "function public.hand(integer)", "trigger public.log.hand", "type public.hand",
    ],
)  # fmt: skip
def test_what_is_nobodys(identity: str) -> None:
    """An added object whose name, or whose table's, stands nowhere in the files is told."""
    assert strange(identity, FILE)
    assert strange(identity)


@pytest.mark.parametrize(
    "identity",
    [
        "table public.one", "column public.one.id", "column public.two.three", "constraint public.one.one_pkey", "constraint public.one.one_note_check",
        "sequence public.one_id_seq", "index public.one_note_idx", "table public.four", f"table public.{'x' * 63}",
    ],
)  # fmt: skip
def test_what_a_file_may_have_made(identity: str) -> None:
    """What a file names, also in a string, and what PostgreSQL names after that, is not."""
    assert not strange(identity, FILE)


@pytest.mark.parametrize(
    "more",
    [
        "DO $$ BEGIN EXECUTE 'CREATE TABLE ' || 'ha' || 'nd ()'; END $$;", "SELECT make_tables();", "CREATE TABLE copied (LIKE two);",
        "CREATE TABLE child () INHERITS (two);", "ALTER TABLE two RENAME TO hand2;", "CREATE TABLE p PARTITION OF two DEFAULT;", "CREATE EXTENSION hstore;",
        "ALTER TABLE two SET SCHEMA other;", "CALL make_tables();", "CREATE TABLE made AS SELECT * FROM two;",
    ],
)  # fmt: skip
def test_names_do_not_tell_everything(more: str) -> None:
    """Where a file may make what it does not name, nothing is told; neither is what was changed or removed."""
    assert not strange("table public.hand", FILE, more)
    assert not strange("table public.hand", FILE, kind="removed")
    assert not strange("table public.hand", FILE, kind="changed")


def test_what_is_done_to_a_table_is_done_to_its_children() -> None:
    """Columns, indexes and constraints that partitions get from a table that a file names are the file's; those of other tables are not."""
    links = [("two", "part"), ("part", "leaf"), ("other", "apart")]

    def told(identity: str) -> bool:
        return bool(strangers([Change("added", identity)], [FILE], links))

    assert not any(map(told, ("column public.part.three", "column public.leaf.three", "index public.leaf_three_idx", "constraint public.leaf.leaf_three_check")))  # fmt: skip
    assert told("column public.apart.three")
    assert told("column public.leaf.hand")
