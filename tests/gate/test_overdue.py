"""A verdict counts as long as somebody renews it; and every change of it is logged once."""

import logging

import pytest

from gate.contracts import ask, contract
from lockgate.gate import Gate, GateWSGI
from lockgate.gate.judge import Own

pytestmark = pytest.mark.postgres("18")


@pytest.fixture
def frozen(applied, database):
    """(gate, jump): an open gate whose thread does not come to look again, and what lets its clock jump, as SIGSTOP does."""
    now = [0.0]
    gate = Gate(contract(), database, interval=600, clock=lambda: now[0])
    assert gate.wait(60)

    def jump(seconds: float) -> None:
        now[0] += seconds

    yield gate, jump
    gate.stop()


def get(gate, path="/"):
    """(status, headers, body) of a request to an application behind ``gate``."""
    told = []
    body = b"".join(
        GateWSGI(lambda request, start: start("200 OK", []) or [b"served"], gate)(
            {"PATH_INFO": path, "REQUEST_METHOD": "GET"},
            lambda status, headers: told.append((status, dict(headers))),
        )
    )
    return int(told[0][0][:3]), told[0][1], body


def test_a_verdict_that_nobody_renews_is_refused(frozen):
    """After four intervals without a look requests and readyz get 503 with Retry-After; the next look lets them through again."""
    gate, jump = frozen
    jump(2399)
    assert get(gate)[::2] == (200, b"served")
    jump(2)
    status, headers, body = get(gate)
    assert (status, headers["Retry-After"]) == (503, "1")
    assert b'"UNKNOWN"' in body
    assert get(gate, "/readyz")[0] == 503
    assert get(gate, "/livez")[0] == 200
    gate.refresh()
    assert get(gate)[0] == 200


def test_the_look_that_begins_does_not_renew_it(frozen):
    """Woken up, the process serves nothing until its look has come to an end; one that began in time may take its time."""
    gate, jump = frozen
    open_in_the_look = []

    def own():
        open_in_the_look.append(gate.open)
        return Own()

    gate._own = own
    jump(2401)
    gate.refresh()
    jump(2390)
    gate._own = lambda: (jump(gate._patience - 1), own())[1]
    gate.refresh()
    assert (open_in_the_look, gate.open) == ([False, True], True)


def test_an_unreachable_database_renews_it(frozen):
    """A look that ends without an answer keeps the last verdict, and that counts as renewed."""
    gate, jump = frozen
    target, gate.target = gate.target, gate.target.sibling("no_such_database_here")
    jump(2401)
    gate.refresh()
    assert (gate.open, gate.readiness.state) == (True, "stale")
    gate.target = target


def test_a_change_is_logged_once(applied, database, caplog):
    """What closes a gate is logged when it begins to and not again; its opening is told too, quietly."""
    caplog.set_level(logging.INFO, "lockgate.gate")
    gate = Gate(contract(5, 6), database, service="shop")
    gate.refresh()
    gate.refresh()
    (closed,) = caplog.messages
    assert closed.startswith("the gate of shop is closed (BEHIND): schema:revision: ")
    gate.contract = contract(1, 3)
    gate.refresh()
    gate.refresh()
    assert caplog.messages[1:] == ["the gate of shop is open (READY)"]
    ask(database, "INSERT INTO lockgate.accepted_secrets (revision, actor) VALUES ('s1', 'me')")
    gate.refresh()
    assert "SECRETS_MISMATCH" in caplog.messages[2]
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO", "WARNING"]
