"""What `serve` and `metrics` watch: every configured environment, or the one target of the call."""

import os
from typing import TYPE_CHECKING

from lockgate.cli.options import Session
from lockgate.cli.regions import region_targets
from lockgate.errors import CheckFailed, ConfigError, LockgateError

if TYPE_CHECKING:
    from lockgate.web.watching import Environments


def web_extra(module: str) -> ConfigError:
    """The error for a part of the extra ``web`` that is not installed."""
    return ConfigError(f"{module} is not installed", next="pip install 'lockgate[web]'")


def watched_environments(session: Session, environment: str | None, url: str | None) -> "Environments":
    """The environments of ``lockgate.toml`` whose URLs are set; or that of ``--env``; or the call's own target as `default`.

    Raises ``ConfigError`` when an environment is named and its URL is not set, and when the extra is not installed.
    """
    from lockgate.postgres.target import Target
    from lockgate.release.project import read_files

    try:
        from lockgate.web.watching import Environments
    except ModuleNotFoundError as error:
        raise web_extra(error.name or "prometheus-client") from None

    targets: dict[str, Target] = {}
    regions: dict[str, dict[str, Target]] = {}
    if environment is not None or url is not None or not session.settings.env:
        targets[environment or "default"] = session.target()
    else:
        for name, one in session.settings.env.items():
            first = next(iter(one.region_variables().values()), "")
            value = os.environ.get(one.url_env or first)
            if value:
                targets[name] = Target(
                    value, source=f"environment {name}", environment=name, protected=one.protected
                )
            else:
                session.output.note(f"lockgate: {name} is not watched: {one.url_env} is not set")
    for name in targets:
        configured = session.settings.env.get(name)
        if configured is not None and configured.regions:
            regions[name] = region_targets(session.settings, name)
    revisions: tuple[str, ...] | None = None
    try:
        revisions = tuple(m.revision for m in read_files(session.settings).migrations) or None
    except (CheckFailed, LockgateError):
        session.output.note("lockgate: no migration files here, so pending ones are not counted")
    return Environments(targets, regions, revisions)
