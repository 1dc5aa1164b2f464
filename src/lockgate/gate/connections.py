"""Connections of a live process: recycled when the schema moves under it, warmed up before the first request.

A prepared statement whose result type changed fails once on every connection that holds it (0A000). Nothing here imports a
driver: the pool and the engine are the caller's own.
"""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from lockgate.gate.readiness import Readiness
    from lockgate.gate.report import Report
    from lockgate.gate.service import Gate


def recycle_pool(gate: "Gate", pool: Any) -> None:
    """Drain a ``psycopg_pool.ConnectionPool`` when the gate sees another schema revision.

    Idle connections are replaced at once, borrowed ones when they come back.
    """
    _on_new_revision(gate, pool.drain)


def recycle_engine(gate: "Gate", engine: Any) -> None:
    """Dispose of the pool of a SQLAlchemy ``Engine`` when the gate sees another schema revision.

    A connection on which 0A000 happens before that is thrown away with its pool, so the error comes once, not once a
    connection.
    """
    from sqlalchemy import event

    _on_new_revision(gate, engine.dispose)

    def stale(context: Any) -> None:
        if getattr(context.original_exception, "sqlstate", None) == "0A000":
            context.is_disconnect = True

    event.listen(engine, "handle_error", stale)


def _on_new_revision(gate: "Gate", recycle: Callable[[], object]) -> None:
    known = ""

    def changed(before: "Readiness", after: "Readiness", report: "Report") -> None:
        nonlocal known
        revision = str(report.observed.get("revision", ""))
        if revision and known and revision != known:
            recycle()
        known = revision or known

    gate.on_change(changed)


class Cold(NamedTuple):
    """A query that could not be prepared on the schema as it is."""

    query: str
    sqlstate: str
    message: str


def warm_up(pool: Any, queries: Iterable[str], *, connections: int | None = None) -> tuple[Cold, ...]:
    """Prepare every query (parameters as ``$1``) once on ``connections`` connections of ``pool`` at the same time.

    The server loads its catalogues for each, and what does not fit the schema shows before the first request: the queries
    that failed come back. Without ``connections`` the pool's smallest size is taken. For a gate:
    ``Probe.python("warm-up", lambda: not warm_up(pool, queries))``.
    """
    found: dict[str, Cold] = {}
    wanted = list(queries)
    with ExitStack() as borrowed:
        for _ in range(connections or max(1, getattr(pool, "min_size", 1))):
            connection = borrowed.enter_context(pool.connection())
            for query in wanted:
                try:
                    with connection.transaction():
                        # PREPARE has no parameters of its own; the text is the application's, as it would send it.
                        connection.execute(
                            f"PREPARE lockgate_warm_up AS {query.rstrip().rstrip(';')}", prepare=False
                        )
                        connection.execute("DEALLOCATE lockgate_warm_up", prepare=False)
                except Exception as error:
                    state = getattr(error, "sqlstate", None)
                    if state is None:
                        raise
                    found[query] = Cold(query, state, str(error).splitlines()[0])
    return tuple(found.values())
