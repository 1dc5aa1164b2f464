"""Named points where a fault may be injected by a test.

Every database round trip and every file write of a run passes one. In production ``_hook`` is ``None`` and
a point costs one comparison; nothing outside the process can switch it on.
"""

from collections.abc import Callable

_hook: Callable[[str], None] | None = None


def point(name: str) -> None:
    """Pass the point ``name``. A test's hook may raise, kill the process or cut a wire here."""
    if _hook is not None:
        _hook(name)


def install(hook: Callable[[str], None] | None) -> None:
    """Install (or with ``None`` remove) the hook. For tests only."""
    global _hook
    _hook = hook
