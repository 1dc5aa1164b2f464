"""What refuses a row for its values, and the schema as it was without what came: in a transaction that is rolled back."""

import re
from collections.abc import Iterable, Sequence

import msgspec

from lockgate.postgres.queries import query
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.wire import Call, Wire
from lockgate.rehearsal.references import Known
from lockgate.rehearsal.trials import error_of

REFUSES = {"check": "23514", "domain": "23514", "unique": "23505"}
"""Kind of a rule → the SQLSTATE with which it refuses."""
_INDEX = re.compile(r'^CREATE UNIQUE INDEX ("(?:[^"]|"")+"|\S+) ON (ONLY )?')
_SPEAKS = ("42", "3F")
"""Classes of SQLSTATE for statements that speak of what is not there."""


class Rule(msgspec.Struct, frozen=True):
    """A CHECK of a table or of a domain, or a unique index. ``key`` is the table or domain as reports show it, ``owner`` as ALTER takes it.

    ``off`` is the statement that takes it off, ``definition`` what the server says of it, ``says`` the expression of a check,
    ``type`` the domain, ``columns`` the names that it speaks of, ``parts`` the indexes of partitions, which the server names when they refuse.
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
    parts: tuple[str, ...] = ()

    @property
    def said(self) -> tuple[str, str]:
        """Whose it is and what it says, whatever it is called and whether rows from before satisfy it."""
        return self.owner, _INDEX.sub("", self.definition.removesuffix(" NOT VALID"), count=1)

    @property
    def on(self) -> str:
        """The statement that puts it on again: a check for what is written from then on."""
        if self.kind == "unique":
            return f"CREATE UNIQUE INDEX lockgate_{self.oid} ON {self.said[1]}"
        return f"ALTER {self.owner} ADD CONSTRAINT lockgate_{self.oid} {self.said[1]} NOT VALID"


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


def came(before: dict[int, Rule], now: dict[int, Rule], known: Known) -> list[Rule]:
    """The rules that came since ``before`` to a table that was there then, also where it was made anew under its name, or to a domain; not those that only were made anew. Pure."""
    gone = {rule.said for rule in _gone(before, now)}
    return [
        rule
        for oid, rule in now.items()
        if oid not in before
        and rule.said not in gone
        and (rule.relation in known.tables or rule.key in known.keys or rule.type)
    ]


def _gone(before: dict[int, Rule], now: dict[int, Rule]) -> list[Rule]:
    """Those of ``before`` that are not there any more, or say it of a table or a column that has another name now."""
    return [rule for oid, rule in before.items() if oid not in now or now[oid].said != rule.said]


def without(
    wire: Wire, new: Sequence[Rule], before: dict[int, Rule], now: dict[int, Rule]
) -> list[str] | None:
    """Statements that bring back what refused values before ``new`` came: these off, and those on again that are gone. None where that cannot be done.

    What speaks of columns or tables that are gone says nothing any more, and is left out.
    """
    off = [rule.off for rule in new]
    on = []
    for rule in _gone(before, now):
        error = error_of(wire, [*off, rule.on])
        if error is None:
            on.append(rule.on)
        elif rule.oid not in now and not error.sqlstate.startswith(_SPEAKS):
            return None
    return [*off, *on]


def refusing(error: ServerError | None, rules: Iterable[Rule]) -> Rule | None:
    """The one of ``rules`` that ``error`` names; None where it is another's. Pure."""
    if error is None:
        return None
    for rule in rules:
        named = any(f'"{name}"' in error.message for name in (rule.name, *rule.parts))
        if error.sqlstate == REFUSES[rule.kind] and named:
            return rule
    return None
