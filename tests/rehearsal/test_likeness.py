"""Made-up rows are like production's: as many NULLs, as many different values, as wide, and not one value of it."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from lockgate.config import Migrations
from lockgate.migrations.limits import Limits
from lockgate.policy.model.snapshot import read, write
from lockgate.postgres.tables import ColumnOf
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Wire
from lockgate.rehearsal.filling import Filling
from lockgate.rehearsal.likeness import Likeness, alike, different, likenesses_of, with_nulls
from lockgate.release.snapshot import take

_SCHEMA = (
    "create table authors (id int primary key)",
    "create table books (id int primary key, author int references authors, title text not null, shelf text, pages int, note text, sold boolean)",
)
_FIGURES = "select attname, null_frac::text, case when n_distinct < 0 then -n_distinct * 4000 else n_distinct end::text, avg_width::text from pg_stats where tablename = 'books'"


@pytest.mark.postgres("16", "18")
def test_a_table_is_filled_as_it_is_in_production(databases: Callable[[], str]) -> None:
    """Null share, distinct values and width of a filled table are those of the table the snapshot was taken of, foreign keys hold, and no value of it is in the file."""
    production = Target(databases(), source="test")
    wire = Wire(production, "production")
    for text in _SCHEMA:
        wire.one(text)
    wire.one("insert into authors select g from generate_series(1, 500) g")
    wire.one(
        "insert into books select g, 1 + g % 40, 'secret-title-' || g || repeat('x', 60), case when g % 10 < 7 then null else 'secret-shelf-' || g % 5 end, g % 300, null, g % 2 = 0 from generate_series(1, 4000) g"
    )
    wire.one("analyze")
    real = {row[0]: tuple(map(float, row[1:])) for row in wire.one(_FIGURES).rows}
    wire.close()
    snapshot = take(production, "nobody", Limits.of(Migrations()), at=datetime.now(UTC).isoformat())
    kept = write(snapshot)
    assert b"secret" not in kept
    wire = Wire(Target(databases(), source="test"), "scratch")
    for text in _SCHEMA:
        wire.one(text)
    like = likenesses_of(read(kept))
    filling = Filling(wire, rows=20, seed=1, wanted={"authors": 500, "books": 4000}, like=like)
    filling.fill()
    assert filling.rows == {"authors": 500, "books": 4000}
    wire.one("analyze")
    made = {row[0]: tuple(map(float, row[1:])) for row in wire.one(_FIGURES).rows}
    wire.close()
    for name, (nulls, distinct, width) in real.items():
        assert made[name][0] == pytest.approx(nulls, abs=0.03), name
        assert made[name][1] == pytest.approx(distinct, rel=0.1), name
        assert name not in ("title",) or made[name][2] == pytest.approx(width, rel=0.15), name


def test_what_is_not_known_changes_nothing() -> None:
    """Unknown figures, keys, enums and truth values are made as before; a column that may hold no NULL gets none."""
    column = ColumnOf("a", "text", "text")
    assert alike(column, Likeness(), 100, 1) is None
    assert alike(ColumnOf("a", "text", "text", unique=True), Likeness(0.1, -0.5), 100, 1) is None
    assert alike(ColumnOf("a", "m", "m", labels=("x",)), Likeness(0.1, 3), 100, 1) is None
    assert different(Likeness(0, -0.5), 100) == 50
    assert different(Likeness(0, 3), 100) == 3
    assert different(Likeness(0, 300), 100) == 100
    assert with_nulls("x", ColumnOf("a", "text", "text", not_null=True), Likeness(0.5)) == "x"
    assert "NULL" in with_nulls("x", column, Likeness(0.5))
