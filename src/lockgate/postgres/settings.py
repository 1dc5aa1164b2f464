"""What a work session is set to, how it is read back, and how a file's leftovers are found."""

import secrets
from functools import lru_cache
from typing import NamedTuple

from lockgate.errors import Refused
from lockgate.postgres.durations import LockTimeout, StatementTimeout
from lockgate.postgres.wire import Call, Reply, Wire

OLDEST = 140000
"""PostgreSQL 14 brought ``client_connection_check_interval``, without which a dead client's DDL may commit later."""


class SessionSettings(NamedTuple):
    """The settings of a work session; ``name → value`` as the server's SET takes them."""

    lock_timeout: LockTimeout
    statement_timeout: StatementTimeout

    def wanted(self, *, guard: bool, local: bool, version: int) -> dict[str, str]:
        """The settings to make on a server of ``version`` (as in ``server_version_num``). ``guard`` adds the guard's own; a unix socket has no TCP settings."""
        values = {
            "lock_timeout": self.lock_timeout.setting(),
            "statement_timeout": self.statement_timeout.setting(),
            "idle_in_transaction_session_timeout": "60000ms",
            "client_connection_check_interval": "1000ms",
            "synchronous_commit": "on",
            "default_transaction_isolation": "read committed",
            "default_transaction_deferrable": "off",
            "row_security": "on",
            "standard_conforming_strings": "on",
            "DateStyle": "ISO, MDY",
            "IntervalStyle": "postgres",
            "bytea_output": "hex",
        }
        if version >= 170000:
            values["transaction_timeout"] = (
                "0"  # a role's own would end the session; files have limits of ours
            )
        if guard:
            values["idle_session_timeout"] = "60000ms"
        if not local:
            values |= {
                "tcp_keepalives_idle": "30",
                "tcp_keepalives_interval": "10",
                "tcp_keepalives_count": "3",
                "tcp_user_timeout": "60000ms",
            }
        return values


class Facts(NamedTuple):
    """What the server says of itself and of this session when it opens."""

    version: int
    backend_pid: int
    in_recovery: bool
    read_only: bool
    user: str
    database: str
    system_identifier: str
    timeline: str
    home: bool
    database_oid: str
    superuser: bool
    search_path: str
    session_user: str
    replication_role: str
    by_socket: bool
    """The server's end is a unix socket, whatever a URL or a proxy in between says: there are no TCP settings."""


# Each session asks this first, with nothing in its caches: a view that is a join costs more there than all the rest.
FACTS = """
SELECT pg_catalog.current_setting('server_version_num'), pg_catalog.pg_backend_pid()::text, pg_catalog.pg_is_in_recovery(),
       pg_catalog.current_setting('transaction_read_only'), current_user::text, pg_catalog.current_database()::text,
       (SELECT system_identifier::text FROM pg_catalog.pg_control_system()),
       -- The control file learns of a promotion only with the next checkpoint; the WAL that is written now knows it at once.
       CASE WHEN pg_catalog.pg_is_in_recovery() THEN (SELECT timeline_id::text FROM pg_catalog.pg_control_checkpoint())
            ELSE ('x' || pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8))::bit(32)::bigint::text END,
       EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.relname = 'fence' AND c.relnamespace = pg_catalog.to_regnamespace('lockgate')),
       (SELECT oid::text FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()),
       pg_catalog.current_setting('is_superuser'), pg_catalog.current_setting('search_path'), session_user::text, pg_catalog.current_setting('session_replication_role'),
       pg_catalog.inet_client_addr() IS NULL
"""


def read_facts(reply: Reply) -> Facts:
    """The facts of a session from the reply to the facts query."""
    row = reply.rows[0]
    return Facts(
        version=int(row[0] or 0), backend_pid=int(row[1] or 0), in_recovery=row[2] == "t", read_only=row[3] == "on",
        user=row[4] or "", database=row[5] or "", system_identifier=row[6] or "", timeline=row[7] or "", home=row[8] == "t",
        database_oid=row[9] or "", superuser=row[10] == "on", search_path=row[11] or "", session_user=row[12] or "", replication_role=row[13] or "",
        by_socket=row[14] == "t",
    )  # fmt: skip


def prepare_session(wire: Wire, settings: SessionSettings, *, guard: bool) -> Facts:
    """Make the settings, read each one back from the server, and return the session's facts.

    Raises ``Refused`` with ``SETTING_REFUSED`` when the server (or a proxy before it) did not keep one: what stands in
    the connection's ``options`` is silently dropped by poolers, so only what is read back counts.
    """
    facts = fit_facts(wire)
    apply_settings(wire, settings.wanted(guard=guard, local=facts.by_socket, version=facts.version))
    return facts


def fit_facts(wire: Wire) -> Facts:
    """The facts of a session that nothing was set in yet. Raises ``Refused`` where no settings of ours would make it fit for a run."""
    facts = read_facts(wire.one(FACTS))
    if facts.replication_role != "origin":
        raise Refused(
            f"the role {facts.session_user} logs in with session_replication_role = {facts.replication_role}, which switches triggers off",
            "SETTING_REFUSED",
            next=f'ALTER ROLE "{facts.session_user}" RESET session_replication_role;',
        )
    if facts.version < OLDEST:
        raise Refused(f"PostgreSQL {facts.version // 10000} is too old; lockgate needs 14 or newer", "CONFIG")
    return facts


def apply_settings(wire: Wire, wanted: dict[str, str]) -> None:
    """Set every one and read it back; see ``prepare_session``. The canary shows that a setting reaches this session at all.

    One statement makes them all, for SET makes one alone and each statement costs more than what it does. Another reads
    them back: what holds behind the statement that made them is what counts.
    """
    made = {**wanted, "lockgate.canary": secrets.token_hex(8)}
    sets = ", ".join(
        f"pg_catalog.set_config({_quote(name)}, {_quote(value)}, false)" for name, value in made.items()
    )
    shown = ", ".join(f"pg_catalog.current_setting({_quote(name)})" for name in made)
    calls = [Call(f"SELECT {sets}"), Call(f"SELECT {shown}")]
    got = wire.batch(calls, uncancellable=True)[-1].rows[0]
    for (name, value), seen in zip(made.items(), got, strict=True):
        if in_milliseconds(seen or "") != in_milliseconds(value):
            raise Refused(
                f"the server shows {name} = {seen!r} after it was set to {value!r}",
                "SETTING_REFUSED",
                details={"setting": name},
            )


_UNITS = {"us": 0.001, "ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}


@lru_cache(maxsize=64)
def in_milliseconds(value: str) -> str | float:
    """A time setting in its unit-free form (the server shows 900000ms as 15min); any other text as it is."""
    number = value.rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = value[len(number) :]
    if number.isdigit() and (unit in _UNITS or not unit):
        return int(number) * _UNITS.get(unit, 1)
    return value


def _quote(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
