"""What a batch in one database does where its range is empty, where it is not, and where it was filled a moment later than looked at."""

import psycopg
import pytest

from lockgate.moves.declaration import TargetSide
from lockgate.postgres.moves import batch
from lockgate.postgres.moves.mapping import KeyPart, Mapping, Value
from moves.hand import Hand, make
from moves.writers import MAKE
from support.processes import until
from support.tables import run_sql

pytestmark = pytest.mark.postgres("18")

ROWS = 2000
THERE = "INSERT INTO item_new SELECT * FROM item ORDER BY a, b LIMIT 1 OFFSET 1000"


def copied(url: str, *, before: str = "") -> int:
    """Copy ``item`` in one batch, after the statement ``before`` in the feed's name; how often the batch looked into the index of the target's key."""
    hand = Hand(url).with_limits(batch_rows=ROWS, workers=1)
    hand.start()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET lockgate.feed = 'items'")
        if before:
            connection.execute(before)
    assert hand.backfill().complete
    assert run_sql(url, "SELECT rows_source, rows_target, equal FROM lockgate.move_range") == [(ROWS, ROWS, True)]  # fmt: skip
    told = "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'item_new_pkey'"
    # Sessions that ended have told their counts: the batch's is one of them once any look of it is seen.
    until(lambda: run_sql(url, told)[0][0] > 0)
    (looks,) = run_sql(url, told)[0]
    assert hand.reconcile().equal
    return int(looks)


def test_an_empty_range_is_not_asked_for_each_key(databases):
    """A batch into an empty range looks into the index of the target's key a few times in all, one that finds a row there once for each row; both copy all, once."""
    empty, held = databases(), databases()
    for url in (empty, held):
        make(url, ROWS)
    assert copied(empty) < 10
    assert copied(held, before=THERE) > ROWS


def test_a_key_that_came_in_after_the_look(database, monkeypatch: pytest.MonkeyPatch):
    """A row that stands in the range by the time of the insert is no end of the move: the batch is undone, and its range is copied by another turn."""
    make(database, ROWS)
    looks = []
    seen = batch._unless_there

    def late(*arguments) -> str:
        looks.append(seen(*arguments))
        return "" if len(looks) == 1 else looks[-1]

    monkeypatch.setattr(batch, "_unless_there", late)
    copied(database, before=THERE)
    assert [bool(look) for look in looks] == [True, True]


def test_the_digest_of_a_batch_is_of_its_keys_too(database):
    """No two keys give one digest, not the bits of one in the other half of a bigint, its complement or zero either, nor a value that wanders to another row."""
    key, value = KeyPart("id", "id", "bigint"), Value("v", "v", "integer", True, "integer")
    whole = Value("id", "id", "bigint", True, "bigint")
    of = Mapping("m", "forward", "t", "t", (key,), (whole, value), True, True)
    edges = [0, 1, 2, 1 << 31, (1 << 31) + 1, 1 << 32, (1 << 32) + 1, (1 << 62) + 1]
    keys = sorted({*edges, *(~k for k in edges), *(-k for k in edges), (1 << 63) - 1, -(1 << 63)})
    rows: list[list[tuple[int, object]]] = [[(k, v)] for k in keys for v in ("NULL", 0, 1)] + [
        [(1, 7), (2, 8)],
        [(1, 8), (2, 7)],
    ]

    def digest(row: list[tuple[int, object]]) -> tuple[int, str]:
        values = ", ".join(f"('{k}'::bigint, {v}::int)" for k, v in row)
        return run_sql(database, of.digest(f"(VALUES {values}) t (id, v)"))[0]

    assert len({digest(row) for row in rows}) == len(rows)
    assert digest([(1, 7)]) != digest([(1, 7), (1, 7)])


WATCHED = (
    "CREATE TABLE seen (state text, waits text)",
    "CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.seen VALUES (NEW.state, current_setting('synchronous_commit')); RETURN NULL; END $$",
    "CREATE TRIGGER see AFTER INSERT OR UPDATE ON lockgate.move_range FOR EACH ROW EXECUTE FUNCTION see()",
)
"""Notes how each row of the ledger is committed."""


def test_the_ledger_does_not_wait_for_the_disk(database):
    """In one database neither the claim of a range nor its batch, which writes rows and ledger at once, waits for the disk; what a session commits beside it does."""
    make(database, ROWS)
    hand = Hand(database)
    hand.start()
    run_sql(database, *WATCHED)
    assert hand.backfill().complete
    assert run_sql(database, "SELECT DISTINCT * FROM seen ORDER BY 1") == [("copied", "off"), ("leased", "off")]  # fmt: skip
    with hand.open() as move:
        assert move.home.value("SELECT current_setting('synchronous_commit')") == "on"


def test_rows_in_another_database_wait_for_the_disk(two):
    """Across two databases the rows are on the disk before the ledger, which is not, says that they are there."""
    make(two.source, ROWS)
    run_sql(
        two.target,
        MAKE[0].replace(
            "PRIMARY KEY", "waits text DEFAULT current_setting('synchronous_commit'), PRIMARY KEY"
        ),
    )
    hand = Hand(two.source, two.target, to=TargetSide("item", "ELSEWHERE", False), one_way=True)
    hand.start()
    run_sql(two.source, *WATCHED)
    assert hand.backfill().complete
    assert run_sql(two.source, "SELECT DISTINCT * FROM seen ORDER BY 1") == [("copied", "off"), ("leased", "off")]  # fmt: skip
    assert run_sql(two.target, "SELECT waits, count(*) FROM item GROUP BY 1") == [("on", ROWS)]
