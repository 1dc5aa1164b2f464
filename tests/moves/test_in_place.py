"""Moves in place: a recipe's change from `new` to the contract file, while the old and the new release write."""

import threading
from typing import NamedTuple

import psycopg
import pytest

from support.calls import Project
from support.processes import until
from support.tables import run_sql

pytestmark = pytest.mark.postgres("18")
ROWS = 1200
MAKE = (
    "CREATE TABLE orders (id bigint PRIMARY KEY, note text, qty integer NOT NULL DEFAULT 1, mood text);\n"
    "CREATE TABLE kept (id bigint PRIMARY KEY);\n"
)
FILL = f"INSERT INTO orders (id, note, qty) SELECT g, 'note ' || g, g FROM generate_series(1, {ROWS}) g"


class Change(NamedTuple):
    """A recipe, what both releases write over and over (``%(id)s`` is a row of theirs), and what is true at the end."""

    recipe: str
    values: dict[str, str]
    old: tuple[str, ...]
    new: tuple[str, ...]
    # Rows in which both sides do not say the same, while both are there.
    apart: str
    # True once the old side is gone.
    gone: str = "SELECT NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'orders'::regclass AND attname = 'note' AND NOT attisdropped)"


CHANGES = [
    Change(
        "rename-column", {"table": "orders", "column": "note", "to": "remark", "type": "text", "not_null": "yes"},
        ("UPDATE orders SET note = 'old ' || %(n)s WHERE id = %(id)s", "INSERT INTO orders (id, note) VALUES (%(n)s + 100000, 'by old')", "DELETE FROM orders WHERE id = %(n)s + 99990"),
        ("UPDATE orders SET remark = 'new ' || %(n)s WHERE id = %(id)s", "INSERT INTO orders (id, remark) VALUES (%(n)s + 200000, 'by new')", "UPDATE orders SET id = id + 500000 WHERE id = %(n)s + 199990"),
        "SELECT count(*) FROM orders WHERE note IS DISTINCT FROM remark",
    ),
    Change(
        "change-type", {"table": "orders", "column": "qty", "from": "integer", "type": "numeric(14, 2)", "to": "amount", "forward": "{value} / 100.0", "backward": "({value} * 100)::integer"},
        ("UPDATE orders SET qty = %(n)s WHERE id = %(id)s", "INSERT INTO orders (id, qty) VALUES (%(n)s + 100000, 5)"),
        ("UPDATE orders SET amount = %(n)s / 100.0 WHERE id = %(id)s", "INSERT INTO orders (id, amount) VALUES (%(n)s + 200000, 1.25)"),
        "SELECT count(*) FROM orders WHERE amount IS DISTINCT FROM qty / 100.0",
        "SELECT NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'orders'::regclass AND attname = 'qty' AND NOT attisdropped)",
    ),
    Change(
        "split-table", {"table": "orders", "to": "order_notes", "key": "id", "key_type": "bigint", "columns": "note:text"},
        ("UPDATE orders SET note = 'old ' || %(n)s WHERE id = %(id)s", "INSERT INTO orders (id, note) VALUES (%(n)s + 100000, 'by old')", "DELETE FROM orders WHERE id = %(n)s + 99990", "UPDATE orders SET id = id + 500000 WHERE id = %(n)s + 99980"),
        ("UPDATE order_notes SET note = 'new ' || %(n)s WHERE id = %(id)s", "INSERT INTO orders (id) VALUES (%(n)s + 200000)"),
        "SELECT count(*) FROM orders FULL JOIN order_notes n USING (id) WHERE orders.note IS DISTINCT FROM n.note",
    ),
    Change(
        "add-not-null", {"table": "orders", "column": "mood", "fill": "'good'"},
        ("UPDATE orders SET mood = 'bad' WHERE id = %(id)s", "INSERT INTO orders (id, mood) VALUES (%(n)s + 100000, 'bad')"),
        ("UPDATE orders SET mood = 'odd' WHERE id = %(id)s",),
        "SELECT count(*) FROM orders WHERE mood IS NULL",
        "SELECT attnotnull FROM pg_attribute WHERE attrelid = 'orders'::regclass AND attname = 'mood'",
    ),
]  # fmt: skip


class Release(threading.Thread):
    """One release that writes until it is told to stop; rows of one release are not those of the other."""

    def __init__(self, url: str, statements: tuple[str, ...], number: int) -> None:
        super().__init__()
        self.url, self.statements, self.number = url, statements, number
        self.stop = threading.Event()
        self.writes = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            with psycopg.connect(self.url, autocommit=True) as connection:
                while not self.stop.is_set():
                    row = 1 + 2 * (self.writes * 7 % (ROWS // 2 - 1)) + self.number
                    for statement in self.statements:
                        connection.execute(statement, {"id": row, "n": self.writes})
                    self.writes += 1
        except BaseException as error:
            self.error = error


class Both:
    """Two releases at once."""

    def __init__(self, url: str, change: Change) -> None:
        self.releases = [Release(url, change.old, 0), Release(url, change.new, 1)]

    def __enter__(self) -> "Both":
        for release in self.releases:
            release.start()
        self.go_on()
        return self

    def go_on(self, writes: int = 20) -> None:
        """Wait until each has written so many times more."""
        wanted = [r.writes + writes for r in self.releases]
        until(
            lambda: (
                any(r.error for r in self.releases)
                or all(r.writes >= w for r, w in zip(self.releases, wanted, strict=True))
            )
        )

    def __exit__(self, *_: object) -> None:
        for release in self.releases:
            release.stop.set()
        for release in self.releases:
            release.join()
        for release in self.releases:
            if release.error is not None:
                raise release.error


def _changed(tmp_path, database: str, change: Change) -> Project:
    """A project with rows, and the recipe's expand files applied as far as the move lets them."""
    project = Project(tmp_path, database)
    project.write("orders", MAKE, 1_700_000_000_001)
    project.ok("up", "up")
    run_sql(database, FILL)
    arguments = [part for key, value in change.values.items() for part in ("--set", f"{key}={value}")]
    document = project.ok("new", "new", "the_change", "--recipe", change.recipe, *arguments)
    assert document["move"]["name"] == "the_change"
    answer = project.json("up")
    assert answer.code in (0, 4), answer
    return project


@pytest.mark.parametrize("change", CHANGES, ids=[c.recipe for c in CHANGES])
def test_a_recipe_goes_through(tmp_path, database: str, change: Change):
    """new, up, move run, promote, up: under writes of both releases nothing is out of step, and the old side goes last."""
    project = _changed(tmp_path, database, change)
    if change.recipe == "add-not-null":
        waiting = project.json("up")
        assert waiting.code == 4
        waiting.error("MOVE_WAITED_FOR")
    with Both(database, change) as both:
        document = project.ok("move", "move", "run", "the_change")
        both.go_on()
        if change.recipe == "add-not-null":
            assert document["stage"] == "finished"
        else:
            assert (document["stage"], document["serves"]) == ("reconciled", "both")
            told = project.ok("move", "move", "rollback", "the_change")
            assert told["stage"] == "reconciled"
        project.ok("up", "up")
    assert run_sql(database, change.apart) == [(0,)]
    waits = sorted(path.stem for path in (project.root / "db/contract").glob("*.sql"))
    for name in waits:
        project.ok("promote", "promote", name)
        project.ok("up", "up")
    assert run_sql(database, change.gone) == [(True,)]
    assert project.ok("move", "move", "status", "the_change")["stage"] == "finished"
    assert project.ok("verify", "verify")["verdict"] == "pass"
    if waits:
        assert (
            "took the old side away"
            in project.json("move", "rollback", "the_change").error("MOVE_STAGE")["message"]
        )


def test_the_contract_file_waits_for_the_proof(tmp_path, database: str):
    """Before the move it is held, after an abort too; so is it when the trigger was switched off behind the move's back."""
    project = _changed(
        tmp_path,
        database,
        CHANGES[0]._replace(values={k: v for k, v in CHANGES[0].values.items() if k != "not_null"}),
    )
    project.ok("promote", "promote", "the_change")
    assert "never started" in project.json("up").error("MOVE_WAITED_FOR")["message"]
    project.ok("move", "move", "run", "the_change")
    run_sql(
        database,
        "ALTER TABLE orders DISABLE TRIGGER zz_orders_note_remark_sync",
        "UPDATE orders SET note = 'unseen' WHERE id = 7",
    )
    assert "switched off" in project.json("up").error("MOVE_WAITED_FOR")["message"]
    assert "switched off" in project.json("move", "verify", "the_change").error("MOVE_PAUSED")["message"]
    run_sql(database, "ALTER TABLE orders ENABLE TRIGGER zz_orders_note_remark_sync")
    answer = project.json("move", "verify", "the_change")
    assert answer.code == 1
    assert "(7) changed" in answer.error("MOVE_DIVERGED")["message"]
    assert "paused" in project.json("up").error("MOVE_WAITED_FOR")["message"]
    project.ok("move", "move", "resume", "the_change")
    project.ok("move", "move", "verify", "the_change", "--repair")
    assert run_sql(database, "SELECT remark FROM orders WHERE id = 7") == [("unseen",)]
    project.ok("up", "up")
    assert project.ok("move", "move", "status", "the_change")["stage"] == "finished"


def test_a_move_in_place_is_refused_early(tmp_path, database: str):
    """Before the expand files are applied the plan says so; a hand-made table change is refused while rows are filled in."""
    project = Project(tmp_path, database)
    project.write("orders", MAKE, 1_700_000_000_001)
    project.ok("up", "up")
    change = CHANGES[1]
    project.ok(
        "new",
        "new",
        "the_change",
        "--recipe",
        change.recipe,
        *(p for k, v in change.values.items() for p in ("--set", f"{k}={v}")),
    )
    answer = project.json("move", "plan", "the_change")
    assert answer.code == 4
    problems = answer.document("move")["result"]["problems"]
    assert any("no column amount" in p["what"] and "lockgate up" in p["fix"] for p in problems)
    assert "no column amount" in project.json("move", "start", "the_change").error("MOVE_REFUSED")["message"]
    project.json("up")
    project.ok("move", "move", "start", "the_change")
    project.write("more", "ALTER TABLE orders ADD COLUMN more int;\n", 9_000_000_000_000)
    assert "which the move the_change is" in project.json("up").error("MOVE_FROZEN")["message"]
    assert "nothing to switch" in project.json("move", "cutover", "the_change").error("MOVE_STAGE")["message"]


def test_a_generated_old_side_is_refused(tmp_path, database: str):
    """A table that no file makes is looked at: an old side that is generated loses every later value, so the move does not start."""
    project = Project(tmp_path, database)
    run_sql(
        database,
        "CREATE TABLE inv (id int PRIMARY KEY, amt int, tot int GENERATED ALWAYS AS (amt * 2) STORED)",
    )
    project.write("other", "CREATE TABLE other (id int PRIMARY KEY);\n", 1_700_000_000_001)
    given = ("table=inv", "column=tot", "to=total", "type=int")
    project.ok("new", "new", "it", "--recipe", "rename-column", *(p for one in given for p in ("--set", one)))
    project.json("up")
    assert "inv.tot is generated" in project.json("move", "start", "it").error("MOVE_REFUSED")["message"]


def test_rows_that_cannot_be_filled_in_stand_in_quarantine(tmp_path, database: str):
    """A row that the new type refuses is put aside with its reason, the others are filled in; mended and retried, it goes on."""
    project = Project(tmp_path, database)
    project.write("orders", MAKE, 1_700_000_000_001)
    project.ok("up", "up")
    run_sql(
        database,
        FILL,
        "UPDATE orders SET note = id::text",
        "UPDATE orders SET note = 'many' WHERE id IN (13, 700)",
    )
    project.ok("new", "new", "the_change", "--recipe", "change-type", "--set", "table=orders", "--set", "column=note", "--set", "from=text", "--set", "type=integer", "--set", "to=number")  # fmt: skip
    project.ok("up", "up")
    failed = project.json("move", "run", "the_change").error("MOVE_QUARANTINE")
    assert "2 rows" in failed["message"]
    assert run_sql(database, "SELECT count(*) FROM orders WHERE number = id") == [(ROWS - 2,)]
    run_sql(
        database,
        "UPDATE orders SET note = '13' WHERE id = 13",
        "UPDATE orders SET note = NULL WHERE id = 700",
    )
    project.ok("move", "move", "backfill", "the_change", "--retry")
    assert project.ok("move", "move", "run", "the_change")["stage"] == "reconciled"


@pytest.mark.parametrize("change", CHANGES, ids=[c.recipe for c in CHANGES])
def test_a_whole_history_builds_a_new_database(tmp_path, database: str, change: Change):
    """On an empty database no file waits for a move that has nothing to move: one `up` makes it all, and says so."""
    project = Project(tmp_path, database)
    project.write("orders", MAKE, 1_700_000_000_001)
    arguments = [part for key, value in change.values.items() for part in ("--set", f"{key}={value}")]
    project.ok("new", "new", "the_change", "--recipe", change.recipe, *arguments)
    for name in sorted(path.stem for path in (project.root / "db/contract").glob("*.sql")):
        project.ok("promote", "promote", name)
    answer = project.json("up")
    assert answer.code == 0, answer
    assert "move the_change had nothing to move: orders is empty" in answer.err
    assert run_sql(database, change.gone) == [(True,)]
    assert project.ok("status", "status")["clean"] is True


SEED = "INSERT INTO orders (id, note, qty) SELECT g, 'seed ' || g, g FROM generate_series(1, {rows}) g;\n"


@pytest.mark.parametrize("change", CHANGES, ids=[c.recipe for c in CHANGES])
def test_a_new_database_fills_in_the_few_rows_of_its_own_files(tmp_path, database: str, change: Change):
    """Seed rows of the same run are filled in at their turn and compared: one `up` makes a new unprotected database whole."""
    project = Project(tmp_path, database)
    project.write("orders", MAKE, 1_700_000_000_001)
    project.write("seed", SEED.format(rows=3), 1_700_000_000_002)
    arguments = [part for key, value in change.values.items() for part in ("--set", f"{key}={value}")]
    project.ok("new", "new", "the_change", "--recipe", change.recipe, *arguments)
    if change.recipe != "add-not-null":
        project.write("proof", f"-- lockgate: after=move:the_change\nDO $$ BEGIN ASSERT ({change.apart}) = 0; END $$;\n", 2_000_000_000_000)  # fmt: skip
    answer = project.json("up")
    assert answer.code == 0, answer
    assert "move the_change: 3 rows of orders were filled in, and both sides say the same" in answer.err
    assert run_sql(database, change.apart) == [(0,)]
    project.ok("up", "up")


@pytest.mark.parametrize(("rows", "protected"), [(1, True), (1001, False)], ids=["protected", "many"])
def test_rows_of_the_files_themselves_are_rows(tmp_path, database: str, rows: int, protected: bool):
    """Where a file of the same run fills the table of a protected database, or with more than few rows, what waits for the
    move waits; status and error name the command."""
    change = CHANGES[0]
    project = Project(tmp_path, database)
    if protected:
        project.configure(
            "[env.live]\nurl_env = 'DATABASE_URL'\nprotected = true\nrequire_rehearsal = false\nrequire_backup = false\napprovals = { count = 0, high_impact_count = 0 }\n"
        )
    place = ("--env", "live") if protected else ()
    env = "".join(f" {word}" for word in place)
    project.write("orders", MAKE, 1_700_000_000_001)
    project.write("seed", SEED.format(rows=rows), 1_700_000_000_002)
    arguments = [part for key, value in change.values.items() for part in ("--set", f"{key}={value}")]
    project.ok("new", "new", "the_change", "--recipe", change.recipe, *arguments)
    project.ok("promote", "promote", "the_change")
    answer = project.json("up", *place)
    assert answer.code == 4, answer
    error = answer.error("MOVE_WAITED_FOR")
    assert "never started here, and orders holds rows" in error["message"]
    assert error["next"] == f"lockgate move run{env} the_change; then lockgate up{env}"
    held = project.ok("status", "status", *place)["held"]
    assert (held["move"], held["next"]) == ("the_change", error["next"])
    shown = project.run("status", *place)
    assert "waits for the move the_change" in shown.out
    assert f"next: lockgate move run{env} the_change" in shown.out
    project.ok("move", "move", "run", "the_change", *place)
    project.ok("up", "up", *place)
    assert run_sql(database, "SELECT count(*) FROM orders WHERE remark = 'seed ' || id") == [(rows,)]


def test_what_had_nothing_to_move_stays_settled(tmp_path, database: str):
    """Once a file passed because the table was empty, later ones pass too: the triggers wrote every row since on both sides."""
    change = CHANGES[0]
    project = Project(tmp_path, database)
    project.write("orders", MAKE, 1_700_000_000_001)
    arguments = [part for key, value in change.values.items() for part in ("--set", f"{key}={value}")]
    project.ok("new", "new", "the_change", "--recipe", change.recipe, *arguments)
    project.ok("up", "up")
    run_sql(database, "INSERT INTO orders (id, note) VALUES (1, 'old')")
    project.ok("promote", "promote", "the_change")
    project.ok("up", "up")
    assert run_sql(database, "SELECT remark FROM orders") == [("old",)]
