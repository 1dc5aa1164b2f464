"""The options that every command shares, and what they open: settings, output and target."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from lockgate.cli.output import Format, Output
from lockgate.config import FILE_NAME, Settings, load
from lockgate.errors import ConfigError, LockgateError
from lockgate.record.reasons import Exit

if TYPE_CHECKING:  # naming them costs the import of the driver, which most commands do not need
    from lockgate.postgres.embedded import Embedded
    from lockgate.postgres.target import Target

F = TypeVar("F", bound=Callable[..., Any])


def shared(
    *, target: bool = True, formats: tuple[Format, ...] = (Format.TEXT, Format.JSON), help: str = ""
) -> Callable[[F], F]:
    """The options of every command; with ``target`` also those that say which database.

    ``formats`` are what ``--format`` takes here, ``help`` what its help adds for those beyond text and json.
    """
    options = [
        click.option(
            "--format",
            type=click.Choice([f.value for f in formats]),
            default=Format.TEXT.value,
            show_default=True,
            help=f"text for people, json for programs.{help and ' ' + help}",
        ),
        click.option(
            "--config", metavar="PATH", default=None, help="Configuration file (default: lockgate.toml)."
        ),
        click.option("--verbose", is_flag=True, help="Tell more."),
    ]
    if target:
        options = [
            click.option(
                "--env", metavar="NAME", default=None, help="Environment of lockgate.toml to work on."
            ),
            click.option(
                "--database-url",
                metavar="URL",
                default=None,
                help="Database to work on. Better DATABASE_URL: no process list shows it.",
            ),
            *options,
        ]

    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


class Session:
    """One call of a command: its settings, its output, and the target where it needs one."""

    def __init__(
        self,
        *,
        format: str,
        config: str | None = None,
        verbose: bool = False,
        env: str | None = None,
        database_url: str | None = None,
    ) -> None:
        self.output = Output(Format(format), verbose=verbose)
        self.output.environment, self.output.config = env or "", config or ""
        self.output.database_url = database_url or ""
        self.settings: Settings = load(None if config is None else Path(config))
        self._configured = config is not None
        self._env = env
        self._url = database_url

    def target(self, *, embedded: bool = True) -> "Target":
        """The target of this call: ``--env``, else ``--database-url``, else ``DATABASE_URL``, else the embedded server.

        Not ``embedded``: for what starts a service, which has no use of a database that it is not told of. No server is made in a folder that is no project. Raises ``ConfigError``: a missing or doubled secret never falls back to another target.
        """
        from lockgate.postgres.target import Target

        if self._env is not None:
            if self._url is not None:
                raise ConfigError(
                    "--env and --database-url name two targets", "USAGE", next="Give one of them."
                )
            environment = self.settings.env.get(self._env)
            if environment is None:
                known = ", ".join(sorted(self.settings.env)) or "none"
                raise ConfigError(f"there is no environment {self._env!r} in lockgate.toml (known: {known})")
            if not environment.url_env:
                raise ConfigError(
                    f"environment {self._env} has regions and no database of its own",
                    next=f"Give env.{self._env}.url_env, or a command for all regions.",
                )
            value = os.environ.get(environment.url_env)
            if not value:
                raise ConfigError(
                    f"environment {self._env}: {environment.url_env} is {'empty' if value == '' else 'not set'}",
                    next=f"Set {environment.url_env}; another target is never taken instead.",
                )
            if os.environ.get("DATABASE_URL") not in (None, value):
                raise ConfigError(
                    f"--env {self._env} and DATABASE_URL name two targets",
                    "USAGE",
                    next="Unset DATABASE_URL, or leave --env out.",
                )
            target = Target(
                value, source=f"--env {self._env}", environment=self._env, protected=environment.protected
            )
            if target.protected and not target.local and target.sslmode not in ("verify-full",):
                raise ConfigError(
                    f"{self._env} is protected and its URL has sslmode={target.sslmode}",
                    next="Use sslmode=verify-full with a root certificate: anything less can be downgraded or intercepted.",
                )
            return target
        if self._url is not None:
            target = Target(self._url, source="--database-url")
            if target.has_password:
                self.output.note(
                    "lockgate: the password in --database-url stands in the process list; use DATABASE_URL or a password file, which the commands named below need, too"
                )
            return target
        if "DATABASE_URL" in os.environ:
            return Target(os.environ["DATABASE_URL"], source="DATABASE_URL")
        if not embedded:
            raise ConfigError(
                "no database is named, and an entrypoint takes no other one",
                "USAGE",
                next='Set DATABASE_URL, or give --env NAME. On purpose on the embedded server: DATABASE_URL="$(lockgate embedded url)"',
            )
        if not self._is_project():
            raise ConfigError(
                f"no database is named, and this folder has neither {FILE_NAME} nor {self.settings.migrations.directory}",
                "USAGE",
                next="Go to the project's folder, or give --config PATH or DATABASE_URL; lockgate init starts a project here.",
            )
        return Target(self.embedded().url(), source="embedded")

    def _is_project(self) -> bool:
        """Whether this folder has a configuration, migrations, or the embedded server of an earlier call."""
        places = (FILE_NAME, self.settings.migrations.directory, ".lockgate")
        return self._configured or any(self.settings.path(place).exists() for place in places)

    def embedded(self) -> "Embedded":
        """The project's embedded server, started when it is not running."""
        from lockgate.postgres.embedded import Embedded

        e = self.settings.embedded
        return Embedded.ensure(
            self.settings.path(".lockgate"), version=e.version, idle_seconds=e.idle_seconds
        )


def leave(code: Exit) -> None:
    """End the command with ``code``."""
    if code:
        raise SystemExit(int(code))


def usage(message: str, next: str = "lockgate COMMAND --help") -> LockgateError:
    """An error of the call itself; raise it."""
    return ConfigError(message, "USAGE", next=next)
