"""The regions of an environment as targets: from ``[env.NAME.regions]``, or given one by one."""

import os
import shlex
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from lockgate.cli.options import usage
from lockgate.errors import ConfigError

if TYPE_CHECKING:
    from lockgate.config import Settings
    from lockgate.postgres.target import Target


def only_environment(settings: "Settings") -> str | None:
    """The one environment that has regions; None when there are none or several. For commands that only read."""
    having = [name for name, one in settings.env.items() if one.regions]
    return having[0] if len(having) == 1 else None


def region_targets(
    settings: "Settings", environment: str | None, given: Sequence[str] = ()
) -> "dict[str, Target]":
    """Region → target, in the order of the configuration, a canary first.

    ``given`` are texts ``NAME=VARIABLE`` or ``NAME=URL`` that stand in place of the configuration. Raises ``ConfigError``
    where a variable is not set: a missing secret never becomes a region that is left out.
    """
    from lockgate.postgres.target import Target

    if given:
        if environment is not None:
            raise ConfigError("--env and --region name the regions twice", "USAGE", next="Give one of them.")
        found = {}
        for text in given:
            name, _, value = text.partition("=")
            if not name or not value:
                raise usage(f"--region {name or text}: give NAME=VARIABLE or NAME=URL")
            if name in found:
                raise usage(f"--region {name} is given twice")
            url = value if "://" in value else _variable(f"--region {name}", value)
            found[name] = Target(url, source=f"--region {name}")
        return found
    if environment is None:
        raise usage("there is no environment: --env NAME, or --region NAME=VARIABLE")
    one = settings.env.get(environment)
    if one is None:
        known = ", ".join(sorted(settings.env)) or "none"
        raise ConfigError(f"there is no environment {environment!r} in lockgate.toml (known: {known})")
    if not one.regions:
        raise ConfigError(
            f"environment {environment} has no regions",
            next=f'[env.{environment}.regions] with lines such as eu = "EU_DATABASE_URL"',
        )
    variables = one.region_variables()
    names = sorted(variables, key=lambda name: name != one.canary)
    targets = {}
    for name in names:
        url = _variable(f"env.{environment}.regions.{name}", variables[name])
        target = Target(
            url,
            source=f"--env {environment}, region {name}",
            environment=environment,
            protected=one.protected,
        )
        if target.protected and not target.local and target.sslmode != "verify-full":
            raise ConfigError(
                f"{environment} is protected and the URL of {name} has sslmode={target.sslmode}",
                next="Use sslmode=verify-full with a root certificate: anything less can be downgraded or intercepted.",
            )
        targets[name] = target
    return targets


def region_calls(
    settings: "Settings", environment: str | None, given: Sequence[str] = ()
) -> dict[str, Callable[[str], str]]:
    """Region → what makes a command speak to that region alone, so that it can be pasted.

    By its variable, where there is one: ``--env`` would name the environment's own database, and a URL shows a password.
    """
    if given:
        named = {name: value for name, _, value in (text.partition("=") for text in given)}
    else:
        named = settings.env[environment].region_variables() if environment is not None else {}
    return {name: _caller(value) for name, value in named.items()}


def _caller(variable_or_url: str) -> Callable[[str], str]:
    from lockgate.postgres.target import shown_url

    if "://" in variable_or_url:
        return lambda command: f"{command} --database-url {shlex.quote(shown_url(variable_or_url))}"
    if variable_or_url.isidentifier():
        return lambda command: f'DATABASE_URL="${variable_or_url}" {command}'
    # No shell expands such a name.
    return lambda command: f'DATABASE_URL="$(printenv {shlex.quote(variable_or_url)})" {command}'


def _variable(where: str, variable: str) -> str:
    value = os.environ.get(variable)
    if not value:
        raise ConfigError(
            f"{where}: {variable} is {'empty' if value == '' else 'not set'}",
            next=f"Set {variable}; no region is ever left out.",
        )
    return value
