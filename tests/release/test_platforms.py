"""Workers on platforms and behind a flag of one's own: real programs that stand in for a platform's and refuse what it would not take.

None of this ran against a platform.
"""

import json
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from release.conftest import ENV, SHA
from release.stage import PYTHON, words
from support.calls import Project

pytestmark = pytest.mark.postgres("18")
DOUBLE = """#!{python}
import pathlib, sys
state, log = pathlib.Path({state!r}), pathlib.Path({log!r})
names = state.with_name("names")
program, words = pathlib.Path(sys.argv[0]).name, sys.argv[1:]
def refuse(why):
    print(f"{{program}}: {{why}}: {{' '.join(words)}}", file=sys.stderr)
    sys.exit(1)
def running(number=None):
    if number is not None:
        state.write_text(str(number))
    return int(state.read_text())
with log.open("a") as file:
    file.write(" ".join([program, *words]) + "\\n")
if program == "kubectl":
    if words[1] != "deployment/mailer" or words[2:4] != ["--namespace", "shop"]:
        refuse("not found")
    elif words[0] == "scale" and len(words) == 5 and words[4].startswith("--replicas=") and words[4][11:].isdigit():
        running(int(words[4][11:]))
    elif words[0] == "get" and words[4:] in (["-o", "jsonpath={{.spec.replicas}}"], ["-o", "jsonpath={{.status.replicas}}"]):
        print(running() or "", end="")  # a field of 0 replicas is left out
    else:
        refuse("unknown")
elif program == "az":
    given = dict(zip(words[3::1], words[4::1]))
    if words[0] != "containerapp" or given.get("--name") != "mailer" or given.get("--resource-group") != "shop":
        refuse("not found")
    elif words[1:3] == ["revision", "list"] and given["--output"] == "tsv" and given["--query"] == "[?properties.active].name":
        print(names.read_text() if names.exists() else "mailer--r7" if running() else "", end="")
    elif given.get("--revision") != "mailer--r7":
        refuse("no such revision")
    elif words[1:3] == ["revision", "deactivate"]:
        running(0)
    elif words[1:3] == ["revision", "activate"]:
        running(3)
    elif words[1:3] == ["replica", "list"] and given["--query"] == "length(@)":
        print(running())
    else:
        refuse("unknown")
elif program == "systemctl":
    if words == ["stop", "mailer"]:
        running(0)
    elif words == ["start", "mailer"]:
        running(3)
    elif words == ["show", "mailer", "--property=ActiveState", "--value"]:
        print("active" if running() else "inactive")
    else:
        refuse("unknown")
elif program == "docker":
    if words[:3] != ["compose", "--project-name", "shop"] or words[-1] != "mailer":
        refuse("not found")
    elif words[3] == "stop":
        running(0)
    elif words[3] == "start":
        running(3)
    elif words[3:-1] == ["ps", "--status", "running", "--quiet"]:
        print("".join(f"c{{n}}\\n" for n in range(running())), end="")
    else:
        refuse("unknown")
"""


@pytest.fixture
def platform(tmp_path: Path) -> Path:
    """A folder for PATH with the four programs; `running` in it says how many workers run, `log` what was asked."""
    folder = tmp_path / "platform"
    folder.mkdir()
    (folder / "running").write_text("3")
    for name in ("kubectl", "az", "systemctl", "docker"):
        program = folder / name
        program.write_text(
            DOUBLE.format(python=PYTHON, state=str(folder / "running"), log=str(folder / "log"))
        )
        program.chmod(0o755)
    return folder


@pytest.mark.parametrize("preset", ["kubectl", "containerapp", "systemctl", "compose"])
def test_a_preset_pauses_and_resumes(make: Callable[..., Project], platform: Path, preset: str):
    """With a preset a release asks its platform's program only what that takes: the workers stop before the first file, and as many run afterwards."""
    project = make(
        ENV
        + f'[workers]\npreset = "{preset}"\nname = "mailer"\nnamespace = "shop"\ntimeout = "20s"\npoll_interval = "50ms"\n'
        + f"[release]\nrollout = {words('sh', '-c', f'cp {platform}/running {platform}/seen')}\n"
    )
    path = f"{platform}:/usr/bin:/bin"
    project.ok("release", "release", "--sha", SHA, "--env", "production", PATH=path)
    assert (platform / "seen").read_text() == "0"  # while the release was rolled out
    assert (platform / "running").read_text() == "3"
    asked = (platform / "log").read_text().splitlines()
    assert len(asked) >= 3
    # What the platform does not know is said by its program, before anything is changed.
    project.configure((project.root / "lockgate.toml").read_text().replace('"mailer"', '"nobody"'))
    project.write("more", "CREATE TABLE more (id bigint PRIMARY KEY);\n")
    answer = project.json("release", "--sha", "b" * 40, "--env", "production", PATH=path)
    assert "COMMAND_FAILED" in answer.out + answer.err
    assert len(project.ok("status", "status", "--env", "production")["applied"]) == 2
    assert (platform / "running").read_text() == "3"


def test_a_container_app_without_an_active_revision(make: Callable[..., Project], platform: Path):
    """Before any pause the active revision is asked for and counted; where none is active nothing is paused or let go, and where several are, the release stops before it touches them. No revision without a name is ever asked for."""
    project = make(
        ENV
        + '[workers]\npreset = "containerapp"\nname = "mailer"\nnamespace = "shop"\ntimeout = "20s"\npoll_interval = "50ms"\n'
    )
    path = f"{platform}:/usr/bin:/bin"
    call = ("release", "workers", "status", "--env", "production")
    assert project.ok("release-workers", *call, PATH=path)["running"] == 3
    (platform / "names").write_text("mailer--r7\nmailer--r8\n")
    refused = project.json("release", "--sha", SHA, "--env", "production", PATH=path)
    assert "mailer--r7, mailer--r8 are active" in refused.error("COMMAND_FAILED")["message"]
    assert project.ok("status", "status", "--env", "production")["applied"] == []
    (platform / "names").unlink()
    (platform / "running").write_text("0")
    project.ok("release", "release", "--sha", SHA, "--env", "production", PATH=path)
    assert (platform / "running").read_text() == "0"  # nobody worked before, so nobody is let go
    assert project.ok("release-workers", *call, PATH=path)["running"] == 0
    asked = (platform / "log").read_text()
    assert "--revision  " not in asked
    assert "activate" not in asked


def test_a_flag_of_your_own(make: Callable[..., Project], database: str):
    """With `sql` the flag is set before the first file, the count comes from your query, and the flag is taken back also when a file fails."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE flag (paused boolean NOT NULL); INSERT INTO flag VALUES (false)")
        connection.execute("CREATE TABLE seen (at_file int, paused boolean)")
        project = make(
            ENV
            + """[workers]
provider = "sql"
pause_sql = "UPDATE flag SET paused = true"
resume_sql = "UPDATE flag SET paused = false"
status_sql = "SELECT CASE WHEN paused THEN 0 ELSE 2 END FROM flag"
timeout = "5s"
poll_interval = "50ms"
"""
        )
        project.write("look", "INSERT INTO seen SELECT 1, paused FROM flag;\n")
        project.ok("release", "release", "--sha", SHA, "--env", "production")
        assert connection.execute("SELECT paused FROM seen").fetchall() == [(True,)]
        assert connection.execute("SELECT paused FROM flag").fetchone() == (False,)
        project.write("broken", "SELECT 1 / 0;\n")
        assert project.json("release", "--sha", "b" * 40, "--env", "production").code == 3
        assert connection.execute("SELECT paused FROM flag").fetchone() == (False,)


def test_a_restore_is_told(make: Callable[..., Project], database: str, tmp_path: Path):
    """Planned with its estimate, restored with the new place: both are told, with owners, pager and channel."""
    heard = tmp_path / "heard"
    project = make(
        ENV
        + '[backup]\nprovider = "pg_dump"\n[notify]\nowners = ["team-shop"]\npager = "+49"\nchannel = "#shop"\n'
        + f"command = {words('sh', '-c', f'cat >> {heard}; echo >> {heard}')}\n"
    )
    project.write("heavy", "-- lockgate: estimate seconds=90\nCREATE TABLE heavy (id bigint PRIMARY KEY);\n")
    project.ok("release", "release", "--sha", SHA, "--env", "production")
    with psycopg.connect(database, autocommit=True) as connection:
        into = f"back_{connection.info.dbname[-20:]}"
        try:
            project.ok("backup", "backup", "restore", "latest", "--into", into, "--env", "production")
        finally:
            connection.execute(f'DROP DATABASE IF EXISTS "{into}" WITH (FORCE)')
    told = [json.loads(line) for line in heard.read_text().splitlines() if line]
    assert [t["event"] for t in told] == ["planned", "started", "finished", "restored"]
    assert told[0]["estimateSeconds"] == 90
    assert told[3]["into"] == into
    assert all((t["owners"], t["pager"], t["channel"]) == (["team-shop"], "+49", "#shop") for t in told)
