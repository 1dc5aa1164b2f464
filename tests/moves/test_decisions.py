"""The pure parts of a move."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.errors import ConfigError, LockgateError, Refused
from lockgate.moves.backfill import next_rows
from lockgate.moves.cuts import MOST_LEAVES, ROWS_AT_ONCE, differing_leaves, finer_cut, first_cut, groups
from lockgate.moves.delta import Seen, lasting
from lockgate.moves.stages import (
    ARROWS,
    ARROWS_IN_PLACE,
    FORWARD_CAPTURED,
    OVER,
    SETTLED,
    SOURCE_SERVES,
    Stage,
    why,
)
from lockgate.moves.throttle import MOST_REST, outside, rest
from lockgate.moves.verify import differences
from lockgate.postgres.moves import frozen
from lockgate.postgres.moves.pressure import Bounds, Pressure, strain, verdict
from lockgate.postgres.moves.switch import retired_name
from lockgate.stores.ranges import runs, shift_for
from lockgate.stores.store import Cut, KeyRange, Leaf, RowDigest
from lockgate.stores.table import Column, Table, compare, split_names, split_pair

STAGES = st.sampled_from(list(Stage))


@given(STAGES, STAGES)
def test_only_arrows_of_the_table_are_allowed(before: Stage, after: Stage):
    """Every step is in the table with its reason, or refused with the ways that there are."""
    if (before, after) in ARROWS:
        assert why(before, after) == ARROWS[before, after] != ""
    else:
        with pytest.raises(Refused) as caught:
            why(before, after)
        assert caught.value.code == "MOVE_STAGE"


@given(st.lists(STAGES, max_size=40))
def test_no_walk_through_the_stages_is_unsafe(wishes: list[Stage]):
    """However the steps are asked for: the target serves only after both sides were equal, and nothing leaves the end stages."""
    stage, equal = Stage.PLANNED, False
    for wish in wishes:
        if (stage, wish) not in ARROWS:
            continue
        if wish is Stage.RECONCILED:
            equal = True
        if wish in (Stage.BACKFILLING, Stage.DUAL_WRITE):
            equal = False
        if stage in SOURCE_SERVES and wish not in SOURCE_SERVES:
            assert wish is Stage.CUT_OVER
            assert equal or stage is Stage.READY
        assert stage not in OVER
        stage = wish


def test_a_move_in_place_ends_after_its_proof_only():
    """In place nothing is switched: finished is reached from reconciled alone, and only stages without a switch are passed."""
    assert [b for b, after in ARROWS_IN_PLACE if after is Stage.FINISHED] == [Stage.RECONCILED]
    assert {s for way in ARROWS_IN_PLACE for s in way} == {
        Stage.PLANNED, Stage.DUAL_WRITE, Stage.BACKFILLING, Stage.RECONCILED, Stage.PAUSED, Stage.ABORTED, Stage.FINISHED,
    }  # fmt: skip
    with pytest.raises(Refused):
        why(Stage.RECONCILED, Stage.CUT_OVER, in_place=True)


def test_every_stage_can_be_reached_and_left():
    """From planned every stage can be reached, and every one but the ends can be left."""
    reached, edge = {Stage.PLANNED}, [Stage.PLANNED]
    while edge:
        here = edge.pop()
        for before, after in ARROWS:
            if before is here and after not in reached:
                reached.add(after)
                edge.append(after)
    assert reached == set(Stage)
    assert {s for s in Stage if not any(b is s for b, _ in ARROWS)} == OVER
    assert not FORWARD_CAPTURED - SOURCE_SERVES
    assert frozen.SETTLED == SETTLED


@given(
    st.dictionaries(st.integers(0, 15), st.tuples(st.integers(1, 9), st.integers())),
    st.dictionaries(st.integers(0, 15), st.tuples(st.integers(1, 9), st.integers())),
)
def test_differing_leaves(left, right):
    """A leaf is bad exactly when it is not the same on both sides, missing ones too."""
    source, target = ({k: Leaf(*v) for k, v in side.items()} for side in (left, right))
    bad = set(differing_leaves(source, target))
    assert all((source.get(k) == target.get(k)) == (k not in bad) for k in range(16))


@given(
    st.dictionaries(st.integers(0, 30), st.integers(0, 3)),
    st.dictionaries(st.integers(0, 30), st.integers(0, 3)),
)
def test_differences(left, right):
    """Two sets of rows differ in exactly what is missing, extra or changed."""
    found = differences(
        {(k,): (v, v) for k, v in left.items()}, [RowDigest((k,), (v, v)) for k, v in right.items()]
    )
    kinds = {
        "missing": left.keys() - right.keys(),
        "extra": right.keys() - left.keys(),
        "changed": {k for k in left.keys() & right.keys() if left[k] != right[k]},
    }
    assert sorted((d.kind, d.key[0]) for d in found) == sorted(
        (kind, k) for kind, keys in kinds.items() for k in keys
    )


@given(st.lists(st.integers(1, ROWS_AT_ONCE * 2), min_size=1, max_size=20))
def test_groups_hold_what_fits(sizes):
    """Every bad leaf is read once, and a group holds more than the limit only when it is one leaf."""
    leaves = {n: Leaf(rows, 0) for n, rows in enumerate(sizes)}
    cut = groups(leaves, {}, tuple(leaves))
    assert [n for part in cut for n in part] == list(leaves)
    assert all(len(part) == 1 or sum(leaves[n].rows for n in part) <= ROWS_AT_ONCE for part in cut)


@given(
    st.sampled_from(["hash", "range"]), st.integers(0, 31), st.integers(1, 4096), st.integers(0, 10**10), st.integers(0, 10**10),
)  # fmt: skip
def test_leaves_are_cut_finer_only_where_it_helps(by, bits, bad, rows, largest):
    """The number of leaves stays bounded, few rows are listed without another pass, and a pass over large leaves always cuts them."""
    cut = Cut(by, bits)
    finer = finer_cut(cut, bad, rows, min(largest, rows))
    step = finer.bits - bits if by == "hash" else bits - finer.bits
    assert finer.by == by
    assert step >= 0
    assert step == 0 or bad << step <= MOST_LEAVES
    if rows <= ROWS_AT_ONCE:
        assert step == 0
    if by == "range" and bits and bad <= MOST_LEAVES // 2 and min(largest, rows) > ROWS_AT_ONCE:
        assert step > 0


KEYS = st.integers(-(1 << 63), (1 << 63) - 1)


@given(st.integers(0, 10**9), KEYS, KEYS, st.integers(2, 1 << 17))
def test_ranges_of_keys(rows, one, other, leaves):
    """Keys wherever they lie fall into at most so many leaves; without an index on one side the first cut is by hash."""
    low, high = sorted((one, other))
    shift = shift_for(low, high, leaves)
    assert (high >> shift) - (low >> shift) < leaves
    assert shift < 64
    assert shift == 0 or (high >> (shift - 1)) - (low >> (shift - 1)) >= leaves // 2
    cut = first_cut(rows, (KeyRange(low, high), KeyRange(1, 0)))
    assert cut.by == "range"
    assert (high >> cut.bits) - (low >> cut.bits) < MOST_LEAVES
    assert first_cut(rows, (KeyRange(1, 0), KeyRange(1, 0))) == Cut("range", 0)
    hashed = first_cut(rows, (KeyRange(low, high), None))
    assert hashed.by == "hash"
    assert 0 <= hashed.bits <= 12


@given(st.integers(0, 40), st.sets(KEYS, min_size=1, max_size=20))
def test_runs_hold_exactly_their_leaves(bits, keys):
    """Every key of a leaf lies in exactly one run, the neighbours outside of all; runs do not touch."""
    leaves = tuple(sorted({k >> bits for k in keys}))
    found = runs(bits, leaves)
    assert all(sum(low <= k <= high for low, high in found) == 1 for k in keys)
    assert all(a[1] + 1 < b[0] for a, b in itertools.pairwise(found))
    assert all(low >> bits in leaves and high >> bits in leaves for low, high in found)


@given(st.integers(1, 100_000), st.floats(0.0001, 1000), st.integers(1, 50_000))
def test_batches_grow_slowly_and_shrink_quickly(rows, seconds, most):
    """A batch that took too long is followed by a smaller one; none leaves its bounds."""
    after = next_rows(min(rows, most * 5), seconds, most)
    assert 1 <= after <= most * 5
    if seconds > 1 and rows > 100 and most > 100:
        assert after <= max(50, min(rows, most * 5))


def test_what_cannot_be_read_waits():
    """Unknown is never a go: lag, connections or waiters that cannot be read pause the backfill."""
    limits = Bounds(80, 5, 30, wal_mb=50, archive_backlog=64, commit_ms=100)
    assert verdict(Pressure(10, 0, 0.0, 40, 60, 90), limits) == ""
    for pressed in (
        Pressure(81, 0, 0.0),
        Pressure(10, 6, 0.0),
        Pressure(10, 0, 31.0),
        Pressure(None, 0, 0.0),
        Pressure(10, None, 0.0),
        Pressure(10, 0, None),
        Pressure(10, 0, 0.0, 51),
        Pressure(10, 0, 0.0, 0, 65),
        Pressure(10, 0, 0.0, 0, 0, 101),
        Pressure(10, 0, 0.0, None),
        Pressure(10, 0, 0.0, 0, None),
        Pressure(10, 0, 0.0, 0, 0, None),
    ):
        assert verdict(pressed, limits)
    assert verdict(Pressure(10, 0, 0.0, 500, 500, 500), Bounds(80, 5, 30)) == "", "0 switches them off"


def test_near_a_bound_a_backfill_rests():
    """Between half of a bound and the bound it rests ever longer between batches; figures that it does not raise, and bounds that are off, slow nothing."""
    limits = Bounds(80, 5, 30, wal_mb=50)
    assert strain(Pressure(79, 5, 3.0, 5, 500, 500), limits) == 0.1
    assert strain(Pressure(10, 0, 24.0, 5), limits) == 0.8
    assert strain(Pressure(10, 0, None, 45), limits) == 0.9
    assert strain(Pressure(10, 0, 900.0), limits) == 1
    assert strain(Pressure(10, 0, 900.0), Bounds(80, 5, 0)) == 0
    assert [rest(s, 0.4) for s in (0.0, 0.5, 0.75, 1.0)] == [0.0, 0.0, 0.4, MOST_REST]
    assert rest(0.6, 0.4) < rest(0.75, 0.4) < rest(0.9, 0.4) < rest(0.999, 60) == MOST_REST


def test_outside_its_windows_a_backfill_waits():
    """Inside one of the windows it goes on, outside all of them it waits, and so it does where the clock cannot be read."""
    night = ("daily 22:00-05:00 Europe/Berlin", "Sat 00:00-23:59")
    assert outside((), None) == ""
    assert outside(night, datetime(2026, 11, 26, 23, 30, tzinfo=UTC)) == ""
    assert outside(night, datetime(2026, 11, 28, 12, 0, tzinfo=UTC)) == ""
    assert "22:00-05:00" in outside(night, datetime(2026, 11, 26, 12, 0, tzinfo=UTC))
    assert outside(night, None)


def test_names_on_the_command_line():
    """Lists and pairs of names: quotes as in SQL, everything else refused."""
    assert split_names(' a, "B,c" ,d', "--key") == ("a", "B,c", "d")
    assert split_pair("a=b") == ("a", "b")
    assert split_pair('"x=y"') == ('"x=y"', '"x=y"')
    assert split_pair('s."x=y"=t') == ('s."x=y"', "t")
    for wrong in ("", "=", "a=", '"a'):
        with pytest.raises(ConfigError):
            split_pair(wrong)
    for wrong in ("", ",", "a,", '"a"b'):
        with pytest.raises(ConfigError):
            split_names(wrong, "--key")


def test_a_retired_name_fits():
    """The old table's name stays within the 63 bytes of an identifier, cut at a letter."""
    assert retired_name("orders", "m", "old") == "orders__m_old"
    assert len(retired_name("ä" * 60, "m" * 40, "old").encode()) <= 63


def table(*columns: Column, engine: str = "postgres", version: int = 18, probe: str = "p") -> Table:
    return Table("t", columns, (("id",),), 10, engine, version, probe)


ID = Column("id", "bigint", "bigint", "integer", True, True)


def test_lanes():
    """Binary within one engine and major version whose hashes agree; canonical text otherwise; SHA-256 where hashes differ."""
    assert (compare(table(ID), table(ID)).lane, compare(table(ID), table(ID)).algorithm) == ("binary", "hash")
    older = compare(table(ID), table(ID, version=16))
    assert (older.lane, older.algorithm) == ("canonical", "hash")
    other = compare(table(ID), table(ID, probe="q"))
    assert (other.lane, other.algorithm, other.integer_key) == ("canonical", "sha256", False)
    with pytest.raises(LockgateError):
        compare(table(ID), table(ID._replace(family="date", base="date")))


def test_drift_has_to_last():
    """ΔS above its limit for 15 minutes aborts; a dip in between, a single sample or a shorter time does not."""
    at = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)

    def seen(*values: tuple[int, float]) -> list[Seen]:
        return [Seen(at + timedelta(minutes=m), v) for m, v in values]

    end = at + timedelta(minutes=20)
    assert lasting(seen((0, 0.06), (15, 0.07)), end) == timedelta(minutes=20)
    for quiet in (
        (),
        ((0, 0.2),),
        ((0, 0.06), (14, 0.07)),
        ((0, 0.06), (8, 0.05), (16, 0.06)),
        ((0, 0.06), (15, 0.01)),
    ):
        assert lasting(seen(*quiet), end) is None
