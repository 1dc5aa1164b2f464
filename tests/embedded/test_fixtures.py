"""The fixtures that every other test leans on."""

import os
import time

import psycopg
import pytest

from support import servers


def test_database_is_fresh(database, postgres_label):
    """Each test gets an empty database on the server it asked for."""
    with psycopg.connect(database) as connection:
        assert connection.execute(
            "select count(*) from pg_class where relkind='r' and relnamespace='public'::regnamespace"
        ).fetchone() == (0,)
        if postgres_label != "machine":
            assert connection.info.server_version // 10000 == int(postgres_label)
        connection.execute("create table here (id int)")


@pytest.mark.postgres("18")
def test_marker_restricts(postgres_label, server):
    """The marker ``postgres`` restricts a test to the named servers."""
    assert (postgres_label, server.version) == ("18", 18)


def test_own_server_may_crash(own_server):
    """A private server can be killed without a trace on the shared one."""
    server = own_server()
    server.stop("immediate")


def test_database_of_a_failed_test_is_kept(own_server):
    """A database is dropped after its test, but not when the test raised."""
    server = own_server()
    servers.template(server)
    with servers.fresh_database(server, "dropped") as dropped:
        psycopg.connect(dropped).close()
    keeping = servers.fresh_database(server, "kept")
    kept = keeping.__enter__()
    assert not keeping.__exit__(ZeroDivisionError, ZeroDivisionError(), None)
    psycopg.connect(kept).close()
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(dropped)


def test_two_databases(databases):
    """A test that needs more than one database gets as many as it asks for."""
    assert len({databases(), databases()}) == 2


def test_environment_is_clean():
    """No setting of the machine's user reaches a test."""
    assert not [name for name in os.environ if name.startswith(("PG", "LOCKGATE_")) or name == "DATABASE_URL"]


def test_private_servers_start_quickly(own_server):
    """A private server is there in half a second, on a busy machine in a few."""
    own_server()  # makes the template when this is the first one
    begin = time.perf_counter()
    own_server()
    assert time.perf_counter() - begin < 3


def test_fresh_server_has_an_identity_of_its_own(own_server):
    """Copies of the template share a system identifier; a fresh one has its own."""
    identifiers = []
    for server in (own_server(), own_server(), own_server(fresh=True)):
        with psycopg.connect(server.url()) as connection:
            identifiers.append(
                connection.execute("select system_identifier from pg_control_system()").fetchone()
            )
    assert identifiers[0] == identifiers[1] != identifiers[2]
