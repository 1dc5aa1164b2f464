"""The command ``lockgate``: finds the command's file, imports only that, and turns errors into exit codes."""

import gc
import os
import sys
from importlib import import_module

import click

from lockgate import __version__
from lockgate.errors import LockgateError
from lockgate.record.reasons import Exit

COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("init", "Start a project: lockgate.toml, db/migrations/, an example, a CI workflow."),
    "new": ("new", "Create the next migration file and put it into the ledger."),
    "promote": ("promote", "Date a waiting contract file and move it to the migrations."),
    "check": ("check", "Judge files and ledger without a database."),
    "explain": ("explain", "Tell what a hazard or a reason code means, and what to do."),
    "snapshot": ("snapshot", "Write the schema of a live database to a file, without data, for `check`."),
    "rehearse": ("rehearse", "Prove the pending migrations on a throw-away PostgreSQL."),
    "queries": ("queries", "The queries that a release runs: captured from a live database for `rehearse`."),
    "plan": ("plan", "What `up` would do, with the hash that approvals bind to."),
    "up": ("up", "Apply pending migrations: the one production path."),
    "status": ("status", "What is applied, pending and in the way."),
    "verify": ("verify", "Compare the live schema with what the history left."),
    "doctor": ("doctor", "Look for what needs a person, each with the next command."),
    "down": ("down", "Undo the newest migration (unprotected environments only)."),
    "baseline": ("baseline", "Adopt an existing database: record files as applied without running them."),
    "repair": ("repair", "Mend the history, with a reason and an actor, recorded."),
    "roles": ("roles", "Print the least-privilege SQL for owner, migrator, app and reader."),
    "release": ("release", "The deploy pipeline: check, plan, up, verify, artifact."),
    "gate": ("gate", "Is this contract satisfied by this environment; `gate wait` asks until it is."),
    "move": ("move", "Move data while it is written to; compare any two tables."),
    "parity": ("parity", "The matrix over all regions of an environment."),
    "bootstrap": ("bootstrap", "Bring a whole environment up, as one run that can be repeated."),
    "readonly": (
        "readonly",
        "Let services refuse or queue writes, take them again, and drain what was queued.",
    ),
    "metrics": ("metrics", "The figures of every environment in Prometheus' text format."),
    "serve": ("serve", "A page, /metrics and health for every environment."),
    "run": ("run", "Wait for the gate, then become the given command."),
    "instances": ("instances", "The running services that have registered, with their windows."),
    "approve": ("approve", "Approve a plan for an environment: who, in which role, until when."),
    "backup": ("backup", "Take, verify, list, drill and restore backups."),
    "index": ("index", "Vector and search indexes: build, validate, swap, roll back, collect."),
    "gold": ("gold", "Gold sets: lint one, draft one from a log of queries."),
    "drift": ("drift", "Retrieval drift of two generations over a gold set."),
    "runbook": ("runbook", "The runbook of an environment, from its configuration."),
    "postmortem": ("postmortem", "Open a postmortem of a release, with its facts filled in."),
    "embedded": ("embedded", "The embedded PostgreSQL of this project: url, status, stop."),
    "demo": ("demo", "A guarded release of an example shop on an embedded PostgreSQL."),
}
"""Command → (module in ``lockgate.cli``, one line of help). Kept here so that help imports none of them."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called: start-up costs what is used, not what exists."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of a change's life."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of ``cmd_name``; None for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        command = import_module(f"lockgate.cli.{COMMANDS[cmd_name][0]}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands from the table above, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, "--version", prog_name="lockgate", message="%(prog)s %(version)s")
def app() -> None:
    """Safe migrations for PostgreSQL: exactly once, or not at all.

    Exit codes: 0 done, 1 found something, 2 usage, 3 failed, 4 refused, 5 hold, 69 unreachable, 75 busy, 77 privilege.
    """


def main() -> None:
    """Run the command line; never returns."""
    # Start-up only makes objects that stay; looking for garbage in them costs 5 %.
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us; nothing that we print may cost the run
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123
    gc.set_threshold(50_000, 20, 20)
    if (
        os.environ.get("OTEL_TRACES_EXPORTER")
        or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
        or os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    ):  # nobody else pays for spans
        from lockgate.cli.telemetry import start

        start(os.environ)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")  # a locale without UTF-8 must not end a migration
    try:
        # Not click's standalone mode: it would answer a usage error in text only, and Ctrl-C with exit code 1.
        _leave(app(prog_name="lockgate", standalone_mode=False) or Exit.OK)
    except LockgateError as error:
        from lockgate.cli.output import show_error

        _leave(show_error(error))
    except click.ClickException as error:
        from lockgate.cli.output import show_usage

        _leave(show_usage(error))
    except (KeyboardInterrupt, click.Abort):
        _leave(Exit.INTERRUPTED)
    except BrokenPipeError:
        _leave(Exit.OK)
    except SystemExit as leaving:
        _leave(
            leaving.code if isinstance(leaving.code, int) else Exit.OK if leaving.code is None else Exit.USAGE
        )
    except Exception as error:
        from lockgate.cli.output import show_bug

        _leave(show_bug(error))


_ANSWERS = frozenset(
    ("check", "doctor", "drift", "explain", "gate", "instances", "metrics", "parity", "plan", "queries", "rehearse", "roles", "snapshot", "status", "verify")
)  # fmt: skip
"""Commands that change nothing: without their answer they have done nothing. What changes something is told by its tables too."""


def _leave(code: int) -> None:
    """Exit with ``code``, also when the reader of our output is gone and flushing fails.

    A command that only answers has failed where its answer did not fit on the disk.
    """
    output = sys.modules.get("lockgate.cli.output")
    if code == Exit.OK and output is not None and output.lost and _ANSWERS.intersection(sys.argv[1:2]):
        sys.stderr.write(f"lockgate: the answer could not be written to stdout: {output.lost}\n")
        code = Exit.FAILED
    telemetry = sys.modules.get("lockgate.cli.telemetry")
    if telemetry is not None:
        telemetry.stop()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
    sys.exit(int(code))


def run() -> None:
    """The console script: ``main``, then out at once. Taking down what was imported costs 20 ms and gives nothing back."""
    try:
        main()
    except SystemExit as leaving:
        os._exit(leaving.code if isinstance(leaving.code, int) else Exit.OK)


if __name__ == "__main__":
    run()
