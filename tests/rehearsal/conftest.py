"""Rehearsals on the session's server."""

from collections.abc import Callable, Iterator
from functools import partial

import pytest

from lockgate.postgres.alarm import Alarm
from lockgate.postgres.embedded import Embedded
from lockgate.postgres.scratch import Ground
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Wire
from lockgate.rehearsal.report import Rehearsal
from rehearsal.rehearsals import rehearsed


@pytest.fixture
def alarm() -> Iterator[Alarm]:
    """An alarm that nobody rings."""
    made = Alarm()
    yield made
    made.close()


@pytest.fixture
def ground(server: Embedded) -> Iterator[Ground]:
    """The session's server as ground: it may hold templates."""
    with Ground(Target(server.url(), source="test"), ours=True) as opened:
        yield opened


@pytest.fixture
def rehearse(ground: Ground, alarm: Alarm) -> Callable[..., Rehearsal]:
    """Rehearse files: ``rehearse(sql, sql, base=1, queries="...")``; ``base`` is how many of them are applied already."""
    return partial(rehearsed, ground, alarm)


@pytest.fixture
def wire(database: str) -> Iterator[Wire]:
    """A session on a fresh database."""
    opened = Wire(Target(database, source="test"), "rows")
    yield opened
    opened.close()
