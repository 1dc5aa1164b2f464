"""A smoke test of the relay: an event goes in, one worker hands it over, exactly once."""

import json
import os
import sys
import time
from pathlib import Path

import psycopg

RELAY = Path(__file__).resolve().parent.parent / ".lockgate" / "relay.jsonl"
INSERT = "INSERT INTO shop.outbox (topic, entity_key, payload) VALUES ('smoke', %s, '{}') RETURNING id"


def handed_over(event: int) -> list[str]:
    """Which workers handed the event over."""
    lines = RELAY.read_text("utf-8").splitlines() if RELAY.is_file() else []
    return [
        told["worker"] for told in map(json.loads, lines) if told["id"] == event and told["topic"] == "smoke"
    ]


def main() -> None:
    """Insert, wait, count."""
    with psycopg.connect(os.environ["SHOP_DATABASE_URL"], autocommit=True) as connection:
        event = connection.execute(INSERT, [sys.argv[1]]).fetchone()[0]
        deadline = time.monotonic() + 10
        while connection.execute("SELECT 1 FROM shop.outbox WHERE id = %s", [event]).fetchone():
            if time.monotonic() > deadline:
                sys.exit(f"event {event} was not taken in 10 s")
            time.sleep(0.05)
    workers = handed_over(event)
    if len(workers) != 1:
        sys.exit(f"event {event} was handed over {len(workers)} times")
    print(f"event {event} handed over once, by {workers[0]}")


if __name__ == "__main__":
    main()
