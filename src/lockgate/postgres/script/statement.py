"""What the engine has to know of a statement, and why a text is none."""

import msgspec


class Alone(msgspec.Struct, frozen=True):
    """A statement that must run outside any transaction block.

    ``kind`` is one of a closed list; ``schema`` ("" = by search_path) and ``name`` are those of the object it makes
    or drops, ``table`` the relation it works on.
    """

    kind: str
    schema: str = ""
    name: str = ""
    table: str = ""
    table_schema: str = ""
    lenient: bool = False
    """IF EXISTS or IF NOT EXISTS."""
    value: str = ""
    """The new enum value, or the partition's qualified name."""


class Statement(msgspec.Struct, frozen=True):
    """One statement: its text as written, its first line (from 1) and what is special about it."""

    text: str
    line: int
    end_line: int
    kind: str
    alone: Alone | None = None
    problem: tuple[str, str] | None = None
    """(reason code, what) when it may not stand in a migration at all."""
    opaque: bool = False
    """A DO block or CALL: what it does cannot be read."""
    enum_value: tuple[str, str] | None = None
    """(type, value) of an ALTER TYPE ... ADD VALUE."""
    creates_type: str = ""
    needs: tuple[str, str] = ("", "")
    """What the role needs for it: ("extension", name), ("create", schema), ("own", relation) or ("schema", name)."""


class ScriptError(Exception):
    """The text is not SQL, or holds what is not SQL. ``code`` is the reason code, ``line`` counts from 1."""

    def __init__(self, code: str, line: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.line = line
