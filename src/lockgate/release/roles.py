"""The least-privilege SQL for the four roles. Printed for an administrator, never run by lockgate itself.

The scheme, and why it is this one:

* **owner** cannot log in. It owns the schemas and whatever was adopted from earlier times, and may create on the database.
* **migrator** logs in, is a member of owner, and owns what it creates. So it can alter its own objects and the owner's,
  through inheritance alone: no SET ROLE, which a pooler or a reset session could lose half way through a run. When a
  migrator is replaced, ``REASSIGN OWNED BY old TO owner`` hands its objects on. It owns the schema ``lockgate``.
* **app** reads and writes rows. Default privileges give it each table that the migrator (or the owner) makes in the
  listed schemas, and only there: in ``lockgate`` it reads, and writes its heartbeat in ``instance``, how its starts ended in ``gate_attempt``,
  the writes that it queues in read-only mode in ``write_intent`` and what it warmed up for all in ``warm_up``.
* **reader** reads.

What an earlier ``lockgate up`` of another role left in the schema ``lockgate`` is handed to the migrator; what that role made
elsewhere is handed to the owner only when asked (``adopt``), for whoever runs it now may need it.

Grants on tables of ``lockgate`` need the tables, which the first ``lockgate up`` makes; grants on a schema need the
schema, which a migration may make. So the script can be run again at any time, and ``doctor`` says when it has to be.
"""

from lockgate.config import Roles
from lockgate.errors import ConfigError
from lockgate.postgres.queries import query

_HEAD = """\
-- lockgate roles: owner {owner}, migrator {migrator}, app {app}, reader {reader}, for the database {database}.
-- Run it in that database as a superuser, or as the database's owner with CREATEROLE. It can be run again, and has to be
-- after the first `lockgate up` and after a migration has made a new schema; `lockgate doctor` says so.
-- With psql: psql -v ON_ERROR_STOP=1 -f FILE DATABASE; it is one statement, so that all of it is done or nothing.
-- Passwords are not its business: \\password in psql, or the provider's own logins.
"""


_HAND_OVER = """\
DECLARE thing record;
BEGIN
  FOR thing IN
    SELECT * FROM (
{objects}
    ) AS o
     WHERE o.nspname IN ({names})
       AND pg_catalog.pg_get_userbyid(o.owner) {others}
       AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = o.class AND d.objid = o.oid AND d.deptype = 'e')
     ORDER BY o.kind <> 'SCHEMA', o.kind, o.name  -- who is to own what stands in a schema must be able to create there
  LOOP
    EXECUTE pg_catalog.format('ALTER %s %s OWNER TO %I', thing.kind, thing.name, {to});
  END LOOP;
END"""


def roles_sql(roles: Roles, database: str, *, adopt: bool = False) -> str:
    """The script for ``database``: plain SQL in one statement, idempotent, for PostgreSQL 14 to 18, psql or any driver.

    With ``adopt`` the owner gets what stands in the listed schemas and belongs to neither owner nor migrator. Roles that exist keep their attributes; ``doctor`` names those that are too strong. Raises ``ConfigError`` for a name
    that no role can have, and for two roles of one name.
    """
    names = {"owner": roles.owner, "migrator": roles.migrator, "app": roles.app, "reader": roles.reader}
    _validate(names, roles.schemas, database)
    owner, migrator, app, reader = map(identifier, names.values())
    head = _HEAD.format(**{part: _comment(name) for part, name in names.items()}, database=_comment(database))
    parts = [
        "SET LOCAL search_path = pg_catalog, pg_temp;\n",
        _right_database(database),
        *(_make_role(name, "NOLOGIN" if part == "owner" else "LOGIN") for part, name in names.items()),
        _administrator(roles.owner, roles.migrator),
        f"GRANT {owner} TO {migrator};\n",
        _monitoring(roles.migrator),
        f"GRANT CONNECT ON DATABASE {identifier(database)} TO {owner}, {migrator}, {app}, {reader};\n"
        f"GRANT CREATE, TEMPORARY ON DATABASE {identifier(database)} TO {owner}, {migrator};\n",
        *(_schema(schema, roles) for schema in roles.schemas),
        *((_hand_over(roles.owner, roles.migrator, roles.schemas),) if adopt else ()),
        _home(roles),
    ]
    # One statement: in another database its first line is the only error, whatever sends it.
    return head + "\n" + _do("BEGIN\n" + "\n".join(parts) + "END")


def home_grants(roles: Roles) -> str:
    """The grants on the tables of ``lockgate`` as one statement that the migrator, their owner, may run itself.

    Nothing is granted to a role that does not exist, and nothing where the schema has no tables yet.
    """
    return _do(_home_grants(roles))


def _home_grants(roles: Roles) -> str:
    lines = []
    own = [
        "INSERT, UPDATE, DELETE ON lockgate.instance",
        "INSERT, UPDATE ON lockgate.gate_attempt",
        "INSERT, UPDATE, DELETE ON lockgate.write_intent",
        "INSERT ON lockgate.warm_up",
    ]
    for role, more in ((roles.app, own), (roles.reader, [])):
        grants = [
            "USAGE ON SCHEMA lockgate",
            "SELECT ON ALL TABLES IN SCHEMA lockgate",
            "EXECUTE ON FUNCTION lockgate.gate_v1()",
            *more,
        ]
        lines.append(f"  IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {literal(role)}) THEN")
        lines += [f"    GRANT {grant} TO {identifier(role)};" for grant in grants]
        lines.append("  END IF;")
    return "\n".join(
        [
            "BEGIN",
            "  IF pg_catalog.to_regclass('lockgate.write_intent') IS NOT NULL THEN",
            *lines,
            "  END IF;",
            "END",
        ]
    )


def identifier(name: str) -> str:
    """``name`` as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """``text`` as a SQL string, the same under every setting of ``standard_conforming_strings``."""
    quoted = text.replace("'", "''")
    return "E'" + quoted.replace("\\", "\\\\") + "'" if "\\" in text else f"'{quoted}'"


def _validate(names: dict[str, str], schemas: tuple[str, ...], database: str) -> None:
    for what, name in (
        [(f"roles.{part}", name) for part, name in names.items()]
        + [("roles.schemas", name) for name in schemas]
        + [("the database", database)]
    ):
        if not name or "\0" in name or len(name.encode()) > 63:
            raise ConfigError(f"{what} = {name!r} is not a name of 1 to 63 bytes without NUL")
    for part, name in names.items():
        if name.startswith("pg_") or name in ("public", "none"):
            raise ConfigError(f"roles.{part} = {name!r} is a name that PostgreSQL keeps for itself")
    for name in schemas:
        if name.startswith("pg_") or name in ("information_schema", "lockgate"):
            raise ConfigError(
                f"roles.schemas: {name!r} belongs to {'lockgate' if name == 'lockgate' else 'PostgreSQL'} itself"
            )
    if len(set(names.values())) < len(names):
        raise ConfigError(
            "[roles]: owner, migrator, app and reader are four different roles",
            next="Give each its own name in lockgate.toml.",
        )


def _comment(name: str) -> str:
    return " ".join(identifier(name).split())


def _do(body: str) -> str:
    tag = "$lockgate$"
    while tag in body:
        tag = tag[:-1] + "_$"
    return f"DO {tag}\n{body}\n{tag};\n"


def _block(body: str) -> str:
    """``body`` as a block inside of the script's own."""
    return f"{body};\n"


def _right_database(database: str) -> str:
    return _block(
        "BEGIN\n"
        f"  IF pg_catalog.current_database() <> {literal(database)} THEN\n"
        f"    RAISE EXCEPTION 'this is database %, the script is for %', pg_catalog.current_database(), {literal(database)};\n"
        "  END IF;\nEND"
    )


def _make_role(name: str, login: str) -> str:
    return _block(
        "BEGIN\n"
        f"  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {literal(name)}) THEN\n"
        f"    CREATE ROLE {identifier(name)} {login} INHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;\n"
        "  END IF;\nEND"
    )


def _administrator(owner: str, migrator: str) -> str:
    both = f"{identifier(owner)}, {identifier(migrator)}"
    usage = " AND ".join(f"pg_catalog.pg_has_role({literal(name)}, 'USAGE')" for name in (owner, migrator))
    return (
        "-- An administrator who is no superuser hands objects only to roles that it is a member of.\n"
        + _block(
            f"BEGIN\n  IF NOT (pg_catalog.current_setting('is_superuser') = 'on' OR ({usage})) THEN\n    GRANT {both} TO CURRENT_USER;\n  END IF;\nEND"
        )
    )


def _monitoring(migrator: str) -> str:
    return "-- Without it the migrator cannot see who blocks it, nor count who waits behind it.\n" + _block(
        "BEGIN\n"
        f"  IF NOT pg_catalog.pg_has_role({literal(migrator)}, 'pg_read_all_stats', 'USAGE') THEN\n"
        f"    GRANT pg_read_all_stats TO {identifier(migrator)};\n"
        "  END IF;\n"
        "EXCEPTION WHEN insufficient_privilege THEN\n"
        f"  RAISE WARNING 'pg_read_all_stats could not be granted to %: ask whoever may', {literal(migrator)};\nEND"
    )


def _schema(schema: str, roles: Roles) -> str:
    owner, migrator, app, reader, name = map(
        identifier, (roles.owner, roles.migrator, roles.app, roles.reader, schema)
    )
    makers = f"{owner}, {migrator}"
    lines = [
        f"REVOKE CREATE ON SCHEMA {name} FROM PUBLIC;",
        f"GRANT USAGE, CREATE ON SCHEMA {name} TO {owner}, {migrator};",
        f"GRANT USAGE ON SCHEMA {name} TO {app}, {reader};",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {name} TO {app};",
        f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {name} TO {app};",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA {name} TO {reader};",
        f"ALTER DEFAULT PRIVILEGES FOR ROLE {makers} IN SCHEMA {name} GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {app};",
        f"ALTER DEFAULT PRIVILEGES FOR ROLE {makers} IN SCHEMA {name} GRANT USAGE, SELECT ON SEQUENCES TO {app};",
        f"ALTER DEFAULT PRIVILEGES FOR ROLE {makers} IN SCHEMA {name} GRANT SELECT ON TABLES TO {reader};",
    ]
    body = "\n".join(
        [
            "BEGIN",
            f"  IF pg_catalog.to_regnamespace({literal(name)}) IS NULL THEN",
            f"    RAISE NOTICE 'schema % does not exist yet: run this again when a migration has made it', {literal(schema)};",
            "  ELSE",
            *(f"    {line}" for line in lines),
            "  END IF;",
            "END",
        ]
    )
    return _block(body)


def _hand_over(to: str, beside: str, schemas: tuple[str, ...]) -> str:
    """Give ``to`` what stands in ``schemas`` and belongs neither to it nor to ``beside``; extensions keep their own.

    ``objects.sql`` says which they are, for doctor's ``owners.sql`` too. The schema public stays with the database's owner.
    """
    names = ", ".join(literal(schema) for schema in schemas)
    others = f"NOT IN ({literal(to)}, {literal(beside)})"
    text = _HAND_OVER.format(objects=query("objects"), to=literal(to), names=names, others=others)
    return _block(text)


def _home(roles: Roles) -> str:
    migrator, app, reader = map(identifier, (roles.migrator, roles.app, roles.reader))
    return (
        f"CREATE SCHEMA IF NOT EXISTS lockgate AUTHORIZATION {migrator};\n"
        f"GRANT USAGE, CREATE ON SCHEMA lockgate TO {migrator};\n"
        + _hand_over(roles.migrator, roles.owner, ("lockgate",))
        + f"GRANT USAGE ON SCHEMA lockgate TO {app}, {reader};\n"
        f"ALTER DEFAULT PRIVILEGES FOR ROLE {migrator} IN SCHEMA lockgate GRANT SELECT ON TABLES TO {app}, {reader};\n"
        + _block(_home_grants(roles))
    )
