"""Scratch databases: made, cloned from templates, dropped, and swept after a runner that was killed.

The name of a database holds the token of the run that made it, and so does the ``application_name`` of that run's
maintenance session. When the run dies its session ends, and the next run drops the databases whose token no session has.
(Not an advisory lock: those count within one database only, and two runs may come in through two.) A template is a
scratch database that was renamed when it was whole, so half of one is never mistaken for it.
"""

import secrets
from types import TracebackType
from typing import Self

from lockgate.errors import LockgateError, Refused
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.tables import quote
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Wire

SCRATCH = "lockgate_scratch_"
TEMPLATE = "lockgate_template_"
KEEP_TEMPLATES = 6
MARK = "lockgate scratch"
"""The comment of a database that may be used as the way in to a scratch server, whatever it holds."""

_SESSION = "scratch "
_DEAD = """
SELECT d.datname FROM pg_catalog.pg_database d
 WHERE pg_catalog.starts_with(d.datname::text, $1)
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a
                    WHERE a.application_name = $2 || pg_catalog.split_part(pg_catalog.substr(d.datname::text, pg_catalog.length($1) + 1), '_', 1))
 ORDER BY 1
"""
_IN_USE = """
SELECT (SELECT pg_catalog.count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE c.oid >= 16384 AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e'))::text,
       (SELECT pg_catalog.count(*) FROM pg_catalog.pg_namespace WHERE nspname = 'lockgate')::text,
       COALESCE((SELECT pg_catalog.shobj_description(oid, 'pg_database') FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()), ''),
       (SELECT rolcreatedb OR rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)::text, current_user::text, pg_catalog.pg_is_in_recovery()::text
"""


class Ground:
    """One server on which scratch databases may be made. A context manager: leaving it drops those of this run.

    ``target`` is its maintenance database; ``ours`` says that the server is lockgate's own, where templates are kept.
    """

    def __init__(self, target: Target, *, ours: bool) -> None:
        self.target = target
        self.ours = ours
        self._token = secrets.token_hex(6)
        self._wire = Wire(target, f"{_SESSION}{self._token}")
        self._wire.patience = None  # copying and dropping a large database takes as long as it takes
        self._made: list[str] = []
        try:
            self.version = int(self._wire.value("SHOW server_version_num") or 0)
            if not ours:
                self._refuse_used()
            self.swept = self._sweep()
        except BaseException:
            self._wire.close()
            raise

    def _refuse_used(self) -> None:
        relations, home, comment, may, role, standby = (c or "" for c in self._wire.one(_IN_USE).rows[0])
        if standby == "true":
            raise Refused(f"{self.target} is a standby", "READ_ONLY_TARGET")
        if (relations != "0" or home != "0") and comment != MARK:
            held = "the schema lockgate" if home != "0" else f"{relations} relations"
            raise Refused(
                f"{self.target} is not a scratch database: it holds {held}",
                "SCRATCH_REFUSED",
                details={"relations": int(relations)},
            )
        if may != "true":
            raise Refused(
                f"role {role} may not create databases on {self.target}",
                "PRIVILEGE",
                next=f'An administrator runs: ALTER ROLE "{role}" CREATEDB;',
            )

    # -- databases ----------------------------------------------------------------------------------

    def create(self, template: str = "") -> str:
        """Make an empty database, or a copy of ``template``; its name. Raises ``ServerError`` when the template is gone."""
        name = f"{SCRATCH}{self._token}_{secrets.token_hex(3)}"
        self._made.append(name)
        source = f'"{template}"' if template else "template0"
        # Copying files is quicker than logging blocks where nothing has to survive a crash; it came with PostgreSQL 15.
        how = " STRATEGY file_copy" if self.ours and template and self.version >= 150000 else ""
        self._wire.alone(f'CREATE DATABASE "{name}" TEMPLATE {source}{how}')
        return name

    def drop(self, name: str) -> None:
        """Drop a database of this run, with the sessions in it."""
        self._wire.alone(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        self._made = [made for made in self._made if made != name]

    def at(self, name: str) -> Target:
        """The target of database ``name`` on this server."""
        return self.target.sibling(name)

    # -- templates ----------------------------------------------------------------------------------

    def find_template(self, key: str) -> tuple[str, str] | None:
        """The name and the note of the template ``key``; None where there is none."""
        rows = self._wire.one(
            "SELECT datname, COALESCE(pg_catalog.shobj_description(oid, 'pg_database'), '') FROM pg_catalog.pg_database WHERE datname = $1",
            template_name(key),
        ).rows
        return (rows[0][0] or "", rows[0][1] or "") if rows else None

    def keep_as_template(self, name: str, key: str, note: str) -> bool:
        """Turn the database ``name`` of this run into the template ``key``. False when somebody else was quicker.

        Nobody may be connected to it. The oldest templates beyond ``KEEP_TEMPLATES`` go.
        """
        quoted = note.replace("'", "''")
        try:
            # The comment first: a template that stands under its name is whole.
            self._wire.alone(f"COMMENT ON DATABASE \"{name}\" IS '{quoted}'")
            self._wire.alone(f'ALTER DATABASE "{name}" RENAME TO "{template_name(key)}"')
        except ServerError as error:
            if error.sqlstate in ("42P04", "55006", "23505"):
                return False
            raise
        self._made = [made for made in self._made if made != name]
        self._prune()
        return True

    def _prune(self) -> None:
        rows = self._wire.one(
            f"SELECT datname FROM pg_catalog.pg_database WHERE datname LIKE '{TEMPLATE}%' ORDER BY oid DESC OFFSET {KEEP_TEMPLATES}"  # noqa: S608 - constants
        ).rows
        for (name,) in rows:
            self._wire.alone(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    # -- cleaning up --------------------------------------------------------------------------------

    def _sweep(self) -> list[str]:
        """Drop the scratch databases that no living run holds; their names."""
        swept = []
        for (name,) in self._wire.one(_DEAD, SCRATCH, f"lockgate/{_SESSION}").rows:
            try:
                self._wire.alone(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            except ServerError as error:
                if error.sqlstate not in ("42501", "55006"):
                    raise
                continue  # of another role, which drops it itself
            swept.append(name or "")
        return swept

    def make_roles(self, names: tuple[str, ...]) -> list[str]:
        """Make the roles that are missing, without a login; the names that were made. Only on a server of our own."""
        if not self.ours:
            return []
        known = {row[0] for row in self._wire.one("SELECT rolname FROM pg_catalog.pg_roles").rows}
        missing = [name for name in dict.fromkeys(names) if name and name not in known]
        made = []
        for name in missing:
            try:
                self._wire.one(f"CREATE ROLE {quote(name)} NOLOGIN")
            except ServerError as error:
                if error.sqlstate not in ("42710", "23505"):
                    raise
                continue  # another rehearsal was quicker
            made.append(name)
        return made

    def close(self) -> None:
        """Drop what this run made and close. What cannot be dropped now, the next run drops."""
        try:
            for name in list(self._made):
                self.drop(name)
        except (ServerError, LockgateError):
            self._made.clear()  # leaving must not hide why we leave; the next run sweeps
        self._wire.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def template_name(key: str) -> str:
    """The name of the template with this key (hex)."""
    return TEMPLATE + key[:24]
