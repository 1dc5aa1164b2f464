"""What a created table takes over from its source beside columns, and what hangs on a source and would not follow: told by the plan."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from lockgate.errors import Busy
from lockgate.moves.declaration import TargetSide
from lockgate.postgres.moves import ledger
from moves.hand import Hand
from support.calls import Project
from support.tables import run_sql

pytestmark = pytest.mark.postgres("18")
ITEM = ("CREATE TABLE item (id bigint PRIMARY KEY, tenant int NOT NULL, v text)", "INSERT INTO item SELECT g, g, 'v' FROM generate_series(1, 100) g")  # fmt: skip
DRESSED = """SELECT relreplident::text, reloptions, (SELECT attstattarget FROM pg_attribute WHERE attrelid = c.oid AND attname = 'v'),
  (SELECT attstorage::text FROM pg_attribute WHERE attrelid = c.oid AND attname = 'v'), (SELECT attoptions FROM pg_attribute WHERE attrelid = c.oid AND attname = 'tenant'), (SELECT reloptions FROM pg_class t WHERE t.oid = c.reltoastrelid)
  FROM pg_class c WHERE oid = 'item'::regclass"""


@pytest.fixture
def reader(database: str) -> Iterator[str]:
    """A role that reads two columns of ``item``."""
    role = f"reader_{database.rpartition('_')[2]}"
    run_sql(
        database, *ITEM, f"CREATE ROLE {role}", f"GRANT SELECT (id, tenant), UPDATE (v) ON item TO {role}"
    )
    try:
        yield role
    finally:
        run_sql(database, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def _may(url: str, role: str, column: str) -> bool:
    try:
        with psycopg.connect(url) as connection:
            connection.execute(f"SET ROLE {role}")
            return len(connection.execute(f"SELECT {column} FROM item").fetchall()) == 100
    except psycopg.errors.InsufficientPrivilege:
        return False


@pytest.mark.parametrize("across", [False, True])
def test_a_created_table_is_dressed_as_the_source(database: str, databases: Any, reader: str, across: bool):
    """Privileges of columns, replica identity, storage options, statistics targets and storage of columns are those of the source behind the switch, in one database and in another; default privileges open nothing more."""
    serving = databases() if across else database
    run_sql(
        database,
        "ALTER TABLE item REPLICA IDENTITY FULL, SET (fillfactor = 70, toast.autovacuum_enabled = false), ALTER v SET STATISTICS 500, ALTER v SET STORAGE EXTERNAL, ALTER tenant SET (n_distinct = -0.5)",
    )
    run_sql(serving, "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC")
    hand = Hand(database, serving if across else None)
    planned = hand.plan()
    assert (planned.problems, planned.notes) == ([], [])
    before = run_sql(database, DRESSED)
    hand.there()
    hand.cutover()
    assert run_sql(serving, DRESSED) == before
    assert [_may(serving, reader, column) for column in ("id, tenant", "v")] == [True, False]
    if across:
        run_sql(serving, f"DROP OWNED BY {reader}")


def test_a_replica_identity_by_an_index(database: str):
    """An index that is the replica identity of the source has its like as that of the created table."""
    run_sql(database, *ITEM, "CREATE UNIQUE INDEX by_tenant ON item (tenant)", "ALTER TABLE item REPLICA IDENTITY USING INDEX by_tenant")  # fmt: skip
    hand = Hand(database)
    hand.there()
    hand.cutover()
    assert run_sql(
        database,
        "SELECT pg_get_indexdef(indexrelid, 1, true) FROM pg_index WHERE indrelid = 'item'::regclass AND indisreplident",
    ) == [("tenant",)]


def test_a_partitioned_source(database: str):
    """A created table would be one plain table: a problem of the plan, or a note where it is accepted; a given one that is cut otherwise is a note."""
    run_sql(
        database,
        "CREATE TABLE item (id bigint PRIMARY KEY, v text) PARTITION BY RANGE (id)",
        "CREATE TABLE item_1 PARTITION OF item FOR VALUES FROM (0) TO (1000)",
        "INSERT INTO item SELECT g, 'v' FROM generate_series(1, 100) g",
    )
    (problem,) = Hand(database).plan().problems
    assert "item is partitioned by RANGE (id), and a created table is one plain table" in problem["what"]
    taken = Hand(database, accept=("partitions",)).plan()
    assert taken.problems == []
    assert any("accepted (partitions)" in note for note in taken.notes)
    run_sql(database, "CREATE TABLE item_new (id bigint PRIMARY KEY, v text)")
    given = Hand(database, to=TargetSide("item_new")).plan()
    assert given.problems == []
    assert "item is partitioned by RANGE (id), item_new one plain table" in given.notes


def test_heirs_and_parents(database: str):
    """A table with heirs, whose writes no trigger of it captures, and a partition, whose parent would keep the old table, are refused."""
    run_sql(database, *ITEM, "CREATE TABLE heir () INHERITS (item)")
    (problem,) = Hand(database).plan().problems
    assert "item has heirs (public.heir)" in problem["what"]
    run_sql(database, "DROP TABLE heir", "CREATE TABLE whole (id bigint NOT NULL, tenant int NOT NULL, v text) PARTITION BY RANGE (id)", "ALTER TABLE whole ATTACH PARTITION item FOR VALUES FROM (0) TO (1000)")  # fmt: skip
    (problem,) = Hand(database).plan().problems
    assert "item is part of public.whole" in problem["what"]


@pytest.mark.parametrize("given", [False, True])
def test_publications_and_privileges_are_told(database: str, reader: str, given: bool):
    """A publication follows the old table, and a given target may lack privileges: both are notes of the plan, the first with the command for after the switch."""
    run_sql(database, "CREATE PUBLICATION told FOR TABLE item", *(["CREATE TABLE item_new (id bigint PRIMARY KEY, tenant int NOT NULL, v text)"] if given else []))  # fmt: skip
    planned = Hand(database, to=TargetSide("item_new", create=not given)).plan()
    assert planned.problems == []
    told = [n for n in planned.notes if "publications told" in n]
    assert "ALTER PUBLICATION told ADD TABLE item" in told[0]
    lacking = [n for n in planned.notes if "lacks privileges" in n]
    assert lacking == ([f"item_new lacks privileges that item gives: SELECT (id) to {reader}, SELECT (tenant) to {reader}, UPDATE (v) to {reader}"] if given else [])  # fmt: skip


def test_foreign_keys_wait_for_the_end(tmp_path: Path, database: str):
    """The note on foreign keys says when one may be added, before the start and after it: not before the end of the move, and behind it the migration runs."""
    project = Project(tmp_path, database)
    run_sql(
        database,
        "CREATE TABLE parent (id bigint PRIMARY KEY)",
        "INSERT INTO parent SELECT generate_series(1, 10)",
        "CREATE TABLE item (id bigint PRIMARY KEY, p bigint CONSTRAINT item_p REFERENCES parent)",
        "INSERT INTO item SELECT g, 1 + g % 10 FROM generate_series(1, 100) g",
    )
    hand = Hand(database)
    told = [n for n in hand.plan().notes if "foreign keys of item (item_p)" in n]
    assert "until lockgate move finish items" in told[0]
    hand.there()
    assert [n for n in hand.plan().notes if "foreign keys of item (item_p)" in n] == told
    hand.cutover()
    hand.finish(now=True)
    project.write("key", "ALTER TABLE item ADD CONSTRAINT item_p_new FOREIGN KEY (p) REFERENCES parent NOT VALID;\n")  # fmt: skip
    project.ok("up", "up")


@pytest.mark.parametrize("acts", [False, True])
def test_what_the_old_table_holds_fast(database: str, acts: bool):
    """Behind the switch the old table's foreign key keeps rows of the other table from being deleted: those it still has rows for, and with ON DELETE CASCADE every one. The plan tells the first and refuses the second; the end of the move drops the key, writes down what it was, and all is free, also when somebody held the other table at first."""
    run_sql(
        database,
        "CREATE TABLE parent (id bigint PRIMARY KEY)",
        "INSERT INTO parent SELECT generate_series(1, 10)",
        f"CREATE TABLE item (id bigint PRIMARY KEY, p bigint CONSTRAINT item_p REFERENCES parent {'ON DELETE CASCADE' if acts else ''})",
        "INSERT INTO item SELECT g, 1 + g % 9 FROM generate_series(1, 100) g",
    )
    planned = Hand(database).plan()
    told = [p["what"] for p in planned.problems] if acts else planned.notes
    assert len([what for what in told if "behind the switch the old table keeps" in what and "item_p to public.parent" in what]) == 1  # fmt: skip
    hand = Hand(database, accept=("keys",))
    assert hand.plan().problems == []
    hand.there()
    hand.cutover()
    run_sql(database, "DELETE FROM item WHERE p = 3")
    with pytest.raises(psycopg.DatabaseError, match="item__items_old"):
        run_sql(database, "DELETE FROM parent WHERE id = 3")
    if acts:
        with pytest.raises(psycopg.DatabaseError, match="item__items_old"):
            run_sql(database, "DELETE FROM parent WHERE id = 10")
    hand.with_limits(lock_patience_seconds=1)
    with psycopg.connect(database, application_name="reports") as reader:
        reader.execute("SELECT FROM parent")
        with pytest.raises(Busy, match=r"\(reports, "):
            hand.finish(now=True)
    assert hand.stage == "finished"
    hand.finish()
    run_sql(database, "DELETE FROM parent WHERE id IN (3, 10)")
    with hand.open() as move:
        (event,) = (e for e in ledger.events(move.home, "items") if e["kind"] == "keys")
    assert event["evidence"]["foreignKeys"][0].startswith("item_p FOREIGN KEY (p) REFERENCES ")


def test_a_source_elsewhere_keeps_its_foreign_keys(two):
    """Across two databases the source is a table of its schema behind the end as well: its foreign keys stay, and the plan says for how long."""
    run_sql(two.source, "CREATE TABLE parent (id bigint PRIMARY KEY)", "CREATE TABLE item (id bigint PRIMARY KEY, p bigint CONSTRAINT item_p REFERENCES parent)")  # fmt: skip
    run_sql(two.target, "CREATE TABLE parent (id bigint PRIMARY KEY)")
    hand = Hand(two.source, two.target)
    assert any("also after the end, for as long as it stands (item_p" in note for note in hand.plan().notes)
    hand.there()
    hand.cutover()
    hand.finish(now=True)
    assert run_sql(
        two.source, "SELECT conname FROM pg_constraint WHERE contype = 'f' AND conrelid = 'item'::regclass"
    ) == [("item_p",)]


@pytest.mark.parametrize("create", [False, True])
def test_types_of_another_database(database: str, databases: Callable[[], str], create: bool):
    """A type that the target's database has not, or an enumerated one without a label, is a problem of the plan that names column and type."""
    other = databases()
    table = "CREATE TABLE item (id bigint PRIMARY KEY, m mood, many mood[])"
    run_sql(database, "CREATE TYPE mood AS ENUM ('good', 'bad')", table, "INSERT INTO item VALUES (1, 'bad', '{good}')")  # fmt: skip
    side: dict[str, Any] = {"to": TargetSide("item", "ELSEWHERE", create)}
    if create:
        (problem,) = Hand(database, other, **side).plan().problems
        assert "item.m, many is of the type public.mood, which the target's database has not" in problem["what"]  # fmt: skip
    run_sql(other, "CREATE TYPE mood AS ENUM ('good')", *([] if create else [table]))
    (problem,) = Hand(database, other, **side).plan().problems
    assert "has not the labels bad in the target's database" in problem["what"]
    run_sql(other, "ALTER TYPE mood ADD VALUE 'bad'")
    hand = Hand(database, other, **side)
    assert hand.plan().problems == []
    hand.there()
