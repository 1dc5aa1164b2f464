"""Random interleavings of everything that can happen to a move, against a model that is a dictionary."""

import contextlib

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from lockgate.errors import LockgateError
from lockgate.moves.backfill import Task, claim, copy
from lockgate.postgres.moves import ledger
from lockgate.record import points
from moves.hand import Hand
from moves.test_crashes import Crash, Killer
from support.tables import run_sql

KEYS = st.integers(1, 12)
VALUES = st.sampled_from([None, "", "a", "b", "x" * 3000])


def machine(source: str, target: str | None) -> type[RuleBasedStateMachine]:
    """The machine over one or two databases."""

    class Machine(RuleBasedStateMachine):
        @initialize()
        def begin(self) -> None:
            for url in filter(None, (source, target)):
                run_sql(url, "DROP TABLE IF EXISTS item, item_new, item__items_old", "TRUNCATE lockgate.move, lockgate.move_range, lockgate.move_quarantine, lockgate.move_switch" if run_sql(url, "SELECT to_regclass('lockgate.move')")[0][0] else "SELECT 1",
                        'DROP TABLE IF EXISTS lockgate."outbox_items_forward", lockgate."outbox_items_reverse"' if run_sql(url, "SELECT to_regnamespace('lockgate')")[0][0] else "SELECT 1")  # fmt: skip
            run_sql(
                source,
                "CREATE TABLE item (id int PRIMARY KEY, v text, u int UNIQUE)",
                "INSERT INTO item SELECT g, 'v', g FROM generate_series(1, 8) g",
            )
            self.rows = {g: ("v", g) for g in range(1, 9)}
            self.hand = Hand(source, target).with_limits(batch_rows=2, relay_rows=2, workers=1)
            self.serving = source
            self.hand.start()

        # -- writers ----------------------------------------------------------------------------

        def write(self, sql: str, *parameters: object) -> bool:
            with psycopg.connect(self.serving, autocommit=True) as connection:
                try:
                    connection.execute(sql, parameters)
                except psycopg.errors.UniqueViolation:
                    return False
            return True

        @rule(key=KEYS, value=VALUES)
        def put(self, key: int, value: str | None) -> None:
            self.write(
                "INSERT INTO item VALUES (%s, %s, %s) ON CONFLICT (id) DO UPDATE SET v = excluded.v",
                key,
                value,
                key + 100,
            )
            self.rows[key] = (value, self.rows[key][1] if key in self.rows else key + 100)

        @rule(key=KEYS)
        def delete(self, key: int) -> None:
            self.write("DELETE FROM item WHERE id = %s", key)
            self.rows.pop(key, None)

        @rule(old=KEYS, new=KEYS)
        def rekey(self, old: int, new: int) -> None:
            if old in self.rows and new not in self.rows:
                self.write("UPDATE item SET id = %s WHERE id = %s", new, old)
                self.rows[new] = self.rows.pop(old)

        @rule(one=KEYS, two=KEYS)
        def swap(self, one: int, two: int) -> None:
            if one in self.rows and two in self.rows and one != two:
                with psycopg.connect(self.serving) as connection:
                    (v, x), (w, y) = self.rows[one], self.rows[two]
                    connection.execute("UPDATE item SET u = -1 WHERE id = %s", (one,))
                    connection.execute("UPDATE item SET u = %s WHERE id = %s", (x, two))
                    connection.execute("UPDATE item SET u = %s WHERE id = %s", (y, one))
                self.rows[one], self.rows[two] = (v, y), (w, x)

        @rule()
        def truncate(self) -> None:
            self.write("TRUNCATE item")
            self.rows.clear()

        # -- the move ---------------------------------------------------------------------------

        def step(self, call, dies_at: int) -> None:
            """A call that is killed at its ``dies_at``-th round trip (0: lives), or refused because it is not its turn."""
            if dies_at:
                points.install(Killer(dies_at))
            try:
                with contextlib.suppress(Crash):
                    call()
            except LockgateError as error:
                if error.code not in ("MOVE_STAGE", "MOVE_INCOMPLETE"):
                    raise
            finally:
                points.install(None)
            self.look()

        def look(self) -> None:
            with self.hand.open() as move:
                row = move.row()
                if row.switching:
                    # Killed half way across two servers: call it again, as a person would.
                    again = self.hand.cutover if row.switching == "cutover" else self.hand.rollback
                else:
                    again = None
            if again is not None:
                again()
            self.serving = source if self.hand.serving() == "source" or target is None else target

        @rule(dies=st.integers(0, 30))
        def copy_a_batch(self, dies: int) -> None:
            def call() -> None:
                with self.hand.open() as move:
                    row = move.row()
                    if row.stage == "dual_write":
                        ledger.step(move.home, move.name, "dual_write", "backfilling", "test", {})
                        row = move.row()
                    if row.stage == "backfilling":
                        mapping = move.layout(row).forward
                        piece = claim(move, mapping, 2)
                        if piece is not None:
                            copy(move, Task(mapping), piece)

            self.step(call, dies)
            run_sql(
                source,
                "UPDATE lockgate.move_range SET lease_until = now() - interval '1 s' WHERE state = 'leased'",
            )

        @rule(dies=st.integers(0, 25))
        def relay(self, dies: int) -> None:
            self.step(self.hand.relay, dies)

        @rule(dies=st.integers(0, 60))
        def reconcile(self, dies: int) -> None:
            self.step(self.hand.reconcile, dies)

        @rule(dies=st.integers(0, 90))
        def cutover(self, dies: int) -> None:
            self.step(self.hand.cutover, dies)

        @rule(dies=st.integers(0, 90))
        def rollback(self, dies: int) -> None:
            self.step(self.hand.rollback, dies)

        @precondition(lambda self: self.hand.stage == "rolled_back")
        @rule()
        def start_again(self) -> None:
            self.hand.start()

        def teardown(self) -> None:
            if not hasattr(self, "hand"):
                return
            with contextlib.suppress(LockgateError):
                if self.hand.stage == "rolled_back":
                    self.hand.start()
            if self.hand.serving() == "source":
                self.hand.backfill()
                self.hand.reconcile()
                self.hand.cutover()
            self.hand.relay()
            held = {k: (v, u) for k, (v, u) in self.rows.items()}
            there = target or source
            assert {r[0]: (r[1], r[2]) for r in run_sql(there, "SELECT id, v, u FROM item")} == held
            old = "item" if target else "item__items_old"
            assert {r[0]: (r[1], r[2]) for r in run_sql(source, f"SELECT id, v, u FROM {old}")} == held

    return Machine


@pytest.mark.postgres("18")
@pytest.mark.parametrize("across", [False, True], ids=["one-database", "two-databases"])
def test_model(databases, across):
    """Writes, batches, relays, comparisons, switches, ways back and crashes at random round trips, in any order: at the end both sides equal the model."""
    run_state_machine_as_test(
        machine(databases(), databases() if across else None),
        settings=settings(
            max_examples=5,
            stateful_step_count=25,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.soak
@pytest.mark.postgres("18")
@pytest.mark.parametrize("across", [False, True], ids=["one-database", "two-databases"])
def test_model_for_long(databases, across):
    """The same with many more examples."""
    run_state_machine_as_test(
        machine(databases(), databases() if across else None),
        settings=settings(
            max_examples=300,
            stateful_step_count=40,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
