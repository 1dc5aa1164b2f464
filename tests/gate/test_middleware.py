"""The middleware inside Starlette, FastAPI, Flask and Django: one set of promises, four frameworks."""

import json
import sys

import pytest

from gate.contracts import R, ask, configure_django, contract
from lockgate.gate import Gate, GateASGI, GateWSGI
from support.processes import until

pytestmark = pytest.mark.postgres("18")

TOKEN = "c4n4ry-token"


def starlette(gate, **options):
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route
    from starlette.testclient import TestClient

    async def page(request):
        return PlainTextResponse("served")

    return TestClient(
        GateASGI(Starlette(routes=[Route("/", page, methods=["GET", "POST"])]), gate, **options)
    )


def fastapi(gate, **options):
    from fastapi import FastAPI
    from fastapi.responses import PlainTextResponse
    from starlette.testclient import TestClient

    app = FastAPI()

    @app.api_route("/", methods=["GET", "POST"], response_class=PlainTextResponse)
    def page():
        return "served"

    app.add_middleware(GateASGI, gate=gate, **options)
    return TestClient(app)


def flask(gate, **options):
    from flask import Flask

    app = Flask("shop")
    app.route("/", methods=["GET", "POST"])(lambda: "served")
    app.wsgi_app = GateWSGI(app.wsgi_app, gate, **options)
    return app.test_client()


def django(gate, **options):
    from django.http import HttpResponse
    from django.urls import path

    configure_django()
    urls = type(sys)("gate.django_urls")
    urls.urlpatterns = [path("", lambda request: HttpResponse("served"))]
    sys.modules["gate.django_urls"] = urls
    from django.core.wsgi import get_wsgi_application
    from werkzeug.test import Client

    return Client(GateWSGI(get_wsgi_application(), gate, **options))


FRAMEWORKS = [starlette, fastapi, flask, django]


@pytest.fixture(params=FRAMEWORKS, ids=lambda make: make.__name__)
def served(request, applied, database, monkeypatch):
    """(gate, client) of one framework; the gate's thread does nothing by itself, so that the test says when."""
    monkeypatch.setenv("LOCKGATE_HEALTH_TOKEN", TOKEN)
    gate = Gate(contract(release_id="r1"), database, service="shop", interval=600)
    gate.start = lambda: None
    client = request.param(gate)
    yield gate, client
    gate.stop()


def body(answer):
    data = answer.content if hasattr(answer, "content") else answer.data
    return json.loads(data)


def test_traffic_waits_for_the_gate(served, database):
    """503 with Retry-After and a machine-readable body until ready; then traffic; 503 again on a mismatch, then traffic."""
    gate, client = served
    answer = client.get("/")
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert body(answer)["reasonCode"] == "GATE_CLOSED"
    assert body(answer)["answer"] == "UNKNOWN"
    gate.refresh()
    assert client.get("/").status_code == 200
    ask(database, "UPDATE lockgate.fence SET compat_floor = %s", R[9])
    gate.refresh()
    answer = client.get("/")
    assert (answer.status_code, body(answer)["answer"]) == (503, "AHEAD_TOO_FAR")
    ask(database, "UPDATE lockgate.fence SET compat_floor = ''")
    gate.refresh()
    assert client.get("/").status_code == 200


def test_health(served, database):
    """livez is 200 from the first moment, readyz and startupz follow the gate; startupz stays once it was ready."""
    gate, client = served
    assert [client.get(p).status_code for p in ("/livez", "/readyz", "/startupz")] == [200, 503, 503]
    gate.refresh()
    assert [client.get(p).status_code for p in ("/livez", "/readyz", "/startupz")] == [200, 200, 200]
    ask(database, "UPDATE lockgate.fence SET compat_floor = %s", R[9])
    gate.refresh()
    assert [client.get(p).status_code for p in ("/livez", "/readyz", "/startupz")] == [200, 503, 200]
    answer = client.get("/readyz")
    assert answer.headers["Content-Type"] == "application/health+json"
    assert answer.headers["Cache-Control"] == "no-store"


def test_details_only_for_those_allowed(served):
    """Without the token health says one word; with it the conditions; another token, and an empty one, change nothing."""
    gate, client = served
    gate.refresh()
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer "}):
        assert body(client.get("/readyz", headers=headers)) == {"status": "pass"}
    document = body(client.get("/readyz", headers={"Authorization": f"Bearer {TOKEN}"}))
    assert document["serviceId"] == "shop"
    assert document["releaseId"] == "r1"
    assert document["checks"]["schema:revision"][0]["status"] == "pass"
    assert "postgresql://" not in json.dumps(document)


def test_read_only_mode(served, applied, database):
    """lockgate readonly on: writes get 503 with Retry-After and a stable code, reads go on; off: writes go on."""
    gate, client = served
    gate.refresh()
    ask(
        database,
        "INSERT INTO lockgate.read_only_mode (reason, actor, retry_after) VALUES ('cutover', 'me', 7)",
    )
    gate.refresh()
    assert client.get("/").status_code == 200
    answer = client.post("/")
    assert (answer.status_code, answer.headers["Retry-After"], body(answer)["reasonCode"]) == (
        503,
        "7",
        "READ_ONLY_MODE",
    )
    ask(database, "DELETE FROM lockgate.read_only_mode")
    gate.refresh()
    assert client.post("/").status_code == 200


def test_423_where_wanted(applied, database):
    """The status of a refused write can be 423."""
    gate = Gate(contract(), database, interval=600)
    gate.start = lambda: None
    gate.refresh()
    gate.read_only = {"reason": "x", "retry_after": 3}
    assert starlette(gate, read_only_status=423).post("/").status_code == 423
    assert flask(gate, read_only_status=423).post("/").status_code == 423
    gate.stop()


@pytest.mark.parametrize("make", FRAMEWORKS, ids=lambda make: make.__name__)
def test_it_starts_by_itself(make, applied, database):
    """Without any call the first request starts the gate, which opens by itself."""
    gate = Gate(contract(), database, interval=0.3)
    client = make(gate)
    until(lambda: client.get("/").status_code == 200)
    gate.stop()
    assert client.get("/").status_code == 503


def test_the_lifespan_starts_and_signs_off(applied, database):
    """With a lifespan the gate starts at start-up and signs its instance off at shutdown."""
    gate = Gate(contract(), database, interval=0.3)
    with starlette(gate):
        until(lambda: ask(database, "SELECT count(*) FROM lockgate.instance") == [(1,)])
    assert ask(database, "SELECT count(*) FROM lockgate.instance") == [(0,)]


def test_a_websocket_is_turned_away(applied, database):
    """While the gate is closed a websocket is closed with 1013: try again later."""
    from starlette.testclient import TestClient
    from starlette.websockets import WebSocketDisconnect

    gate = Gate(contract(5, 6), database, interval=600)
    gate.start = lambda: None
    client = TestClient(GateASGI(lambda *_: None, gate))
    with pytest.raises(WebSocketDisconnect) as caught, client.websocket_connect("/ws"):
        pass
    assert caught.value.code == 1013
