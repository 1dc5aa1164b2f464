"""Rows of the new side that point at nothing: told after each batch, and in the way of proof, switch and end."""

import msgspec
import pytest

from lockgate.errors import LockgateError
from lockgate.moves.declaration import Declaration, Reference, Source, TargetSide, problems
from lockgate.moves.references import derived
from lockgate.postgres.moves.dangling import ForeignKey
from lockgate.postgres.relation import ColumnFacts, Relation
from moves.hand import Hand, make
from support.tables import run_sql

pytestmark = pytest.mark.postgres("18")
KINDS = ("CREATE TABLE kind (id int PRIMARY KEY)", "INSERT INTO kind SELECT generate_series(0, 6)")
POINTS = "ALTER TABLE item ADD CONSTRAINT item_kind FOREIGN KEY (a) REFERENCES kind"
ITSELF = (
    "ALTER TABLE item ADD COLUMN after int REFERENCES item (u)",
    "UPDATE item SET after = u + 1 WHERE u < 600",
)


def refused(call, code: str = "MOVE_DANGLING") -> LockgateError:
    with pytest.raises(LockgateError) as caught:
        call()
    assert caught.value.code == code, caught.value.message
    return caught.value


def test_foreign_keys_of_the_source_hold_for_a_created_table(database: str):
    """In one database the source's keys are checked on the table that is made without them: the plan and the record say so, and the end is refused while a row dangles."""
    make(database, 600)
    run_sql(database, *KINDS, POINTS)
    hand = Hand(database)
    assert any('(a) -> "public"."kind" (id)' in n for n in hand.plan().notes)
    hand.there()
    assert run_sql(
        database, "SELECT evidence -> 'references' FROM lockgate.move_event WHERE to_stage = 'reconciled'"
    ) == [(1,)]
    hand.cutover()
    run_sql(database, "INSERT INTO item (a, b) VALUES (7, 'nowhere')")
    assert "(7, nowhere)" in refused(lambda: hand.finish(now=True)).message
    assert hand.stage == "tail"
    run_sql(database, "UPDATE item SET a = 6 WHERE b = 'nowhere'")
    assert hand.finish(now=True) == "finished"


def test_a_table_that_points_at_itself(databases):
    """Rows may point at rows of later batches: nothing is told while they are copied, and the proof looks at the whole table."""
    source, target = databases(), databases()
    make(source, 600)
    run_sql(source, *ITSELF)
    hand = Hand(source, target)
    hand.start()
    hand.backfill()
    assert run_sql(source, "SELECT count(*) FROM lockgate.move_event WHERE kind = 'dangling'") == [(0,)]
    hand.reconcile()
    hand.cutover()
    run_sql(target, "DELETE FROM item WHERE u = 9")
    assert "(after)" in refused(lambda: hand.finish(now=True)).message


def test_rows_that_dangle_across_databases(databases):
    """Where the other database lacks what rows point at, each batch says so with keys, proof and switch are refused, and both go on once it is there."""
    source, target = databases(), databases()
    make(source, 600)
    run_sql(source, *KINDS, POINTS)
    run_sql(target, *KINDS, "DELETE FROM kind WHERE id = 3")
    hand = Hand(source, target)
    hand.start()
    assert hand.backfill().complete
    events = run_sql(source, "SELECT evidence FROM lockgate.move_event WHERE kind = 'dangling'")
    assert sum(e["dangling"][0]["rows"] for (e,) in events) == 86
    assert events[0][0]["dangling"][0]["keys"][0][0] == "3"
    assert "rows dangle by (a)" in run_sql(source, "SELECT last_error FROM lockgate.backfill_jobs")[0][0]
    error = refused(hand.reconcile)
    assert (error.details["dangling"][0]["rows"], len(error.details["dangling"][0]["keys"])) == (86, 20)
    assert hand.stage == "backfilling"
    run_sql(target, "INSERT INTO kind VALUES (3)")
    hand.reconcile()
    run_sql(target, "DELETE FROM kind WHERE id = 4")
    refused(hand.cutover)
    assert hand.serving() == "source"
    run_sql(source, "DELETE FROM item WHERE a = 4")
    hand.cutover()
    run_sql(target, "INSERT INTO item (a, b) VALUES (4, 'nowhere')")
    refused(lambda: hand.finish(now=True))
    run_sql(target, "DELETE FROM item WHERE b = 'nowhere'")
    assert hand.finish(now=True) == "finished"


def test_declared_references(databases):
    """A reference that no foreign key tells is declared; what cannot be asked is a problem of the plan; taken knowingly, rows that dangle are written down and go on."""
    source, target = databases(), databases()
    make(source, 60)
    run_sql(
        target,
        "CREATE TABLE word (v text PRIMARY KEY, n int UNIQUE)",
        "INSERT INTO word SELECT 'v' || g, g FROM generate_series(1, 59) g",
    )
    wrong = Hand(
        source,
        target,
        references=(Reference(("v",), "nothing"), Reference(("v", "a"), "word"), Reference(("nix",), "word")),
    )
    assert [p["what"].partition(":")[0] for p in wrong.plan().problems] == [
        "references.table",
        "references to word",
        "references to word",
    ]
    hand = Hand(
        source,
        target,
        references=(Reference(("v",), "word"), Reference(("u",), "word", ("n",))),
        accept=("references",),
    )
    assert not hand.plan().problems
    hand.there()
    events = run_sql(source, "SELECT reason FROM lockgate.move_event WHERE kind = 'dangling' ORDER BY id")
    assert len(events) == 2
    assert "1 rows dangle by (v)" in events[-1][0]
    assert "1 rows dangle by (u)" in events[-1][0]
    assert hand.stage == "reconciled"
    run_sql(target, "ALTER TABLE item ALTER v TYPE bytea USING v::bytea")
    assert any(
        "references (v)" in p["what"]
        for p in Hand(
            source, target, references=(Reference(("v",), "word"),), one_way=True, columns={"v": "v::bytea"}
        )
        .plan()
        .problems
    )


def test_dangling_rows_are_accepted_under_way(databases):
    """What MOVE_DANGLING asks for works: with the acceptance added to the file of a move under way, proof and cutover go on; without it they are refused again."""
    source, target = databases(), databases()
    make(source, 60)
    run_sql(source, *KINDS, POINTS)
    run_sql(target, *KINDS, "DELETE FROM kind WHERE id = 3")
    hand = Hand(source, target)
    hand.start()
    assert hand.backfill().complete
    refused(hand.reconcile)
    strict = hand.declared
    hand.declared = msgspec.structs.replace(strict, accept=("references",))
    assert hand.backfill().complete
    hand.reconcile()
    accepting, hand.declared = hand.declared, strict
    refused(hand.cutover)
    hand.declared = accepting
    hand.cutover()
    assert hand.serving() == "target"


def test_which_foreign_keys_hold_for_the_target():
    """A key of the source is checked unless the target lacks a column of it, makes one itself, enforces the same, or another reference was declared for it. Pure."""

    def relation(*columns: str, oid: int = 1) -> Relation:
        facts = tuple(
            ColumnFacts(c, "integer", False, False, "", "integer", "pg_catalog", "pg_catalog", "N", "b", True)
            for c in columns
        )
        return Relation(oid, "public", "t", "r", "me", 0, 0, "d", facts, ())

    source, target = relation("a", "b"), relation("a", "b", oid=2)
    to_a = ForeignKey("k", 9, "public", "p", ("a",), ("id",))
    plain = Declaration(Source("t"), TargetSide("u"))
    assert derived(plain, source, target, (to_a,), ()) == [to_a]
    assert derived(plain, source, relation("b"), (to_a,), ()) == []
    assert derived(plain, source, target, (to_a,), (to_a,)) == []
    assert derived(msgspec.structs.replace(plain, columns={"a": "b"}), source, target, (to_a,), ()) == []
    assert (
        derived(
            msgspec.structs.replace(plain, references=(Reference(("a",), "q"),)), source, target, (to_a,), ()
        )
        == []
    )
    itself = ForeignKey("k", 1, "public", "t", ("a",), ("gone",))
    assert derived(plain, source, target, (itself,), ()) == []


def test_what_a_declaration_says_of_references():
    """References and their acceptance change no hash, every other acceptance does; they belong to copies, and name as many columns as they point at."""
    plain = Declaration(Source("t"), TargetSide("u"))
    told = Declaration(Source("t"), TargetSide("u"), references=(Reference(("a",), "p"),))
    assert plain.hash == told.hash
    plainly, lossy, both = (
        msgspec.structs.replace(plain, accept=a)
        for a in (("references",), ("lossy", "views"), ("lossy", "references", "views"))
    )
    assert plain.hash == plainly.hash != lossy.hash == both.hash
    # Moves that were started before the acceptance was left out go on.
    assert lossy.hash == "eb84deb82ee72f430f8d285dbb58507e714b85139e15fac065d84e23062a1ee0"
    assert problems(told) == []
    for wrong in (Reference((), "p"), Reference(("a",), ""), Reference(("a",), "p", ("x", "y"))):
        assert len(problems(Declaration(Source("t"), TargetSide("u"), references=(wrong,)))) == 1
