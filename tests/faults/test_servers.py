"""Servers that are not the one we took them for: standbys, failover (rows 21 to 23)."""

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from faults import conftest, invariants, look
from faults.cluster import Cluster
from faults.drive import CANARY, Project
from faults.look import effects, execute, history
from faults.relay import Line, Relay
from faults.shapes import SHAPES, File, Shape, once, table
from support.processes import until

SMALL = SHAPES["small"]
pytestmark = look.SERVERS
_WIDE = " || ".join(f"md5(note || '{letter}')" for letter in "abcdefghij")
INDEX = Shape(
    "index on a full disk",
    (
        File(
            "1700000000093", "index",
            f"-- lockgate: transaction=off\n{once('1700000000093')}\nCREATE INDEX CONCURRENTLY wide ON public.orders (({_WIDE}));\n",
            ("SELECT count(*) = 1 FROM public.effects WHERE revision = '1700000000093'",
             "SELECT COALESCE((SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('public.wide')), false)"),
            transactional=False,
        ),
    ),
)  # fmt: skip


@pytest.fixture
def pair(clusters: Callable[..., Cluster], session_directory: Path) -> Iterator[tuple[Cluster, Cluster]]:
    """A primary with a prepared database ``work``, and a streaming standby of it."""
    primary = clusters(wal_level="replica", max_wal_senders="4")
    conftest.create(primary.url(), "work")
    standby = primary.standby(session_directory / f"{primary.directory.name}s")
    yield primary, standby
    standby.remove()


def _caught_up(primary: Cluster, standby: Cluster) -> bool:
    lsn = primary.execute("SELECT pg_current_wal_lsn()")[0][0]
    return bool(standby.execute(f"SELECT pg_last_wal_replay_lsn() >= '{lsn}'::pg_lsn")[0][0])


def test_a_standby_is_refused(pair: tuple[Cluster, Cluster], project: Project) -> None:
    """A read-only replica is refused with READ_ONLY_TARGET before any lock is asked for, also when it knows a history."""
    primary, standby = pair
    project.write(*SMALL.files)
    refused = project.run(conftest.with_canary(standby.url("work")))
    assert (refused.code, refused.reason) == (4, "READ_ONLY_TARGET")
    assert "guard" not in refused.out + refused.err
    assert project.run(conftest.with_canary(primary.url("work"))).code == 0
    until(lambda: _caught_up(primary, standby))
    project.write(*SMALL.files, table(90, "later"))
    assert project.run(conftest.with_canary(standby.url("work"))).reason == "READ_ONLY_TARGET"


def test_a_read_only_database_is_refused(url: str, project: Project) -> None:
    """A database that is read-only by default is refused with READ_ONLY_TARGET, and nothing is written to it."""
    project.write(*SMALL.files)
    name = url.rsplit("/", 1)[1]
    execute(url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    refused = project.run(url)
    assert (refused.code, refused.reason) == (4, "READ_ONLY_TARGET")
    with psycopg.connect(url, options="-c default_transaction_read_only=off", autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")  # type: ignore[arg-type]
    invariants.after_rerun(url, SMALL, project.run(url))


def _fail_over(
    pair: tuple[Cluster, Cluster], project: Project, line: Line, *, spend_ids: bool
) -> tuple[object, str]:
    """COMMIT is sent to a primary whose standby does not get it; the primary dies and the standby takes its place."""
    primary, standby = pair
    place = [primary]
    with Relay(lambda: place[0].socket) as relay:
        until(lambda: _caught_up(primary, standby))
        standby.stop()  # from here on it gets nothing
        url = relay.url("work", password=CANARY)
        runner = project.start(
            url, fault={"kind": "ask", "at": 1, "name": "commit:send", "control": line.path}
        )
        line.wait()
        relay.cut_on_answer()
        line.answer()
        assert relay.answers.wait(20)
        primary.crash()
        standby.start()
        standby.execute("SELECT pg_promote()")
        if spend_ids:  # the lost transaction's number is given out again, and committed
            for _ in range(40):
                standby.execute("SELECT pg_current_xact_id()", "work")
        place[0] = standby
        return runner.wait(), conftest.with_canary(standby.url("work"))


@pytest.mark.parametrize("spend_ids", [False, True])
def test_failover_to_a_standby_without_the_commit(
    pair: tuple[Cluster, Cluster], project: Project, line: Line, spend_ids: bool
) -> None:
    """After a failover the run does not believe transaction numbers of another timeline: it stops, and a new run applies."""
    project.write(*SMALL.files)
    ended, url = _fail_over(pair, project, line, spend_ids=spend_ids)
    assert ended.reason in ("IN_DOUBT", "CONNECTION_LOST"), ended  # type: ignore[attr-defined]
    assert "failover" in ended.err, ended  # type: ignore[attr-defined]
    assert (history(url), effects(url)) == ([], [])
    invariants.after_rerun(url, SMALL, project.run(url))


@pytest.mark.parametrize("definition", ["(customer)", "(note)"])
def test_failover_left_an_index_without_its_history(url: str, project: Project, definition: str) -> None:
    """An index that is there without history is adopted when its definition is the file's, else refused by name each time."""
    shape = SHAPES["concurrent"]
    project.write(*shape.files)
    execute(url, f"CREATE INDEX orders_customer ON public.orders {definition}")
    if definition == "(customer)":
        ended = project.run(url)
        assert "found done" in ended.err
        assert ended.code == 0
        assert (history(url), effects(url)) == ([shape.files[0].revision], [shape.files[0].revision])
        return
    for _ in range(3):
        refused = project.run(url)
        assert (refused.code, refused.reason) == (3, "INDEX_DEFINITION_DIFFERS")
        assert "Rename or drop it" in refused.document["next"]


def test_failover_left_a_table_without_its_history(url: str, project: Project) -> None:
    """A table that is there without history is never guessed about: each run refuses in the same words, and stays whole."""
    project.write(*SMALL.files)
    execute(url, "CREATE TABLE public.small (id bigint)")
    said = []
    for _ in range(2):
        refused = project.run(url)
        assert (refused.code, refused.reason) == (3, "MIGRATION_EXECUTION_FAILED")
        assert refused.document["details"]["sqlstate"] == "42P07"
        said.append(refused.document["message"])
    assert said[0] == said[1]
    assert (history(url), effects(url)) == ([], [])
