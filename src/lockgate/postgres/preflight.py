"""What the role lacks for the statements that are about to run, asked before the first of them does."""

from collections.abc import Iterable

import msgspec

from lockgate.postgres.queries import query
from lockgate.postgres.script import Statement
from lockgate.postgres.wire import Call, Wire


class Lack(msgspec.Struct, frozen=True):
    """One thing that is missing: ``code`` is a reason code, ``fix`` the statement (or act) that mends it."""

    code: str
    message: str
    fix: str
    schema: str = ""
    """The schema that the role may not use or create in, where it is that."""


def find_lacks(wire: Wire, files: Iterable[Iterable[Statement]]) -> list[Lack]:
    """Compare what the statements of ``files`` need with what the session's role has, in one round trip.

    Only what can be told from the catalogue is told: a relation that does not exist yet is made by an earlier file, and
    a DO block may need anything.
    """
    needs: set[tuple[str, str]] = set()
    for statements in files:
        listed = list(statements)
        moved = any("search_path" in s.text.lower() for s in listed)
        needs |= {s.needs for s in listed if s.needs[0] and not (moved and _unqualified(s.needs))}
    made = {name for kind, name in needs if kind == "schema"}
    asked = sorted(need for need in needs if not (need[0] == "create" and need[1] in made))
    if not asked:
        return []
    extensions = [name for kind, name in asked if kind == "extension"]
    others = [need for need in asked if need[0] != "extension"]
    calls = [Call(query("preflight_extensions"), (_array(extensions),))] if extensions else []
    if others:
        kinds, names = (_array(list(values)) for values in zip(*others, strict=True))
        calls.append(Call(query("preflight"), (kinds, names)))
    rows = [[cell or "" for cell in row] for reply in wire.batch(calls) for row in reply.rows]
    return [_lack(*row) for row in sorted(rows)]


def _unqualified(need: tuple[str, str]) -> bool:
    """True for what is looked up along the search_path: in a file that sets it, nobody can tell here where that leads."""
    kind, name = need
    return (kind == "create" and not name) or (kind == "own" and '"."' not in name)


def _lack(kind: str, name: str, role: str, why: str, owner: str) -> Lack:
    if kind == "extension" and why == "missing":
        return Lack(
            "EXTENSION_MISSING",
            f"extension {name} is not available on this server",
            f"Install the package of {name} on the server.",
        )
    if kind == "extension":
        return Lack(
            "PRIVILEGE",
            f"role {role} may not create extension {name}",
            f'An administrator runs: CREATE EXTENSION "{name}";',
        )
    if kind == "schema":
        return Lack(
            "PRIVILEGE",
            f"role {role} may not create schema {name}",
            f'GRANT CREATE ON DATABASE ... TO "{role}";',
        )
    if kind == "create":
        return Lack(
            "PRIVILEGE",
            f"role {role} may not create in schema {name or 'public'}",
            f'GRANT CREATE ON SCHEMA "{name or "public"}" TO "{role}";',
            name or "public",
        )
    if why == "schema":
        return Lack(
            "PRIVILEGE",
            f"role {role} may not use schema {owner}, where {name} is",
            f'GRANT USAGE, CREATE ON SCHEMA "{owner}" TO "{role}";',
            owner,
        )
    return Lack(
        "PRIVILEGE",
        f"role {role} does not own {name} (its owner is {owner})",
        f'GRANT "{owner}" TO "{role}";',
    )


def _array(values: list[str]) -> str:
    """A text array in PostgreSQL's own form."""
    escaped = [value.replace("\\", "\\\\").replace('"', '\\"') for value in values]
    return "{" + ",".join(f'"{value}"' for value in escaped) + "}"
