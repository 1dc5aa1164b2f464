"""What the observing session says of a statement, against what the policy claims and what the server shows."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import msgspec
import psycopg
import pytest

from lockgate.policy.facts import Server
from lockgate.policy.judge import Judge, Source
from lockgate.policy.subject import Options
from lockgate.postgres.observing import ObservingWire
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Call
from lockgate.rehearsal.report import Rehearsal
from lockgate.rehearsal.trace import CONFIRMED, MISMATCH, trace_of

FORMS = Path(__file__).parent.parent / "policy" / "forms"
_PLANNED = (
    "INSERT",
    "UPDATE",
    "DELETE",
    "SELECT",
    "CREATE TABLE AS",
    "REFRESH MATERIALIZED VIEW",
    "TRUNCATE",
    "CLUSTER",
    "MERGE",
)


@pytest.mark.postgres("16", "18")
def test_every_form_of_statement(database: str) -> None:
    """Of some 380 forms of statement the observed locks and rewrites are those that the policy claims; none is contradicted."""
    base = (FORMS / "base.sql").read_text()
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(base)  # type: ignore[call-overload]
        version = connection.info.server_version // 10000
    forms = (FORMS / "every_version.sql").read_text().splitlines()
    wire = ObservingWire(Target(database, source="test"), "test")
    wrong, confirmed = [], 0
    try:
        for number, line in enumerate(text.removesuffix(";") for text in forms if text):
            judge = Judge(Options(server=Server(version, "postgres")), today=date(2026, 1, 1))
            judge.replay(base)
            claim = judge.judge(Source("form.sql", line)).statements[0]
            key = ("form", number)
            wire.wanted = {id(line): key}
            wire.batch([Call("BEGIN"), Call(line)], label="file")
            wire.batch([Call("ROLLBACK")], uncancellable=True)
            trace = trace_of(wire.seen[key], claim, 1, claim.kind)
            for one in trace.evidence.claims:
                confirmed += one.answer == CONFIRMED
                if one.answer != CONFIRMED and one.what != "scan":
                    wrong.append(f"{line}: {one}")
    finally:
        wire.close()
    assert not wrong, "\n".join(wrong)
    assert confirmed > 500


ALONE = """-- lockgate: transaction=off
create index concurrently events_kind on events (kind);
create unique index concurrently events_id on events (id);
reindex index concurrently events_kind;
reindex table concurrently events;
drop index concurrently events_kind;
vacuum (analyze) events;
alter type kind add value 'third';
alter table parts detach partition parts_one concurrently;
vacuum full events;
"""
TABLES = """
create type kind as enum ('first', 'second');
create table events (id bigint primary key, kind text, what kind, at timestamptz);
create table parts (id int not null, k int not null) partition by range (k);
create table parts_one partition of parts for values from (0) to (10);
create table parts_two partition of parts for values from (10) to (20);
"""


@pytest.mark.postgres("16", "18")
def test_statements_that_no_transaction_can_hold(rehearse: Callable[..., Rehearsal]) -> None:
    """Concurrent builds, rebuilds, drops, VACUUM and DETACH are watched from a second session; nothing contradicts the policy."""
    found = rehearse(TABLES, ALONE, base=1)
    assert not [c for c in found.checks if c.id == "applies" and str(c.answer) != "pass"], found.checks
    statements = found.migrations[0].statements
    assert len(statements) == 9
    locks = [s.locks for s in statements]
    assert locks[0]["events"] == locks[1]["events"] == "ShareUpdateExclusiveLock"
    assert locks[4]["events_kind"] in ("ShareUpdateExclusiveLock", "AccessExclusiveLock")
    assert {"events", "events_pkey", "events_id"} <= set(statements[3].rewrites) | {"events"}
    assert "events" in statements[8].rewrites
    wrong = [(s.kind, c) for s in statements for c in s.evidence.claims if c.answer == MISMATCH]
    assert not wrong
    assert all(s.evidence.how.startswith("sampled") for s in statements if "VACUUM" in s.kind)


@pytest.mark.postgres("18")
def test_a_planted_wrong_claim(rehearse: Callable[..., Rehearsal], monkeypatch: pytest.MonkeyPatch) -> None:
    """A claim that the server does not bear out is reported as mismatch, too much as only claimed, too little as only measured."""
    import lockgate.rehearsal.claims as module

    claims_of = module.claims_of

    def planted(*arguments: object, **named: object) -> object:
        claims = claims_of(*arguments, **named)  # type: ignore[arg-type]
        for key, facts in claims.facts.items():
            locks = dict.fromkeys(facts.locks, "ShareLock") | {"elsewhere": "ShareLock"}
            claims.facts[key] = msgspec.structs.replace(facts, locks=locks, rewrites=["users"], scans=[])
        return claims

    monkeypatch.setattr(module, "claims_of", planted)
    found = rehearse(
        "create table users (id int primary key, a text); create table elsewhere (id int);",
        "alter table users add column b int check (b > 0);",
        base=1,
    )
    (statement,) = found.migrations[0].statements
    answers = {(c.what, c.relation): c.answer for c in statement.evidence.claims}
    assert answers == {
        ("lock", "users"): "mismatch", ("lock", "elsewhere"): "only claimed", ("rewrite", "users"): "only claimed", ("scan", "users"): "only measured",
    }  # fmt: skip
    assert found.claims == {"confirmed": 0, "mismatch": 1, "only measured": 1, "only claimed": 2}
    assert statement.locks == {"users": "AccessExclusiveLock"}


@pytest.mark.postgres("16", "18")
def test_a_file_of_many_statements(rehearse: Callable[..., Rehearsal]) -> None:
    """More than sixty statements in a row, through the engine and in files of several: locks, rewrites and scans are what the policy says."""
    base = (FORMS / "base.sql").read_text()
    files = [
        "alter table lone add column d int; alter table lone alter column a type bigint; create index lone_a on lone (a); alter table lone rename column b to bb;",
        "create table fresh (id int primary key, parent_id bigint references parent(id)); alter table fresh add column x text; create index fresh_x on fresh (x); insert into fresh select 1, null, 'x';",
        "alter table child alter column qty set not null; alter table child drop constraint qpos; drop index child_lower; truncate grand; refresh materialized view mv;",
        "alter table parent add constraint longer check (length(note) < 1000) not valid; alter table parent validate constraint longer;",
        "alter table part add column more int; create index part_more on part (more); alter table part detach partition part2;",
        "drop view v2; drop view v1; drop table grand; alter sequence sq restart; comment on table child is 'x'; analyze child;",
        "alter table unl set logged; cluster uq using uq_a; reindex table uq; alter table uq add primary key using index uq_a;",
        "update child set qty = 5; delete from inh; lock table inhb in share mode; create trigger again after insert on inhb for each row execute function trg();",
        *[f"alter table uq add column c{n} int default {n}; create index uq_c{n} on uq (c{n});" for n in range(16)],
    ]  # fmt: skip
    found = rehearse(base, *files, base=1, rows=5)
    assert not [c for c in found.checks if c.id == "applies" and str(c.answer) != "pass"], found.checks
    statements = [s for m in found.migrations for s in m.statements]
    assert len(statements) >= 60
    wrong = [
        (s.line, s.kind, c) for s in statements for c in s.evidence.claims
        if c.what != "scan" and c.answer not in (CONFIRMED,) and not (c.answer == "only measured" and s.kind in _PLANNED)
    ]  # fmt: skip
    assert not wrong, "\n".join(map(str, wrong))
    assert sum(s.evidence.wal_bytes > 0 for s in statements) > 40
    assert all(s.seconds >= 0 for s in statements)
