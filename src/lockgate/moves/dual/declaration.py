"""``moves/<name>.toml`` with ``kind = "dual-write"`` → a frozen value."""

from pathlib import Path

import msgspec

from lockgate.errors import ConfigError
from lockgate.moves import transforms
from lockgate.moves.declaration import (
    Gates,
    LimitsPart,
    Reference,
    digest,
    limit_problems,
    reference_problems,
    window_problems,
)

KIND = "dual-write"


class Place(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[source]`` and ``[target]``. ``url_env`` names the variable with the store's URL; ``create`` makes the target's table.

    ``replica_env`` of a source in PostgreSQL names the variable with the URL of a standby that copies and comparisons read from,
    ``lag_env`` those with the URLs of the replicas of a MariaDB or MySQL, whose lag holds the backfill: the primary does not know it.
    """

    table: str
    url_env: str
    create: bool = False
    replica_env: str = ""
    lag_env: tuple[str, ...] = ()


class DualDeclaration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One move between two stores. ``columns`` gives target columns as SQL of the source's engine or by a Python function, ``reverse`` the way back.

    ``accept`` names what of the plan's problems is taken knowingly: ``rows`` that the target holds already.
    ``writers`` is how many live processes have to be seen writing by way of ``DualWriter`` before the first row is copied.
    """

    kind: str
    source: Place
    target: Place
    name: str = ""
    key: tuple[str, ...] = ()
    columns: transforms.Map = {}
    reverse: transforms.Map = {}
    writers: int = 1
    one_way: bool = False
    rollback_hours: float = 72.0
    references: tuple[Reference, ...] = ()
    accept: tuple[str, ...] = ()
    limits: LimitsPart = LimitsPart()
    gates: Gates = Gates()

    @property
    def hash(self) -> str:
        """SHA-256 over what the declaration says that must not change while the move runs: ``HOLDS``."""
        return digest(self, HOLDS, {"writers": 1})


HOLDS = ("name", "kind", "source", "target", "key", "columns", "reverse", "one_way")
"""See ``lockgate.moves.declaration.HOLDS``."""


def is_dual(file: Path) -> bool:
    """True when ``file`` declares such a move; False also where it cannot be read, which its own reader will say."""
    import tomllib

    try:
        return tomllib.loads(file.read_text("utf-8")).get("kind") == KIND
    except (OSError, ValueError):
        return False


def parse(file: Path, name: str) -> DualDeclaration:
    """The declaration in ``file``. Raises ``ConfigError`` (``MOVE_DECLARATION``) that names file and key."""
    import tomllib

    try:
        data = tomllib.loads(file.read_text("utf-8"))
        if "name" in data:
            raise ConfigError(
                f"{file}: unknown key `name`: the file's name is the move's", "MOVE_DECLARATION"
            )
        declared = msgspec.structs.replace(msgspec.convert(data, DualDeclaration), name=name)
    except (OSError, ValueError, msgspec.ValidationError) as error:
        raise ConfigError(f"{file}: {error}", "MOVE_DECLARATION") from None
    for problem in problems(declared):
        raise ConfigError(f"{file}: {problem}", "MOVE_DECLARATION")
    return declared


def problems(d: DualDeclaration, *, kind: str = KIND) -> list[str]:
    """What is wrong with the values of a declaration."""
    found = []
    if d.kind != kind:
        found.append(f"kind = {d.kind!r} is not {kind!r}")
    if d.source.create:
        found.append("source.create: the source is there already")
    if d.target.replica_env:
        found.append("target.replica_env: what is read much is the source")
    if d.columns and not d.reverse and not d.one_way:
        found.append(
            "columns are mapped and nothing says how they come back: give [reverse], or one_way = true"
        )
    found += reference_problems(d.references)
    found += [f"references to {r.table}: key names the columns there" for r in d.references if not r.key]
    found += transforms.problems("columns", d.columns) + transforms.problems("reverse", d.reverse)
    found += limit_problems(d.limits) + window_problems(d.gates.cutover_windows)
    found += [f"accept: {kind!r} is none of rows" for kind in d.accept if kind != "rows"]
    if d.gates.on_divergence not in ("pause", "abort"):
        found.append("gates.on_divergence is pause or abort")
    if not 0 < d.rollback_hours <= 24 * 365:
        found.append("rollback_hours must be above 0 and at most a year")
    if not 0 <= d.writers <= 100_000:
        found.append("writers must be between 0 and 100000")
    if d.limits.batch_rows > 100_000:
        found.append("limits.batch_rows must be at most 100000: these rows pass through this process")
    return found
