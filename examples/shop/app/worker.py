"""The relay: takes events from the outbox, one transaction each, and hands them over by a line in a file.

It holds an advisory lock while it works and asks lockgate's flag after taking it. So whoever sets the flag first and then
counts locks sees every worker that may still be at work: a count of 0 is the proof that all have stopped.
"""

import json
import os
import sys
import time
from pathlib import Path

import psycopg

LOCK = "SELECT pg_advisory_xact_lock_shared(5404, 1)"
PAUSED = "SELECT lockgate.workers_paused(%s)"
TAKE = """
DELETE FROM shop.outbox WHERE id = (SELECT id FROM shop.outbox ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 1)
RETURNING id, topic, entity_key
"""


def work(name: str, out: Path) -> None:
    """Take events until the process is ended. A database that is not there, or not set up yet, is waited for."""
    while True:
        try:
            with psycopg.connect(
                os.environ["SHOP_DATABASE_URL"], application_name=f"shop-{name}", connect_timeout=3
            ) as connection:
                while True:
                    time.sleep(0.0 if take(connection, name, out) else 0.1)
        except psycopg.Error:
            time.sleep(0.3)


def take(connection: psycopg.Connection, name: str, out: Path) -> bool:
    """Hand over one event; whether there was one."""
    with connection.transaction():
        connection.execute(LOCK)
        paused = connection.execute(PAUSED, [name]).fetchone()
        if paused and paused[0]:
            return False
        event = connection.execute(TAKE).fetchone()
        if event is None:
            return False
        with out.open("a", encoding="utf-8") as file:
            file.write(
                json.dumps({"id": event[0], "topic": event[1], "key": event[2], "worker": name}) + "\n"
            )
        return True


if __name__ == "__main__":
    work(sys.argv[1], Path(sys.argv[2]))
