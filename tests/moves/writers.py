"""Writers with a ledger of what the server acknowledged: at the end the serving table has to hold exactly that."""

import random
import threading
from typing import Any

import psycopg

from support.processes import until

MAKE = (
    "CREATE TABLE item (a int, b text, v text, u int UNIQUE, n numeric, big text, at timestamptz, PRIMARY KEY (a, b))",
    "INSERT INTO item SELECT g % 7, 'k' || g, 'v' || g, g, g / 3.0, repeat(md5(g::text), CASE WHEN g % 50 = 0 THEN 200 ELSE 1 END), '2026-01-01' FROM generate_series(1, {rows}) g",
)
SELECT = "SELECT a, b, v, u, n::text, md5(big) FROM item"


class Writer(threading.Thread):
    """One session that writes to rows of its own: inserts, updates (to NULL too), deletes, key updates, swaps of unique values, TOASTed values.

    ``pace`` is the pause between two writes in seconds: a busy service, not a benchmark, leaves the cores something for the relay.
    """

    def __init__(
        self, url: "str | list[str]", number: int, of: int, rows: int, seed: int, pace: float
    ) -> None:
        super().__init__(name=f"writer {number}")
        self.urls = [url] if isinstance(url, str) else url
        self.serving = 0
        self.rng = random.Random(seed * 100 + number)
        self.number, self.of, self.pace = number, of, pace
        self.stop_asked = threading.Event()
        self.error: BaseException | None = None
        self.held: dict[tuple[int, str], tuple[Any, ...]] = {}
        self.pending: dict[tuple[int, str], tuple[Any, ...] | None] = {}
        self.next_unique = rows + 1 + number
        self.writes = self.refused = 0
        self.worst = 0.0

    def load(self) -> None:
        """Take over the rows that are ours: those whose unique number has our remainder."""
        with psycopg.connect(self.urls[self.serving], autocommit=True) as connection:
            for row in connection.execute(SELECT):
                if row[3] % self.of == self.number:
                    self.held[row[0], row[1]] = row

    def run(self) -> None:
        try:
            while not self.stop_asked.is_set():
                with psycopg.connect(self.urls[self.serving], autocommit=True) as connection:
                    while not self.stop_asked.wait(self.pace):
                        try:
                            self.write(connection)
                        except psycopg.errors.DatabaseError as error:
                            if error.sqlstate == "LG010":
                                self.refused += 1
                                self.serving = (self.serving + 1) % len(self.urls)
                                break
                            if error.sqlstate not in ("40P01", "55P03"):
                                raise
        except BaseException as error:
            self.error = error

    def write(self, connection: psycopg.Connection) -> None:
        """One transaction; what it did counts once COMMIT is acknowledged."""
        import time

        begin = time.monotonic()
        after: dict[tuple[int, str], tuple[Any, ...] | None] = {}
        self.pending = after
        kind = self.rng.random()
        keys = list(self.held)
        with connection.transaction():
            cursor = connection.cursor()

            def run(sql: str, *parameters: object) -> None:
                for row in cursor.execute(
                    sql + " RETURNING a, b, v, u, n::text, md5(big)", parameters
                ).fetchall():
                    after[row[0], row[1]] = row

            if kind < 0.25 or len(keys) < 4:
                self.next_unique += self.of
                big = "x" * self.rng.choice((1, 1, 10_000))
                run(
                    "INSERT INTO item VALUES (%s, %s, %s, %s, %s, %s, now())",
                    self.rng.randrange(7),
                    f"n{self.next_unique}",
                    "new",
                    self.next_unique,
                    1,
                    big,
                )
            elif kind < 0.5:
                a, b = self.rng.choice(keys)
                run(
                    "UPDATE item SET v = %s WHERE a = %s AND b = %s",
                    self.rng.choice((None, "", "w", str(self.rng.random()))),
                    a,
                    b,
                )
            elif kind < 0.6:
                a, b = self.rng.choice(keys)
                run("UPDATE item SET n = NULL, big = NULL WHERE a = %s AND b = %s", a, b)
            elif kind < 0.75:
                a, b = self.rng.choice(keys)
                cursor.execute("DELETE FROM item WHERE a = %s AND b = %s", (a, b))
                after[a, b] = None
            elif kind < 0.85:
                a, b = self.rng.choice(keys)
                after[a, b] = None
                run(
                    "UPDATE item SET a = %s, b = %s WHERE a = %s AND b = %s",
                    self.rng.randrange(7),
                    f"m{self.number}-{self.writes}",
                    a,
                    b,
                )
            else:
                one, two = self.rng.sample(keys, 2)
                x, y = self.held[one][3], self.held[two][3]
                cursor.execute("UPDATE item SET u = -%s - 1 WHERE a = %s AND b = %s", (x, *one))
                run("UPDATE item SET u = %s WHERE a = %s AND b = %s", x, *two)
                run("UPDATE item SET u = %s WHERE a = %s AND b = %s", y, *one)
        for key, row in after.items():
            if row is None:
                self.held.pop(key, None)
            else:
                self.held[key] = row
        self.pending = {}
        self.writes += 1
        self.worst = max(self.worst, time.monotonic() - begin)


class Stubborn(Writer):
    """A writer whose server may die under it: it connects again, and looks what became of the write whose answer it did not get."""

    def run(self) -> None:
        try:
            while not (self.stop_asked.is_set() and not self.pending):
                try:
                    with psycopg.connect(
                        self.urls[self.serving], autocommit=True, connect_timeout=10
                    ) as connection:
                        self.settle(connection)
                        while not self.stop_asked.wait(self.pace):
                            self.write(connection)
                except psycopg.errors.DatabaseError as error:
                    # Nobody answers, the session was lost, or the table was exchanged under it.
                    if not isinstance(error, psycopg.OperationalError) and error.sqlstate != "LG010":
                        raise
                    if error.sqlstate == "LG010":
                        self.serving = (self.serving + 1) % len(self.urls)
                    self.stop_asked.wait(0.02)
        except BaseException as error:
            self.error = error

    def settle(self, connection: psycopg.Connection) -> None:
        """The write that was cut off is there as a whole, or not at all."""
        after, self.pending = self.pending, {}
        try:
            found: dict[tuple[int, str], tuple[Any, ...] | None] = dict.fromkeys(after)
            for a, b in after:
                for row in connection.execute(f"{SELECT} WHERE a = %s AND b = %s", (a, b)):
                    found[a, b] = row
        except BaseException:
            self.pending = after
            raise
        assert found in (after, {k: self.held.get(k) for k in after}), (found, after)
        for key, row in found.items():
            if row is None:
                self.held.pop(key, None)
            else:
                self.held[key] = row


class Load:
    """Some writers at once."""

    def __init__(
        self,
        url: "str | list[str]",
        rows: int,
        *,
        writers: int = 3,
        seed: int = 1,
        pace: float = 0.004,
        kind: type[Writer] = Writer,
    ) -> None:
        self.writers = [kind(url, i, writers, rows, seed, pace) for i in range(writers)]
        for writer in self.writers:
            writer.load()

    def __enter__(self) -> "Load":
        for writer in self.writers:
            writer.start()
        return self

    def __exit__(self, *_: object) -> None:
        for writer in self.writers:
            writer.stop_asked.set()
        for writer in self.writers:
            writer.join()
        for writer in self.writers:
            if writer.error is not None:
                raise writer.error

    @property
    def writes(self) -> int:
        return sum(w.writes for w in self.writers)

    def go_on(self, writes: int) -> None:
        """Wait until so many more writes are acknowledged."""
        wanted = self.writes + writes
        until(lambda: self.writes > wanted or any(w.error for w in self.writers))

    def check(self, url: str, table: str = "item") -> None:
        """The table holds every acknowledged write, nothing stale and nothing resurrected."""
        expected = {k: v for w in self.writers for k, v in w.held.items()}
        with psycopg.connect(url, autocommit=True) as connection:
            seen = {(r[0], r[1]): r for r in connection.execute(SELECT.replace("item", table))}
        missing = expected.keys() - seen.keys()
        resurrected = seen.keys() - expected.keys()
        stale = {k for k in expected.keys() & seen.keys() if expected[k] != seen[k]}
        assert not missing, f"{len(missing)} missing: {sorted(missing)[:3]}"
        assert not resurrected, f"{len(resurrected)} resurrected: {sorted(resurrected)[:3]}"
        assert not stale, f"{len(stale)} stale: {[(expected[k], seen[k]) for k in sorted(stale)[:3]]}"
