"""What a query could write where it first worked, and a rule that came since refuses: values that the made-up ones do not hold.

Each attempt runs on the schema of now; what a new rule refuses there runs once more without the new rules, with the checks that
were there before. Only what works then was allowed before, and stands against the release.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from lockgate.postgres.placeholders import Query
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.tables import ColumnOf, Table, literal, quote
from lockgate.postgres.wire import Wire
from lockgate.rehearsal.compatibility import BREAKS, COMPATIBLE, HOLD
from lockgate.rehearsal.edges import far, kind_of, like, swapped
from lockgate.rehearsal.older import Refusal
from lockgate.rehearsal.parameters import fits, parts_of, place_of
from lockgate.rehearsal.references import Known, same_moment
from lockgate.rehearsal.rules import Rule, came, refusing, without
from lockgate.rehearsal.shapes import having
from lockgate.rehearsal.trials import Trial, error_of
from lockgate.rehearsal.values import expression

_WRITTEN = ("insert", "set", "within", "operand")
_MEND = "let no release that stays alive send it, or write in the file of queries what the application makes sure of, such as greatest($1, 1) or lower($1)"
_MERGES = re.compile(r"\bmerge\s+into\b", re.I)
_LATE = "57014"
_UNTRIED = "it was too late with one of the values that a new rule may refuse, and the others were not tried"
_UNDATED = "whether that was allowed before cannot be told: the rules that are gone cannot be put on again"
_SHOWN = 2
"""How many refused values of a column are looked for."""
_LONG = 40
"""How much of a value is shown."""
_ROWS = 3
"""How many rows that are there a written value is taken from."""

Row = list[str | None]


class Sending(NamedTuple):
    """A prepared query and how it is sent: its parameters' types, the sets with which it works, and their calls."""

    query: Query
    types: Sequence[str]
    sets: Sequence[Trial]
    execute: Callable[[Trial], list[str]]


class Slot(NamedTuple):
    """Where a parameter, or the part of it at ``path``, is written."""

    number: int
    path: tuple[str | int, ...]
    table: Table
    column: ColumnOf
    role: str

    @property
    def name(self) -> str:
        """The column as reports show it."""
        return f"{self.table.key}.{self.column.name}"


class Attempt(NamedTuple):
    """Calls to try, the columns that they are about and what these hold, as reports show it, and the answer where a new rule refuses them."""

    trial: Trial
    about: str
    value: str
    answer: str = HOLD


class Refused(NamedTuple):
    """An attempt that a new rule refuses. ``dated`` False: nothing shows whether it was allowed before."""

    attempt: Attempt
    rule: Rule
    error: ServerError
    dated: bool = True


class Edges:
    """Of one query: the rules and tables that were there when it first worked, and what was found since."""

    def __init__(self, rules: dict[int, Rule], known: Known) -> None:
        self._rules = rules
        self._known = known
        self._looked: frozenset[tuple[int, str]] = frozenset()
        self._found: list[Refused] = []

    def refusal(
        self, wire: Wire, sending: Sending, rules: dict[int, Rule], tables: Callable[[], list[Table]]
    ) -> Refusal | None:
        """The worst that the rules of now refuse of what it could send; None for nothing."""
        new = came(self._rules, rules, self._known)
        if not new:
            return None
        looked = frozenset((rule.oid, rule.definition) for rule in new)
        attempts: Iterable[Attempt] = [one.attempt for one in self._found]
        here: list[Table] = []
        if looked != self._looked or self._found:
            here = tables()
        if looked != self._looked:
            attempts = _attempts(wire, sending, new, here)
        self._found, late = _refused(wire, sending, attempts, new, (self._rules, rules), here)
        self._looked = frozenset() if late else looked
        found = _told(sending.query, self._found)
        if late and found is None:
            return Refusal(COMPATIBLE, "", _UNTRIED)
        return replace(found, message=f"{found.message}; {_UNTRIED}") if late and found else found


def _refused(
    wire: Wire,
    sending: Sending,
    attempts: Iterable[Attempt],
    new: Sequence[Rule],
    rules: tuple[dict[int, Rule], dict[int, Rule]],
    tables: Sequence[Table],
) -> tuple[list[Refused], bool]:
    """The attempts that ``new`` refuses and that were allowed before, and whether one was late: a query that takes so long is not tried again and again."""
    found: list[Refused] = []
    seen: dict[str, int] = {}
    before: list[str] | None = None
    asked = False
    for attempt in attempts:
        if seen.get(attempt.about, 0) >= _SHOWN:
            continue
        calls = sending.execute(attempt.trial)
        error = error_of(wire, calls)
        if error is not None and error.sqlstate == _LATE:
            return found, True
        rule = refusing(error, new)
        if error is None or rule is None:
            continue
        if len(attempt.trial) > 1 and same_moment(error.detail, sending.query, tables):
            continue
        if not asked:
            before, asked = without(wire, new, *rules), True
        then = None if before is None else error_of(wire, [*before, *calls])
        if then is not None and then.sqlstate == _LATE:
            return found, True
        if then is None:
            seen[attempt.about] = seen.get(attempt.about, 0) + 1
            found.append(Refused(attempt, rule, error, before is not None))
    return found, False


def _attempts(
    wire: Wire, sending: Sending, new: Sequence[Rule], tables: Sequence[Table]
) -> Iterator[Attempt]:
    slots = written(sending, tables)
    for rule in new:
        named = [slot for slot in slots if slot.column.name in rule.columns]
        if rule.kind == "unique" and named:
            yield from _twice(wire, sending, named)
            yield from _beside(wire, sending, rule, named)
        elif rule.kind != "unique":
            of_domain = [slot for slot in slots if rule.type and slot.column.type == rule.type]
            yield from _beyond(wire, sending, rule, [*named, *of_domain])


def written(sending: Sending, tables: Sequence[Table]) -> list[Slot]:
    """Where the query writes its parameters. Pure."""
    known = {(t.schema, t.name): t for t in tables}
    found: dict[tuple[int, tuple[str | int, ...], str], Slot] = {}
    for use in sending.query.uses:
        parts = [(path, part, place) for path, part, place, _ in parts_of(use, known)]
        whole = (
            [] if any(field.record for field in use.fields) and parts else [((), use, place_of(use, known))]
        )
        for path, part, place in [*whole, *parts]:
            if place is None or part.role not in _WRITTEN or place[1].generated:
                continue
            inside = part.role in ("within", "operand") and not path
            if inside and not fits(place[1], sending.types[use.number - 1]):
                continue
            found.setdefault((use.number, path, place[1].name), Slot(use.number, path, *place, part.role))
    return list(found.values())


def _made(wire: Wire, text: str) -> str | None:
    """The value of ``text`` (SQL); None where the server cannot make it."""
    try:
        return wire.value(f"SELECT ({text})::text")
    except ServerError:
        return None


def _filled(wire: Wire, sending: Sending, row: Row, slot: Slot, value: str) -> Row | None:
    """The row with ``value`` in this slot; None where the server cannot make that of it."""
    kind, there = sending.types[slot.number - 1], row[slot.number - 1]
    made: str | None = value
    if slot.path:
        part = f"pg_catalog.to_jsonb({literal(value)}::{kind_of(slot.column)})"
        made = None if there is None else _made(wire, having(there, slot.path, kind, part))
    elif kind.endswith("[]") and slot.column.category != "A":
        made = _made(wire, f"ARRAY[{literal(value)}]")
    if made is None:
        return None
    return [made if number == slot.number else other for number, other in enumerate(row, 1)]


def _beyond(wire: Wire, sending: Sending, rule: Rule, slots: Sequence[Slot]) -> Iterator[Attempt]:
    """A call with values around what the check says, a column at a time, and with those of two columns exchanged."""
    single = [trial[0] for trial in sending.sets if len(trial) == 1]
    # The last one meets a row that is there already.
    rows = [*single[:1], *(single[1:][-1:] if _MERGES.search(sending.query.text) else [])]
    for row in rows:
        for slot in slots:
            # Of a part of a document the value is not at hand, and any other of its kind will do.
            ordinary = (
                _made(wire, expression(slot.column, "7", 0) or "NULL") if slot.path else row[slot.number - 1]
            )
            for text in far(slot.column, rule.says, ordinary):
                value = _made(wire, text)
                other = None if value is None else _filled(wire, sending, row, slot, value)
                if other is not None:
                    yield Attempt([other], slot.name, _short(value))
        for one, another in swapped(slot.column for slot in slots):
            first, second = slots[one].number - 1, slots[another].number - 1
            both = list(row)
            both[first], both[second] = row[second], row[first]
            if not slots[one].path and not slots[another].path:
                about = f"{slots[one].name} and {slots[another].name}"
                yield Attempt([both], about, f"{_short(both[first])} and {_short(both[second])}")


def _twice(wire: Wire, sending: Sending, slots: Sequence[Slot]) -> Iterator[Attempt]:
    """Two calls with keys of their own, and the same values or those that are alike in what the new index is made of."""
    for pair in [trial for trial in sending.sets if len(trial) == 2][-1:]:
        first, second = pair
        same = list(second)
        for slot in slots:
            same[slot.number - 1] = first[slot.number - 1]
        yield Attempt([first, same], " and ".join(dict.fromkeys(slot.name for slot in slots)), "", BREAKS)
        for slot in slots:
            yield from _alike(wire, sending, slot, first[slot.number - 1], [first, same])


def _alike(wire: Wire, sending: Sending, slot: Slot, value: str | None, trial: Trial) -> Iterator[Attempt]:
    """The trial with each text, number or time that is like ``value`` in the slot of its last call."""
    for text in [] if value is None or slot.path else like(slot.column, value):
        made = _made(wire, text)
        other = None if made in (None, value) else _filled(wire, sending, trial[-1], slot, made or "")
        if other is not None:
            yield Attempt([*trial[:-1], other], slot.name, f"{_short(made)} beside {_short(value)}")


def _beside(wire: Wire, sending: Sending, rule: Rule, slots: Sequence[Slot]) -> Iterator[Attempt]:
    """A call with values that are alike to those of a row that is there."""
    single = [trial[0] for trial in sending.sets if len(trial) == 1][:1]
    tables = {slot.table.oid: slot.table for slot in slots if slot.table.oid == rule.relation}
    mine = [slot for slot in slots if slot.table.oid in tables and not slot.path]
    for row, table in ((row, table) for row in single for table in tables.values()):
        listed = ", ".join(f"{quote(slot.column.name)}::text" for slot in mine)
        there = wire.one(f"SELECT {listed} FROM {table.quoted} LIMIT {_ROWS}").rows if mine else []  # noqa: S608 - quoted
        for values in there:
            same = list(row)
            for slot, value in zip(mine, values, strict=True):
                same = (_filled(wire, sending, same, slot, value) or same) if value is not None else same
            for slot, value in zip(mine, values, strict=True):
                yield from _alike(wire, sending, slot, value, [same])


def _short(value: str | None) -> str:
    """A value as reports show it."""
    if value is None or re.fullmatch(r"-?\d{1,20}(\.\d+)?", value):
        return value or "NULL"
    return literal(value if len(value) <= _LONG else f"{value[:_LONG]}...")


def _told(query: Query, found: Sequence[Refused]) -> Refusal | None:
    verb = next(iter(re.findall(r"\b(INSERT|UPDATE|MERGE)\b", query.text.upper())), "a write")
    for one in found:
        if one.attempt.answer == BREAKS and one.dated:
            told = f"{one.error.message}; a second {verb} with the same {one.attempt.about} is refused"
            return Refusal(BREAKS, one.error.sqlstate, told)
    told_of: dict[str, dict[str, list[str]]] = {}
    for one in found:
        values = told_of.setdefault(one.rule.name, {}).setdefault(one.attempt.about, [])
        values.append(one.attempt.value)
    if not found:
        return None
    listed = []
    for name, columns in told_of.items():
        sent = [
            f"{about} = {', '.join(filter(None, values)) or 'the same twice'}"
            for about, values in columns.items()
        ]
        listed.append(f"{verb} with {' or '.join(sent)} is refused by {name}")
    told = f"{'; '.join(listed)}, and nothing shows whether the release sends that: {found[0].error.message}; {_MEND}"
    told += "" if all(one.dated for one in found) else f"; {_UNDATED}"
    return Refusal(HOLD, found[0].error.sqlstate, told)
