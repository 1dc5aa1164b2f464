"""The databases of tenants on one server: their names by a query, their targets by name."""

from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.target import Target


def tenant_names(target: Target, sql: str) -> tuple[str, ...]:
    """The first column of ``sql``, run read-only in the database of ``target``. Raises ``ConfigError`` for SQL that fails."""
    from lockgate.errors import ConfigError
    from lockgate.postgres.gate import ask

    try:
        return tuple(row[0] for row in ask(target, sql, timeout=60.0).rows if row[0])
    except ServerError as error:
        raise ConfigError(
            f"the query of the tenants failed: {error.message}",
            "USAGE",
            next="Give a query of database names.",
        ) from None


def other_database(target: Target, name: str) -> Target:
    """The target of the database ``name`` on the same server, with the same login."""
    from psycopg.conninfo import make_conninfo

    return Target(
        make_conninfo(**{**target.parameters(), "dbname": name}), source=f"{target.source}, tenant {name}",
        environment=target.environment, protected=target.protected,
    )  # fmt: skip
