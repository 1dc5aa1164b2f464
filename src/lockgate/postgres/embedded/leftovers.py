"""What a dead server leaves behind, and its removal."""

# Plain os calls: descriptors, lstat, O_NOFOLLOW, and microseconds that count.
# ruff: noqa: PTH106, PTH108, PTH208

import contextlib
import os
import shutil

from lockgate.postgres.embedded.place import Place, is_private


def clear(place: Place, sockets: str) -> None:
    """Remove the pid file and the socket directories of a dead server. Only for who holds its lock ``alive``.

    PostgreSQL itself would refuse to start when another process of the account got the pid of the dead one.
    ``sockets`` is the last known socket directory, which may lie outside the base; empty when there is none.
    """
    for name in os.listdir(place.base):
        if name.startswith("run-"):
            remove_sockets(f"{place.base}/{name}")
    if sockets:
        remove_sockets(sockets)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{place.data}/postmaster.pid")


def remove_sockets(sockets: str) -> None:
    """Remove the socket directory ``sockets`` when it is private and holds nothing else."""
    if not is_private(sockets):
        return
    with contextlib.suppress(OSError):
        for name in os.listdir(sockets):
            if name.startswith(".s.PGSQL."):
                os.unlink(f"{sockets}/{name}")
        os.rmdir(sockets)


def remove_base(place: Place, pointer: int) -> None:
    """Remove a base elsewhere when the file that points to it (open descriptor ``pointer``) is deleted.

    Then nobody can ever find that data again. With no pointer (-1) the base was inside the home.
    """
    if pointer >= 0 and os.fstat(pointer).st_nlink == 0:
        shutil.rmtree(place.base, ignore_errors=True)
