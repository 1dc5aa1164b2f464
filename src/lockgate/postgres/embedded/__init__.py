"""A real PostgreSQL of the project's own: no Docker, no system package, no root needed.

``Embedded.ensure(home)`` starts it, or finds it running, in ``home`` (``<project>/.lockgate``). Who does what::

    ensure ── fast path ──▶ two file locks and one JSON file say: it runs, it is ours        (face)
       └──── else spawns ──▶ keeper: becomes an unprivileged account, initdb, starts PostgreSQL,
                             then watches it and stops it when idle or when ``home`` is gone

Every step of the launch belongs to the keeper, a process of its own session: killing the caller at any moment
leaves nothing half done. Three locks (``flock``, so the kernel lets go of them when a process dies) tell the truth:

- ``<home>/pg18.lock``  is held while somebody launches or stops the server;
- ``<base>/alive``      is held by every process of the server, inherited from its first one;
- ``<base>/keeper``     is held by the keeper that watches.

This package never imports the driver.
"""

from lockgate.postgres.embedded.binaries import Binaries, machine_binaries, wheel_binaries
from lockgate.postgres.embedded.face import Embedded

__all__ = ["Binaries", "Embedded", "machine_binaries", "wheel_binaries"]
