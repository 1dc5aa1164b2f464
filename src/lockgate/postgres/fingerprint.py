"""The live schema as a fingerprint: object by object, so that a change can be named, and one digest over all.

In: what a migration makes. Schemas, tables, columns, constraints, indexes, views, functions, triggers, sequences, types,
policies, rules, extended statistics, extensions, event triggers, collations, operators, casts, text search.

Out, each for a reason:

* owners, privileges, role settings: role names are the environment's own, and ``doctor`` checks them;
* data: rows, sequence values, whether a materialized view is filled;
* statistics, statistics targets and tablespaces: tuning of one server, which changes no answer;
* comments: they change no behaviour;
* publications, subscriptions, foreign servers, user mappings: they name other machines and hold their secrets;
* objects of an extension: its name and version stand for them;
* the schema ``lockgate`` and triggers that call it: a data move's triggers come and go with the move;
* tables that a data move made and that do not serve yet, or that it retired: the barrier in front of them marks them, or the comment of an aborted one;
* an extension that an index build made: its comment says so, until a migration makes it its own;
* temporary objects.

The server deparses definitions, so digests of one schema are equal on servers of one major version; across versions
they are equal as far as the versions write the same thing (``basis`` tells the two apart).
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Literal
from weakref import WeakSet

import msgspec

from lockgate.postgres.queries import query
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.wire import Call, Cancelled, Reply, Wire

FORMAT = 1
"""Raised with every change of ``fingerprint.sql`` that changes a digest: older digests then say nothing."""

_SETTINGS = {
    # What the server writes into a definition depends on each of these.
    "search_path": "pg_catalog, pg_temp",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "lc_monetary": "C",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "xmlbinary": "base64",
    "standard_conforming_strings": "on",
    "quote_all_identifiers": "off",
    # What would make it slow or endless: compiling the big query, waiting behind somebody's ALTER TABLE.
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    # Planning takes longer than the answer. What the planner need not try: other orders of joins, and ways that are no faster here.
    "join_collapse_limit": "1",
    "from_collapse_limit": "1",
    "enable_mergejoin": "off",
    "enable_memoize": "off",
    "enable_bitmapscan": "off",
    "enable_material": "off",
    "lock_timeout": "5s",
    "statement_timeout": "60s",
}
_TRIES = 3


class Fingerprint(msgspec.Struct, frozen=True):
    """A schema at one moment.

    ``objects`` maps ``"kind identity"`` to the short hash of the definition; ``digest`` is the sha256 over all of them;
    ``basis`` is the format of this fingerprint and the server's major version, as ``1/16``.
    """

    objects: Mapping[str, str]
    digest: str
    basis: str = ""


class Shape(msgspec.Struct, frozen=True):
    """One schema told twice: ``exact``, and ``unplaced``, which leaves out in which order the columns of a table stand.

    A column that is dropped and added again always comes last: no statement of PostgreSQL puts it back in its place.
    """

    exact: Fingerprint
    unplaced: Fingerprint


class Change(msgspec.Struct, frozen=True):
    """One object that differs; ``identity`` is ``"kind identity"``, as in ``Fingerprint.objects``."""

    kind: Literal["added", "removed", "changed"]
    identity: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.identity}"


def read_fingerprint(wire: Wire, inside_transaction: bool = False) -> Fingerprint:
    """Read the fingerprint of the database in one round trip; the session is as before when it returns or raises.

    Every setting that shapes the output is made for this read only. ``inside_transaction`` reads inside the caller's
    open transaction (through a savepoint), its own uncommitted changes included. Raises ``ServerError`` (``55P03`` when
    another session keeps a table locked for 5 s), ``Cancelled``, ``ConnectionLost``.
    """
    return to_fingerprint(*_rows(wire, inside_transaction))


def read_shape(wire: Wire) -> Shape:
    """As ``read_fingerprint``, with and without the places of columns, from one look."""
    rows, basis = _rows(wire, False)
    return Shape(to_fingerprint(rows, basis), to_fingerprint(map(_unplaced, rows), basis))


_PLACE = re.compile(r"place \d+ ; ")


def _unplaced(row: tuple[str, str, str]) -> tuple[str, str, str]:
    kind, identity, definition = row
    return kind, identity, _PLACE.sub("", definition, count=1) if kind == "column" else definition


def read_definitions(wire: Wire) -> tuple[dict[str, str], str]:
    """(``"kind identity"`` → definition, basis): what the fingerprint is made of, in words. Raises as ``read_fingerprint``."""
    rows, basis = _rows(wire, False)
    return {f"{kind} {identity}": definition for kind, identity, definition in rows}, basis


def _rows(wire: Wire, inside: bool) -> tuple[list[tuple[str, str, str]], str]:
    """The (kind, identity, definition) rows, and the basis on which they can be compared."""
    for attempt in range(1, _TRIES + 1):
        try:
            version, reply = _read(wire, inside, usual=wire not in _with_rare)
            if any(row[0] == "rare" for row in reply.rows):
                _with_rare.add(wire)
                version, reply = _read(wire, inside, usual=False)
        except ServerError as error:
            # An object was dropped between the catalog's row and its deparsing.
            if error.sqlstate != "XX000" or attempt == _TRIES:
                raise
        else:
            rows = [(r[0] or "", r[1] or "", r[2] or "") for r in reply.rows]
            return rows, f"{FORMAT}/{int(version or 0) // 10000}"
    raise AssertionError("unreachable")


_RARE = re.compile(r"\n\nUNION ALL\n-- rare \{\n(.*?)\n-- \}\n", re.DOTALL)
_with_rare: "WeakSet[Wire]" = WeakSet()
"""Sessions whose database has objects of a rare kind: they are asked for all kinds at once from then on."""


@cache
def _queries() -> tuple[str, str]:
    """(what tells the usual kinds, and whether there may be others; what tells all kinds). The server plans the first in three
    quarters of the time, and planning is most of it."""
    whole = query("fingerprint")
    part = _RARE.search(whole)
    assert part is not None
    return f"{whole[: part.start()]}\n\nUNION ALL\n{part[1]}", whole[: part.start()] + whole[part.end() :]


def _read(wire: Wire, inside: bool, *, usual: bool) -> tuple[str | None, Reply]:
    first = "SAVEPOINT lockgate_fingerprint" if inside else "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
    # Rolling back undoes the settings too; releasing takes the savepoint away.
    last = (
        ["ROLLBACK TO SAVEPOINT lockgate_fingerprint", "RELEASE SAVEPOINT lockgate_fingerprint"]
        if inside
        else ["ROLLBACK"]
    )
    settings = ", ".join(
        f"pg_catalog.set_config('{name}', '{value}', true)" for name, value in _SETTINGS.items()
    )
    calls = [
        Call(first),
        Call(f"SELECT pg_catalog.current_setting('server_version_num'), {settings}"),
        Call(_queries()[0 if usual else 1]),
    ]
    try:
        replies = wire.batch([*calls, *map(Call, last)], label="fingerprint")
    except (ServerError, Cancelled):
        if wire.alive and wire.in_transaction:
            wire.batch(list(map(Call, last)), uncancellable=True, label="rollback")
        raise
    return replies[1].rows[0][0], replies[2]


def to_fingerprint(rows: Iterable[tuple[str, str, str]], basis: str = "") -> Fingerprint:
    """The fingerprint of (kind, identity, definition) rows, in any order."""
    objects = {f"{kind} {identity}": definition for kind, identity, definition in rows}
    return of_definitions(objects, basis)


def of_definitions(definitions: Mapping[str, str], basis: str = "") -> Fingerprint:
    """The fingerprint of what ``read_definitions`` gave."""
    short = cache(
        lambda definition: hashlib.sha256(definition.encode()).hexdigest()[:16]
    )  # many columns are alike
    objects = {identity: short(definition) for identity, definition in definitions.items()}
    return Fingerprint(objects, digest_of(objects), basis)


def digest_of(objects: Mapping[str, str]) -> str:
    """The sha256, in hex, of ``objects`` as compact JSON with sorted keys."""
    return hashlib.sha256(msgspec.json.encode(objects, order="sorted")).hexdigest()


def difference(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[Change, ...]:
    """What differs between the ``objects`` of two fingerprints, in the order of the identities."""
    changes = [Change("removed", key) for key in before.keys() - after.keys()]
    changes += [Change("added", key) for key in after.keys() - before.keys()]
    changes += [Change("changed", key) for key in before.keys() & after.keys() if before[key] != after[key]]
    return tuple(sorted(changes, key=lambda change: change.identity))
