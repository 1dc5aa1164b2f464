"""``lockgate roles``."""

from typing import Any

import click

from lockgate.cli.options import Session, shared


@click.command("roles")
@shared(target=False)
@click.option(
    "--database",
    metavar="NAME",
    default="app",
    show_default=True,
    help="The database that the grants are for.",
)
@click.option(
    "--adopt",
    is_flag=True,
    help="Also hand what stands in the schemas of [roles], and belongs to others, to the owner.",
)
def command(database: str, adopt: bool, **shared_options: Any) -> None:
    """Print the least-privilege SQL for owner, migrator, app and reader. Run it once as an administrator; it can be repeated."""
    from lockgate.release.roles import roles_sql

    session = Session(**shared_options)
    sql = roles_sql(session.settings.roles, database, adopt=adopt)
    session.output.json({"command": "roles", "sql": sql})
    session.output.say(sql)
