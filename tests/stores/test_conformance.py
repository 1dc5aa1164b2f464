"""One suite for every store: equal rows are equal across engines, every change is found, and errors speak."""

import datetime as dt
import itertools
from decimal import Decimal

import pytest

from lockgate.errors import LockgateError
from lockgate.moves.verify import Verified, verify
from lockgate.stores.open import open_pair, open_store
from lockgate.stores.rendering import digest, render, row_bytes
from stores.conftest import Place
from support.calls import Project

pytestmark = pytest.mark.postgres("18")
KINDS = ("postgres", "mysql", "sqlite")
ROWS = [
    (
        n, f"Wört {n} | \\ ' \" %", bytes([n % 256, 0, 255]), Decimal(n) / 4, n / 3, n % 2 == 0, dt.date(2026, 1, 1) + dt.timedelta(days=n),
        dt.datetime(2026, 1, 1, 12, 0, 0, n * 1000),  # noqa: DTZ001 - a time without a zone
        f'{{"bb": {n}, "a": [1.50, null, "x"]}}', None if n % 5 == 0 else f"u{n}",
    )
    for n in range(1, 120)
]  # fmt: skip
CHANGES = {
    "null": "UPDATE t SET s = NULL WHERE id = 7",
    "blank": "UPDATE t SET u = 'u7 ' WHERE id = 7",
    "empty": "UPDATE t SET s = '' WHERE id = 7",
    "number": "UPDATE t SET n = 1.750001 WHERE id = 7",
    "bits": "UPDATE t SET f = f + 0.000000000000001 WHERE id = 7",
    "flag": "UPDATE t SET ok = NULL WHERE id = 7",
    "day": "UPDATE t SET d = '2026-01-09' WHERE id = 7",
    "microsecond": "UPDATE t SET ts = '2026-01-01 12:00:00.007001' WHERE id = 7",
    "json": 'UPDATE t SET j = \'{"a": [1.50, null, "y"], "bb": 7}\' WHERE id = 7',
}


def compare(source: Place, target: Place, **more: object) -> Verified:
    """Compare ``t`` of two places."""
    with open_pair(source.url, target.url) as (left, right):
        return verify(left, right, (left.describe("t"), right.describe("t")), **more)


@pytest.mark.parametrize(
    ("one", "other"),
    [p for p in itertools.product(KINDS, KINDS) if p != ("postgres", "postgres")],
    ids=lambda k: k,
)
def test_engines_agree(places, one: str, other: str):
    """The same rows in two engines are equal, in the canonical lane; every change, deletion and insertion is listed by its key."""
    source, target = places(one), places(other)
    source.fill(ROWS)
    target.fill(ROWS)
    found = compare(source, target)
    assert (found.equal, found.source_rows, found.comparison.lane) == (True, len(ROWS), "canonical")
    for name, change in CHANGES.items():
        target.run(change)
        assert [(d.key, d.kind) for d in compare(source, target).differing] == [((7,), "changed")], name
        target.run("DELETE FROM t WHERE id = 7")
        target.fill([ROWS[6]])
    assert compare(source, target).equal
    target.run("DELETE FROM t WHERE id = 7")
    source.run("DELETE FROM t WHERE id = 9")
    found = compare(source, target)
    assert [(d.key, d.kind) for d in found.differing] == [((7,), "missing"), ((9,), "extra")]


@pytest.mark.parametrize("kind", ["mysql", "sqlite"])
def test_json_by_value(places, kind: str):
    """Key order and blanks of JSON do not count against PostgreSQL's jsonb; the profile says so."""
    source, target = places("postgres"), places(kind)
    source.fill(ROWS[:3])
    target.fill([(*row[:8], row[8].replace(" ", "  "), row[9]) for row in ROWS[:3]])
    found = compare(source, target)
    assert found.equal
    assert any(column == "j" and "by value" in how for column, how in found.comparison.profile)


@pytest.mark.parametrize("kind", KINDS)
def test_missing_things_are_named(places, kind: str):
    """A missing table, a missing column and keys that identify nothing: each has its reason in every store."""
    place = places(kind)
    place.fill(ROWS[:10])
    store = open_store(place.url, "test", "--source")
    try:
        with pytest.raises(LockgateError) as caught:
            store.describe("nope")
        assert caught.value.code == "TABLE_MISSING"
    finally:
        store.close()
    with pytest.raises(LockgateError) as caught:
        compare(place, place, columns=("nope",))
    assert caught.value.code == "COLUMN_MISSING"
    place.run("UPDATE t SET u = 'same', s = 'same'")
    with pytest.raises(LockgateError) as caught:
        compare(place, place, key=("u",))
    assert caught.value.code == "KEY_NOT_UNIQUE"


def test_unreachable_stores():
    """A server or file that is not there is unreachable; an unknown scheme is a wrong setting; no password is shown."""
    for url in ("mysql://u:sesame77@127.0.0.1:1/d", "sqlite:///no/such/file.db"):
        with pytest.raises(LockgateError) as caught:
            open_store(url, "test", "--source")
        assert caught.value.code == "UNREACHABLE"
        assert "sesame77" not in caught.value.message
    for url in ("redis://x", "mysql://u@127.0.0.1:1"):
        with pytest.raises(LockgateError) as caught:
            open_store(url, "test", "--source")
        assert caught.value.code == "CONFIG"


def test_rendering():
    """One value has one text, whatever type an engine's driver hands over; NULL and the words for it differ."""
    assert render(Decimal("1.500"), "decimal") == render("1.5", "decimal") == render(1.5, "decimal") == "1.5"
    assert render(Decimal("100"), "decimal") == "100"
    assert render(0.1 + 0.2, "float") != render(0.3, "float")
    assert render(True, "boolean") == render(1, "boolean") == render(b"\x01", "integer") == "1"
    assert render("2026-01-01T10:00:00+02:00", "timestamptz") == "2026-01-01 08:00:00.000000"
    assert render(dt.timedelta(hours=25), "time") == "25:00:00.000000"
    assert row_bytes(["ab", "c"]) != row_bytes(["a", "bc"])
    assert row_bytes([None]) != row_bytes(["N"]) != row_bytes([""])
    assert digest(b"a") != digest(b"b")


def test_a_file_that_is_no_database(tmp_path):
    """A file that SQLite cannot read is named, and is left as it was."""
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"not a database, only text" * 100)
    answer = Project(tmp_path).json(
        "move", "verify", "--source", f"sqlite:///{broken}", "--target", f"sqlite:///{broken}", "--table", "t"
    )
    assert answer.code == 69
    answer.error("UNREACHABLE")
    assert broken.read_bytes() == b"not a database, only text" * 100
