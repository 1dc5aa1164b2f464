"""The schema lockgate as it is made: what the making itself does not look at is looked at here."""

import psycopg
import pytest

from lockgate.postgres import home
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Wire

BODIES = """
SELECT p.oid::regprocedure::text, v.oid::regproc::text
  FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang JOIN pg_proc v ON v.oid = l.lanvalidator
 WHERE p.pronamespace = 'lockgate'::regnamespace ORDER BY 1
"""


def check(connection: psycopg.Connection) -> int:
    """Have the server check every body of the schema lockgate as it does where they are checked when made; how many there are."""
    connection.execute("SET check_function_bodies = on")
    bodies = connection.execute(BODIES).fetchall()
    for function, validator in bodies:
        connection.execute(f"SET search_path = pg_catalog; SELECT {validator}('{function}'::regprocedure)")  # type: ignore[call-overload]
    return len(bodies)


def test_bodies_hold(database):
    """Every function of the schema lockgate is one that the server takes, although making it looks at no body."""
    wire = Wire(Target(database, source="test"), "home")
    try:
        home.bring_up(wire)
        assert wire.value("SHOW check_function_bodies") == "on"
    finally:
        wire.close()
    with psycopg.connect(database, autocommit=True) as connection:
        assert check(connection) > 10
        connection.execute("ALTER TABLE lockgate.fence RENAME COLUMN head TO tail")
        with pytest.raises(psycopg.errors.UndefinedColumn):
            check(connection)
