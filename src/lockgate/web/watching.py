"""Looking at every configured environment: figures, pending files, parity. Cached, so that scrapes do not add up."""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from lockgate.gate.regions import parity
from lockgate.postgres.metrics import read_figures
from lockgate.postgres.overview import Overview, read_overview
from lockgate.web.metrics import Watched

if TYPE_CHECKING:
    from lockgate.postgres.target import Target


class Environments:
    """The environments to watch: name → target, and name → regions where it has some.

    ``revisions`` are those of the files, None where there are none to compare with. ``seconds`` is for how long a look
    counts; ``clock`` is monotonic.
    """

    def __init__(
        self,
        targets: "Mapping[str, Target]",
        regions: "Mapping[str, Mapping[str, Target]]",
        revisions: tuple[str, ...] | None,
        *,
        seconds: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._targets = targets
        self._regions = regions
        self._revisions = revisions
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: tuple[Watched, ...] = ()
        self._at = 0.0
        self._viewed: dict[str, Overview] = {}
        self._viewed_at = 0.0

    def look(self) -> tuple[Watched, ...]:
        """Every environment; at most ``seconds`` old. One look at a time, whoever asks."""
        with self._lock:
            if not self._seen or self._clock() - self._at >= self._seconds:
                with ThreadPoolExecutor(8, "lockgate-watch") as pool:
                    self._seen = tuple(pool.map(self._one, self._targets))
                self._at = self._clock()
            return self._seen

    def view(self) -> dict[str, Overview]:
        """Name → what an operator looks at first; read for the page only, so that scrapes do not pay for it."""
        with self._lock:
            if not self._viewed or self._clock() - self._viewed_at >= self._seconds:
                with ThreadPoolExecutor(8, "lockgate-view") as pool:
                    self._viewed = dict(
                        zip(self._targets, pool.map(read_overview, self._targets.values()), strict=True)
                    )
                self._viewed_at = self._clock()
            return self._viewed

    def _one(self, name: str) -> Watched:
        figures = read_figures(self._targets[name])
        applied = set(figures.applied)
        pending = (
            None if self._revisions is None else sum(revision not in applied for revision in self._revisions)
        )
        regions = self._regions.get(name)
        return Watched(name, figures, pending, parity(regions) if regions else None)
