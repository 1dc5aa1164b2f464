"""Which partitions the planner keeps, and where a row goes: conditions on the key against the bounds.

The bounds of one partitioned table are seen as slots: the listed values, the stretches between bounds, or the
remainders of a hash. A test keeps some slots, AND keeps what all of its parts keep, OR what any of them keeps; a
slot that belongs to no partition belongs to the default one. What cannot be told keeps everything.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping

from lockgate.policy.model import ranges
from lockgate.policy.model.bounds import Bounds, Slots, behind, bounds_of, values_of
from lockgate.policy.model.datums import DATES, INTEGERS, NULL, TEXTS, Comparable, comparable, fits, ordered
from lockgate.policy.model.hashing import row_hash
from lockgate.policy.model.schema import BUILT_IN, Relation, Schema
from lockgate.postgres.tree.constants import rounded
from lockgate.postgres.tree.words import Bound, Condition, Either, Test, TypeName

_WHOLE = re.compile(r"n:-?\d+")
_PLAIN = BUILT_IN | {""}
_SCALED = frozenset({"numeric", "timestamp", "timestamptz"})


def kept(schema: Schema, state: Relation, conditions: tuple[Condition, ...]) -> list[str]:
    """All partitions below ``state`` that the planner keeps under ``conditions``, nearest first."""
    found: list[str] = []
    if Either(()) in conditions:
        return []  # no row is asked for
    hashed = len(state.partition_columns) > 1 and any(
        bound.strategy == "hash" for bound in map(_bound, map(schema.relations.get, state.children)) if bound
    )
    conditions = tuple([_unknown(schema, condition, hashed=hashed) for condition in conditions])
    for test in conditions if schema.version >= 17 else ():
        if isinstance(test, Test) and test.op == "null" and test.column in state.columns:
            own = state.columns[test.column]
            if own.not_null and own.not_null_valid and not test.values:
                return []  # since 17 the planner knows that nothing is
            if own.not_null and own.not_null_valid:
                conditions = ()  # it turns to false, beside which nothing else is looked at
                break
    if _contradict(state, conditions):
        return []
    for name in _children(schema, state, conditions):
        found.append(name)
        below = schema.relations.get(name)
        if below is not None and below.kind == "p":
            found += kept(schema, below, conditions)
    return found


def _bound(state: Relation | None) -> Bound | None:
    return state.bound if state is not None else None


def _unknown(schema: Schema, condition: Condition, *, hashed: bool) -> Condition:
    """IS UNKNOWN as the planner of this version sees it; one that it does not look at says nothing that it knows."""
    if isinstance(condition, Either):
        return Either(
            tuple(
                [tuple([_unknown(schema, test, hashed=hashed) for test in part]) for part in condition.parts]
            )
        )
    if condition.op not in ("unknown", "known"):
        return condition
    if schema.version >= 17 and not hashed:
        return Test(condition.column, "null" if condition.op == "unknown" else "not null")
    return Test(condition.column, "=", ("?",))


def _contradict(state: Relation, conditions: tuple[Condition, ...]) -> bool:
    """Whether one column would equal two numbers, or two texts: the planner sees that no row is asked for."""
    equal: dict[str, str] = {}
    for test in conditions:
        if not isinstance(test, Test) or test.op != "=" or len(test.values) != 1 or test.cast not in _PLAIN:
            continue
        (value,) = test.values
        own = state.columns.get(test.column)
        text = own is not None and own.type.name in TEXTS and value[:2] == "s:"
        if (text or _WHOLE.fullmatch(value)) and equal.setdefault(test.column, value) != value:
            return True
    return False


def _children(schema: Schema, state: Relation, conditions: tuple[Condition, ...]) -> list[str]:
    bounds = bounds_of(schema, state) if conditions and state.children else None
    if bounds is not None and state.default_partition:
        # Where there is a default partition, what the table itself may hold counts as asked for.
        conditions = (*conditions, *_held(schema, state))
    slots = _all(bounds, conditions) if bounds is not None else None
    if bounds is None or slots is None:
        return state.children
    names = {bounds.owners[slot] or state.default_partition for slot in slots}
    return [name for name in state.children if name in names]


def route(schema: Schema, state: Relation, row: Mapping[str, str]) -> list[str]:
    """The partitions that a row passes on its way down from ``state``, as far as it can be told."""
    found: list[str] = []
    while state.kind == "p":
        bounds = bounds_of(schema, state) if state.children else None
        if bounds is None:
            break
        values = values_of(tuple([_stored(schema, state, key, row) for key in bounds.keys]), bounds.kinds)
        slots = _at(bounds, values) if values is not None else None
        names = {bounds.owners[slot] or state.default_partition for slot in slots or ()}
        below = schema.relations.get(names.pop()) if len(names) == 1 else None
        if below is None:
            break
        found.append(below.key)
        state = below
    return found


def _stored(schema: Schema, state: Relation, key: str, row: Mapping[str, str]) -> str:
    """The value as the column keeps it; one that may be rounded on the way in is not known."""
    value, column = row.get(key, "?"), state.columns.get(key)
    kind = behind(schema, column.type) if column is not None else TypeName("")
    if kind.name == "numeric" and kind.mods and value[:2] in ("n:", "s:"):
        return rounded(value[2:].strip(), kind.mods[1] if len(kind.mods) > 1 else 0)
    if kind.name == "varchar" and kind.mods and len(value) - 2 > kind.mods[0]:
        return "?"  # blanks too many are cut off
    rounds = kind.name in INTEGERS or (bool(kind.mods) and kind.name in _SCALED)
    return "?" if rounds and any(mark in value[2:] for mark in ".eE") else value


def only_the_server_knows(schema: Schema, state: Relation, columns: Collection[str]) -> bool:
    """Whether rows are spread by a hash of enum labels, which are numbers of the server's own, and all keys are given."""
    bounds = bounds_of(schema, state) if state.kind == "p" and state.children else None
    if bounds is None or bounds.strategy != "hash" or "enum" not in bounds.kinds:
        return False
    return set(bounds.keys) <= set(columns)


def _held(schema: Schema, state: Relation) -> list[Condition]:
    """What the bounds of a partition, and those of the tables above it, say of its rows."""
    found: list[Condition] = []
    for key, above in zip([state.key, *(ancestors := schema.ancestors(state.key))], ancestors, strict=False):
        bound, keys = schema.relations[key].bound, schema.relations[above].partition_columns
        if bound is None or len(keys) != 1:
            continue
        if bound.strategy == "list":
            values = tuple([value for value in bound.values if value != "null"])
            arms: list[tuple[Condition, ...]] = [(Test(keys[0], "=", values),)] if values else []
            arms += [(Test(keys[0], "null"),)] if len(values) < len(bound.values) else []
            found.append(Either(tuple(arms)))
        elif bound.strategy == "range":
            edges = ((">=", bound.lower[0]), ("<", bound.upper[0]))
            found += [Test(keys[0], op, (value,)) for op, value in edges if value not in ("min", "max")]
    return found


# -- conditions ------------------------------------------------------------------------------------


def _all(bounds: Bounds, conditions: Iterable[Condition]) -> Slots | None:
    """What every part keeps; None when none of them says anything."""
    tests = [test for test in conditions if isinstance(test, Test) and test.column in bounds.keys]
    found = list(_tests(bounds, tests))
    for condition in conditions:
        if isinstance(condition, Either):
            found.append(_any(bounds, condition.parts))
        elif condition.op == "=" and len(condition.values) > 1 and set(condition.values) != {"null"}:
            found.append(_any(bounds, _one_by_one(condition)))
    known = [slots for slots in found if slots is not None]
    return frozenset.intersection(*known) if known else None


def _any(bounds: Bounds, parts: Iterable[tuple[Condition, ...]]) -> Slots | None:
    found: Slots = frozenset()
    for part in parts:
        slots = _all(bounds, part)
        if slots is None:
            return None
        found |= slots
    return found


def _one_by_one(test: Test) -> list[tuple[Condition, ...]]:
    return [(Test(test.column, "=", (value,), test.cast),) for value in test.values]


def _tests(bounds: Bounds, tests: list[Test]) -> Iterator[Slots | None]:
    """What single tests keep; those on several columns of the key are taken together."""
    equal: dict[str, Comparable] = {}
    asked: ranges.Asked = {}
    compared: set[str] = set()
    others: dict[str, list[tuple[str, Comparable]]] = {}
    for test in tests:
        kind = bounds.kinds[bounds.keys.index(test.column)]
        if test.op == "null":
            equal[test.column] = NULL
            continue
        # Of a hash the server asks only what equals it, and what differs only of a list; a list after IN is asked apart.
        useless = {"hash": ("<", "<=", ">", ">=", "<>"), "range": ("<>",)}.get(bounds.strategy, ())
        if test.op == "not null" or (len(test.values) == 1 and test.op not in useless):
            compared.add(test.column)
        if test.op == "not null":
            if bounds.strategy == "list":
                yield _not_null(bounds)
            continue
        cast = bounds.meant(test.cast)
        if not all(fits(kind, cast, value) for value in test.values):
            continue
        if bounds.strategy == "hash" and kind in DATES and cast not in ("", kind):
            continue  # days and moments compare, but have no hash in common
        if kind == "bool" and bounds.strategy == "hash" and len(bounds.keys) > 1:
            continue  # a condition that is the column itself: beside other keys the server finds no hash for it
        # A day is compared with a moment as the moment when it begins.
        held = "timestamp" if (kind, cast) == ("date", "timestamp") else kind
        values = [comparable(value, held) for value in test.values]
        if None in values or (
            cast in BUILT_IN and None in [comparable(value, cast) for value in test.values]
        ):
            continue
        if NULL in values and (test.op != "=" or len(values) == 1):
            yield frozenset()  # nothing equals NULL, and nothing is told apart from it
        elif test.op == "<>" and (kind != "bool" or len(values) > 1):
            if bounds.strategy == "list":
                yield frozenset(
                    [
                        slot
                        for slot in _not_null(bounds)
                        if bounds.values[slot : slot + 1] not in _lists(values)
                    ]
                )
        elif len(values) == 1 and values[0] is not None:
            # To be not true is to be false.
            value = (0, "f" if values[0][1] == "t" else "t") if test.op == "<>" else values[0]
            asked.setdefault(test.column, []).append(("=" if test.op == "<>" else test.op, value))
            if test.op in ("=", "<>") and test.column not in equal:
                equal[test.column] = value
            else:
                others.setdefault(test.column, []).append((test.op, value))
    if any(equal.get(name) == NULL for name in compared):
        yield frozenset()  # NULL is on no side of a value
    elif bounds.strategy == "range":
        if NULL in equal.values():
            yield ranges.default_only(bounds)
        else:
            yield from ranges.steps(bounds, asked)
    else:
        yield from _together(bounds, equal, others)


def _not_null(bounds: Bounds) -> Slots:
    """All slots of a list but that of NULL, which no comparison is true of."""
    return frozenset(slot for slot in bounds.every if bounds.values[slot : slot + 1] != [NULL])


def _lists(values: list[Comparable | None]) -> list[list[Comparable]]:
    return [[value] for value in values if value is not None]


def _together(
    bounds: Bounds, equal: dict[str, Comparable], others: dict[str, list[tuple[str, Comparable]]]
) -> Iterator[Slots | None]:
    values = [equal[key] for key in bounds.keys if key in equal]
    if len(values) == len(bounds.keys):
        yield _at(bounds, values)
    if bounds.strategy == "list":
        for op, value in others.get(bounds.keys[0], ()):
            yield _beside(bounds, op, value, bounds.kinds[0])


def _at(bounds: Bounds, values: list[Comparable]) -> Slots | None:
    """The slots of rows whose key is ``values``."""
    if bounds.strategy == "hash":
        total = row_hash(values, bounds.kinds)
        if total is None:
            return None
        return frozenset(slot for slot, (modulus, rest) in enumerate(bounds.parts) if total % modulus == rest)
    if bounds.strategy == "list":
        return frozenset(
            [bounds.values.index(values[0]) if values[0] in bounds.values else len(bounds.values)]
        )
    return ranges.at(bounds, values)


def _beside(bounds: Bounds, op: str, value: Comparable, kind: str) -> Slots | None:
    """The slots of a list whose value stands in ``op`` to ``value``."""
    if op not in ("<", "<=", ">", ">=", "="):
        return None
    if not ordered([value, *[at for at in bounds.values if at != NULL]], kind):
        return _not_null(bounds)
    fit = [slot for slot, at in enumerate(bounds.values) if at != NULL and _stands(at, op, value)]
    # Any other value may lie on the right side too.
    return frozenset([*fit, *([len(bounds.values)] if op != "=" else [])])


def _stands(one: Comparable, op: str, other: Comparable) -> bool:
    if op == "=":
        return one == other
    return (
        (one < other or (one == other and op == "<="))
        if op[0] == "<"
        else (one > other or (one == other and op == ">="))
    )
