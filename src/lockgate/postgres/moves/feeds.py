"""What waits in the outbox of a feed, and since when."""

from typing import NamedTuple

from lockgate.postgres.link import Link
from lockgate.record.words import agree, counted


class Waits(NamedTuple):
    """So many entries wait, the oldest for so many seconds (None where none does)."""

    entries: int
    oldest: float | None

    @property
    def words(self) -> str:
        """The same for people."""
        old = "" if self.oldest is None else f", the oldest for {self.oldest:.0f} s"
        return f"{counted(self.entries, 'write')} {agree(self.entries, 'waits', 'wait')} in its outbox{old}"


def waits(link: Link, name: str, feed: str) -> Waits | None:
    """What waits in a feed of the move ``name`` whose origin is in the database of ``link``; None where there is no such feed."""
    outbox = f'lockgate."outbox_{name}_{feed}"'
    if not link.value("SELECT pg_catalog.to_regclass($1) IS NOT NULL", outbox):
        return None
    entries, oldest = link.rows(
        f"SELECT count(*), EXTRACT(epoch FROM clock_timestamp() - min(at))::float8 FROM {outbox}"
    )[0]
    return Waits(int(entries), oldest)
