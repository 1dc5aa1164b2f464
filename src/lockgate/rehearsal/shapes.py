"""JSON documents and rows of composite types, made of their parts and changed in one of them. Pure text: SQL for the scratch server."""

from collections.abc import Iterable, Sequence
from typing import Any

from lockgate.postgres.tables import literal

Path = Sequence[str | int]
_JSON = ("json", "jsonb")
_TEXT = ("text", "character varying", "character", "unknown")


def made_of(leaves: Iterable[tuple[Path, str]], kind: str) -> str:
    """SQL for a value of type ``kind`` (JSON, text, a composite type, or an array of one) with these parts, each the SQL of a jsonb."""
    tree: dict[str | int, Any] = {}
    for path, text in leaves:
        inside = tree
        for step in path[:-1]:
            there = inside.get(step)
            inside[step] = inside = there if isinstance(there, dict) else {}
        if not isinstance(inside.get(path[-1]), dict):
            inside[path[-1]] = text
    return _as(_built(tree), kind)


def without(value: str, path: Path, kind: str) -> str:
    """SQL for ``value``, a text that is one of type ``kind``, with NULL at ``path``."""
    return having(value, path, kind, "$$null$$")


def having(value: str, path: Path, kind: str, part: str) -> str:
    """The same with ``part``, the SQL of a jsonb, at ``path``."""
    whole = f"{literal(value)}::jsonb" if kind in _TEXT else f"pg_catalog.to_jsonb({literal(value)}::{kind})"
    steps = ", ".join(literal(str(step)) for step in path)
    return f"({_as(f'pg_catalog.jsonb_set({whole}, ARRAY[{steps}], {part})', kind)})::text"


def _built(tree: dict[str | int, Any] | str) -> str:
    if isinstance(tree, str):
        return tree
    if all(isinstance(key, int) for key in tree):
        listed = [_built(tree.get(n, "NULL")) for n in range(max(map(int, tree)) + 1)]
        return f"pg_catalog.jsonb_build_array({', '.join(listed)})"
    pairs = [f"{literal(str(key))}, {_built(inner)}" for key, inner in tree.items()]
    # A function takes a hundred arguments.
    made = [
        f"pg_catalog.jsonb_build_object({', '.join(pairs[start : start + 50])})"
        for start in range(0, len(pairs), 50)
    ]
    return " || ".join(made) if len(made) == 1 else f"({' || '.join(made)})"


def _as(document: str, kind: str) -> str:
    """The jsonb ``document`` as a value of type ``kind``."""
    bare = kind.removesuffix("[]")
    if bare in _JSON:
        if bare == kind:
            return f"({document})::{kind}"
        return f"ARRAY(SELECT e::{bare} FROM pg_catalog.jsonb_array_elements({document}) e)"  # noqa: S608 - made of quoted parts
    if bare in _TEXT:
        return f"({document})::text"
    if bare == kind:
        return f"pg_catalog.jsonb_populate_record(NULL::{bare}, {document})"
    return f"ARRAY(SELECT r FROM pg_catalog.jsonb_populate_recordset(NULL::{bare}, {document}) r)"  # noqa: S608 - as above
