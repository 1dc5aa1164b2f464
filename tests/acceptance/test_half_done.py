"""A file that stopped half way without a transaction: it may not vanish, change its manner, or be taken for new."""

import psycopg
import pytest

from support.calls import Answer, Project

pytestmark = pytest.mark.postgres("18")
HALF = """-- lockgate: transaction=off
CREATE INDEX CONCURRENTLY orders_customer ON orders (customer);
CREATE UNIQUE INDEX CONCURRENTLY orders_number ON orders (number);
"""


@pytest.fixture
def half(project: Project, database: str) -> str:
    """A project whose second file built its first index and failed at the second; the revision of that file."""
    project.write("orders", "CREATE TABLE orders (id bigint PRIMARY KEY, customer bigint, number bigint);\n")
    project.ok("up", "up")
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("INSERT INTO orders VALUES (1, 1, 7), (2, 1, 7)")
    revision = project.write("index_orders", HALF)
    failed = project.json("up")
    assert failed.code == 3
    failed.error("MIGRATION_EXECUTION_FAILED")
    return revision


def history(url: str) -> list[str]:
    """The revisions in the history."""
    with psycopg.connect(url, autocommit=True) as connection:
        rows = connection.execute("SELECT revision_id FROM lockgate.migration_history ORDER BY 1").fetchall()
        return [row[0] for row in rows]


def refused(answer: Answer, code: str, revision: str) -> None:
    """The call was refused for ``code`` and names the file."""
    assert answer.code in (3, 4), answer
    assert revision in answer.error(code)["reason"]


def test_its_file_is_gone(project: Project, half: str, database: str):
    """A half-done file that was deleted holds every later one back: PARTIAL, with its revision; nothing is applied."""
    next(project.directory.glob(f"{half}_*")).unlink()
    project.lock()
    project.write("later", "CREATE TABLE later (id bigint PRIMARY KEY);\n")
    refused(project.json("up"), "PARTIAL", half)
    assert half not in history(database)
    assert len(history(database)) == 1


def test_its_file_has_another_revision(project: Project, half: str, database: str):
    """A half-done file that was given a later number is not run from its beginning under the new one: PARTIAL."""
    old = next(project.directory.glob(f"{half}_*"))
    old.rename(old.with_name(f"{int(half) + 50}_index_orders.sql"))
    project.lock()
    refused(project.json("up"), "PARTIAL", half)
    assert len(history(database)) == 1


def test_it_became_transactional(project: Project, half: str, database: str):
    """A half-done file that dropped transaction=off is refused: its done statements would run a second time."""
    path = next(project.directory.glob(f"{half}_*"))
    path.write_text("CREATE INDEX orders_customer ON orders (customer);\n")
    project.lock()
    answer = project.json("up", "--verbose")
    refused(answer, "PARTIAL", half)
    assert "transaction=off" in answer.err
    assert half not in history(database)


def test_it_goes_on_when_the_cause_is_mended(project: Project, half: str, database: str):
    """With the data mended the next up goes on at the statement that failed, the first index is not built twice, and the time is told as that since the first attempt."""
    with psycopg.connect(database, autocommit=True) as connection:
        oid = connection.execute("SELECT 'orders_customer'::regclass::oid").fetchone()
        connection.execute("UPDATE orders SET number = id")
        (applied,) = project.ok("up", "up")["applied"]
        assert (applied["revision"], applied["note"]) == (half, "since the first attempt")
        assert connection.execute("SELECT 'orders_customer'::regclass::oid").fetchone() == oid
    assert history(database)[-1] == half


def test_its_journal_is_given_up(project: Project, half: str, database: str):
    """repair --discard-journal, with a reason, lets a person take the half-done state over; then its file may go."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("DROP INDEX orders_customer")
        connection.execute("DROP INDEX IF EXISTS orders_number")
    next(project.directory.glob(f"{half}_*")).unlink()
    project.lock()
    project.ok("repair", "repair", "--discard-journal", half, "--reason", "undone by hand", "--actor", "ana")
    project.write("later", "CREATE TABLE later (id bigint PRIMARY KEY);\n")
    assert len(project.ok("up", "up")["applied"]) == 1


def test_an_edited_step_is_remembered_as_it_ran(project: Project, half: str, database: str):
    """A statement that failed, was edited and then ran stands in the journal as it ran; the next up goes on behind it."""
    path = next(project.directory.glob(f"{half}_*"))
    old = "CREATE UNIQUE INDEX CONCURRENTLY orders_number ON orders (number);"
    path.write_text(HALF.replace(old, "CREATE TABLE instead (id bigint PRIMARY KEY);\nSELECT 1 / 0;"))
    project.lock()
    assert project.json("up").code == 3
    path.write_text(path.read_text().replace("SELECT 1 / 0;", "SELECT 1;"))
    project.lock()
    assert [f["revision"] for f in project.ok("up", "up")["applied"]] == [half]


def test_what_was_edited_in_is_judged(project: Project, half: str, database: str):
    """The rest of a half-done file is judged as it is now: what was edited in after the permit is refused."""
    path = next(project.directory.glob(f"{half}_*"))
    old = "CREATE UNIQUE INDEX CONCURRENTLY orders_number ON orders (number);"
    path.write_text(HALF.replace(old, "DROP TABLE orders;"))
    project.lock()
    answer = project.json("up")
    assert answer.code == 4, answer
    answer.error("POLICY_REFUSED")
    with psycopg.connect(database, autocommit=True) as connection:
        assert connection.execute("SELECT count(*) FROM orders").fetchone() == (2,)


def drift_of(project: Project) -> tuple[str, str]:
    """What ``verify`` says of the schema: the answer and its evidence."""
    (check,) = [c for c in project.json("verify").document("verify")["checks"] if c["id"] == "schema-drift"]
    return check["answer"], check["details"]


def mend(url: str) -> None:
    """Take away what made the second index fail."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE orders SET number = id")


def test_what_it_did_is_no_drift_and_none_when_it_is_done(project: Project, half: str, database: str):
    """The index of the first statement is told apart from drift while the file is half done, and belongs to the history once it is resumed."""
    answer, evidence = drift_of(project)
    assert answer == "pass"
    assert "2 objects of a file that stopped half way are no drift" in evidence, (
        "the built index and the invalid one"
    )
    mend(database)
    project.ok("up", "up")
    assert drift_of(project)[0] == "pass"
    assert "schema-drift" not in {finding["id"] for finding in project.ok("doctor", "doctor")["findings"]}
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("DROP INDEX orders_customer")
    assert drift_of(project) == (
        "fail",
        "1 object differs from what the history left: removed: index public.orders_customer",
    )


def test_somebody_elses_change_stays_drift_beside_it(project: Project, half: str, database: str):
    """A column and an index made by hand while a file is half done are drift, before it is resumed and after."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("ALTER TABLE orders ADD by_hand int; CREATE INDEX mine ON orders (by_hand)")
    for _ in range(2):
        answer, evidence = drift_of(project)
        assert answer == "fail"
        assert "column public.orders.by_hand" in evidence
        assert "index public.mine" in evidence
        assert "orders_customer" not in evidence
        mend(database)
        project.json("up")
