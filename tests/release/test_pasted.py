"""The next commands of a release's artifacts, typed as they stand there."""

import json
import shlex
from collections.abc import Callable

import psycopg
import pytest

from release.conftest import ENV, SHA
from support.calls import Project

pytestmark = pytest.mark.postgres("18")
PASSWORD = "hush-3nCanary-7"


@pytest.mark.parametrize("how", ["DATABASE_URL", "--database-url"])
def test_without_an_environment_the_commands_name_the_database(
    make: Callable[..., Project], database: str, how: str
):
    """A release without an environment leaves commands with its database's address and no password; typed elsewhere, without the variables of the call, they reach that database and end the release well."""
    project = make()
    project.environ = {}
    secret = database.replace("://postgres@", f"://postgres:{PASSWORD}@")
    words, environ = (
        ((), {"DATABASE_URL": secret}) if how == "DATABASE_URL" else (("--database-url", secret), {})
    )
    project.ok("release", "release", "--sha", "a" * 40, *words, **environ)
    with psycopg.connect(database) as connection:
        connection.execute("INSERT INTO orders VALUES (1, -1)")
    project.write("known", "ALTER TABLE orders ADD CONSTRAINT known CHECK (customer_id > 0) NOT VALID;\n")
    project.write("validate", "ALTER TABLE orders VALIDATE CONSTRAINT known;\n")
    assert project.json("release", "--sha", SHA, *words, **environ).error("MIGRATION_EXECUTION_FAILED")
    folder = project.root / ".artifacts" / "deploy" / SHA
    left = {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}
    assert not [name for name, text in left.items() if PASSWORD in text]
    migration, incident = json.loads(left["migration.json"]), json.loads(left["incident.json"])
    resume = migration["next"].partition("lockgate ")[2].partition(";")[0]
    recover = incident["recover"].removeprefix("lockgate ")
    for told in (resume, recover, json.loads(left["release.json"])["next"]):
        assert "--database-url" in told
    assert resume.startswith(f"release resume {SHA}")
    assert "--database-url" in left["report.html"]
    ways = project.ok("release-recover", *shlex.split(recover))
    assert ways["recommended"] == "resume"
    with psycopg.connect(database) as connection:
        connection.execute("UPDATE orders SET customer_id = 1")
    project.ok("release", *shlex.split(resume))


def test_no_way_leads_back_to_what_just_failed(make: Callable[..., Project]):
    """A replay that fails is not answered with the replay of the same sha, and a file without a down section not with `down`: each told command can be typed and ends well."""
    project = make(ENV)
    project.ok("release", "release", "--sha", "a" * 40, "--env", "production")
    project.write("more", "CREATE TABLE more (id bigint PRIMARY KEY);\n")
    project.configure(ENV + '[release]\nrollout = ["false"]\n')
    assert project.json("release", "--sha", SHA, "--env", "production").error("ROLLOUT_FAILED")
    recover = ("release", "recover", "--env", "production")
    ways = {way["id"]: way for way in project.ok("release-recover", *recover)["ways"]}
    assert not ways["down"]["possible"]
    back = project.json(*shlex.split(ways["previous-image"]["commands"][-1].removeprefix("lockgate ")))
    assert back.error("ROLLOUT_FAILED")
    found = project.ok("release-recover", *recover)
    ways = {way["id"]: way for way in found["ways"]}
    assert not ways["previous-image"]["possible"]
    assert found["recommended"] == "resume"
    project.configure(ENV + '[release]\nrollout = ["true"]\n')
    project.ok("release", *shlex.split(ways["resume"]["commands"][0].removeprefix("lockgate ")))


def test_the_list_of_approvals_names_the_environment(make: Callable[..., Project]):
    """`approve --list` and `--revoke` without an environment name the one that is configured in the same call, which then works."""
    project = make(ENV)
    for words in (["--list"], ["--revoke", "a-1"]):
        told = project.json("approve", *words).error("USAGE")["next"]
        assert told == f"lockgate approve --env production {' '.join(words)}"
    project.ok("approve", "approve", "--env", "production", "--list")
