"""Commands that an answer names go to the database of the call they follow from."""

import ast
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from lockgate.cli.main import app
from lockgate.cli.output import Format, Output
from lockgate.postgres.target import shown_url
from lockgate.release.calls import whole
from support.calls import Project


def _commands(command: click.Command, path: str, context: click.Context) -> Iterator[tuple[str, set[str]]]:
    yield path, {name for parameter in command.params for name in parameter.opts}
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from _commands(below, f"{path} {name}", context)


def test_every_command_that_takes_them_gets_them() -> None:
    """Each command of the command line is made whole with --env and --config exactly where it takes them."""
    for path, options in _commands(app, "lockgate", click.Context(app)):
        told = whole(path, "live", config="a b.toml")
        assert ("--env live" in told, "--config 'a b.toml'" in told) == (
            "--env" in options,
            "--config" in options,
        ), path
        assert told.startswith(path)
        url = "postgresql://u@h/d?options=-c a"
        assert (shlex.quote(url) in whole(path, "", url=url)) == ("--database-url" in options), path


def test_what_is_whole_stays() -> None:
    """A command that names its environment is left alone, also behind a dot, and the second of two gets its own."""
    once = "lockgate release --image reg.io/shop:1,2 --env live"
    assert whole(once, "live") == once
    told = "lockgate move run NAME, with the name of the move; then lockgate up. Or lockgate up or lockgate status --env other"
    assert whole(told, "live") == (
        "lockgate move run --env live NAME, with the name of the move; then lockgate up --env live. "
        "Or lockgate up --env live or lockgate status --env other"
    )


def test_lines_and_documents_of_a_call_with_env(capsys: pytest.CaptureFixture[str]) -> None:
    """What a call with --env prints as next names that environment, in text and in JSON; prose stays as it is."""
    output = Output(Format.TEXT)
    output.environment = "live"
    output.say("0 applied, 3 pending; next: lockgate up")
    output.say("  next (schema): lockgate up")
    output.say("lockgate up has a lock")
    output.say("run 7 by lockgate up is under way")
    output.note("  next:  lockgate index swap docs --to 2")
    told = capsys.readouterr()
    assert told.out.splitlines() == [
        "0 applied, 3 pending; next: lockgate up --env live",
        "  next (schema): lockgate up --env live",
        "lockgate up --env live has a lock",
        "run 7 by lockgate up is under way",
    ]
    assert told.err == "  next:  lockgate index swap --env live docs --to 2\n"
    output = Output(Format.JSON)
    output.environment = "live"
    output.json({"next": "lockgate up", "ways": [{"commands": ["lockgate down"]}], "message": "lockgate up"})
    document = json.loads(capsys.readouterr().out)
    assert document["next"] == "lockgate up --env live"
    assert document["ways"] == [{"commands": ["lockgate down --env live"]}]
    assert document["message"] == "lockgate up"


def test_a_url_is_shown_without_its_secrets() -> None:
    """A URL without a secret is repeated as it was typed; one with a secret loses just that; what is no URL is named only."""
    assert shown_url("postgresql://u@h:5433/d?sslmode=require") == "postgresql://u@h:5433/d?sslmode=require"
    for secret in ("postgresql://u:hush-hush@h/d", "host=h user=u dbname=d password=hush-hush"):
        assert sorted(shown_url(secret).split()) == ["dbname=d", "host=h", "user=u"]
    assert "hush" not in shown_url("postgresql://u@h/d?sslkey=k&sslpassword=hush-hush")
    assert shown_url("postgresql://u:hush@hush@h/d") == "URL"
    assert whole("lockgate up --env other, or lockgate down", "", url="d") == (
        "lockgate up --env other, or lockgate down --database-url d"
    )


@pytest.mark.postgres("18")
@pytest.mark.parametrize("password", ["", "hush-hush-4711"])
def test_next_of_a_call_with_a_url_can_be_pasted(tmp_path: Path, database: str, password: str) -> None:
    """What a call with --database-url prints as next runs as it stands, in text and JSON, and shows no password."""
    project = Project(tmp_path)
    project.write("a", "CREATE TABLE a (id bigint PRIMARY KEY);\n")
    scheme, _, rest = database.partition("://")
    user, at, where = rest.partition("@")
    url = f"{scheme}://{user}:{password}{at}{where}" if password else database
    answer = project.text("status", "--database-url", url)
    told = next(line for line in answer.out.splitlines() if "next: lockgate up" in line)
    assert not password or password not in answer.out + answer.err
    written = told[told.index("lockgate up ") :]
    refused = project.json("release", "resume", "0a1b2c3", "--database-url", url)
    assert not password or password not in refused.out + refused.err
    assert refused.error("NO_RELEASE")["next"].startswith("lockgate release --database-url ")
    done = project.json(*shlex.split(written)[1:])
    assert done.code == 0, done
    assert json.loads(done.out)["after"]


def test_what_a_person_fills_in_is_a_word_in_capitals() -> None:
    """No command that lockgate names holds dots to be filled in: a shell would take them for a value."""
    dotted = re.compile(r"\blockgate [a-z][^;\n]*?(?:=| )['\"]?(?:\.\.\.|…)")
    root = Path(__file__).parents[2] / "src" / "lockgate"
    found = [
        f"{path.relative_to(root)}:{node.lineno}: {node.value}"
        for path in sorted(root.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and dotted.search(node.value)
    ]
    assert not found, found


def test_a_wrong_call_names_the_help_of_its_own_command(tmp_path: Path) -> None:
    """The next command of a usage error is the help of the command that was called, ready to paste."""
    told = Project(tmp_path).json(
        "repair", "--forget", "x", "--accept-schema", "--reason", "a", "--actor", "b"
    )
    assert told.error("USAGE")["next"] == "lockgate repair --help"
