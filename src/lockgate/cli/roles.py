"""``lockgate roles``."""

import os
from typing import Any

import click

from lockgate.cli.options import Session, shared
from lockgate.errors import ConfigError


@click.command("roles")
@shared()
@click.option(
    "--database",
    metavar="NAME",
    default=None,
    help="The database that the grants are for (default: that of the target).",
)
@click.option(
    "--adopt",
    is_flag=True,
    help="Also hand what stands in the schemas of [roles], and belongs to others, to the owner.",
)
def command(database: str | None, adopt: bool, **shared_options: Any) -> None:
    """Print the least-privilege SQL for owner, migrator, app and reader. Run it once as an administrator; it can be repeated."""
    from lockgate.release.roles import roles_sql

    session = Session(**shared_options)
    sql = roles_sql(session.settings.roles, database or _database(session), adopt=adopt)
    session.output.json({"command": "roles", "sql": sql})
    session.output.say(sql)


def _database(session: Session) -> str:
    """The database of the target, as its URL names it. Nothing is connected to: the roles may not exist yet."""
    try:
        parameters = session.target().parameters()
    except ConfigError as error:
        raise ConfigError(error.message, error.code, next=f"{error.next} Or give --database NAME.") from None
    # What libpq takes where the URL is silent.
    name = parameters.get("dbname") or os.environ.get("PGDATABASE") or parameters.get("user")
    if not name:
        raise ConfigError("the URL names no database", "USAGE", next="Give --database NAME.")
    return name
