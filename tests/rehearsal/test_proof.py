"""What a rehearsal proves of the files themselves, and what it says when something does not hold."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from lockgate.config import Roles
from lockgate.errors import ConfigError
from lockgate.policy.model.schema import Relation, Schema
from lockgate.policy.model.snapshot import Snapshot
from lockgate.postgres.alarm import Alarm
from lockgate.postgres.embedded import Embedded
from lockgate.postgres.scratch import Ground
from lockgate.postgres.target import Target
from lockgate.record.verdict import Verdict
from lockgate.rehearsal import proof
from lockgate.rehearsal.artifact import encode
from lockgate.rehearsal.report import Rehearsal
from lockgate.rehearsal.scaling import Scaling
from lockgate.rehearsal.verdict import failed, held, passed, verdict_of
from rehearsal.rehearsals import FIRST, migration, rehearsed

TABLE = "create table t (id int primary key, a text);"


def answers(found: Rehearsal) -> dict[str, str]:
    """Check → answer."""
    return {c.id: str(c.answer) for c in found.checks}


@pytest.mark.postgres("16", "18")
def test_everything_holds(rehearse: Callable[..., Rehearsal]) -> None:
    """Two files with down sections: every check passes, and the digest is that of a replay from nothing."""
    found = rehearse(
        TABLE + "\n-- lockgate: down\ndrop table t;\n",
        "alter table t add column b int;\n-- lockgate: down\nalter table t drop column b;\n",
    )
    assert found.verdict == "pass", found.reason
    assert (found.reason_code, found.reason, found.second_apply) == ("", "", "noop")
    assert set(answers(found)) == {
        "policy", "applies", "second-apply", "status-clean", "indexes-valid", "owners", "schema-digest", "down",
    }  # fmt: skip
    assert len(found.schema_digest) == 64
    assert found.rows.rows == {"t": 20}


@pytest.mark.postgres("18")
def test_a_failing_policy_does_not_stop_it(rehearse: Callable[..., Rehearsal]) -> None:
    """A file that the policy refuses is measured all the same; the verdict says both."""
    found = rehearse(TABLE, "create index t_a on t (a);", base=1)
    assert found.verdict == "fail"
    assert found.reason_code == "POLICY_FAILED"
    assert answers(found) == {**dict.fromkeys(answers(found), "pass"), "policy": "fail"}
    (statement,) = found.migrations[0].statements
    assert statement.locks == {"t": "ShareLock"}
    assert "idx-create-blocking" in found.reason


@pytest.mark.postgres("18")
def test_a_file_that_fails(rehearse: Callable[..., Rehearsal]) -> None:
    """A file that fails on any table fails the rehearsal with the engine's own reason; what ran before it is measured, and queries hold."""
    found = rehearse(
        TABLE, "alter table t add column b int;", "alter table nowhere add column b int;", "create table later ();",
        base=1, queries="select a from t where id = $1;",
    )  # fmt: skip
    assert (found.verdict, found.reason_code) == ("fail", "MIGRATION_EXECUTION_FAILED")
    assert "nowhere" in found.reason
    assert [m.revision for m in found.migrations] == ["1700000000001"]
    assert found.compatibility["old"].answer == "hold"
    assert (found.second_apply, found.schema_digest) == ("", "")


@pytest.mark.postgres("18")
def test_a_down_that_does_not_undo(rehearse: Callable[..., Rehearsal]) -> None:
    """A down section that leaves something behind, or fails, is named; one in the middle is found too."""
    lasting = "create table u (id int); create table v (id int);\n-- lockgate: down\ndrop table u;\n"
    found = rehearse(TABLE, lasting, "create table w (id int);", base=1)
    assert (found.verdict, found.reason_code) == ("fail", "DOWN_FAILED")
    assert "1700000000001" in found.reason
    found = rehearse(TABLE, "create table u (id int);\n-- lockgate: down\ndrop table nothing;\n", base=1)
    assert (found.verdict, found.reason_code) == ("fail", "DOWN_FAILED")
    assert "nothing" in found.reason


@pytest.mark.postgres("16", "18")
def test_a_column_that_comes_back_comes_last(rehearse: Callable[..., Rehearsal]) -> None:
    """A down section that adds a dropped column again passes, and says whose columns stand in another order; with another type it fails."""
    drop = "alter table t drop column a;\n-- lockgate: down\nalter table t add column a {type};\n"
    base = "create table t (id int primary key, a text, b int);"
    found = rehearse(base, drop.format(type="text"), base=1)
    (down,) = [c for c in found.checks if c.id == "down"]
    assert (str(down.answer), "columns of t come back in another order" in down.details) == ("pass", True)
    found = rehearse(base, drop.format(type="int"), base=1)
    (down,) = [c for c in found.checks if c.id == "down"]
    assert (str(down.answer), down.reason_code) == ("fail", "DOWN_FAILED")
    assert "changed: column public.t.a" in down.details
    assert "public.t.b" not in down.details


@pytest.mark.postgres("18")
def test_a_missing_extension_is_named(rehearse: Callable[..., Rehearsal]) -> None:
    """An extension that the server lacks: the reason names it and says where to rehearse instead."""
    found = rehearse("create extension no_such_extension;")
    assert (found.verdict, found.reason_code) == ("fail", "EXTENSION_MISSING")
    assert "no_such_extension" in found.reason
    assert "--bindir DIR" in found.reason
    assert "--scratch-url URL" in found.reason


@pytest.mark.postgres("18")
def test_what_depends_on_rows(rehearse: Callable[..., Rehearsal]) -> None:
    """A check that made-up rows do not satisfy holds, for real rows may; without rows it passes."""
    change = "alter table t add constraint known check (a = any (string_to_array('x,y', ',')));"
    found = rehearse(TABLE, change, base=1)
    (row,) = [c for c in found.checks if c.id == "rows:1700000000001"]
    assert (str(row.answer), row.reason_code) == ("hold", "DATA_DEPENDENT")
    assert "fails on tables that hold made-up rows and was applied without these" in row.details
    assert "lockgate rehearse --rows 0" in row.details
    assert answers(found)["applies"] == "pass"
    assert found.verdict == "fail"  # the policy refuses a CHECK that scans
    assert not [c for c in rehearse(TABLE, change, base=1, rows=0).checks if c.id.startswith("rows")]


@pytest.mark.postgres("16", "18")
@pytest.mark.parametrize(
    ("pending", "count"),
    [
        ("check (a ~ '^[A-Z]{3}-[0-9]{4}$')", "SELECT count(*) FROM t WHERE NOT (a ~ '^[A-Z]{3}-[0-9]{4}$'::text)"),
        ("check (a is not null and b > 1000000000)", "SELECT count(*) FROM t WHERE NOT (a IS NOT NULL AND b > 1000000000)"),
        ("foreign key (b) references p (id)", "SELECT count(*) FROM t c WHERE c.b IS NOT NULL AND NOT EXISTS (SELECT FROM p p WHERE p.id = c.b)"),
    ],
)  # fmt: skip
def test_not_valid_then_validate(rehearse: Callable[..., Rehearsal], pending: str, count: str) -> None:
    """What one file adds NOT VALID and the next validates passes on rows made to satisfy it, with the query that counts production's which do not, at production size and under load too; also where one file does both."""
    tables = "create table p (id int primary key); create table t (id int primary key, a text, b int);"
    files = (tables, f"alter table t add constraint kept {pending} not valid;", "alter table t validate constraint kept;")  # fmt: skip
    schema = Schema({"t": Relation("t", "r", rows=5_000), "p": Relation("p", "r", rows=500)})
    taken = Snapshot("1", 18, "2026-01-01T00:00:00Z", schema, schema_rev=str(FIRST))
    together = f"select 1; {files[1]} {files[2]}"
    for names, more in ((files, {}), ((tables, "select 1;", together), {}), (files, {"clients": 2, "scaling": Scaling(taken, 1_000, 1)})):  # fmt: skip
        found = rehearse(*names, base=1, **more)
        # What the policy says of both in one transaction is another matter.
        wrong = [
            c
            for c in found.checks
            if str(c.answer) != "pass" and not (c.id == "policy" and together in names)
        ]
        assert wrong == []
        assert found.rows.rows["t"] == 20
        assert [n for n in found.notes if n.startswith(f"{FIRST + 2} validates kept of t") and n.endswith(f"Count them first: {count}")]  # fmt: skip


@pytest.mark.postgres("16", "18")
@pytest.mark.parametrize(
    "check", ["b > 1000000000", "b is not null", "b between 5 and 6 and c ~ '^[A-Z]{3}$'"]
)
def test_a_constraint_on_columns_that_come(rehearse: Callable[..., Rehearsal], check: str) -> None:
    """Columns that one file adds, and a later one holds to a constraint that the next validates: there are figures at production size and under load, too."""
    files = (
        "create table t (id int primary key, a text);",
        "alter table t add column b int, add column c text;",
        f"alter table t add constraint kept check ({check}) not valid;",
        "alter table t validate constraint kept;",
    )
    taken = Snapshot("1", 18, "2026-01-01T00:00:00Z", Schema({"t": Relation("t", "r", rows=5_000)}), schema_rev=str(FIRST))  # fmt: skip
    found = rehearse(*files, base=1, clients=2, scaling=Scaling(taken, 1_200, 1))
    assert (found.verdict, found.reason) == ("pass", "")
    assert not [note for note in found.notes if note.startswith(("no figures", "no impact"))], found.notes
    assert found.load is not None
    # A client that had read every column before there was another prepares anew; one that meets a row before it is mended is refused.
    assert all(error.startswith("0A000") or '"kept"' in error for error in found.load.errors), (
        found.load.errors
    )
    assert found.impact is not None


@pytest.mark.postgres("16", "18")
def test_validated_by_the_file_that_adds_it(rehearse: Callable[..., Rehearsal]) -> None:
    """NOT VALID and VALIDATE in one file: it fails for any row where it is about a column that the file itself leaves NULL, passes where the file fills that in, and leaves no constraint of ours."""
    add = "alter table t add column b int;"
    both = "alter table t add constraint kept check (b is not null) not valid; {} alter table t validate constraint kept;"
    found = rehearse(TABLE, add + both.format(""), base=1)
    (row,) = [c for c in found.checks if c.id.startswith("rows:")]
    assert str(row.answer) == "fail", row
    filled = rehearse(TABLE, add + both.format("update t set b = 1;"), base=1)
    assert not [c for c in filled.checks if c.id.startswith("rows:")]
    assert answers(filled)["applies"] == answers(filled)["schema-digest"] == "pass"


@pytest.mark.postgres("18")
@pytest.mark.parametrize(
    "change", ["alter table t add column b int; select 1/0;", "do $$ begin raise exception 'never'; end $$;"]
)
def test_what_fails_whatever_rows_are_there(rehearse: Callable[..., Rehearsal], change: str) -> None:
    """A file that fails with rows and without is not said to apply without: the check tells that both were tried, and nothing holds for its rows."""
    found = rehearse(TABLE, change, base=1)
    assert answers(found)["applies"] == "fail"
    (row,) = [c for c in found.checks if c.id == "applies"]
    assert "(without made-up rows; with them: the same)" in row.details
    assert not [c for c in found.checks if c.id.startswith("rows")]
    assert not [note for note in found.notes if "applied without" in note]


@pytest.mark.postgres("16", "18")
def test_an_index_that_does_not_answer(rehearse: Callable[..., Rehearsal]) -> None:
    """An index of a partitioned table that was never attached is invalid: the check names it, and the others are made all the same."""
    parts = "create table p (id int, a int) partition by range (id); create table p1 partition of p for values from (0) to (9);"
    found = rehearse(parts, "create index p_a on only p (a);", base=1)
    (row,) = [c for c in found.checks if c.id == "indexes-valid"]
    assert (str(row.answer), row.reason_code) == ("fail", "INVALID_INDEX")
    assert "p_a" in row.details
    assert answers(found)["schema-digest"] == "pass"


@pytest.mark.postgres("18")
def test_files_that_do_not_say_what_they_leave(rehearse: Callable[..., Rehearsal]) -> None:
    """A file that makes something else each time: the digest is not that of a replay from nothing, and the objects are named."""
    chance = "do $$ begin execute format('create table by_chance_%s (id int)', left(md5(random()::text), 8)); end $$;"
    found = rehearse(TABLE, chance, base=1)
    (row,) = [c for c in found.checks if c.id == "schema-digest"]
    assert (str(row.answer), row.reason_code) == ("fail", "REHEARSAL_FAILED")
    assert "by_chance_" in row.details
    assert found.second_apply == "noop"


@pytest.mark.postgres("18")
def test_a_wrong_owner(rehearse: Callable[..., Rehearsal]) -> None:
    """An object that the files give to a role of neither owner nor migrator is named."""
    found = rehearse(
        TABLE,
        "alter table t owner to pg_monitor; create table u (id int); alter table u owner to pg_read_all_data;",
        roles=Roles(owner="pg_read_all_data"),
    )
    told = {c.id: (str(c.answer), c.details) for c in found.checks}
    assert told["owners"] == ("fail", "relation t belongs to pg_monitor")


@pytest.mark.postgres("18")
def test_the_base_is_a_template_the_second_time(own_server: Callable[..., Embedded], alarm: Alarm) -> None:
    """The base is replayed once, then copied; both rehearsals say the same."""
    change = "alter table t add column b int;"
    told: list[str] = []
    with Ground(Target(own_server("18").url(), source="test"), ours=True) as ground:
        first = rehearsed(ground, alarm, TABLE, change, base=1, listen=told)
        assert any("the base" in one for one in told)
        told.clear()
        second = rehearsed(ground, alarm, TABLE, change, base=1, listen=told)
    assert not any(one.startswith("replaying") for one in told), told
    assert first.verdict == second.verdict == "pass"
    assert (first.schema_digest, first.plan_hash) == (second.schema_digest, second.plan_hash)


@pytest.mark.postgres("18")
def test_an_estimate_that_is_too_low(rehearse: Callable[..., Rehearsal]) -> None:
    """A file whose own estimate is below what is expected at production size is named; one that is above passes."""
    relations = {"t": Relation("t", "r", rows=2_000_000)}
    snapshot = Snapshot("1", 18, "2026-01-01T00:00:00Z", Schema(relations=relations), schema_rev="elsewhere")
    base = "create table t (id bigint primary key, a text, n int);"
    for said, answer, code in (
        ("rows=5 seconds=0.001", "fail", "ESTIMATE_EXCEEDED"),
        ("rows=2000000 seconds=9000", "pass", ""),
    ):
        change = f"-- lockgate: estimate {said}\nupdate t set a = upper(a) where n > 5;"
        found = rehearse(base, change, base=1, scaling=Scaling(snapshot, 2000, 1))
        (check,) = [c for c in found.checks if c.id.startswith("estimate:")]
        assert (str(check.answer), check.reason_code) == (answer, code), check
        assert found.impact is not None
        assert found.impact.statements[0].production_rows == 2_000_000


@pytest.mark.postgres("18")
def test_nothing_is_pending(rehearse: Callable[..., Rehearsal]) -> None:
    """A base at the newest file: nothing runs, the queries are asked once, and it passes."""
    found = rehearse(TABLE, base=1, queries="select a from t where id = $1;")
    assert (found.verdict, found.migrations, found.second_apply) == ("pass", (), "noop")
    assert found.compatibility["old"].answer == "compatible"
    assert found.base == found.goal == "1700000000000"


@pytest.mark.postgres("18")
def test_rows_that_a_file_brings_itself(rehearse: Callable[..., Rehearsal]) -> None:
    """A file that inserts keys which made-up rows hold already is applied without those: a note, and no doubt."""
    found = rehearse(TABLE, "insert into t values (1, 'one'), (2, 'two');", "alter table t add column b int;")
    assert found.verdict == "pass", found.reason
    assert any("applied without these" in note for note in found.notes)


@pytest.mark.postgres("18")
def test_a_role_that_a_file_names(own_server: Callable[..., Embedded], alarm: Alarm) -> None:
    """A grant to a role that the scratch server lacks does not fail the rehearsal: the role is made, and that is told."""
    with Ground(Target(own_server("18").url(), source="test"), ours=True) as ground:
        found = rehearsed(ground, alarm, TABLE, "grant select on t to reporting;")
    assert found.verdict == "pass", found.reason
    assert any("reporting" in note for note in found.notes)


def test_an_unknown_base() -> None:
    """A base that no file has, or a history that these files do not continue, is refused with its name."""
    from lockgate.rehearsal.base import from_revision

    with pytest.raises(ConfigError, match="1600000000000"):
        from_revision((migration(0, TABLE),), "1600000000000")
    plan = from_revision((migration(0, TABLE), migration(1, TABLE)), str(FIRST))
    assert [r for r, _ in plan.applied] == [str(FIRST)]
    assert [r for r, _ in plan.pending] == [str(FIRST + 1)]
    assert not plan.obstacles


# -- the verdict and the proof: pure --------------------------------------------------------------------


def test_verdict() -> None:
    """One failure fails, one doubt holds, nothing at all holds; the cause is told before its consequences."""
    good = passed("owners", "fine")
    assert verdict_of([good]) == (Verdict.PASS, "", "")
    assert verdict_of([good, held("x", "who knows")])[:2] == (Verdict.HOLD, "REHEARSAL_HELD")
    assert verdict_of([]) == (Verdict.HOLD, "REHEARSAL_HELD", "nothing was proven")
    both = verdict_of(
        [failed("policy", "p", "POLICY_FAILED"), failed("applies", "a", "LOCK_TIMEOUT"), held("y", "h")]
    )
    assert both == (Verdict.FAIL, "LOCK_TIMEOUT", "policy: p; applies: a; y: h")


NOW = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("change", "answer", "code"),
    [
        ({}, "pass", ""),
        ({"verdict": "fail", "reasonCode": "QUERIES_BREAK"}, "fail", "REHEARSAL_FAILED"),
        ({"verdict": "hold"}, "hold", "REHEARSAL_HELD"),
        ({"verdict": "whatever"}, "fail", "REHEARSAL_FAILED"),
        ({"planHash": "b" * 64}, "fail", "REHEARSAL_MISSING"),
        ({"generatedAt": "2026-04-01T00:00:00Z"}, "fail", "REHEARSAL_STALE"),
        ({"generatedAt": "2026-06-01T00:00:00Z"}, "fail", "REHEARSAL_STALE"),
        ({"generatedAt": "yesterday"}, "hold", "REHEARSAL_MISSING"),
        ({"server": {"version": 160004}}, "fail", "REHEARSAL_STALE"),
    ],
)
def test_only_a_fresh_pass_of_this_plan_counts(change: dict[str, object], answer: str, code: str) -> None:
    """Another plan, another answer, another time or another major version opens nothing."""
    document = {
        "planHash": "a" * 64,
        "verdict": "pass",
        "generatedAt": "2026-04-30T00:00:00Z",
        "server": {"version": 180001},
        **change,
    }
    found = proof.judge(msgspec.json.encode(document), "a" * 64, now=NOW, server_version=180003)
    assert (str(found.answer), found.reason_code) == (answer, code), found


def test_releases_that_have_to_be_asked() -> None:
    """Where releases are named, a rehearsal counts that asked the queries of each; one of none is told aloud."""
    document = {
        "planHash": "a" * 64,
        "verdict": "pass",
        "generatedAt": "2026-04-30T00:00:00Z",
        "server": {"version": 180001},
    }
    bare = proof.judge(msgspec.json.encode(document), "a" * 64, now=NOW)
    assert "NO RELEASE'S QUERIES ASKED" in bare.details
    wanted = proof.judge(msgspec.json.encode(document), "a" * 64, now=NOW, releases=["live"])
    assert wanted.reason_code == "REHEARSAL_MISSING"
    assert wanted.next("prod").endswith("--from-status status.json --queries live=FILE")
    asked = {**document, "compatibility": {"live": {"answer": "compatible"}}}
    found = proof.judge(msgspec.json.encode(asked), "a" * 64, now=NOW, releases=["live"])
    assert str(found.answer) == "pass"
    assert "the queries of live asked" in found.details
    broken = {**asked, "verdict": "fail", "reasonCode": "QUERIES_BREAK"}
    assert "--queries live=FILE" in proof.judge(msgspec.json.encode(broken), "a" * 64, now=NOW).next()


def test_no_proof() -> None:
    """No file is a failure, an unreadable one a hold."""
    assert str(proof.judge(None, "a" * 64, now=NOW).answer) == "fail"
    assert str(proof.judge(b"[", "a" * 64, now=NOW).answer) == "hold"


@pytest.mark.postgres("18")
def test_a_real_rehearsal_is_a_proof(rehearse: Callable[..., Rehearsal]) -> None:
    """What a rehearsal writes, `proof` reads: fresh for a while, then not."""
    found = rehearse(TABLE)
    at = datetime.fromisoformat(found.generated_at)
    data = encode(found)
    assert (
        str(proof.judge(data, found.plan_hash, now=at, server_version=found.server.version).answer) == "pass"
    )
    late = at + proof.MAX_AGE + timedelta(minutes=1)
    assert proof.judge(data, found.plan_hash, now=late).reason_code == "REHEARSAL_STALE"
