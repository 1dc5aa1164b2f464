"""Work of two processes side by side: the next part is read and made ready here while a server works on the one before."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def ahead(parts: Iterator[T]) -> Iterator[Iterator[T]]:
    """Each of ``parts`` while the next one is made in a thread: never more than one that nobody has taken yet.

    What making one raises comes out where it would have been taken. Left early, it waits until the thread is at rest; so
    what ``parts`` uses is free again behind the block.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="lockgate-ahead") as beside:

        def coming() -> Iterator[T]:
            following = beside.submit(next, parts, None)
            while (part := following.result()) is not None:
                following = beside.submit(next, parts, None)
                yield part

        yield coming()
