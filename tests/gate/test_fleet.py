"""A fleet under load while a release goes through expand, the new release beside the old, and contract: no request fails."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gate.contracts import R, ask
from support.calls import Project
from support.processes import until

pytestmark = pytest.mark.postgres("18")

OLD = ("INSERT INTO person (name) VALUES ('x')", "SELECT id, name FROM person ORDER BY id LIMIT 3")
NEW = ("INSERT INTO person (full_name) VALUES ('x')", "SELECT id, full_name FROM person ORDER BY id LIMIT 3")


class Service:
    """One process of the fleet."""

    def __init__(
        self, folder: Path, url: str, release: str, window: tuple[str, str], statements: tuple[str, str]
    ) -> None:
        self.release = release
        port_file = folder / f"port-{release}-{os.urandom(3).hex()}"
        contract = {
            "schemaVersion": "1",
            "release_id": release,
            "service": "shop",
            "schema": {"min": window[0], "max": window[1]},
        }
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("fleet_service.py")), str(port_file), *statements],
            env={**os.environ, "DATABASE_URL": url, "LOCKGATE_CONTRACT": json.dumps(contract)},
        )
        until(lambda: port_file.exists() and port_file.read_text().endswith("\n"))
        self.port = int(port_file.read_text())

    def get(self, path: str) -> int:
        """The status of one request; 0 when nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()

    def ready(self) -> bool:
        """What a load balancer asks."""
        return self.get("/readyz") == 200

    def stop(self) -> None:
        """End it as an orchestrator does."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) in (0, -signal.SIGTERM)


class Load:
    """Threads that send requests to the services in rotation, one after another, and count what comes back."""

    def __init__(self) -> None:
        self.rotation: list[Service] = []
        self.statuses: dict[tuple[str, int], int] = {}
        self._lock = threading.Lock()
        self._in_flight: list[Service] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(n,)) for n in range(2)]
        for thread in self._threads:
            thread.start()

    def _send(self, number: int) -> None:
        while not self._over.is_set():
            with self._lock:
                if not self.rotation:
                    service = None
                else:
                    number += 1
                    service = self.rotation[number % len(self.rotation)]
                    self._in_flight.append(service)
            if service is None:
                self._over.wait(0.01)
                continue
            status = service.get("/")
            with self._lock:
                self._in_flight.remove(service)
                key = (service.release, status)
                self.statuses[key] = self.statuses.get(key, 0) + 1

    def put(self, service: Service) -> None:
        """Into rotation, once it is ready."""
        until(service.ready)
        with self._lock:
            self.rotation.append(service)

    def take(self, service: Service) -> None:
        """Out of rotation, and wait for what is in flight."""
        with self._lock:
            self.rotation.remove(service)
        until(lambda: service not in self._in_flight)

    def served(self, release: str) -> int:
        """Requests of ``release`` that were answered with 200."""
        return self.statuses.get((release, 200), 0)

    def more(self, release: str) -> None:
        """Wait until ``release`` has served twenty more."""
        wanted = self.served(release) + 20
        until(lambda: self.served(release) >= wanted, 60)

    def end(self) -> dict[tuple[str, int], int]:
        """Stop sending; how often each release gave each status."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        return self.statuses


@pytest.fixture
def shop(tmp_path, database):
    """A project whose first release is applied."""
    project = Project(tmp_path, database)
    project.write(
        "person", "CREATE TABLE person (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text);\n"
    )
    assert project.run("up").code == 0
    return project


@pytest.fixture
def start(shop, database):
    """Start a service of the old or the new release; all are killed at the end."""
    services = []

    def make(release: str) -> Service:
        window, statements = ((R[1], R[2]), OLD) if release == "old" else ((R[2], R[3]), NEW)
        services.append(Service(shop.root, database, release, window, statements))
        return services[-1]

    yield make
    for service in services:
        service.process.kill()
        service.process.wait()


def test_no_request_fails(shop, start, database):
    """Expand, both releases side by side, contract, all under load, in every order of start: not one request fails."""
    load = Load()
    old, early = start("old"), start("new")
    try:
        load.put(old)
        assert early.get("/") == 503, "started before its schema is there"
        assert early.get("/livez") == 200
        load.more("old")
        shop.write("expand", "ALTER TABLE person ADD COLUMN full_name text;\n")
        assert shop.run("up").code == 0
        load.put(early)
        load.more("old")
        load.more("new")
        shop.write("contract", "-- lockgate: phase=contract\nALTER TABLE person DROP COLUMN name;\n")
        held = shop.json("up")
        assert held.error("CONTRACT_TOO_EARLY")["exitCode"] == 4, "the old release still needs the column"
        load.more("old")
        load.take(old)
        old.stop()
        until(lambda: ask(database, "SELECT DISTINCT release_id FROM lockgate.instance") == [("new",)])
        assert shop.run("up").code == 0
        load.more("new")
        late = start("old")
        until(
            lambda: ask(database, "SELECT count(*) FROM lockgate.instance WHERE release_id = 'old'") == [(0,)]
        )
        assert late.get("/") == 503, "started after its column is gone"
        second = start("new")
        load.put(second)
        load.more("new")
    finally:
        statuses = load.end()
    assert {status for _, status in statuses} == {200}, statuses
    assert sum(statuses.values()) > 100


def test_a_rollback_image_starts_inside_the_window(shop, start):
    """After expand the old image starts and serves on the newer schema: a rollback works until the contract phase."""
    shop.write("expand", "ALTER TABLE person ADD COLUMN full_name text;\n")
    shop.write("more", "CREATE TABLE other (id bigint PRIMARY KEY);\n")
    assert shop.run("up").code == 0
    old = start("old")
    until(old.ready)
    assert old.get("/") == 200
