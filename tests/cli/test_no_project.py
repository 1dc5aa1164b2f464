"""Commands in a folder that is no project."""

import pytest

from support.calls import Project

CHANGE = ("up", "release --sha 0a1b2c3", "backup list")
READ = ("status", "verify", "doctor", "instances", "index list", "move status", "readonly status")


@pytest.mark.parametrize("call", [*READ, *CHANGE])
def test_a_folder_that_is_no_project_gets_no_server(tmp_path, monkeypatch, call):
    """Without a URL, lockgate.toml and migrations a command is refused, and makes nothing."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    answer = Project(tmp_path).json(*call.split())
    assert answer.code == 2
    error = answer.error("USAGE")
    assert "--config PATH" in error["next"]
    assert "lockgate init" in error["next"]
    assert list(tmp_path.iterdir()) == []
