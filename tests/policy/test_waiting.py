"""Statements that run outside of transactions: what each asks for on one relation, shown by making it wait there."""

import threading

import psycopg
import pytest
from claims import claim, model_of
from observation import relations

from lockgate.postgres.embedded import Embedded
from support import servers

_SCHEMA = """
create table t (id int primary key);
create table par (id int not null, k int not null, v text) partition by range (k);
create table par1 partition of par for values from (0) to (10);
create table par2 partition of par for values from (10) to (20) partition by list (id);
create table par2a partition of par2 for values in (1);
create index par_v on par (v);
create table inh (id int, v text); create table inh1 (w int) inherits (inh);
create table clu (id int primary key, v int); create index clu_v on clu (v); cluster clu using clu_v;
create table had (id int primary key); cluster had using had_pkey; alter table had set without cluster;
"""
_CASES = [
    ("vacuum full par", "par2"),
    ("vacuum full par", "par2a"),
    ("vacuum full inh", "inh1"),
    ("vacuum inh", "inh1"),
    ("cluster", "clu"),
    ("cluster", "had"),
    ("cluster par using par_v", "par2"),
    ("cluster par using par_v", "par2a"),
    ("reindex table par", "par2"),
    ("reindex table concurrently par", "par"),
    ("reindex table concurrently par", "par1"),
    ("reindex table concurrently par", "par2"),
    ("reindex index par_v", "par"),
    ("reindex index concurrently par_v", "par"),
    ("drop index concurrently if exists nope", "t"),
    # Only its last step asks for what no reader lets it have; after it par2 stands alone.
    ("alter table par detach partition par2 concurrently", "par2a"),
]
_ASKED = "SELECT relation, mode FROM pg_locks WHERE pid = %s AND locktype = 'relation' AND NOT granted"


@pytest.mark.postgres("16", "18")
def test_what_is_asked_for_is_what_is_claimed(server: Embedded) -> None:
    """Held up at one relation, a statement asks there for the lock that is claimed, or runs by where none is."""
    wrong = []
    with servers.fresh_database(server, "policy_waiting") as url:
        with psycopg.connect(url, autocommit=True) as connection:
            version = connection.info.server_version // 10000
            connection.execute(_SCHEMA)  # type: ignore[call-overload]
        schema = model_of(_SCHEMA, version=version)
        for statement, table in _CASES:
            _, facts = claim(statement, schema, version)
            assert not facts.transactional, statement
            claimed = facts.locks.get(table)
            asked = _asked_for(url, statement, table)
            if asked != (claimed.name if claimed is not None else None):
                wrong.append(f"{statement}: on {table} claimed {claimed}, asked for {asked}")
    assert not wrong, "\n" + "\n".join(wrong)


def _asked_for(url: str, statement: str, table: str) -> str | None:
    """The mode that ``statement`` waits for while another session holds ``table``; None where it ends without."""
    with (
        psycopg.connect(url, autocommit=True) as worker,
        psycopg.connect(url, autocommit=True) as watcher,
        psycopg.connect(url) as holder,
    ):
        look = watcher.cursor()
        names = {oid: name for oid, (name, _) in relations(look).items()}
        held = "ACCESS SHARE" if "detach" in statement else "ACCESS EXCLUSIVE"
        holder.execute(f"LOCK TABLE ONLY {table} IN {held} MODE")  # type: ignore[call-overload]
        thread = threading.Thread(target=worker.execute, args=(statement,))
        thread.start()
        found = None
        while thread.is_alive() and found is None:
            look.execute(_ASKED, (worker.info.backend_pid,))
            found = next((mode for oid, mode in look.fetchall() if names.get(oid) == table), None)
        holder.rollback()
        thread.join()
        return found
