"""What tests of the life of an index share: a file of records, a command that is killed at a named point, readers during swaps."""

import json
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from lockgate.errors import LockgateError
from lockgate.stores.content import Record
from lockgate.stores.searching import SearchStore
from support.calls import Project, finish
from support.processes import until

GOLD = Path(__file__).resolve().parents[2] / "examples" / "gold"
_KILLED = """
import os, signal, sys
from lockgate.record import points
count = 0
def hook(name):
    global count
    if name == sys.argv[1]:
        count += 1
        if count == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
points.install(hook)
from lockgate.cli.main import app
app(sys.argv[3:], standalone_mode=False)
"""


def records_file(path: Path, records: Iterable[Record]) -> str:
    """A file of records with their vectors."""
    path.write_text(
        "".join(json.dumps({"_id": r.id, "text": r.text, "vector": r.vector}) + "\n" for r in records)
    )
    return str(path)


def killed_at(project: Project, point: str, nth: int, *arguments: str) -> int:
    """Run the command in a process that is killed when it passes ``point`` for the nth time; its return code."""
    return finish(project.python("-c", _KILLED, point, str(nth), *arguments), 120).code


class Readers:
    """Fifty readers of an alias while it moves. ``wrong`` holds errors and answers that mix, ``missed`` those of nobody."""

    def __init__(self, opened: Callable[[], SearchStore], alias: str, marks: dict[str, str], question: Any, count: int = 50) -> None:  # fmt: skip
        self._opened, self._alias, self._marks, self._question = opened, alias, marks, question
        self._stop = threading.Event()
        self.wrong: list[object] = []
        self.missed: list[LockgateError] = []
        self.seen: set[str] = set()
        self._threads = [threading.Thread(target=self._read) for _ in range(count)]

    def _read(self) -> None:
        mine = self._opened()
        while not self._stop.is_set():
            try:
                answer = mine.query(self._alias, self._question, 5)
            except LockgateError as error:
                self.missed.append(error)
                continue
            except Exception as error:
                self.wrong.append(error)
                return
            self.seen.add(answer.generation)
            start = self._marks.get(answer.generation, "no such generation")
            if len(answer.hits) != 5 or not all(h.id.startswith(start) for h in answer.hits):
                self.wrong.append(answer)

    def during(self, swaps: Callable[[], None]) -> None:
        """Start them, swap, wait until both generations were seen, and stop them."""
        for thread in self._threads:
            thread.start()
        until(lambda: self.seen or self.wrong, 60)
        swaps()
        until(lambda: len(self.seen) == len(self._marks) or self.wrong, 60)
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
