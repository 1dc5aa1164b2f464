"""The example shop: database, backup, workers on a queue and a web service, released by the demo as it is in the repository."""

import json
import shutil
from pathlib import Path

import pytest

from support import processes, servers
from support.calls import Project

pytestmark = pytest.mark.postgres("18")
SHOP = Path(__file__).resolve().parents[2] / "examples" / "shop"
SHA = "0123456789abcdef0123456789abcdef01234567"


def test_every_step_and_then_none(session_directory: Path, postgres_label: str):
    """The first demo does every configured step on real parts, the second changes nothing and says so; nothing runs on afterwards."""
    folder = session_directory / "shop-demo"
    shutil.copytree(SHOP, folder, ignore=shutil.ignore_patterns(".lockgate", ".artifacts"))
    servers.seed(session_directory, folder / ".lockgate", postgres_label)
    project = Project(folder)
    try:
        first = project.ok("release", "demo", "--example", ".", "--sha", SHA)
        states = {s["name"]: s["state"] for s in first["steps"]}
        assert {name for name, state in states.items() if state == "skipped"} == {
            "approvals",
            "indexes",
            "index-watch",
            "watch",
        }
        assert len(first["applied"]) == len(list((folder / "db" / "migrations").glob("*.sql")))
        told = json.loads((folder / ".artifacts" / "deploy" / SHA / "release.json").read_text())
        smoke = next(s for s in told["steps"] if s["name"] == "smoke")
        assert "smoke job passed with one worker" in smoke["message"]
        relay = [json.loads(line) for line in (folder / ".lockgate" / "relay.jsonl").read_text().splitlines()]
        # The smoke event went in while all workers but the canary were paused.
        assert [line["worker"] for line in relay if line["topic"] == "smoke"] == ["worker-1"]
        second = project.ok("release", "demo", "--example", ".", "--sha", SHA)
        assert second["applied"] == []
        assert {s["name"] for s in second["steps"] if s["state"] == "done"} == {
            "window",
            "candidate",
            "migrate",
            "verify",
            "smoke",
        }
        assert processes.with_word(str(folder / "app")) == []
    finally:
        servers.stop_all(folder / ".lockgate")
        shutil.rmtree(folder, ignore_errors=True)
