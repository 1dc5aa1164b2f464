"""The rows of the release pipeline: the lease and its fence, the release, its steps, and the pause of the workers.

Every write of a running release carries its fencing token, and changes nothing once another one has taken over.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from lockgate import __version__
from lockgate.errors import RunFailed
from lockgate.postgres.wire import Call, Wire

_UTC = "COALESCE(to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'), '')"
LEASE = "release"


class ReleaseRow(msgspec.Struct, frozen=True, rename="camel"):
    """One release as the table has it; times are ISO 8601 in UTC, "" where it never came to that."""

    release_key: str
    sequence: int
    sha: str
    environment: str
    state: str
    reason_code: str
    message: str
    operator: str
    image_digest: str
    rollback_digest: str
    plan_hash: str
    base: str
    goal: str
    replay_reason: str
    started_at: str
    finished_at: str
    options: Mapping[str, Any] = {}


class StepRow(msgspec.Struct, frozen=True, rename="camel"):
    """One step of a release as the journal has it."""

    number: int
    name: str
    state: str
    attempts: int
    limit_seconds: float
    started_at: str
    finished_at: str
    seconds: float
    reason_code: str = ""
    message: str = ""
    evidence: Mapping[str, Any] = {}


class PauseRow(msgspec.Struct, frozen=True, rename="camel"):
    """The pause of the workers: who asked for it, and until when it holds."""

    name: str
    state: str
    provider: str
    release_key: str
    owner: str
    reason: str
    paused_at: str
    stopped_at: str
    expires_at: str
    overdue: bool
    resumed_at: str = ""
    detail: Mapping[str, Any] = {}


def exists(wire: Wire) -> bool:
    """True where the tables of the pipeline are."""
    return wire.value("SELECT pg_catalog.to_regclass('lockgate.release_step') IS NOT NULL") == "t"


_REHEARSED = """
SELECT s.evidence->>'rehearsal' FROM lockgate.release r JOIN lockgate.release_step s USING (release_key)
 WHERE r.plan_hash = $1 AND r.state = 'running' AND s.state = 'done' AND s.evidence->>'rehearsal' <> ''
   AND s.finished_at > pg_catalog.clock_timestamp() - interval '7 days'
 ORDER BY s.finished_at DESC LIMIT 1
"""


def read_rehearsed(wire: Wire, plan_hash: str) -> str:
    """What the release that is under way with this plan wrote down of its rehearsal; "" when there is no such release."""
    if not exists(wire):
        return ""
    rows = wire.one(_REHEARSED, plan_hash).rows
    return f"{rows[0][0]} (looked at by the release)" if rows else ""


_BROKEN = """
SELECT r.options->>'breakGlass' FROM lockgate.release r
 WHERE r.plan_hash = $1 AND r.state = 'running' AND r.options->>'breakGlass' <> ''
   AND EXISTS (SELECT FROM lockgate.lease l WHERE l.release_key = r.release_key AND l.expires_at > pg_catalog.clock_timestamp())
 LIMIT 1
"""


def read_broken(wire: Wire, plan_hash: str) -> str:
    """Why the release that is under way with this plan broke the glass; "" when none did."""
    if not exists(wire):
        return ""
    rows = wire.one(_BROKEN, plan_hash).rows
    return rows[0][0] or "" if rows else ""


_FAILED_RUN = """
SELECT r.reason_code, r.message, COALESCE(r.details->'failure'->>'sqlstate', '') FROM lockgate.run r
 WHERE r.kind = 'up' AND r.reason_code <> '' AND r.started_at >= (SELECT s.started_at FROM lockgate.release_step s WHERE s.release_key = $1 AND s.name = 'migrate')
 ORDER BY r.started_at DESC LIMIT 1
"""


def read_failed_run(wire: Wire, release_key: str) -> tuple[str, str, str] | None:
    """(reason code, message, SQLSTATE) of the newest ``up`` that failed since the step ``migrate`` of the release began; None without one."""
    rows = wire.one(_FAILED_RUN, release_key).rows
    return (rows[0][0] or "", rows[0][1] or "", rows[0][2] or "") if rows else None


# -- lease --------------------------------------------------------------------------------------------


def take_lease(wire: Wire, release_key: str, holder: str, ttl: float) -> int:
    """Raise the fencing token and write who holds the lease now. Call it with the session lock in hand."""
    replies = wire.batch(
        [
            Call("INSERT INTO lockgate.lease (name) VALUES ($1) ON CONFLICT DO NOTHING", (LEASE,)),
            Call(
                "UPDATE lockgate.lease SET token = token + 1, release_key = $2, holder = $3, acquired_at = clock_timestamp(), heartbeat_at = clock_timestamp(),"
                " expires_at = clock_timestamp() + make_interval(secs => $4::double precision) WHERE name = $1 RETURNING token::text",
                (LEASE, release_key, holder, str(ttl)),
            ),
        ]
    )
    return int(replies[1].rows[0][0] or 0)


def beat_lease(wire: Wire, token: int, ttl: float) -> bool:
    """Renew the lease and the pause that hangs on it; False when another release took over."""
    replies = wire.batch(
        [
            Call(
                "UPDATE lockgate.lease SET heartbeat_at = clock_timestamp(), expires_at = clock_timestamp() + make_interval(secs => $3::double precision)"
                " WHERE name = $1 AND token = $2::bigint RETURNING 1",
                (LEASE, str(token), str(ttl)),
            ),
            Call(
                "UPDATE lockgate.worker_pause p SET expires_at = clock_timestamp() + make_interval(secs => (p.detail->>'lease')::double precision)"
                " FROM lockgate.lease l WHERE l.name = $1 AND l.token = $2::bigint AND p.release_key = l.release_key AND p.state IN ('pausing', 'paused')",
                (LEASE, str(token)),
            ),
        ]
    )
    return bool(replies[0].rows)


def end_lease(wire: Wire, token: int) -> None:
    """Give the lease back."""
    wire.one(
        "UPDATE lockgate.lease SET release_key = NULL, expires_at = clock_timestamp() WHERE name = $1 AND token = $2::bigint",
        LEASE,
        str(token),
    )


def read_holder(wire: Wire) -> dict[str, str]:
    """Who holds the lease, as its row tells it."""
    rows = wire.one(
        f"SELECT holder, COALESCE(release_key, ''), {_UTC.format('acquired_at')}, {_UTC.format('heartbeat_at')} FROM lockgate.lease WHERE name = $1",  # noqa: S608
        LEASE,
    ).rows
    names = ("holder", "releaseKey", "since", "heartbeat")
    return dict(zip(names, [c or "" for c in rows[0]], strict=True)) if rows else {}


_FENCE = f"EXISTS (SELECT FROM lockgate.lease WHERE name = '{LEASE}' AND token = $1::bigint)"


def _fenced(wire: Wire, sql: str, *parameters: str | None) -> None:
    """Run a write that has ``$1`` = token and RETURNING 1. Raises ``RunFailed`` (``FENCED``) when it touched nothing."""
    if not wire.one(sql, *parameters).rows:
        raise RunFailed(
            "another release took over this environment",
            "FENCED",
            state="What this release did is in its journal; the newer one decides now.",
            next="lockgate release show SHA; the newer release tells how it ended.",
        )


# -- release and steps ----------------------------------------------------------------------------------


def begin_release(
    wire: Wire, token: int, release_key: str, sha: str, environment: str, operator: str, host: str, options: Mapping[str, object], replay_reason: str
) -> None:  # fmt: skip
    """Write a new release, or take an unfinished one up again under this token; older unfinished ones are superseded."""
    wire.one(
        "UPDATE lockgate.release SET state = 'superseded', finished_at = clock_timestamp() WHERE state IN ('running', 'handed-off') AND release_key <> $1",
        release_key,
    )
    _fenced(
        wire,
        "INSERT INTO lockgate.release (release_key, sha, environment, state, operator, host, token, options, replay_reason, tool_version)"
        f" SELECT $2, $3, $4, 'running', $5, $6, $1::bigint, $7::jsonb, $8, $9 WHERE {_FENCE}"
        " ON CONFLICT (release_key) DO UPDATE SET state = 'running', token = excluded.token, reason_code = '', message = '', finished_at = NULL RETURNING 1",
        str(token), release_key, sha, environment, operator, host, msgspec.json.encode(options).decode(), replay_reason, __version__,
    )  # fmt: skip


def note_release(wire: Wire, token: int, release_key: str, **columns: str) -> None:
    """Set text columns of the running release (image_digest, rollback_digest, plan_hash, base, goal)."""
    known = {"image_digest", "rollback_digest", "plan_hash", "base", "goal"}
    assert columns.keys() <= known
    sets = ", ".join(f"{name} = ${number}" for number, name in enumerate(columns, 3))
    _fenced(
        wire,
        f"UPDATE lockgate.release SET {sets} WHERE release_key = $2 AND {_FENCE} RETURNING 1",  # noqa: S608 - names from the set above
        str(token),
        release_key,
        *columns.values(),
    )


def end_release(
    wire: Wire,
    token: int,
    release_key: str,
    state: str,
    code: str,
    message: str,
    details: Mapping[str, object],
) -> None:
    """Write how the release ended."""
    finished = "NULL" if state == "handed-off" else "clock_timestamp()"
    _fenced(
        wire,
        f"UPDATE lockgate.release SET state = $3, reason_code = $4, message = $5, details = $6::jsonb, finished_at = {finished}"  # noqa: S608
        f" WHERE release_key = $2 AND {_FENCE} RETURNING 1",
        str(token), release_key, state, code, message, msgspec.json.encode(details).decode(),
    )  # fmt: skip


def begin_step(wire: Wire, token: int, release_key: str, number: int, name: str, limit: float) -> None:
    """Write that a step has begun; a step that is tried again keeps its row and counts the attempt."""
    _fenced(
        wire,
        "INSERT INTO lockgate.release_step (release_key, number, name, state, limit_seconds)"
        f" SELECT $2, $3::integer, $4, 'running', $5::numeric WHERE {_FENCE}"
        " ON CONFLICT (release_key, number) DO UPDATE SET state = 'running', attempts = release_step.attempts + 1, started_at = clock_timestamp(),"
        " finished_at = NULL, reason_code = '', message = '', limit_seconds = excluded.limit_seconds RETURNING 1",
        str(token), release_key, str(number), name, str(limit),
    )  # fmt: skip


def note_step(wire: Wire, token: int, release_key: str, number: int, evidence: Mapping[str, object]) -> None:
    """Write evidence of a step that is not over: what a resume has to know, such as the name of a started job."""
    _fenced(
        wire,
        f"UPDATE lockgate.release_step SET evidence = evidence || $4::jsonb WHERE release_key = $2 AND number = $3::integer AND {_FENCE} RETURNING 1",  # noqa: S608
        str(token), release_key, str(number), msgspec.json.encode(evidence, enc_hook=str).decode(),
    )  # fmt: skip


def end_step(
    wire: Wire, token: int, release_key: str, number: int, state: str, code: str, message: str, evidence: Mapping[str, object]
) -> None:  # fmt: skip
    """Write how a step ended, with its evidence."""
    _fenced(
        wire,
        "UPDATE lockgate.release_step SET state = $4, reason_code = $5, message = $6, evidence = evidence || $7::jsonb, finished_at = clock_timestamp()"  # noqa: S608
        f" WHERE release_key = $2 AND number = $3::integer AND {_FENCE} RETURNING 1",
        str(token), release_key, str(number), state, code, message, msgspec.json.encode(evidence, enc_hook=str).decode(),
    )  # fmt: skip


_RELEASE = f"""SELECT release_key, sequence::text, sha, environment, state, reason_code, message, operator, image_digest, rollback_digest, plan_hash,
 base, goal, replay_reason, {_UTC.format("started_at")}, {_UTC.format("finished_at")}, options::text FROM lockgate.release"""  # noqa: S608


def read_releases(wire: Wire, where: str = "", *parameters: str, most: int = 50) -> list[ReleaseRow]:
    """Releases, newest first (by sequence, not by clock). ``where`` is one of our own conditions."""
    if not exists(wire):
        return []
    sql = f"{_RELEASE} {'WHERE ' + where if where else ''} ORDER BY release.sequence DESC LIMIT {most}"
    return [_release([v or "" for v in row]) for row in wire.one(sql, *parameters).rows]


def seconds_since(wire: Wire, release_key: str) -> float | None:
    """Seconds since a release ended, by the server's clock; None for one that did not end."""
    sql = "SELECT extract(epoch FROM clock_timestamp() - finished_at)::text FROM lockgate.release WHERE release_key = $1"
    found = wire.value(sql, release_key)
    return None if found is None else float(found)


def _release(c: list[str]) -> ReleaseRow:
    return ReleaseRow(
        c[0], int(c[1]), c[2], c[3], c[4], c[5], c[6], c[7], c[8], c[9], c[10], c[11], c[12], c[13], c[14], c[15],
        msgspec.json.decode(c[16] or "{}"),
    )  # fmt: skip


def read_steps(wire: Wire, release_key: str) -> list[StepRow]:
    """The journal of a release, in order."""
    rows = wire.one(
        f"SELECT number::text, name, state, attempts::text, limit_seconds::text, {_UTC.format('started_at')}, {_UTC.format('finished_at')},"  # noqa: S608
        " COALESCE(extract(epoch FROM finished_at - started_at), 0)::text, reason_code, message, evidence::text"
        " FROM lockgate.release_step WHERE release_key = $1 ORDER BY release_step.number",
        release_key,
    ).rows
    return [
        StepRow(
            int(r[0] or 0), r[1] or "", r[2] or "", int(r[3] or 0), float(r[4] or 0), r[5] or "", r[6] or "", round(float(r[7] or 0), 3),
            r[8] or "", r[9] or "", msgspec.json.decode(r[10] or "{}"),
        )
        for r in rows
    ]  # fmt: skip


def add_event(wire: Wire, release_key: str, kind: str, actor: str, detail: Mapping[str, object]) -> None:
    """Add what a person chose; such rows are never changed."""
    wire.one(
        "INSERT INTO lockgate.release_event (release_key, kind, actor, detail) VALUES ($1, $2, $3, $4::jsonb)",
        release_key, kind, actor, msgspec.json.encode(detail).decode(),
    )  # fmt: skip


# -- the pause of the workers ---------------------------------------------------------------------------


def begin_pause(
    wire: Wire, token: int, release_key: str, provider: str, owner: str, reason: str, lease: float, detail: Mapping[str, object]
) -> None:  # fmt: skip
    """Write that the workers are being paused, before they are: what is never forgotten is who has to let them go."""
    _fenced(
        wire,
        "INSERT INTO lockgate.worker_pause (name, state, provider, release_key, owner, reason, expires_at, detail)"
        f" SELECT 'workers', 'pausing', $3, $2, $4, $5, clock_timestamp() + make_interval(secs => $6::double precision), $7::jsonb WHERE {_FENCE}"
        " ON CONFLICT (name) DO UPDATE SET state = 'pausing', provider = excluded.provider, release_key = excluded.release_key, owner = excluded.owner,"
        # What was known of the workers before the first pause is kept while that pause was never ended.
        " reason = excluded.reason, paused_at = clock_timestamp(), stopped_at = NULL, expires_at = excluded.expires_at, resumed_at = NULL,"
        " detail = CASE WHEN worker_pause.state = 'resumed' THEN excluded.detail ELSE excluded.detail || (worker_pause.detail - 'canary') END RETURNING 1",
        str(token), release_key, provider, owner, reason, str(lease),
        msgspec.json.encode({"lease": lease, **detail}).decode(),
    )  # fmt: skip


def set_pause(
    wire: Wire, token: int, state: str, *, reason: str = "", seconds: float = 0.0, detail: Mapping[str, object] | None = None
) -> None:  # fmt: skip
    """Move the pause on: ``paused`` (they stopped), ``held`` (they stay stopped), ``resumed``. ``seconds`` set a new end."""
    _fenced(
        wire,
        "UPDATE lockgate.worker_pause SET state = $2, reason = CASE WHEN $3 = '' THEN reason ELSE $3 END, detail = detail || $4::jsonb,"  # noqa: S608
        " stopped_at = CASE WHEN $2 = 'paused' THEN clock_timestamp() ELSE stopped_at END,"
        " resumed_at = CASE WHEN $2 = 'resumed' THEN clock_timestamp() END,"
        " expires_at = CASE WHEN $5::double precision > 0 THEN clock_timestamp() + make_interval(secs => $5::double precision) ELSE expires_at END"
        f" WHERE name = 'workers' AND {_FENCE} RETURNING 1",
        str(token), state, reason, msgspec.json.encode(detail or {}).decode(), str(seconds),
    )  # fmt: skip


def read_pause(wire: Wire) -> PauseRow | None:
    """The pause of the workers; None where there never was one."""
    if not exists(wire):
        return None
    rows = wire.one(
        f"SELECT name, state, provider, release_key, owner, reason, {_UTC.format('paused_at')}, {_UTC.format('stopped_at')}, {_UTC.format('expires_at')},"  # noqa: S608
        f" state <> 'resumed' AND expires_at < clock_timestamp(), {_UTC.format('resumed_at')}, detail::text FROM lockgate.worker_pause WHERE name = 'workers'"
    ).rows
    if not rows:
        return None
    c = [v or "" for v in rows[0]]
    return PauseRow(
        c[0],
        c[1],
        c[2],
        c[3],
        c[4],
        c[5],
        c[6],
        c[7],
        c[8],
        c[9] == "t",
        c[10],
        msgspec.json.decode(c[11] or "{}"),
    )
