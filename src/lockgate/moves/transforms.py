"""Python functions that make columns of a move: declared with a version in ``moves/<name>.toml``, and again where the function stands.

    @transform(version="2")
    def cents(amount: Decimal) -> int: ...

Two versions that are not the same mean that some process would make other values than the rest: nothing is made then.
"""

import re
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, TypeVar

import msgspec

from lockgate.errors import ConfigError, Refused

F = TypeVar("F", bound=Callable[..., Any])
_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
VERSION = "lockgate_version"
"""The attribute of a function that holds its version."""


class Transform(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``{python = "module:function", version = "2", of = ["amount"]}``: the function is given the values of the columns ``of``, in this order."""

    python: str
    version: str
    of: tuple[str, ...]


Map = Mapping[str, str | Transform]
"""Columns and what gives them: SQL, or a function."""


def transform(*, version: str) -> Callable[[F], F]:
    """Say the version of a function that makes a column of a move. Raise it with every change of what the function gives."""

    def mark(function: F) -> F:
        setattr(function, VERSION, version)
        return function

    return mark


def problems(part: str, columns: Map) -> list[str]:
    """What is wrong with the functions that ``[part]`` declares. Pure."""
    found = []
    for name, t in columns.items():
        if not isinstance(t, Transform):
            continue
        if not _NAME.fullmatch(t.python):
            found.append(f"{part}.{name}.python = {t.python!r} is not module:function")
        if not t.version:
            found.append(f"{part}.{name}.version is empty: say which one the rows are made by")
        if not t.of:
            found.append(f"{part}.{name}.of is empty: name the columns whose values the function is given")
    return found


def load(t: Transform) -> Callable[..., Any]:
    """The function that ``t`` names. Raises ``ConfigError`` when there is none, ``Refused`` (``MOVE_TRANSFORM``) when it is of another version."""
    module, _, name = t.python.partition(":")
    try:
        function = getattr(import_module(module), name)
    except Exception as error:
        # Importing runs somebody else's code, which may raise anything.
        raise ConfigError(
            f"{t.python} cannot be loaded: {type(error).__name__}: {error}", "MOVE_TRANSFORM",
            next="It must be importable here and in every worker; the folder of lockgate.toml is on the path of the commands.",
        ) from None  # fmt: skip
    if not callable(function):
        raise ConfigError(f"{t.python} is no function", "MOVE_TRANSFORM")
    own = getattr(function, VERSION, None)
    if own is None:
        raise Refused(
            f"{t.python} says no version, and the move is declared with {t.version!r}", "MOVE_TRANSFORM",
            next=f'Put @transform(version="{t.version}") from lockgate.moves.transforms above it.',
        )  # fmt: skip
    if own != t.version:
        raise Refused(
            f"{t.python} is of version {own!r}, and the move is declared with {t.version!r}", "MOVE_TRANSFORM",
            next=f"Deploy the code with version {t.version!r}; or lockgate move abort, declare {own!r} and start anew: rows of two versions must not mix.",
            details={"python": t.python, "declared": t.version, "found": own},
        )  # fmt: skip
    return function  # type: ignore[no-any-return]


def load_all(*parts: Map) -> None:
    """Load every function of these maps, to refuse early. Raises as ``load``."""
    for part in parts:
        for t in part.values():
            if isinstance(t, Transform):
                load(t)


def refuse_in_sql(columns: Map, part: str, file: object) -> None:
    """Raise ``ConfigError`` when ``columns`` name a function in a move in place, whose triggers keep both sides in step in the writer's own statement."""
    for name, value in columns.items():
        if isinstance(value, Transform):
            raise ConfigError(
                f"{file}: {part}.{name} names a Python function, and both sides of a move in place are kept in step by triggers, in the writer's own statement, where no Python runs", "MOVE_DECLARATION",
                next="Write it as SQL; or move into a table of its own, with [source] and [target]: docs/moves.md.",
            )  # fmt: skip
