"""What the plan of a move between stores asks before it begins: sessions, privileges, an empty target, no other move."""

import sqlite3
from pathlib import Path

import pytest

from indexes.test_moving import hand as index  # noqa: F401 - the fixture
from lockgate.errors import Refused
from lockgate.indexes.moving import drive as into
from lockgate.moves.dual import drive
from lockgate.moves.dual.copy import backfill
from lockgate.moves.dual.needs import Session, budget
from lockgate.stores.needs import granted
from moves.hand import Hand as InServer
from stores.conftest import Place
from stores.hand import Hand, declared
from stores.test_conformance import ROWS
from support.tables import run_sql

pytestmark = pytest.mark.postgres("18")


def whats(planned) -> str:
    """The problems of a plan, as text."""
    return "\n".join(p["what"] for p in planned.problems)


@pytest.mark.parametrize("kind", ["postgres", "mysql", "sqlite"])
def test_a_target_that_holds_rows(places, tmp_path: Path, database: str, kind: str):
    """Rows in the target refuse the move in every engine, as between two tables of PostgreSQL; accepted, they are overwritten or found, and mended by --repair; the rows of the move itself are no problem of a later plan."""
    source, target = places("sqlite"), places(kind)
    source.fill(ROWS)
    target.run("INSERT INTO t (id, s) VALUES (999999, 'of before')")
    project = declared(tmp_path, database, source, target)
    document = project.json("move", "start", "things").error("MOVE_REFUSED")
    assert "t holds rows already" in document["message"]
    file = tmp_path / "moves" / "things.toml"
    file.write_text('accept = ["rows"]\n' + file.read_text())
    assert any("accepted (rows)" in n for n in project.ok("move", "move", "plan", "things")["result"]["notes"])  # fmt: skip
    project.ok("move", "move", "start", "things")
    project.ok("move", "move", "backfill", "things")
    project.json("move", "verify", "things").error("MOVE_DIVERGED")
    assert project.ok("move", "move", "verify", "things", "--repair")["result"]["repaired"] == 1
    file.write_text(file.read_text().removeprefix('accept = ["rows"]\n'))
    assert project.ok("move", "move", "plan", "things")["result"]["problems"] == []


def test_connections_of_postgres(places, database: str):
    """A database with room for fewer sessions than the workers, the command and its comparison want refuses the move, and says how many it wants."""
    source, target = places("postgres"), places("sqlite")
    name = source.url.rpartition("/")[2].partition("?")[0]
    move = Hand(source, target, database, writers=0)
    assert move.call(drive.plan).problems == []
    run_sql(database, f'ALTER DATABASE "{name}" CONNECTION LIMIT 6')
    found = whats(move.call(drive.plan))
    assert "free connections, and the move wants" in found
    assert "(2 workers, relay, comparison)" in found


def test_connections_and_privileges_of_mariadb(places, mariadb, database: str):
    """An account that may only read, and open four sessions: the plan names what it lacks in the database and for the table, and the room for sessions; with everything granted nothing stands in the way, and with DELETE on the table missing that is named."""
    import pymysql

    source, target = places("sqlite"), places("mysql")
    name = target.url.rpartition("/")[2]
    with pymysql.connect(**mariadb, autocommit=True) as root, root.cursor() as cursor:
        cursor.execute("CREATE OR REPLACE USER mover@'127.0.0.1' WITH MAX_USER_CONNECTIONS 4")
        pattern = name.replace("_", "\\_")
        cursor.execute(f"GRANT SELECT ON `{pattern}`.* TO mover@'127.0.0.1'")
        narrow = Place("mysql", target.url.replace("root@", "mover@"), target.run)
        move = Hand(source, narrow, database, writers=0)
        found = whats(move.call(drive.plan))
        assert "mover@127.0.0.1 may not CREATE, DROP, INDEX, INSERT, UPDATE, DELETE" in found
        assert f"{name} on 127.0.0.1" in found
        assert "free connections, and the move wants 4" in found
        cursor.execute("ALTER USER mover@'127.0.0.1' WITH MAX_USER_CONNECTIONS 0")
        cursor.execute(f"GRANT ALL ON `{pattern}`.* TO mover@'127.0.0.1'")
        assert move.call(drive.plan).problems == []
        move.call(drive.start, operator="t")
        move.call(backfill)
        cursor.execute(f"REVOKE ALL ON `{pattern}`.* FROM mover@'127.0.0.1'")
        cursor.execute(f"GRANT SELECT, INSERT, UPDATE ON `{name}`.`t` TO mover@'127.0.0.1'")
        assert "may not CREATE, DROP, INDEX" in whats(move.call(drive.plan))
        cursor.execute("DROP USER mover@'127.0.0.1'")


def test_privileges_of_postgres(places, database: str, tmp_path: Path):
    """A role that may read the target and make nothing is told what it lacks for either table, the schema `lockgate` and a table to be created; row security that would hide rows is told, too."""
    source, target = places("postgres"), places("postgres")
    for url in (source.url, target.url):
        run_sql(
            url, "DROP ROLE IF EXISTS mover_h", "CREATE ROLE mover_h LOGIN"
        ) if url == source.url else None
        run_sql(url, "GRANT SELECT ON t TO mover_h")
    run_sql(target.url, "ALTER TABLE t ENABLE ROW LEVEL SECURITY")
    move = Hand(source, target, database, writers=0)
    move.places = move.places._replace(source=source.url.replace("postgres@", "mover_h@"), target=target.url.replace("postgres@", "mover_h@"))  # fmt: skip
    try:
        found = whats(move.call(drive.plan))
    finally:
        for url in (source.url, target.url):
            run_sql(url, "DROP OWNED BY mover_h")
        run_sql(source.url, "DROP ROLE mover_h")
    assert "may not INSERT, UPDATE, DELETE on the source public.t" in found
    assert "may not INSERT, UPDATE, DELETE on the target public.t" in found
    assert found.count("may not make the schema lockgate in") == 2
    assert "row security of the target public.t holds" in found


def test_a_file_that_cannot_be_written(places, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # fmt: skip
    """A folder of SQLite that cannot be written is told before anything is made; the plan says that nothing counts sessions there."""
    import os

    source, target = places("sqlite"), places("postgres")
    move = Hand(source, target, database, writers=0)
    assert any("counts no sessions" in note for note in move.call(drive.plan).notes)
    monkeypatch.setattr(os, "access", lambda *_: False)  # who runs tests as root may write everything
    assert "cannot be written: SQLite makes its journal there" in whats(move.call(drive.plan))


def test_a_file_that_is_read_only(places, database: str):
    """A file that SQLite itself may only read is told by SQLite."""
    from lockgate.stores.needs import privileges
    from lockgate.stores.speaking import SqliteSpeaker

    path = places("sqlite").url.removeprefix("sqlite:///")
    speaker = SqliteSpeaker(path)
    speaker._connection.close()
    speaker._connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
    (lack,) = privileges(speaker, "source", "t", ("id",), there=True, written=True).lacks
    assert "the file of the source cannot be written" in lack.what
    speaker.close()


def test_a_table_that_is_in_another_move(places, database: str):
    """A table in one move that the application writes is refused for a second one, and for a move by triggers, until the first has ended."""
    source, target = places("postgres"), places("sqlite")
    run_sql(source.url, "CREATE TABLE item (id bigint PRIMARY KEY, s text)")
    first = Hand(source, target, database, writers=0)
    first.call(drive.start, operator="t")
    second = Hand(source, places("sqlite"), database, writers=0, name="others")
    with pytest.raises(Refused, match="t is already in the move things"):
        second.call(drive.start, operator="t")
    by_triggers = InServer(source.url)
    by_triggers.declared = type(by_triggers.declared)(**{f: getattr(by_triggers.declared, f) for f in by_triggers.declared.__struct_fields__} | {"source": type(by_triggers.declared.source)("t")})  # fmt: skip
    assert "t is already in the move things" in "\n".join(p["what"] for p in by_triggers.plan().problems)
    first.call(drive.abort, reason="test")
    assert second.call(drive.plan).problems == []


def test_a_move_into_an_index_asks_the_same(index):  # noqa: F811
    """Sessions of the ledger's server, and a generation of the name that nobody knows: each is told by the plan of a move into an index."""
    move = index("fts5")
    name = move.ledger.rpartition("/")[2].partition("?")[0]
    run_sql(move.ledger, f'ALTER DATABASE "{name}" CONNECTION LIMIT 3')
    assert "free connections, and the move wants" in whats(move.call(into.plan))
    run_sql(move.ledger, f'ALTER DATABASE "{name}" CONNECTION LIMIT -1')
    assert move.call(into.plan).problems == []
    move.through()
    move.call(drive.abort, reason="test")
    # The ledger of another database knows nothing of what this one left in the folder.
    run_sql(move.ledger, "DELETE FROM lockgate.index_generation")
    assert "help__0001, the generation that would be made, is in fts5 already and holds 90 records" in whats(move.call(into.plan))  # fmt: skip


def test_sessions_are_wanted_together_on_one_server():
    """Places on one server share its room: three that fit alone do not fit together; where nothing counts there is no limit."""
    one = Session("s", "a", 10, 4)
    assert budget(2, [one, one._replace(name="b"), Session("t", "c", None, 100)]) == []
    ((what, _),) = budget(2, [one, one._replace(name="b"), one._replace(name="c", free=9)])
    assert what.startswith("a, b, c: 9 free connections, and the move wants 12")


def test_grants_are_read_as_the_server_means_them():
    """Patterns of databases, columns, all privileges, revoked ones and roles of SHOW GRANTS."""
    assert granted(["GRANT USAGE ON *.* TO `m`@`%`"], "d") == ({"USAGE"}, False)
    assert granted(["GRANT SELECT, INSERT (`a`, `b`) ON `d\\_1`.* TO `m`@`%`"], "d_1") == ({"SELECT", "INSERT"}, False)  # fmt: skip
    assert granted(["GRANT SELECT ON `d\\_1`.* TO `m`@`%`"], "dx1") == (set(), False)
    assert granted(["GRANT SELECT ON `d_1`.* TO `m`@`%`"], "dx1") == ({"SELECT"}, False)
    assert granted(["GRANT SELECT ON `d`.`t` TO `m`@`%`"], "d") == (set(), False)
    everything, _ = granted(["GRANT ALL PRIVILEGES ON *.* TO `m`@`%`", "REVOKE DELETE ON `d`.* FROM `m`@`%`"], "d")  # fmt: skip
    assert "CREATE" in everything
    assert "DELETE" not in everything
    assert granted(["GRANT `r`@`%` TO `m`@`%`"], "d") == (set(), True)
