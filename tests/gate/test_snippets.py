"""The snippets of docs/gate.md for Compose and Kubernetes, run: what they call answers as their platform needs it."""

import http.client
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from gate.contracts import R, write_contract
from support.calls import COMMAND
from support.processes import until

pytestmark = pytest.mark.postgres("18")

PAGE = Path(__file__).resolve().parents[2] / "docs" / "gate.md"
SNIPPETS = [
    yaml.safe_load(text) for text in re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
]
COMPOSE = next(s for s in SNIPPETS if "services" in s)["services"]["shop"]
PROBES = next(s for s in SNIPPETS if "startupProbe" in s)
POLICY = next(s for s in SNIPPETS if "podFailurePolicy" in s)["podFailurePolicy"]["rules"]


@pytest.fixture
def start(project, database):
    """Start the service of the fleet test behind the gate, through the snippet's entrypoint or without; its port."""
    running = []

    def make(entrypoint=()):
        port_file = project.root / "port"
        contract = write_contract(project.root, service="shop")
        words = [
            {"lockgate": COMMAND, "/app/lockgate.contract.json": [contract]}.get(w, [w]) for w in entrypoint
        ]
        service = [
            sys.executable,
            str(Path(__file__).with_name("fleet_service.py")),
            str(port_file),
            "SELECT 1",
            "SELECT 1",
        ]
        running.append(
            subprocess.Popen(
                [*(w for group in words for w in group), *service],
                env={**os.environ, "DATABASE_URL": database, "LOCKGATE_CONTRACT": contract},
                cwd=project.root,
            )
        )
        return lambda: (
            int(port_file.read_text()) if port_file.exists() and port_file.read_text().endswith("\n") else 0
        )

    yield make
    for process in running:
        process.kill()
        process.wait()


def get(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def test_compose(project, start):
    """The entrypoint starts the command only once the schema is there; the healthcheck fails before and passes after."""
    port = start(COMPOSE["entrypoint"])
    assert COMPOSE["healthcheck"]["test"][:2] == ["CMD", "python"]
    _, _, *words = COMPOSE["healthcheck"]["test"]

    def healthy(number):
        call = [word.replace(":8000", f":{number}") for word in words]
        return subprocess.run([sys.executable, *call], capture_output=True, check=False).returncode == 0

    assert not healthy(1)
    assert project.run("up").code == 0
    until(lambda: port() != 0)
    until(lambda: healthy(port()))


def test_kubernetes_probes(project, start):
    """Before the schema is there the container lives and is not started; afterwards it is started and ready, and lives on."""
    port = start()
    until(lambda: port() != 0)
    paths = {
        name: PROBES[name]["httpGet"]["path"] for name in ("startupProbe", "readinessProbe", "livenessProbe")
    }
    assert {name: get(port(), path) for name, path in paths.items()} == {
        "startupProbe": 503, "readinessProbe": 503, "livenessProbe": 200,
    }  # fmt: skip
    patience = PROBES["startupProbe"]["periodSeconds"] * PROBES["startupProbe"]["failureThreshold"]
    assert patience >= 300, "as long as `run --timeout 300` of the same page"
    assert project.run("up").code == 0
    until(lambda: get(port(), paths["startupProbe"]) == 200)
    assert {get(port(), path) for path in paths.values()} == {200}


def test_pod_failure_policy(applied, database):
    """What does not get better fails the Job at once, what may is tried again, and a disruption never counts."""
    (fail,) = (rule["onExitCodes"] for rule in POLICY if rule["action"] == "FailJob")
    assert any(rule["action"] == "Ignore" for rule in POLICY)
    late = write_contract(applied.root, 5, 6)
    assert applied.run("gate", "--contract", late).code in fail["values"]
    assert applied.run("gate", "--contract", "nowhere.json").code in fail["values"]
    away = applied.run("gate", "--contract", late, DATABASE_URL="postgresql://u@127.0.0.1:1/none")
    assert (away.code, away.code in fail["values"]) == (69, False)
    assert fail["operator"] == "In"
    assert json.loads((applied.root / "lockgate.contract.json").read_text())["schema"]["min"] == R[5]
