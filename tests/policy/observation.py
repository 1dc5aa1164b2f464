"""What the server shows of one statement: locks held, storage replaced, tables read from end to end."""

from typing import Any

import psycopg
from msgspec import Struct

from lockgate.postgres.tree.words import LockMode

_RELATIONS = """
SELECT c.oid,
       CASE WHEN n.nspname = 'public' THEN '' ELSE CASE WHEN n.nspname ~ '[.]' THEN format('"%s"', n.nspname) ELSE n.nspname END || '.' END
         || CASE WHEN c.relname ~ '[.]' THEN format('"%s"', c.relname) ELSE c.relname END,
       pg_relation_filenode(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg_toast%'
"""
_LOCKS = "SELECT relation, mode FROM pg_locks WHERE pid = %s AND locktype = 'relation' AND granted"
_SCANS = "SELECT relid, seq_scan FROM pg_stat_xact_user_tables"


class Observed(Struct):
    """Facts that were measured, on relations that existed before the statement."""

    locks: dict[str, LockMode]
    rewrites: set[str]
    scans: set[str]


def relations(cursor: psycopg.Cursor[Any]) -> dict[int, tuple[str, int | None]]:
    """Every user relation: oid → (name as reports show it, file of its storage)."""
    cursor.execute(_RELATIONS)
    return {oid: (name, filenode) for oid, name, filenode in cursor.fetchall()}


def strongest(rows: list[tuple[int, str]], before: dict[int, tuple[str, int | None]]) -> dict[str, LockMode]:
    """The strongest mode on each relation that existed before."""
    locks: dict[str, LockMode] = {}
    for oid, mode in rows:
        if oid in before:
            name = before[oid][0]
            locks[name] = max(locks.get(name, LockMode.AccessShareLock), LockMode[mode])
    return locks


def rewritten(
    before: dict[int, tuple[str, int | None]], after: dict[int, tuple[str, int | None]]
) -> set[str]:
    """Relations whose storage is another; an index that was made again keeps its name but not its oid."""
    by_name = dict(after.values())
    found = set()
    for oid, (name, filenode) in before.items():
        now = after[oid][1] if oid in after else by_name.get(name)
        if filenode is not None and now is not None and now != filenode:
            found.add(name)
    return found


def observe(
    cursor: psycopg.Cursor[Any], sql: str, before: dict[int, tuple[str, int | None]] | None = None
) -> Observed:
    """Run ``sql`` in the open transaction of ``cursor``, which the caller rolls back, and look.

    ``before`` are the relations, where the caller knows them: after a rollback they are what they were.
    """
    if before is None:
        before = relations(cursor)
    cursor.execute(_SCANS)
    read_before = dict(cursor.fetchall())
    cursor.execute(sql)
    cursor.execute(_LOCKS, (cursor.connection.info.backend_pid,))
    locks = strongest(cursor.fetchall(), before)
    after = relations(cursor)
    cursor.execute(_SCANS)
    scans = {
        before[oid][0]
        for oid, count in cursor.fetchall()
        if oid in before and (count or 0) > (read_before.get(oid) or 0)
    }
    return Observed(locks, rewritten(before, after), scans)


def anew(
    cursor: psycopg.Cursor[Any],
    url: str,
    sql: str,
    before: dict[int, tuple[str, int | None]] | None = None,
) -> Observed:
    """What a session shows that has just begun, with the search path of ``cursor``, whose transaction has ended.

    A session that once worked out the bounds of a partition does not lock its parents for them again.
    """
    cursor.execute("SHOW search_path")
    (path,) = cursor.fetchone() or ("",)
    with psycopg.connect(url, autocommit=True) as connection:
        fresh = connection.cursor()
        fresh.execute("SET client_min_messages = error")
        fresh.execute("SELECT set_config('search_path', %s, false)", [path])
        fresh.execute("BEGIN")
        seen = observe(fresh, sql, before)
        fresh.execute("ROLLBACK")
    return seen


def observe_outside(url: str, sql: str, tables: list[str]) -> Observed:
    """Run ``sql`` outside a transaction, held up by an old snapshot on ``tables``, and look while it waits.

    What is seen are the locks up to that wait and in quick looks after it: no more than the statement takes.
    """
    import threading

    with (
        psycopg.connect(url, autocommit=True) as worker,
        psycopg.connect(url, autocommit=True) as watcher,
        psycopg.connect(url) as blocker,
    ):
        look = watcher.cursor()
        before = relations(look)
        blocker.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        blocker.execute("SELECT 1")
        for table in tables:
            blocker.execute(f"SELECT 1 FROM {table} LIMIT 0")  # type: ignore[call-overload]
        thread = threading.Thread(target=worker.execute, args=(sql,))
        thread.start()
        pid = worker.info.backend_pid
        rows: list[tuple[int, str]] = []
        for _ in range(2000):
            look.execute(_LOCKS, (pid,))
            rows += look.fetchall()
            look.execute("SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s", (pid,))
            if (look.fetchone() or (False,))[0] or not thread.is_alive():
                break
        blocker.rollback()
        while thread.is_alive():
            look.execute(_LOCKS, (pid,))
            rows += look.fetchall()
            thread.join(0.001)
        return Observed(strongest(rows, before), rewritten(before, relations(look)), set())
