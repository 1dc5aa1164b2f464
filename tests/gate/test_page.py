"""The page of `serve`: what an operator asks first, from the tables, with the command for what is wrong."""

import re
from html import unescape

import psycopg
import pytest

from gate.contracts import R, ask
from lockgate.gate.parity import compare
from lockgate.postgres.metrics import Figures
from lockgate.postgres.overview import Overview, read_overview
from lockgate.postgres.parity import Sight
from lockgate.postgres.target import Target
from lockgate.web.metrics import Watched
from lockgate.web.page import render
from lockgate.web.watching import Environments

pytestmark = pytest.mark.postgres("18")
THINGS = """
INSERT INTO lockgate.instance (instance_id, service, release_id, schema_min, schema_max, ttl_seconds) VALUES ('a', 'shop', 'r41', '1', '2', 3600), ('b', 'shop', 'r41', '1', '2', 3600);
INSERT INTO lockgate.move (name, stage, declaration, declaration_hash, source_oid, target_oid, same_database, operator, rows_estimate) VALUES ('orders', 'backfill', '{}', '', 0, 0, true, 'o', 120000);
INSERT INTO lockgate.move_range (move, number, high, state, rows_source, finished_at, seconds) VALUES ('orders', 1, '{5}', 'copied', 60000, now(), 3);
INSERT INTO lockgate.index_generation (name, generation, store, state, live, spec_hash, manifest, records, sealed_at, verdict) VALUES ('docs', '7f3a91c2', 'pgvector', 'sealed', true, 'x', '{}', 128, now(), 'pass');
INSERT INTO lockgate.backup (backup_id, provider, state, finished_at, drilled_at, drill) VALUES ('old', 'pg_dump', 'verified', now() - interval '2 days', now() - interval '1 day', '{"equal": true}');
INSERT INTO lockgate.backup (backup_id, provider, state, finished_at) VALUES ('new', 'pg_dump', 'verified', now());
"""


def shown(page: str) -> str:
    """The page as it is read: without marks, one space between words."""
    return " ".join(unescape(re.sub(r"(?s)<style>.*?</style>|<[^>]*>", " ", page)).split())


def look(url: str, revisions: tuple[str, ...] | None = None, name: str = "live") -> str:
    """The page of one environment, looked at anew."""
    found = Environments({name: Target(url, source="test")}, {}, revisions)
    return render(found.look(), found.view())


def test_what_an_operator_asks_first(applied, database):
    """Revision, lease, runs, releases, instances, moves, indexes, backup and drill stand on the page, from the tables."""
    applied.ok("release", "release", "--sha", "0a1b2c3")
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(THINGS)
    page = look(database, (R[1], R[2], R[3]))
    text = shown(page)
    assert "live in order" in text
    for told in (
        f"revision {R[3]}", "lease free: nobody releases", "pending files 0", "Runs run ended by begun took why", "up succeeded",
        "0a1b2c3 succeeded", "shop r41 1 to 2 2", "orders backfill 60000 rows, 50%", "docs 7f3a91c2 pgvector live, pass 128",
        "newest backup pg_dump verified", "newest drill equal 24 h ago",
    ):  # fmt: skip
        assert told in text, text
    assert "width=device-width" in page
    assert "<script" not in page


def test_what_is_wrong_comes_with_its_command(applied, database):
    """A failed release, a run without a word, held workers, read-only mode and pending files are told first, each with the command for it."""
    applied.write("bad", "SELECT 1 / 0;\n")
    assert applied.run("release", "--sha", "0a1b2c3").code == 3
    applied.ok("readonly", "readonly", "on", "--reason", "cutover <b>of</b> orders")
    ask(
        database,
        "INSERT INTO lockgate.worker_pause (name, state, provider, release_key, owner, reason, expires_at) VALUES ('all', 'held', 'lease', 'k', 'ann', 'they do not fit', now())",
    )
    page = look(database, (R[1], R[2], R[3], R[4]), "a b")
    text = shown(page)
    assert "5 matters to look at" in text
    for told in (
        "workers are held, overdue: they do not fit: lockgate release workers status --env 'a b'",
        "release 0a1b2c3 failed: MIGRATION_EXECUTION_FAILED: lockgate release recover --env 'a b'",
        "the last run failed: MIGRATION_EXECUTION_FAILED: lockgate status --env 'a b'",
        "read-only mode by", "1 file pending: lockgate plan --env 'a b'",
    ):  # fmt: skip
        assert told in text, text
    assert "<b>" not in page
    ask(database, "UPDATE lockgate.run SET state = 'running', finished_at = NULL")
    assert "a run ended without a word" in shown(look(database))


def test_the_page_escapes_what_it_shows(applied, database):
    """The name of a service or of an environment with markup in it is shown as text."""
    ask(
        database,
        "INSERT INTO lockgate.instance (instance_id, service) VALUES ('i', '<script>alert(1)</script>')",
    )
    page = look(database, name="<b>")
    assert "<script>" not in page
    assert "<b>" not in page
    assert "&lt;script&gt;" in page


def test_a_database_that_knows_nothing(database):
    """Without lockgate's tables, without an answer, and with regions that differ, the page says just that."""
    assert "lockgate was never run here" in shown(look(database))
    gone = "postgresql://u:hush-hush@127.0.0.1:1/none"
    page = look(gone)
    assert "unreachable" in shown(page)
    assert "hush" not in page
    assert read_overview(Target(gone, source="test")).why
    parity = compare({"eu": Sight("seen", revision="1"), "us": Sight("unreachable", "gone")})
    text = shown(render((Watched("live", Figures(True), 0, parity),), {"live": Overview(why="no grant")}))
    assert "Regions region answer revision schema note" in text
    assert "not all could be read: no grant" in text
    assert "No environment" in render(())


def test_the_database_of_each_page_is_asked_once(applied, database):
    """A page reloaded by many browsers is read once in ten seconds, and a scrape does not read it at all."""
    found = Environments({"live": Target(database, source="test")}, {}, None, clock=lambda: 100.0)
    first = found.view()
    assert found.view() is first
    assert found.look()[0].figures.reached
