"""The write guard: no write goes into a schema that the code was not built for, and the refusal names every object."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import make_conninfo
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from gate.contracts import R, ask, contract, write_contract
from lockgate.errors import Refused
from lockgate.gate import Contract, Gate, GateASGI, GateWSGI
from lockgate.gate.signature import LiveSchema, Signature, departures, judge_schema
from lockgate.gate.writes import WriteGuard
from lockgate.migrations.drift import Recorded, Snapshot
from lockgate.postgres.fingerprint import of_definitions
from support.calls import validate

pg = pytest.mark.postgres("18")
OBJECTS = st.dictionaries(
    st.sampled_from(["table a", "column a.x", "index a_i"]), st.sampled_from(["1", "2"])
)


def live(objects, *, revision=R[3], recorded=None, running="", basis="1/18"):
    """A live schema; ``recorded`` are the objects that lockgate left."""
    kept = of_definitions(objects if recorded is None else recorded, "1/18")
    return LiveSchema(
        revision, basis, objects,
        Recorded("h", "h", kept.digest, Snapshot("1/18", kept.objects), running),
    )  # fmt: skip


@given(OBJECTS, OBJECTS)
def test_departures_lead_from_one_to_the_other(expected, seen):
    """The diff is empty exactly for equal schemas, and applied to the expected one it gives the live one."""
    found = departures(expected, seen)
    made = dict(expected)
    for one in found:
        if one.kind == "removed":
            assert made.pop(one.object) == one.expected
        else:
            assert made.get(one.object, "") == one.expected
            made[one.object] = one.live
    assert made == seen
    assert bool(found) == (expected != seen)


@given(OBJECTS, OBJECTS, OBJECTS, st.sampled_from([R[2], R[3]]))
def test_the_verdict(signed, seen, recorded, revision):
    """At the signature's revision it decides, at another one what lockgate recorded; only equality passes."""
    verdict = judge_schema(live(seen, revision=revision, recorded=recorded), Signature(R[3], "1/18", signed))
    wanted = signed if revision == R[3] else recorded
    assert (verdict.answer == "pass") == (seen == wanted)
    assert verdict.answer in ("pass", "fail")
    assert {d.object for d in verdict.departures} == {d.object for d in departures(wanted, seen)}


def test_what_cannot_be_told():
    """A run under way, another major version, nothing recorded: unknown, never a pass and never a definite no."""
    signature = Signature(R[3], "1/18", {"table a": "1"})
    assert judge_schema(live({"table a": "2"}, running="r"), signature).answer == "unknown"
    assert judge_schema(live({"table a": "1"}, basis="1/16"), signature).answer == "unknown"
    assert judge_schema(LiveSchema(R[2], "1/18", {}, Recorded()), None).answer == "unknown"


def client(gate, **options):
    """A Starlette application behind the gate."""

    async def page(request):
        return PlainTextResponse("served")

    return TestClient(
        GateASGI(Starlette(routes=[Route("/", page, methods=["GET", "POST"])]), gate, **options)
    )


def sign(project):
    """Write the signature of the project's database, and a contract that names it."""
    document = project.ok("gate-signature", "gate", "signature", "--output", "lockgate.schema.json")
    validate("schema-signature", json.loads((project.root / "lockgate.schema.json").read_text()))
    write_contract(project.root, signature="lockgate.schema.json")
    return document


@pg
def test_a_change_by_hand_stops_writes(applied, database, monkeypatch):
    """A column dropped and an index added by hand: reads go on, writes get 503 with the diff for those allowed; undone, writes go on."""
    monkeypatch.setenv("LOCKGATE_HEALTH_TOKEN", "t0ken")
    sign(applied)
    gate = Gate(Contract.from_file(applied.root / "lockgate.contract.json"), database, interval=600)
    gate.start = lambda: None
    web = client(gate)
    gate.refresh()
    assert web.post("/").status_code == 200
    ask(database, "ALTER TABLE a DROP COLUMN x")
    ask(database, "CREATE INDEX b_x ON b (x)")
    gate.guard.look(gate.target, timeout=5)
    assert web.get("/").status_code == 200
    answer = web.post("/")
    assert (answer.status_code, answer.json()["reasonCode"]) == (503, "SCHEMA_SIGNATURE")
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.json()["differing"] == 2
    assert "departures" not in answer.json(), "only for those allowed"
    told = web.post("/", headers={"Authorization": "Bearer t0ken"}).json()["departures"]
    assert [(d["kind"], d["object"]) for d in told] == [
        ("removed", "column public.a.x"),
        ("added", "index public.b_x"),
    ]
    assert "text" in told[0]["expected"]
    assert "USING btree (x)" in told[1]["live"]
    check = web.get("/readyz", headers={"Authorization": "Bearer t0ken"}).json()["checks"]["schema:signature"]
    assert check[0]["status"] == "fail"
    with pytest.raises(Refused) as caught:
        gate.permit_write()
    assert caught.value.code == "SCHEMA_SIGNATURE"
    assert "removed column public.a.x" in caught.value.details["departures"]
    found = applied.json("gate", "signature", "--against", "lockgate.schema.json")
    assert (found.code, len(found.document("gate-signature")["departures"])) == (1, 2)
    ask(database, "ALTER TABLE a ADD COLUMN x text")
    ask(database, "DROP INDEX b_x")
    gate.guard.look(gate.target, timeout=5)
    assert web.post("/").status_code == 200
    gate.stop()


@pg
def test_what_a_contract_names_is_a_condition_of_starting(applied, database):
    """`gate`, `gate wait` and `run` say no to a schema that was changed by hand, and to a signature that is not there."""
    sign(applied)
    opened = applied.ok("gate", "gate")
    assert [c["answer"] for c in opened["conditions"] if c["id"] == "schema:signature"] == ["pass"]
    ask(database, "ALTER TABLE a ADD COLUMN by_hand int")
    for call in (["gate"], ["gate", "wait", "--timeout", "60"]):
        closed = applied.json(*call)
        assert closed.code == 1
        (found,) = [c for c in closed.document("gate")["conditions"] if c["id"] == "schema:signature"]
        assert (found["answer"], found["code"]) == ("fail", "CHECKSUM_MISMATCH")
        assert "by_hand" in found["evidence"] or "table a" in found["evidence"]
        assert found["next"]
    assert applied.run("run", "--", "touch", "started").code == 1
    assert not (applied.root / "started").exists()
    (applied.root / "lockgate.schema.json").unlink()
    assert applied.json("gate").error("CONTRACT")["exitCode"] == 2


@pg
def test_a_migration_is_no_departure(applied, database):
    """Inside the window the schema is what newer migrations left: writes go on; a change by hand beside it stops them."""
    sign(applied)
    gate = Gate(Contract.from_file(applied.root / "lockgate.contract.json"), database, interval=600)
    gate.refresh()
    assert gate.takes_writes
    applied.write("wider", "ALTER TABLE a ADD COLUMN y text;\n")
    assert applied.run("up").code == 0
    gate.refresh()  # the revision moved, so the schema is read again
    assert gate.takes_writes
    assert "wider" not in str(gate.guard.verdict.departures)
    ask(database, "ALTER TABLE b ADD COLUMN odd int")
    gate.guard.look(gate.target, timeout=5)
    assert [str(d) for d in gate.guard.verdict.departures] == ["added column public.b.odd"]
    assert not gate.takes_writes
    gate.stop()


@pg
def test_without_a_signature_and_in_wsgi(applied, database):
    """With nothing but `write_guard=True` the schema has to be what lockgate recorded; strict before the first look; the same in WSGI."""
    gate = Gate(contract(), database, interval=600, write_guard=True)
    gate.start = lambda: None
    assert not gate.takes_writes
    gate.refresh()
    assert gate.takes_writes
    ask(database, "ALTER TABLE a ALTER COLUMN x SET NOT NULL")
    gate.guard.look(gate.target, timeout=5)
    heard = []
    body = GateWSGI(lambda *_: [b"served"], gate)(
        {"REQUEST_METHOD": "POST", "PATH_INFO": "/"}, lambda status, headers: heard.append(status)
    )
    assert heard == ["503 Service Unavailable"]
    assert json.loads(b"".join(body))["reasonCode"] == "SCHEMA_SIGNATURE"
    gate.stop()


@pg
def test_doubt_keeps_the_last_answer(applied, database):
    """Unreachable after a yes: writes go on. Unreachable at the start, or without grants: none does."""
    guard = WriteGuard()
    gate = Gate(contract(), database, write_guard=guard, registers=False)
    gate.refresh()
    gone = Gate(contract(), "postgresql://u@127.0.0.1:1/none").target
    assert guard.look(gone, timeout=1).answer == "unknown"
    assert guard.open
    strict = WriteGuard()
    assert strict.look(gone, timeout=1).answer == "unknown"
    assert not strict.open


@pg
def test_an_application_role_can_look(applied, database):
    """The role of the application, with the grants of `lockgate roles` on the schema lockgate, can run the guard."""
    role = f"guard_{R[1]}_{applied.root.name}"[:60].lower()
    ask(database, f'CREATE ROLE "{role}" LOGIN')
    ask(database, f'GRANT USAGE ON SCHEMA lockgate TO "{role}"')
    ask(database, f'GRANT SELECT ON ALL TABLES IN SCHEMA lockgate TO "{role}"')
    try:
        guard = WriteGuard()
        gate = Gate(contract(), make_conninfo(database, user=role), write_guard=guard, registers=False)
        gate.refresh()
        assert guard.open, guard.verdict
    finally:
        ask(database, f'DROP OWNED BY "{role}"')
        ask(database, f'DROP ROLE "{role}"')


@pg
def test_wrong_files(applied):
    """A signature that is missing or not one, both options at once, and a schema that drifted already: refused, nothing is written."""
    assert applied.json("gate", "signature", "--against", "nowhere.json").error("CONTRACT")["exitCode"] == 2
    (applied.root / "odd.json").write_text("[]")
    assert applied.json("gate", "signature", "--against", "odd.json").error("CONTRACT")["exitCode"] == 2
    assert applied.json("gate", "signature", "--against", "odd.json", "--output", "x").error("USAGE")
    ask(applied.environ["DATABASE_URL"], "CREATE TABLE by_hand ()")
    drifted = applied.json("gate", "signature", "--output", "lockgate.schema.json")
    assert (drifted.code, drifted.document("gate-signature")["file"]) == (1, "")
    assert not (applied.root / "lockgate.schema.json").exists()
