"""Writes queued in read-only mode: kept once, drained exactly once, in order per key, also when a drain is killed."""

import json
import os
import random
import signal
import threading

import psycopg
import pytest

from gate.contracts import ask, contract
from gate.test_middleware import FRAMEWORKS, body
from lockgate.errors import Refused, RunFailed
from lockgate.gate import Gate, GateWSGI
from lockgate.gate.draining import drain
from lockgate.gate.queueing import Request, WriteQueue
from support.processes import until

pytestmark = pytest.mark.postgres("18")

HANDLER = '''
def write(connection, intent):
    """Append the write; hang where it says so, until somebody lets go of the lock 7."""
    if intent.payload.get("waits"):
        connection.execute("SELECT pg_advisory_xact_lock(7)")
    connection.execute("INSERT INTO done (intent, what) VALUES (%s, %s)", (intent.id, intent.payload["what"]))
    if intent.payload.get("fails"):
        raise ValueError("it does not like c4n4ry")
'''


def write(connection, intent):
    """What the handler of the command does, as a function here."""
    namespace = {}
    exec(HANDLER, namespace)
    namespace["write"](connection, intent)


@pytest.fixture
def shop(applied, database):
    """The applied project with a table that writes go to, in read-only mode."""
    ask(database, "CREATE TABLE done (place bigint GENERATED ALWAYS AS IDENTITY, intent bigint, what text)")
    (applied.root / "handler.py").write_text(HANDLER)
    assert applied.run("readonly", "on", "--reason", "cutover").code == 0
    return applied


@pytest.fixture
def queue(database):
    """A queue in front of nothing: writes are put by the test."""
    return WriteQueue(database, principal=lambda request: request.headers.get("x-user"))


def put(queue, what, key="", *, order="o", **more):
    return queue.put("append", {"what": what, **more}, idempotency_key=key or what, order_key=order)


def done(database):
    """What was written, in the order in which it was."""
    return [what for (what,) in ask(database, "SELECT what FROM done ORDER BY place")]


def drained(database, **options):
    with psycopg.connect(database) as connection:
        return drain(connection, write, **options)


def test_a_write_is_queued_once_and_done_once(shop, queue, database):
    """The same key twice is one write, another content under it a conflict; drained once; a repeat afterwards is told `done`."""
    first = put(queue, "a")
    assert (first.state, first.new) == ("queued", True)
    assert put(queue, "a")[:2] == ("queued", first.id)
    assert queue.put("append", {"what": "b"}, idempotency_key="a").state == "conflict"
    with pytest.raises(Refused) as caught:
        drained(database)
    assert caught.value.code == "READ_ONLY_MODE"
    assert shop.json("readonly", "intents").document("readonly-intents")["waiting"] == 1
    assert shop.run("readonly", "off").code == 0
    assert drained(database) == (1, (), 0)
    assert drained(database) == (0, (), 0)
    assert done(database) == ["a"]
    assert put(queue, "a").state == "done"
    assert put(queue, "new").state == "open", "nothing is in its way: the caller does it"


def test_the_command_drains_and_goes_on_after_a_kill(shop, queue, database):
    """kill -9 in the middle of a write: that one is not done by half, and the next call does each of the rest exactly once."""
    for number in range(6):
        put(queue, f"w{number}", order=f"k{number % 2}", waits=number == 3)
    shop.run("readonly", "off")
    call = ("readonly", "drain", "--handler", "handler:write")
    with psycopg.connect(database) as blocker:
        blocker.execute("SELECT pg_advisory_xact_lock(7)")
        running = shop.start(*call)
        until(lambda: ask(database, "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted") == [(True,)])
        os.kill(running.pid, signal.SIGKILL)
        running.communicate()
        before = done(database)
        assert "w3" not in before
        # The server learns of the death when it next speaks to the client: let the lock go, and its work is thrown away.
    until(
        lambda: (
            ask(database, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'lockgate/drain'")
            == [(0,)]
        )
    )
    found = shop.ok("readonly-intents", *call)
    assert found["drained"] == 6 - len(before)
    assert sorted(done(database)) == [f"w{n}" for n in range(6)]
    for key in range(2):
        assert [w for w in done(database) if int(w[1]) % 2 == key] == [f"w{n}" for n in range(key, 6, 2)]
    assert ask(database, "SELECT count(*) FROM lockgate.write_intent WHERE state = 'done'") == [(6,)]


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.soak) for n in range(1, 6))])
def test_many_drains_and_writers_keep_order_and_count(shop, queue, database, seed):
    """Four drains side by side while writes go on behind queued ones: each write once, each key in order."""
    rng = random.Random(seed)
    keys = ["a", "b", "c"]
    wanted = {key: [] for key in keys}
    for number in range(30):
        key = rng.choice(keys)
        wanted[key].append(f"{key}{number}")
        put(queue, f"{key}{number}", order=key)
    shop.run("readonly", "off")
    found = []
    threads = [threading.Thread(target=lambda: found.append(drained(database))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(30, 40):  # behind what is queued, or, when the key is done, by the caller itself
        key = rng.choice(keys)
        placed = put(queue, f"{key}{number}", order=key)
        if placed.state == "open":
            ask(database, "INSERT INTO done (what) VALUES (%s)", f"{key}{number}")
        wanted[key].append(f"{key}{number}")
    for thread in threads:
        thread.join()
    assert drained(database).waiting == 0
    for key in keys:
        assert [what for what in done(database) if what[0] == key] == wanted[key]


def test_one_that_fails_holds_up_its_key_only(shop, queue, database):
    """It is rolled back and waits with what is behind it; other keys go on; discarded by a person, its key goes on."""
    bad = put(queue, "bad", order="x", fails=True)
    put(queue, "behind", order="x")
    put(queue, "other", order="y")
    shop.run("readonly", "off")
    call = ("readonly", "drain", "--handler", "handler:write")
    answer = shop.json(*call)
    document = answer.document("readonly-intents")
    assert (answer.code, document["drained"], document["waiting"]) == (3, 1, 2)
    assert document["failures"][0]["id"] == bad.id
    assert document["intents"][0]["attempts"] == 1
    assert done(database) == ["other"]
    assert put(queue, "later", order="x").state == "queued", (
        "behind what waits, although read-only mode is off"
    )
    shop.ok("readonly-intents", "readonly", "discard", str(bad.id), "--reason", "the order was cancelled")
    assert put(queue, "bad", order="x", fails=True).state == "discarded"
    assert shop.ok("readonly-intents", *call)["drained"] == 2
    assert done(database) == ["other", "behind", "later"]
    assert ask(database, "SELECT reason FROM lockgate.write_intent WHERE state = 'discarded'") == [
        ("the order was cancelled",)
    ]
    assert shop.json("readonly", "discard", str(bad.id), "--reason", "x").error("INTENT_FAILED")


def test_a_handler_that_commits_is_caught(shop, queue, database):
    """Its write is held for a person, because nobody can tell what of it stands; `retry` lets it go again."""
    held = put(queue, "a")
    shop.run("readonly", "off")

    def commits(connection, intent):
        write(connection, intent)
        connection.commit()

    with psycopg.connect(database) as connection, pytest.raises(RunFailed):
        drain(connection, commits)
    assert drained(database) == (0, (), 1)
    assert shop.json("readonly", "retry", str(held.id), "--reason", "nothing of it stands").code == 0
    assert drained(database).done == 1


def test_a_drain_stops_when_read_only_mode_comes_back(shop, queue, database):
    """Switched on again in the middle, the rest waits."""
    put(queue, "a")
    put(queue, "b")
    shop.run("readonly", "off")
    found = drained(database, on_done=lambda intent: shop.run("readonly", "on", "--reason", "again"))
    assert (found.done, found.waiting) == (1, 1)


def test_a_full_queue(shop, database):
    """More than `most` waiting: full, nothing is kept."""
    small = WriteQueue(database, principal=lambda request: "p", most=1)
    assert put(small, "a").state == "queued"
    assert put(small, "b").state == "full"
    with pytest.raises(Refused):
        put(small, "b", "k" * 256)


@pytest.mark.parametrize("make", FRAMEWORKS, ids=lambda make: make.__name__)
def test_in_a_framework(make, shop, queue, database):
    """A POST with a key is 202 and queued; without a key or a principal 503; a repeat 202; after the drain 200 `done`; new ones are served."""
    gate = Gate(contract(), database, interval=600)
    gate.start = lambda: None
    gate.refresh()
    client = make(gate, queue=queue)
    mine = {"X-User": "ada", "Idempotency-Key": "k1", "Content-Type": "application/json"}
    sent = {"content": b'{"what": "w"}'} if hasattr(client, "build_request") else {"data": b'{"what": "w"}'}
    assert client.get("/").status_code == 200
    for headers in ({}, {"X-User": "ada"}, {"Idempotency-Key": "k1"}):
        answer = client.post("/", headers=headers, **sent)
        assert (answer.status_code, body(answer)["reasonCode"]) == (503, "READ_ONLY_MODE")
    answer = client.post("/", headers=mine, **sent)
    assert (answer.status_code, body(answer)["status"]) == (202, "queued")
    assert int(answer.headers["Retry-After"]) > 0
    assert body(client.post("/", headers=mine, **sent))["intentId"] == body(answer)["intentId"]
    other = dict.fromkeys(sent, b"{}")
    answer = client.post("/", headers=mine, **other)
    assert (answer.status_code, body(answer)["reasonCode"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    shop.run("readonly", "off")
    gate.refresh()
    seen = []
    with psycopg.connect(database) as connection:
        assert drain(connection, lambda _, intent: seen.append(intent)).done == 1
    (intent,) = seen
    assert (intent.kind, intent.principal, json.loads(intent.body)) == ("POST /", "ada", {"what": "w"})
    assert "authorization" not in json.dumps(intent.payload).lower()
    assert body(client.post("/", headers=mine, **sent))["status"] == "done"
    answer = client.post("/", headers={**mine, "Idempotency-Key": "k2"}, **sent)
    assert answer.status_code == 200
    gate.stop()


def test_the_application_gets_the_body_that_was_looked_at(shop, queue, database):
    """A write that passes because nothing is in its way reaches the application whole; one of unknown length is never queued."""
    gate = Gate(contract(), database, interval=600)
    gate.start = lambda: None
    gate.refresh()
    gate.read_only, gate.intents = None, True  # as it is while the last rows are kept
    shop.run("readonly", "off")
    heard = []

    def application(environ, start_response):
        heard.append(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        start_response("200 OK", [])
        return [b""]

    from io import BytesIO

    environ = {
        "REQUEST_METHOD": "POST", "PATH_INFO": "/", "CONTENT_LENGTH": "5", "wsgi.input": BytesIO(b"hello"),
        "HTTP_IDEMPOTENCY_KEY": "k", "HTTP_X_USER": "ada",
    }  # fmt: skip
    application = GateWSGI(application, gate, queue=queue)
    application(dict(environ), lambda *_: None)
    assert heard == [b"hello"]
    gate.read_only = {"reason": "x", "retry_after": 1}
    statuses = []
    application(
        {**environ, "HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input": BytesIO(b"hello")},
        lambda status, _: statuses.append(status),
    )
    assert statuses == ["503 Service Unavailable"]
    gate.stop()


def test_an_unreachable_database_refuses():
    """Nobody listens: the sender is told 503, and nothing is thought to be queued."""
    gate = Gate(contract(), "postgresql://u@127.0.0.1:1/none", interval=600)
    gate.read_only = {"reason": "x", "retry_after": 1}
    lost = WriteQueue("postgresql://u@127.0.0.1:1/none", principal=lambda request: "p", timeout=1)
    answer = lost.answer(gate, Request("POST", "/", "", {"idempotency-key": "k"}), b"")
    assert (answer.status, json.loads(answer.body)["reasonCode"]) == (503, "UNREACHABLE")


def test_wrong_handlers(shop):
    """A module that is not there, a name that is not in it, no function: exit 2, and nothing is drained."""
    (shop.root / "odd.py").write_text("number = 1\n")
    shop.run("readonly", "off")
    for handler in ("nowhere:write", "odd:nothing", "odd:number", "odd"):
        assert shop.json("readonly", "drain", "--handler", handler).error("USAGE")["exitCode"] == 2
