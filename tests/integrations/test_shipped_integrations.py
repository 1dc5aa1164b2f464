"""The pre-commit hook, the GitHub action and the GitLab template: their commands and options are lockgate's own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from lockgate.cli.main import app
from support.calls import Project

ROOT = Path(__file__).parents[2]
FILES = (".pre-commit-hooks.yaml", "action.yml", "templates/gitlab-ci.yml")
_CALL = re.compile(r"^(?:entry:\s*|-\s+)?lockgate ([a-z]+)\b(.*)$")


def text(name: str) -> str:
    """The text of a shipped file."""
    return (ROOT / name).read_text("utf-8")


def calls(name: str) -> list[tuple[str, str]]:
    """Each call of lockgate: command and the rest of its line."""
    found = [_CALL.match(line.strip()) for line in text(name).splitlines()]
    return [(match[1], match[2]) for match in found if match]


@pytest.mark.parametrize("name", FILES)
def test_commands_and_options_exist(name: str) -> None:
    """Every call names a command of lockgate, and every option of it is known."""
    assert calls(name)
    group = click.Context(app)
    for command, rest in calls(name):
        found = app.get_command(group, command)
        assert found is not None, command
        known = {option for parameter in found.params for option in parameter.opts}
        assert set(re.findall(r"(?<!\S)--[a-z-]+", rest)) <= known
        for given in re.findall(r"--format (\w+)", rest):
            choice = next(p.type for p in found.params if "--format" in p.opts)
            assert isinstance(choice, click.Choice)
            assert given in choice.choices


def test_options_that_the_action_collects_exist() -> None:
    """The action gathers its options with `set --`; each is one of `check`."""
    found = app.get_command(click.Context(app), "check")
    assert found is not None
    gathered = set(re.findall(r"(?<!\S)--[a-z]+", "\n".join(re.findall(r"set -- .*", text("action.yml")))))
    assert gathered == {"--format", "--since", "--snapshot", "--strict"}
    assert gathered <= {option for parameter in found.params for option in parameter.opts}


def test_the_action_never_pastes_an_input_into_a_script() -> None:
    """An expression in a script would run what a branch is called; they stand in env and with only."""
    for line in text("action.yml").splitlines():
        if "${{" in line:
            assert re.match(r"\s+[A-Za-z-]+: \$\{\{ [^}]+ \}\}$", line), line
            assert not line.strip().startswith("run:")


def test_every_input_of_the_action_is_used() -> None:
    """An input that does nothing would be a promise not kept."""
    inputs = re.findall(
        r"^  ([a-z-]+):$", text("action.yml").partition("runs:")[0].partition("inputs:")[2], re.M
    )
    assert len(inputs) == 6
    assert all(f"inputs.{name} " in text("action.yml") for name in inputs)


def test_hooks_have_what_pre_commit_needs() -> None:
    """Each hook has id, name, entry and language, and is called once for all files."""
    hooks = text(".pre-commit-hooks.yaml").split("- id: ")[1:]
    assert len(hooks) == 2
    for hook in hooks:
        for key in ("name: ", "entry: lockgate check", "language: python", "pass_filenames: false"):
            assert key in hook
    pattern = re.search(r"files: (.*)", text(".pre-commit-hooks.yaml"))
    assert pattern
    assert re.search(pattern[1], "shop/db/migrations/1700000000000_a.sql")
    assert not re.search(pattern[1], "src/app.py")


def test_the_script_of_the_action_runs(tmp_path: Path) -> None:
    """The last step, run by bash as the runner does it, exits as `lockgate check` does and annotates."""
    script = text("action.yml").rpartition("run: |\n")[2]
    lines = "\n".join(line.strip() for line in script.splitlines())
    project = Project(tmp_path)
    project.write("first", "CREATE TABLE t (id bigint PRIMARY KEY);")
    project.write("second", "DROP TABLE t;")
    wrapped = f'lockgate() {{ python -m lockgate "$@"; }}\n{lines}'
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", wrapped], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PATH": path, "SINCE": "", "SNAPSHOT": "", "STRICT": "true"},
    )  # fmt: skip
    assert done.returncode == project.run("check", "--strict").code == 1, done
    assert "::error" in done.stdout
