"""Migrating a database that nobody else knows yet, such as a template for tests: the same path as `up`, without its words."""

from lockgate.config import Settings
from lockgate.migrations.limits import Limits
from lockgate.migrations.progress import Log
from lockgate.postgres.alarm import Alarm
from lockgate.postgres.target import Target
from lockgate.release.operator import new_identity
from lockgate.release.project import Files
from lockgate.release.up import Run


def migrate(target: Target, files: Files, settings: Settings) -> None:
    """Apply every file to ``target``. Raises what ``up`` raises."""
    Run(target, files, settings, Limits.of(settings.migrations), new_identity("up"), Log(), Alarm()).up()
