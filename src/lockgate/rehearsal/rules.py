"""What refuses a row for its values, and the schema as it was without what came: in a transaction that is rolled back."""

import re
from collections.abc import Iterable, Sequence

import msgspec

from lockgate.postgres.queries import query
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.wire import Call, Wire

REFUSES = {"check": "23514", "domain": "23514", "unique": "23505"}
"""Kind of a rule → the SQLSTATE with which it refuses."""


class Rule(msgspec.Struct, frozen=True):
    """A CHECK of a table or of a domain, or a unique index. ``key`` is the table or domain as reports show it, ``owner`` as ALTER takes it.

    ``off`` is the statement that takes it off, ``definition`` what the server says of it, ``says`` the expression of a check,
    ``type`` the domain, ``columns`` the names that it speaks of.
    """

    oid: int
    kind: str
    relation: int
    name: str
    key: str
    owner: str
    off: str
    definition: str
    says: str
    type: str
    columns: tuple[str, ...]

    @property
    def on(self) -> str:
        """The statement that puts a check on again, for what is written from then on."""
        spared = "" if self.definition.endswith(" NOT VALID") else " NOT VALID"
        return f"ALTER {self.owner} ADD CONSTRAINT lockgate_{self.oid} {self.definition}{spared}"


def read_rules(wire: Wire) -> dict[int, Rule]:
    """The rules of this database, by their numbers."""
    calls = [
        Call("SET search_path = pg_catalog, pg_temp"),  # every other name comes out qualified
        Call(query("rehearsal/rules")),
        Call("RESET search_path"),
    ]
    decode = msgspec.json.Decoder(Rule).decode
    listed = [decode(row[0] or "") for row in wire.batch(calls, label="rules")[1].rows]
    return {one.oid: one for one in listed}


def came(before: dict[int, Rule], now: dict[int, Rule], tables: Iterable[int]) -> list[Rule]:
    """The rules that came since ``before`` to one of ``tables``, which were there then, or to a domain. Pure."""
    there = set(tables)
    return [rule for oid, rule in now.items() if oid not in before and (rule.relation in there or rule.type)]


def without(wire: Wire, new: Sequence[Rule], before: dict[int, Rule], now: dict[int, Rule]) -> list[str]:
    """Statements that bring back what refused values before ``new`` came: these off, and the checks on again that are gone.

    A check that cannot be put on again, for its columns are gone, says nothing any more.
    """
    off = [rule.off for rule in new]
    gone = [r for oid, r in before.items() if oid not in now and r.kind != "unique"]
    return [*off, *(rule.on for rule in gone if _can_be(wire, rule.on))]


def _can_be(wire: Wire, statement: str) -> bool:
    try:
        wire.batch([Call("BEGIN"), Call(statement), Call("ROLLBACK")])
    except ServerError:
        if wire.alive and wire.in_transaction:
            wire.batch([Call("ROLLBACK")], uncancellable=True)
        return False
    return True


def refusing(error: ServerError | None, rules: Iterable[Rule]) -> Rule | None:
    """The one of ``rules`` that ``error`` names; None where it is another's. Pure."""
    if error is None:
        return None
    for rule in rules:
        named = re.search(rf'"{re.escape(rule.name)}"', error.message)
        if error.sqlstate == REFUSES[rule.kind] and named:
            return rule
    return None
