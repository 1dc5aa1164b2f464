"""What a row becomes on the other side: SQL that the store evaluates, or a Python function that is given values of the row."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from lockgate.stores.neutral import of_python, to_python

Texts = tuple[str | None, ...]
"""Values of one row as neutral texts."""
Value = str | bytes | None
"""A neutral text, or the canonical bytes of a vector (``stores/vectors.py``), which nobody makes a text of on its way."""
Values = tuple[Value, ...]
"""What a side gives for one row."""


class Field(NamedTuple):
    """A column of this side's table: its name, family and type."""

    name: str
    family: str
    type: str


class Read(NamedTuple):
    """One item of a SELECT, and the family and type of what comes out."""

    sql: str
    family: str
    type: str


class Given(NamedTuple):
    """What this side gives for a column of the other: SQL over its own columns, and the family of what comes out.

    With ``call`` it is what that function makes of the values of the columns ``of``, and ``expression`` is empty.
    """

    name: str
    expression: str
    family: str
    type: str
    of: tuple[Field, ...] = ()
    call: Callable[..., Any] | None = None

    def reads(self, quoted: Callable[[str], str]) -> list[Read]:
        """What has to be selected for it."""
        if not self.of:
            return [Read(self.expression, self.family, self.type)]
        return [Read(quoted(f.name), f.family, f.type) for f in self.of]


class Unmade(NamedTuple):
    """A function made nothing of a row: why."""

    reason: str


Image = Values | Unmade
"""What a side gives for a row: its values on the other side, or why there are none."""


def plain(values: Values) -> Texts:
    """``values`` of a row whose columns are no packed vectors, as all are that go into a table or through a function."""
    return tuple(v for v in values if not isinstance(v, bytes))


def make(given: Iterable[Given], texts: Sequence[Any]) -> Image:
    """The image of a row out of the ``texts`` that were selected for ``given``, in its order."""
    made: list[Value] = []
    at = 0
    for g in given:
        if not g.of:
            made.append(texts[at])
            at += 1
            continue
        own = texts[at : at + len(g.of)]
        at += len(g.of)
        assert g.call is not None
        try:
            values = [to_python(t, f.family) for t, f in zip(own, g.of, strict=True)]
            made.append(of_python(g.call(*values), g.family))
        except Exception as error:
            return Unmade(f"the Python function of {g.name} raised {type(error).__name__}: {error}")
    return tuple(made)
