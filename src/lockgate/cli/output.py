"""Where words go: text for people, one JSON document for programs, progress on a terminal, plain lines in a pipe."""

import errno
import io
import os
import sys
import traceback
from collections.abc import Iterable, Sequence
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TextIO

from lockgate.errors import ConfigError, LockgateError, Refused
from lockgate.record.reasons import Exit
from lockgate.record.redact import redact, redact_value

if TYPE_CHECKING:
    import click

    from lockgate.migrations.progress import Event

SCHEMA_VERSION = "1"


class Format(StrEnum):
    """What ``--format`` takes: the first two everywhere, the others where a command says so."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"
    GITHUB = "github"
    GITLAB = "gitlab"
    JUNIT = "junit"
    MARKDOWN = "markdown"


class Output:
    """The output of one command. ``format`` JSON prints one document on stdout and nothing else; notes go to stderr."""

    def __init__(self, format: Format, *, verbose: bool = False) -> None:
        self.format = format
        self.verbose = verbose
        self.done = False
        self.environment = ""
        """The environment that this call was given: commands that its answer names are for it, too."""
        self.config = ""
        """The configuration file that this call was given, for the same reason."""
        self.database_url = ""
        """The URL that this call was given in words; commands of its answer get it without its password."""
        global _current
        _current = self

    @property
    def terminal(self) -> bool:
        """True when stdout is a terminal that understands control codes."""
        return sys.stdout.isatty() and os.environ.get("TERM", "") != "dumb"

    @property
    def colour(self) -> bool:
        """True when colour is wanted: on a terminal and without ``NO_COLOR``."""
        return self.terminal and not os.environ.get("NO_COLOR")

    def say(self, text: str = "") -> None:
        """A line for people (text format only)."""
        if self.format is Format.TEXT:
            _write(sys.stdout, redact(self._whole(text)) + "\n")

    def note(self, text: str) -> None:
        """A line beside the answer, on stderr."""
        _write(sys.stderr, redact(self._whole(text)) + "\n")

    def _whole(self, text: str) -> str:
        """``text`` whose next commands speak to the database of this call."""
        if not self._given or "lockgate " not in text:
            return text
        from lockgate.release.calls import whole_line

        url = self._url()
        return "\n".join(whole_line(line, self.environment, self.config, url) for line in text.split("\n"))

    @property
    def _given(self) -> bool:
        return bool(self.environment or self.config or self.database_url)

    def _url(self) -> str:
        if not self.database_url or self.environment:
            return ""
        from lockgate.postgres.target import shown_url

        return shown_url(self.database_url)

    def json(self, document: dict[str, Any], ready: dict[str, Any] | None = None) -> None:
        """The one document of a JSON answer, with its ``schemaVersion``, secrets redacted.

        ``ready`` goes behind it as it is: large parts that the command has redacted itself.
        """
        if self.format is Format.JSON and not self.done:
            import msgspec

            self.done = True
            plain = msgspec.to_builtins({"schemaVersion": SCHEMA_VERSION, **document}, str_keys=True)
            if self._given:
                from lockgate.release.calls import whole_document

                plain = whole_document(plain, self.environment, self.config, self._url())
            redacted = redact_value(plain)
            assert isinstance(redacted, dict)
            _write(
                sys.stdout,
                msgspec.json.format(msgspec.json.encode({**redacted, **(ready or {})}), indent=2).decode()
                + "\n",
            )

    def document(self, text: str) -> None:
        """The whole answer in a format of its own; whoever made ``text`` has redacted what it is made of."""
        _write(sys.stdout, text)

    def mark(self, word: str, kind: str) -> str:
        """``word`` in the colour of ``kind`` (good, bad, warn, dim, bold) where colour is wanted."""
        codes = {"good": "32", "bad": "31", "warn": "33", "dim": "2", "bold": "1"}
        return f"\x1b[{codes[kind]}m{word}\x1b[0m" if self.colour else word

    def table(self, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """A table: drawn on a terminal, aligned columns in a pipe."""
        if self.format is not Format.TEXT:
            return
        body = [[redact(cell) for cell in row] for row in rows]
        if self.terminal:
            from rich.box import SIMPLE_HEAD
            from rich.console import Console
            from rich.table import Table
            from rich.text import Text

            table = Table(box=SIMPLE_HEAD, pad_edge=False)
            for name in head:
                table.add_column(name)
            for row in body:
                table.add_row(*[Text.from_ansi(cell) for cell in row])
            Console(no_color=not self.colour, highlight=False).print(table)
            return
        widths = [max(len(r[i]) for r in [list(head), *body]) for i in range(len(head))]
        for row in [list(head), *body]:
            _write(
                sys.stdout,
                "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n",
            )


_current: Output | None = None
lost: str = ""
"""Why a part of the answer did not reach stdout, where its reader did not simply go away: a full disk."""


def _output() -> Output:
    """The output of this call; where the call failed before it had one, that of the ``--format`` it was given."""
    given = [word.removeprefix("--format=") for word in sys.argv[1:] if word.startswith("--format=")]
    given += [value for word, value in pairwise(sys.argv[1:]) if word == "--format"]
    return _current or Output(Format.JSON if "json" in given else Format.TEXT)


def _write(stream: TextIO, text: str) -> None:
    global lost
    try:
        stream.write(text)
        stream.flush()
    except (OSError, ValueError) as error:
        if stream is sys.stdout and isinstance(error, OSError) and error.errno != errno.EPIPE:
            lost = os.strerror(error.errno or errno.EIO)
        # The reader went away, or the disk behind it is full. The run goes on: its truth is in the database, not in this pipe.
        null = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - lives as long as the process
        if stream is sys.stdout:
            sys.stdout = null
        else:
            sys.stderr = null


def _called() -> list[str]:
    """The command of this call, for its own help; nothing where no command was named."""
    import click

    from lockgate.cli.main import COMMANDS

    context = click.get_current_context(silent=True)
    if context is not None:
        return context.command_path.split()[1:]
    return [word for word in sys.argv[1:2] if word in COMMANDS]


def show_error(error: LockgateError) -> Exit:
    """Print an error where the command's format wants it: what happened, the state of the world, the next command."""
    output = _output()
    error.next = error.next.replace("lockgate COMMAND", f"lockgate {' '.join(_called())}".rstrip())
    document: dict[str, Any] = {
        "status": "hold" if error.exit == Exit.HOLD else "fail", "reasonCode": error.code, "message": error.message,
        "state": error.state, "next": error.next, "exitCode": int(error.exit), "details": error.details,
    }  # fmt: skip
    report = error.details.get("report")
    if report is not None:
        import msgspec

        document["details"] = {k: v for k, v in error.details.items() if k != "report"}
        document = {**msgspec.to_builtins(report), **document}
    try:
        output.json(document)
    except TypeError:
        document["details"] = {k: str(v) for k, v in error.details.items()}
        output.json(document)
    output.note(f"{output.mark('lockgate', 'bold')}: {output.mark(error.code, 'bad')}: {error.message}")
    output.note(f"  state: {error.state}")
    output.note(f"  next:  {error.next}")
    for word in ("read", "call"):
        if error.details.get(word):
            output.note(f"  {word + ':':<6} {error.details[word]}")
    return error.exit


def show_usage(error: "click.ClickException") -> Exit:
    """Print an error of the call itself: click's own words for people, the error document for programs."""
    output = _output()
    context = getattr(error, "ctx", None)
    near = _did_you_mean(error.format_message(), context)
    if output.format is Format.TEXT:
        words = io.StringIO()
        error.show(file=words)  # click repeats what was typed, which may be a URL with its password
        _write(sys.stderr, redact(words.getvalue()) + (f"{near.strip()}\n" if near else ""))
        return Exit.USAGE
    return show_error(
        ConfigError(
            error.format_message() + near,
            "USAGE",
            next=f"{context.command_path if context else 'lockgate'} --help",
        )
    )


def _did_you_mean(message: str, context: "click.Context | None") -> str:
    """The command whose name is nearest to an unknown one, where click has not named it: it cannot see commands that are not imported yet."""
    import difflib

    import click

    unknown = message.partition("No such command '")[2].partition("'")[0]
    if (
        context is None
        or not unknown
        or "Did you mean" in message
        or not isinstance(context.command, click.Group)
    ):
        return ""
    near = difflib.get_close_matches(unknown, context.command.list_commands(context), 1)
    return f" Did you mean '{near[0]}'?" if near else ""


def show_bug(error: Exception) -> Exit:
    """Print an unexpected error: redacted, with the trace only under ``--verbose``. A privilege that is missing is none."""
    from lockgate.postgres.sqlstate import ServerError

    if isinstance(error, ServerError) and error.sqlstate == "42501":
        words = {"sqlstate": error.sqlstate}
        return show_error(Refused(redact(error.message), "PRIVILEGE", state="What was committed before it stands.", details=words))  # fmt: skip
    output = _output()
    trace = redact("".join(traceback.format_exception(error)))
    output.json(
        {
            "status": "fail",
            "reasonCode": "BUG",
            "message": f"{type(error).__name__}: {error}",
            "state": "Unknown; the history in the database is right.",
            "next": "lockgate status",
            "exitCode": int(Exit.BUG),
            "details": {"trace": trace.splitlines()[-20:]},
        }
    )
    output.note(f"lockgate: BUG: {type(error).__name__}: {error}")
    output.note(trace if output.verbose else "  this is a bug in lockgate; --verbose prints the trace")
    output.note("  next:  lockgate status")
    return Exit.BUG


class Progress:
    """Shows a run as it goes: a bar with ETA on a terminal, one line an event in a pipe, events on stderr for JSON."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._bar: Any = None
        self._task: Any = None
        self._done = 0

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def event(self, event: "Event") -> None:
        """Show one event. Applied files move the bar; in a pipe they are lines."""
        if event.status == "applying" and self._output.terminal and self._output.format is Format.TEXT:
            self._expect(self._done + int(event.detail.split()[0]))
        self._done += event.status == "applied"
        if self._bar is not None and event.status in ("applying", "applied"):
            words = event.detail.split(" in ")[0] if self._done else "the first file"
            self._bar.update(
                self._task, completed=self._done, description=redact(f"{event.status} {words}"[:56])
            )
        elif self._bar is not None:
            self._bar.console.print(
                redact(f"{event.status:<10} {event.detail}"), highlight=False, markup=False
            )
        elif self._output.format is Format.TEXT:
            self._output.say(f"{event.status:<10} {event.detail}")
        elif event.status != "applied":
            self._output.note(f"{event.status}: {event.detail}")

    def _expect(self, total: int) -> None:
        """Draw the bar, or set its end anew: after a lost connection a run plans again."""
        if self._bar is not None:
            self._bar.update(self._task, total=total)
            return
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bar

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
        )
        self._bar = Bar(*columns, console=Console(no_color=not self._output.colour, highlight=False))
        self._bar.start()
        self._task = self._bar.add_task("applying the first file", total=total)
