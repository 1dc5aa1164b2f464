"""Statements as people write them, each alone on a rich schema: locks, rewrites and scans against the servers.

A file of ``rounds`` is a schema, ``-- each``, and statements that are rolled back one by one. ``-- on NAME`` in its first
line says that the schema begins with that of ``schemas/NAME.sql``, which several share. A comment ``-- 18``
behind one says that only this version takes it, ``-- hidden`` that something in it cannot be told: then the locks
that are claimed are taken, maybe among others, and the facts say so; ``-- rows`` that
with other rows it would lock more, and the facts say so; ``-- at most`` that WHERE chooses no row that
a foreign key would act on, or that the server works out more than the policy does: then the locks that are taken are
claimed, maybe among others.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from claims import claim, differences, less_than_seen, model_of, more_than_seen
from observation import anew, observe, relations
from psycopg import sql

from lockgate.postgres.embedded import Embedded
from support import servers

_HERE = Path(__file__).parent
FILES = sorted((_HERE / "rounds").glob("*.sql"))
_HELD = {"hidden": more_than_seen, "at most": less_than_seen}
ROLES = ("app_owner", "app_reader")


def whole(path: Path) -> str:
    """The text of a round, with the schema that it stands on."""
    text = path.read_text()
    first, _, rest = text.partition("\n")
    name = first.removeprefix("-- on ")
    return text if name == first else (_HERE / "schemas" / f"{name}.sql").read_text() + rest


@contextmanager
def roles(server: Embedded, text: str) -> Iterator[str]:
    """``text`` with roles of its own, since roles belong to the whole server; gone again at the end."""
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        made = []
        for role in ROLES:
            if role in text:
                made.append(f"{role}_{uuid.uuid4().hex[:8]}")
                text = text.replace(role, made[-1])
                connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(made[-1])))
        try:
            yield text
        finally:
            for role in made:
                connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


@pytest.mark.postgres("16", "18")
@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_each_statement_of_the_round(path: Path, server: Embedded) -> None:
    """Locks, rewrites and scans of every statement are exactly those that the server shows."""
    wrong, count = [], 0
    with roles(server, whole(path)) as text, servers.fresh_database(server, "policy_rounds") as url:
        setup, _, each = text.partition("-- each\n")
        with psycopg.connect(url, autocommit=True) as connection:
            version = connection.info.server_version // 10000
            if path.stem.startswith("from_18") and version < 18:
                pytest.skip("this schema came with PostgreSQL 18")
            schema = model_of(setup, version=version)
            cursor = connection.cursor()
            cursor.execute("SET client_min_messages = error")
            cursor.execute(setup)  # type: ignore[call-overload]
            before = relations(cursor)
            for line in each.splitlines():
                statement, _, only = line.partition("; -- ")
                if not statement or only not in ("", *_HELD, "rows", str(version)):
                    continue
                # What a function planned before would lock less.
                cursor.execute("DISCARD PLANS")
                cursor.execute("BEGIN")
                seen = observe(cursor, statement, before)
                cursor.execute("ROLLBACK")
                word, facts = claim(statement.removesuffix(";"), schema, version)
                assert facts.understood, statement
                held = _HELD.get(only, differences)
                told = held(word, facts, seen)
                if told:
                    told = held(word, facts, anew(cursor, url, statement, before))
                assert bool(facts.hidden) == (only in ("hidden", "rows")), (statement, facts.hidden)
                wrong += [f"{statement}\n    {problem}" for problem in told]
                count += 1
    assert count
    assert not wrong, "\n" + "\n".join(wrong)
