"""``lockgate demo``."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from lockgate.cli.options import Session, shared
from lockgate.cli.output import Progress


@click.command("demo")
@shared(target=False)
@click.option(
    "--example", metavar="DIR", default="examples/shop", show_default=True, help="The example project."
)
@click.option(
    "--sha", metavar="SHA", default=None, help="The sha to release (default: that of the checkout)."
)
def command(example: str, sha: str | None, **shared_options: Any) -> None:
    """A guarded release of the example shop: database, backup, workers and web service, all on this machine's loopback.

    Ignores DATABASE_URL; run it twice: the second release changes nothing.
    """
    from lockgate.cli.release import show
    from lockgate.config import FILE_NAME
    from lockgate.errors import ConfigError
    from lockgate.migrations.limits import Limits
    from lockgate.postgres.alarm import Alarm
    from lockgate.postgres.target import Target
    from lockgate.release.authorise import refuse_application_role
    from lockgate.release.pipeline import Release

    folder = Path(example)
    if not (folder / FILE_NAME).is_file():
        raise ConfigError(
            f"{folder} holds no {FILE_NAME}", "USAGE", next="Run it from lockgate's checkout: make demo"
        )
    refuse_application_role()
    session = Session(**{**shared_options, "config": shared_options["config"] or str(folder / FILE_NAME)})
    output = session.output
    output.say(
        f"{output.mark('lockgate demo', 'bold')}: {folder}, released to an embedded PostgreSQL {session.settings.embedded.version}"
    )
    server = session.embedded()
    output.say(
        f"server    pid {server.pid}, stops by itself when idle; lockgate embedded --config {folder / FILE_NAME} stop"
    )
    target = Target(server.url(), source="embedded")
    with _world(folder, server.url(), session) as settings, Alarm() as alarm, Progress(output) as progress:
        released = Release(
            sha or _head(), target, settings, Limits.of(settings.migrations), progress.event
        ).run(alarm)
    show(output, released)
    if not released.report.applied:
        output.say(
            "This database was migrated before, so this run was a no-op: exactly once means that a second run changes nothing."
        )


@contextmanager
def _world(folder: Path, url: str, session: Session) -> Iterator[Any]:
    """The example's own platform, where it has one: its workers and its service run on a free port of loopback."""
    import os
    import secrets
    import socket
    import sys

    import msgspec

    from lockgate.errors import RunFailed
    from lockgate.postgres.child import run

    settings, platform = session.settings, folder.resolve() / "app" / "deploy.py"
    if not platform.is_file():
        yield settings
        return
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    session.output.say(f"service   http://127.0.0.1:{port}, two workers on a queue in the database")
    own = {
        "SHOP_DATABASE_URL": url,
        "SHOP_PORT": str(port),
        "SMOKE_TOKEN": secrets.token_urlsafe(24),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    before = {name: os.environ.get(name) for name in own}
    os.environ.update(own)
    try:
        started = run([sys.executable, str(platform), "up"], seconds=60, folder=folder)
        if not started.ok:
            raise RunFailed(f"{platform} up: {started.told()}", "COMMAND_FAILED")
        smoke = msgspec.structs.replace(settings.smoke, base_url=f"http://127.0.0.1:{port}")
        yield msgspec.structs.replace(settings, smoke=smoke)
    finally:
        run([sys.executable, str(platform), "down"], seconds=60, folder=folder)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _head() -> str:
    """The sha of the checkout, or a fixed one outside of git: the demo has to name something."""
    import subprocess

    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return "0" * 40
    return done.stdout.strip() if done.returncode == 0 and done.stdout.strip() else "0" * 40
