"""Commands that an answer names go to the database of the call they follow from."""

import json
from collections.abc import Iterator

import click
import pytest

from lockgate.cli.main import app
from lockgate.cli.output import Format, Output
from lockgate.release.calls import whole


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
