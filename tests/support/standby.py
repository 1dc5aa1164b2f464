"""A primary and a streaming standby of it, both of the test's own."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from faults.cluster import Cluster
from lockgate.postgres.embedded import Embedded
from support.processes import until


@contextmanager
def primary_and_standby(
    server: Embedded, directory: Path, label: str, *, fill: Callable[[str], object] = lambda _url: None
) -> Iterator[tuple[Cluster, Cluster]]:
    """(primary, standby) of the programs of ``server``; ``fill`` is given the primary's URL. Handed out once the primary sees how far replay is."""
    folder = directory / f"pair-{uuid.uuid4().hex[:8]}"
    primary = Cluster.like(server, folder, directory, label)
    standby = None
    try:
        primary.start()
        standby = primary.standby(directory / f"{folder.name}s")
        fill(primary.url())
        until(
            lambda: primary.execute(
                "SELECT 1 FROM pg_stat_replication WHERE state = 'streaming' AND replay_lsn IS NOT NULL"
            )
        )
        yield primary, standby
    finally:
        for one in (standby, primary):
            if one is not None:
                one.remove()
