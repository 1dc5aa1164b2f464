"""The next commands of a release's artifacts, typed as they stand there."""

import json
import shlex
from collections.abc import Callable

import psycopg
import pytest

from release.conftest import SHA
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
