"""An entrypoint works on the database that it is told of, and on no other."""

import pytest

from gate.contracts import write_contract
from support.calls import Project

pytestmark = pytest.mark.postgres("18")


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """A project whose folder has migrations and whose environment names no database."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    project = Project(tmp_path, None)
    project.write("a", "CREATE TABLE a (id bigint PRIMARY KEY);\n")
    write_contract(tmp_path, 1, 1)
    return project


def test_an_entrypoint_without_a_database_is_a_wrong_call(alone):
    """`run` and `gate wait` without a URL exit 2 and start neither the command nor a server of their own."""
    for call in (("run", "--format", "json", "--", "touch", "started"), ("gate", "wait", "--format", "json")):
        refused = alone.run(*call).error("USAGE")
        assert refused["exitCode"] == 2
        assert "lockgate embedded url" in refused["next"]
    assert not (alone.root / "started").exists()
    assert not (alone.root / ".lockgate").exists()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:${DB_PASSWORD}@127.0.0.1:1/db",
        "postgresql://u:{{pw}}@127.0.0.1:1/db",
        "host=${DB_HOST} dbname=db",
    ],
)
def test_an_unfilled_template_is_a_wrong_call(alone, url):
    """A URL with a mark that no template has filled in is told as that, exit 2, before anybody is asked for a login."""
    for call in (
        ("run", "--format", "json", "--", "true"),
        ("gate", "--format", "json"),
        ("status", "--format", "json"),
    ):
        refused = alone.run(*call, DATABASE_URL=url)
        assert refused.code == 2, refused
        assert "no template has filled in" in refused.err + refused.out
    percent = alone.run("gate", "--format", "json", DATABASE_URL="postgresql://u:%24%7Bx%7D@127.0.0.1:1/db")
    assert percent.code == 69
