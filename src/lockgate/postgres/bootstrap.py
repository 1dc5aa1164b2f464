"""What bootstrap needs of a database: one owner at a time, its journal, roles and extensions, and the environment's revision."""

import hashlib
import json
from collections.abc import Mapping

from lockgate.errors import Busy, Refused
from lockgate.postgres import home
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Call, Wire

BOOTSTRAP_KEY = int.from_bytes(hashlib.sha256(b"lockgate:bootstrap:1").digest()[:8], "big", signed=True)

_STEP = """
INSERT INTO lockgate.bootstrap_step AS s (run_id, step, state, reason_code, evidence, finished_at)
VALUES ($1, $2, $3, $4, $5, CASE WHEN $3 = 'running' THEN NULL ELSE pg_catalog.clock_timestamp() END)
ON CONFLICT (run_id, step) DO UPDATE SET state = excluded.state, reason_code = excluded.reason_code, evidence = excluded.evidence,
   beat_at = pg_catalog.clock_timestamp(), finished_at = excluded.finished_at, attempts = s.attempts + (excluded.state = 'running')::integer
"""


class Owner:
    """The one bootstrap of a database: holds a session lock while it lives. A context manager."""

    def __init__(self, target: Target) -> None:
        self.wire = Wire(target, "bootstrap")
        if self.wire.value("SELECT pg_catalog.pg_try_advisory_lock($1::bigint)", str(BOOTSTRAP_KEY)) != "t":
            self.wire.close()
            raise Busy("another bootstrap of this database is under way")

    def __enter__(self) -> "Owner":
        return self

    def __exit__(self, *_: object) -> None:
        self.wire.close()

    def journalled(self) -> bool:
        """True once the tables are there; steps before that are told again later."""
        return home.read_format(self.wire) >= 2

    def unfinished(self) -> tuple[str, dict[str, str]]:
        """The run that did not come to its end, and the steps that it has done with their evidence; ("", none) without one."""
        rows = self.wire.one(
            "SELECT s.run_id, s.step, s.evidence FROM lockgate.bootstrap_step s WHERE s.state = 'done' AND s.run_id = "
            "(SELECT b.run_id FROM lockgate.bootstrap_step b ORDER BY b.started_at DESC LIMIT 1)"
            " AND NOT EXISTS (SELECT FROM lockgate.environment_revision e WHERE e.run_id = s.run_id)"
        ).rows
        return (rows[0][0] or "" if rows else "", {row[1] or "": row[2] or "" for row in rows})

    def note(self, run_id: str, step: str, state: str, code: str = "", evidence: str = "") -> None:
        """Write how a step stands."""
        self.wire.one(_STEP, run_id, step, state, code, evidence[:2000])

    def beat(self, run_id: str, step: str) -> None:
        """Say that the step still runs; whoever looks sees by ``beat_at`` whether its runner lives."""
        if self.journalled():
            self.wire.one(
                "UPDATE lockgate.bootstrap_step SET beat_at = pg_catalog.clock_timestamp() WHERE run_id = $1 AND step = $2 AND state = 'running'",
                run_id, step,
            )  # fmt: skip

    def seal(self, environment: str, run_id: str, release_id: str, secrets_revision: str) -> str:
        """Write the immutable revision of the environment; its digest, which is the same where the same was brought up."""
        text, history = self.wire.one("SELECT lockgate.gate_v1()::text, lockgate.history_digest_v1('')").rows[
            0
        ]
        state = json.loads(text or "{}")
        indexes = {name: one["index_hash"] for name, one in state["indexes"].items()}
        parts = {
            "release": release_id,
            "revision": state["revision"],
            "history": history,
            "secrets": secrets_revision,
            "indexes": indexes,
        }
        digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
        self.wire.one(
            "INSERT INTO lockgate.environment_revision (environment, release_id, schema_revision, schema_head, secrets_revision, indexes, run_id, digest) "
            "VALUES ($1, $2, $3, $4, $5, $6::jsonb, $7, $8)",
            environment, release_id, state["revision"], history or "", secrets_revision, json.dumps(indexes), run_id, digest,
        )  # fmt: skip
        return digest


def run_script(target: Target, sql: str) -> None:
    """Run an administrator's script in one go. Raises ``Refused`` with the server's words."""
    wire = Wire(target, "bootstrap-script")
    try:
        wire.alone(sql)
    except ServerError as error:
        raise Refused(
            f"the login may not do this: {error.message}",
            "PRIVILEGE",
            next="Run it as an administrator: lockgate roles prints the SQL.",
        ) from None
    finally:
        wire.close()


def database_name(target: Target) -> str:
    """The name of the database, as the server gives it."""
    wire = Wire(target, "bootstrap-look")
    try:
        return wire.value("SELECT pg_catalog.current_database()") or ""
    finally:
        wire.close()


def make_extensions(target: Target, names: tuple[str, ...]) -> Mapping[str, str]:
    """Create what is missing; extension → version. Raises ``Refused`` where one is not available or not allowed."""
    wire = Wire(target, "bootstrap-extensions")
    try:
        for name in names:
            wire.batch([Call(f'CREATE EXTENSION IF NOT EXISTS "{name.replace(chr(34), chr(34) * 2)}"')])
        rows = wire.one("SELECT extname, extversion FROM pg_catalog.pg_extension").rows
    except ServerError as error:
        raise Refused(f"an extension cannot be made: {error.message}", "EXTENSION_MISSING") from None
    finally:
        wire.close()
    return {row[0] or "": row[1] or "" for row in rows if row[0] in names}
