"""One session for data: pinned settings, ordinary cursors, streaming and COPY. Migrations go through ``Wire`` instead.

What a value looks like as text must not depend on who asks, so every setting that changes it is pinned when the
session opens and read back.
"""

import struct
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import repeat
from typing import Any

import psycopg
from psycopg import errors as driver_errors
from psycopg import generators, pq
from psycopg.adapt import Dumper
from psycopg.waiting import Ready, Wait

from lockgate.errors import LockgateError, Refused, RunFailed
from lockgate.postgres.connecting import connect_error
from lockgate.postgres.settings import in_milliseconds
from lockgate.postgres.sqlstate import GONE, ServerError, reason_of
from lockgate.postgres.target import Target
from lockgate.postgres.wire import ConnectionLost
from lockgate.record.points import point
from lockgate.record.redact import redact

PINNED = {
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "xmlbinary": "base64",
    "xmloption": "content",
    "lc_monetary": "C",
    "row_security": "off",
    "quote_all_identifiers": "off",
    "standard_conforming_strings": "on",
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    "synchronous_commit": "on",
    "statement_timeout": "0",
    "lock_timeout": "30s",
    "idle_in_transaction_session_timeout": "0",
    "client_connection_check_interval": "1s",
    "jit": "off",
}
"""Settings of every data session. ``row_security = off`` turns hidden rows into an error; jit costs more than it gives here."""


class AsBinary(bytes):
    """A parameter in the server's own binary form. The statement says of which type it is: ``$1::vector[]``."""


TEXT, BIGINT = 25, 20
"""What the server calls two of its types by."""
_LENGTH, _EMPTY_OF = struct.Struct(">i"), struct.Struct(">iiI")


def texts(values: Sequence[str]) -> AsBinary:
    """A parameter ``text[]``: for thousands of values the driver's own array, in which each of them is searched for quotes, costs more than the query."""
    return array([v.encode() for v in values], TEXT)


def numbers(values: Sequence[int]) -> AsBinary:
    """A parameter ``bigint[]``, made as ``texts`` makes its own."""
    head = struct.pack(">iiIii", 1, 0, BIGINT, len(values), 1) if values else _EMPTY_OF.pack(0, 0, BIGINT)  # fmt: skip
    return AsBinary(head + struct.pack(">" + "iq" * len(values), *(part for v in values for part in (8, v))))


def array(values: Sequence[bytes], oid: int) -> AsBinary:
    """A parameter that is an array of the type ``oid``, whose values are in the server's own binary form."""
    if not values:
        return AsBinary(_EMPTY_OF.pack(0, 0, oid))
    parts: list[bytes] = [b""] * (2 * len(values))
    parts[::2] = map(_LENGTH.pack, map(len, values))
    parts[1::2] = values
    return AsBinary(struct.pack(">iiIii", 1, 0, oid, len(values), 1) + b"".join(parts))


class _AsItIs(Dumper):
    format = pq.Format.BINARY

    def dump(self, obj: bytes) -> bytes:
        """See ``Dumper``."""
        return obj


BLOCK = 128 << 10
"""Rows of a COPY are handed on in blocks of about so many bytes."""


def _more(pgconn: pq.abc.PGconn) -> Generator[Wait, Ready | int, None]:
    """Wait for the server to send something, and read it."""
    yield Wait.R
    pgconn.consume_input()


class Link:
    """One session of the server for data. Not shared between threads; ``cancel`` may come from any.

    Raises ``Unreachable`` or ``Refused`` when it cannot be opened. Errors of the server come out as ``ServerError``.
    """

    def __init__(
        self,
        target: Target,
        name: str,
        *,
        settings: dict[str, str] | None = None,
        connect_timeout: float = 10.0,
    ) -> None:
        self.target = target
        self.name = name
        point(f"{name}:connect")
        parameters: dict[str, Any] = target.parameters(
            connect_timeout=max(2, round(connect_timeout)), keepalives_idle=30, keepalives_interval=10,
            keepalives_count=3, tcp_user_timeout=60_000,
        )  # fmt: skip
        parameters["application_name"] = f"lockgate/{name}"
        parameters["client_encoding"] = "UTF8"
        try:
            self._connection = psycopg.Connection.connect(
                **parameters, autocommit=True, prepare_threshold=None
            )
            self._connection.cursor_factory = psycopg.RawCursor
            self._connection.adapters.register_dumper(AsBinary, _AsItIs)
        except driver_errors.Error as error:
            raise connect_error(target, error) from None
        try:
            self.pid, self.version = self._pin({**PINNED, **(settings or {})})
        except BaseException:
            self.close()
            raise

    def _pin(self, wanted: dict[str, str]) -> tuple[int, int]:
        """Make the settings and read them back, in one round trip; (pid of the session, version of the server)."""
        sets = ", ".join(f"set_config('{name}', '{value}', false)" for name, value in wanted.items())
        try:
            *got, role, pid, version = self.rows(
                f"SELECT {sets}, current_setting('session_replication_role'), pg_catalog.pg_backend_pid(), current_setting('server_version_num')::int"
            )[0]
        except ServerError as error:
            raise Refused(
                f"{self.target}: a setting cannot be made: {error.message}", "SETTING_REFUSED"
            ) from None
        for (name, value), seen in zip(wanted.items(), got, strict=True):
            if in_milliseconds(seen.replace(" ", "")) != in_milliseconds(value.replace(" ", "")):
                raise Refused(
                    f"{self.target} shows {name} = {seen!r} after it was set to {value!r}", "SETTING_REFUSED",
                    details={"setting": name},
                )  # fmt: skip
        if role != "origin":
            raise Refused(
                f"the role logs in to {self.target} with session_replication_role = {role}, which switches triggers off",
                "SETTING_REFUSED",
                next="ALTER ROLE ... RESET session_replication_role;",
            )
        return int(pid), int(version)

    def refuse_pooler(self) -> None:
        """Raise ``Refused`` (``POOLED_CONNECTION``) behind a transaction pooler, where session locks do not hold.

        A direct connection costs nothing to check: its process id is the one that libpq was told.
        """
        if self._connection.info.backend_pid == self.pid:
            return
        with closing(Link(self.target, f"{self.name} pooler")) as other:
            seen = [
                (link.value("SELECT pg_catalog.pg_backend_pid()"), link.pid) for link in (self, other) * 8
            ]
            if self.pid == other.pid or any(now != at_first for now, at_first in seen):
                raise Refused(
                    f"{self.target} is behind a transaction pooler: one connection moves between server sessions",
                    "POOLED_CONNECTION",
                )

    # -- asking -------------------------------------------------------------------------------------

    def rows(self, sql: str, *parameters: object, binary: bool = False) -> list[tuple[Any, ...]]:
        """Run one statement with ``$1`` parameters and give all of its rows."""
        with self._asking("rows"):
            cursor = self._connection.execute(sql, parameters or None, binary=binary)
            return cursor.fetchall() if cursor.description else []

    def value(self, sql: str, *parameters: object) -> Any:
        """The first column of the first row, or None."""
        rows = self.rows(sql, *parameters)
        return rows[0][0] if rows else None

    def run(self, sql: str, *parameters: object) -> int:
        """Run one statement and give the number of rows that it touched (0 where it has none)."""
        with self._asking("run"):
            return max(0, self._connection.execute(sql, parameters or None).rowcount)

    def stream(self, sql: str, *parameters: object, size: int = 5000) -> Iterator[tuple[Any, ...]]:
        """The rows of a query through a cursor of the server: memory for ``size`` rows. Inside a transaction only."""
        with self._asking("stream"), psycopg.RawServerCursor(self._connection, "lockgate_stream") as cursor:
            cursor.itersize = size
            cursor.execute(sql, parameters or None, binary=True)
            yield from cursor

    def copy_out(self, sql: str) -> Iterator[bytes]:
        """The bytes of ``COPY (...) TO STDOUT``, in blocks of many rows.

        The server sends a message for each row. They are taken from libpq as they are: the driver's own loop goes through
        several layers for each, which cost more than the rest of a copy between two servers that we do.
        """
        with self._asking("copy-out"), self._connection.cursor() as cursor, cursor.copy(sql):
            pgconn, block = self._connection.pgconn, bytearray()
            length = 0
            while length >= 0:
                # A look at the size of the block for each row would be a fifth of the loop: what was read at once ends soon enough.
                for length, row in map(pgconn.get_copy_data, repeat(1)):
                    if length <= 0:
                        break
                    block += row
                if len(block) >= BLOCK:
                    yield bytes(block)
                    block.clear()
                if length == 0:
                    self._connection.wait(_more(pgconn))
            if block:
                yield bytes(block)
            # The end of the data may be the end of the copy, or an error of the server.
            for result in self._connection.wait(generators.fetch_many(pgconn)):
                if result.status != pq.ExecStatus.COMMAND_OK:
                    raise driver_errors.error_from_result(result, encoding="utf-8")

    def copy_in(self, sql: str, blocks: Iterator[bytes]) -> int:
        """Send ``blocks`` as the data of ``COPY ... FROM STDIN``; the number of rows."""
        with self._asking("copy-in"), self._connection.cursor() as cursor:
            with cursor.copy(sql) as copy:
                for block in blocks:
                    copy.write(block)
            return max(0, cursor.rowcount)

    # -- transactions -------------------------------------------------------------------------------

    @contextmanager
    def transaction(self, mode: str = "") -> Iterator[None]:
        """BEGIN (with ``mode``, such as ``ISOLATION LEVEL REPEATABLE READ``) ... COMMIT, or ROLLBACK when the block raises."""
        self.run(f"BEGIN {mode}")
        try:
            yield
        except BaseException:
            self.rollback()
            raise
        self.run("COMMIT")

    def rollback(self) -> None:
        """Roll back what is open, if the session still lives."""
        if self.alive and self._connection.info.transaction_status != pq.TransactionStatus.IDLE:
            try:
                self.run("ROLLBACK")
            except (ServerError, LockgateError):
                self.close()

    @property
    def alive(self) -> bool:
        """False once the connection is known to be broken or closed."""
        return not self._connection.closed

    @property
    def in_transaction(self) -> bool:
        """True inside a transaction block, also a failed one."""
        return self._connection.info.transaction_status in (
            pq.TransactionStatus.INTRANS,
            pq.TransactionStatus.INERROR,
        )

    # -- ending -------------------------------------------------------------------------------------

    def cancel(self) -> None:
        """Ask the server to cancel what this session runs. Safe from any thread; best effort."""
        try:
            self._connection.cancel_safe(timeout=5.0)
        except driver_errors.Error:
            return

    def close(self) -> None:
        """Close the connection; the server rolls back what is open."""
        self._connection.close()

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        if self._connection.closed:
            raise ConnectionLost(f"the {self.name} connection to {self.target} is closed")
        point(f"{self.name}:{what}:send")
        try:
            yield
        except driver_errors.Error as error:
            raise self._translated(error) from None
        point(f"{self.name}:{what}:received")

    def _translated(self, error: driver_errors.Error) -> Exception:
        state = error.sqlstate or ""
        text = redact(error.diag.message_primary or str(error)).strip()
        if self._connection.closed or self._connection.broken or state in GONE or not state:
            self._connection.close()
            return ConnectionLost(
                f"the {self.name} connection to {self.target} broke: {text}", details={"sqlstate": state}
            )
        return ServerError(
            state, text, detail=redact(error.diag.message_detail or ""), hint=error.diag.message_hint or "",
            context=error.diag.context or "",
        )  # fmt: skip


def refusal(error: ServerError, doing: str, target: Target) -> LockgateError:
    """The error for people of what the server refused while ``doing`` something on ``target``."""
    code = reason_of(error.sqlstate)
    words = f"{doing} on {target}: {error.message}"
    if code == "PRIVILEGE":
        return Refused(words, "PRIVILEGE", details={"sqlstate": error.sqlstate})
    if code == "MIGRATION_EXECUTION_FAILED":
        code = "MOVE_QUERY_FAILED"
    return RunFailed(words, code, state="Nothing was changed by it.", details={"sqlstate": error.sqlstate})
