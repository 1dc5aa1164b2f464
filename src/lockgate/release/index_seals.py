"""What ``doctor`` says of the indexes in the database: a sealed generation that does not hold what it was sealed with.

Reads only, and counts only: the content is for ``index validate``. What lives in other stores is counted by ``index list``.
"""

from lockgate.postgres.doctor import Finding, Severity
from lockgate.postgres.quoting import qualified
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.wire import Call, Wire
from lockgate.stores.open_search import IN_DATABASE
from lockgate.stores.pgsearch import SCHEMA
from lockgate.stores.searching import physical_name

_SEALED = (
    "SELECT g.name, g.generation, g.records::text, CASE WHEN g.live THEN 'live' WHEN a.previous = g.generation AND a.rollback_until > pg_catalog.clock_timestamp() "
    "THEN 'back' ELSE '' END, (pg_catalog.to_regclass($2::text || '.' || pg_catalog.quote_ident(g.name || '__' || g.generation)) IS NOT NULL)::text "
    "FROM lockgate.index_generation g LEFT JOIN lockgate.index_alias a ON a.name = g.name "
    "WHERE g.state = 'sealed' AND g.store = ANY ($1::text[]) ORDER BY 1, 2"
)
_FED = (
    "SELECT declaration -> 'index' ->> 'name', declaration ->> 'generation', declaration ->> 'previous' FROM lockgate.move "
    "WHERE declaration ->> 'kind' = 'index' AND stage NOT IN ('finished', 'aborted')"
)


def index_seals(wire: Wire) -> list[Finding]:
    """The findings. A generation that a move feeds goes on changing, so nothing is said of it."""
    there = _there(wire)
    if "index_generation" not in there:
        return []
    try:
        fed = set()
        if "move" in there:
            fed = {(name, one) for name, *both in _ask(wire, _FED) for one in both if one}
        rows = _ask(wire, _SEALED, f"{{{','.join(IN_DATABASE)}}}", SCHEMA)
        return [
            found for row in rows if (row[0], row[1]) not in fed and (found := _of(wire, row)) is not None
        ]
    except ServerError as error:
        return [
            Finding(
                "check-impossible", "warning", "the check index-seals could not be made, so nothing is known of what it looks for",
                f"{error.sqlstate} {error.message}", "Run lockgate doctor as the migrator or as an administrator.",
            )
        ]  # fmt: skip


def _of(wire: Wire, row: list[str]) -> Finding | None:
    name, generation, sealed, role, there = row
    count = 0
    if there == "true":
        table = qualified(SCHEMA, physical_name(name, generation))
        rows = _ask(wire, f"SELECT count(*)::text FROM {table}")  # noqa: S608 - the name is quoted
        count = int(rows[0][0])
        if count == int(sealed):
            return None
    return judge_seal(name, generation, int(sealed), count, serving=role == "live", way_back=role == "back")


def judge_seal(
    name: str, generation: str, sealed: int, count: int, *, serving: bool, way_back: bool
) -> Finding:
    """The finding for a count that is not the sealed one: losses of what serves are an error, of the way back a warning, additions are told."""
    severity: Severity = "info"
    words = f"generation {generation} of the index {name} holds {count} records, and was sealed with {sealed}"
    if serving:
        words += ": it serves"
        severity = "error" if count < sealed else "info"
        then = f"lockgate index rollback {name}, or build it anew and swap" if count < sealed else f"lockgate index list {name}"  # fmt: skip
    elif way_back:
        words += ": it is the way back, and a rollback refuses it"
        severity, then = "warning", f"lockgate index list {name}; in an emergency lockgate index rollback {name} --changed"  # fmt: skip
    else:
        words += ": no swap leads to it"
        severity, then = "warning", f"lockgate index list {name}; lockgate index gc {name} drops what nothing needs"  # fmt: skip
    return Finding("index-changed", severity, words, "lockgate.index_generation", then)


def _there(wire: Wire) -> set[str]:
    return {row[0] for row in _ask(wire, "SELECT tablename::text FROM pg_catalog.pg_tables WHERE schemaname = 'lockgate'")}  # fmt: skip


def _ask(wire: Wire, sql: str, *parameters: str) -> list[list[str]]:
    """Rows, read in a transaction that changes nothing and waits for nobody for long."""
    settings = "SELECT pg_catalog.set_config('lock_timeout', '2s', true), pg_catalog.set_config('statement_timeout', '30s', true)"
    calls = [Call("BEGIN READ ONLY"), Call(settings), Call(sql, parameters), Call("ROLLBACK")]
    try:
        return [[cell or "" for cell in row] for row in wire.batch(calls, label="doctor indexes")[2].rows]
    except ServerError:
        if wire.alive and wire.in_transaction:
            wire.batch([Call("ROLLBACK")], uncancellable=True, label="rollback")
        raise
