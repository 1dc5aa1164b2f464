"""Which stretches between the bounds of a range-partitioned table the planner keeps, as PostgreSQL works them out.

Several columns of a key are compared one after the other, and a comparison may say something of the first few only. The
server then keeps the default partition whatever the bounds say, so its answer is followed step by step
(``gen_prune_steps_from_opexps`` and ``get_matching_range_bounds`` of ``partprune.c``) and not worked out anew.
"""

from collections.abc import Iterator
from itertools import product

from lockgate.policy.model.bounds import Bounds, Slots
from lockgate.policy.model.datums import NULL, Comparable, ordered

Asked = dict[str, list[tuple[str, Comparable]]]
"""What is asked of each column of the key: operators and values."""


def default_only(bounds: Bounds) -> Slots:
    """No range takes NULL: what is left is the default partition."""
    return frozenset([len(bounds.owners) - 1])


def steps(bounds: Bounds, asked: Asked) -> Iterator[Slots]:
    """What each step of the server's keeps: one for each test, with those on the columns before it in front."""
    used: list[list[tuple[str, Comparable]]] = []
    for key, kind in zip(bounds.keys, bounds.kinds, strict=True):
        tests = [(op, value) for op, value in asked.get(key, ()) if ordered([value], kind)]
        if not tests:
            break
        used.append(tests)
        if any(op in ("<", ">") for op, _ in tests):
            break  # what is not inclusive says nothing of the columns behind
    for place, tests in enumerate(used):
        for op, value in tests:
            before = [
                [other for by, other in earlier if by in ("=", f"{op[0]}=")] for earlier in used[:place]
            ]
            for leading in product(*before):
                yield _matching(bounds, op, [*leading, value])


def at(bounds: Bounds, values: list[Comparable]) -> Slots | None:
    """The stretch that a whole key lies in."""
    if NULL in values:
        return default_only(bounds)
    if not all(ordered([value], kind) for value, kind in zip(values, bounds.kinds, strict=True)):
        return None
    return _matching(bounds, "=", values)


def _matching(bounds: Bounds, op: str, values: list[Comparable]) -> Slots:
    """``get_matching_range_bounds``: slot n lies below bound n, one more is for the default partition."""
    edges, count = bounds.edges, len(values)
    if not edges:
        return default_only(bounds)
    partial = count < len(bounds.keys)
    beside = default_only(bounds) if partial else frozenset()
    last, at = len(edges), _search(bounds, values)
    equal = at >= 0 and edges[at][:count] == values
    low, high = 0, last
    if op == "=":
        if not (equal and partial):
            return beside | {at + 1}
        low = _walk(bounds, values, at, -1, between=False)
        low += edges[low][count][0] == -1
        high = _walk(bounds, values, at, 1, between=False) + 1
    elif op[0] == ">":
        inclusive = op == ">="
        if equal and partial:
            at = _walk(bounds, values, at, -1 if inclusive else 1, between=True)
            low = at if inclusive else at + 1
        else:
            # A bound belongs to the partition above it.
            low = at + 1
    elif equal and partial:
        inclusive = op == "<="
        at = _walk(bounds, values, at, 1 if inclusive else -1, between=True)
        high = at + 1 if inclusive else at
    else:
        high = at if equal and op == "<" else at + 1
    if op != "=":
        if low < last and not bounds.owners[low] and edges[low][count - 1][0] == -1:
            low += 1  # below MINVALUE there is nothing
        if high >= 1 and not bounds.owners[high] and edges[high - 1][count - 1][0] == 1:
            high -= 1
    return beside | frozenset(range(low, high + 1))


def _search(bounds: Bounds, values: list[Comparable]) -> int:
    """The greatest bound that is not above ``values``, or any of those whose first columns equal them; -1 for none."""
    count, low, high = len(values), -1, len(bounds.edges) - 1
    while low < high:
        middle = (low + high + 1) // 2
        edge = bounds.edges[middle][:count]
        if edge > values:
            high = middle - 1
            continue
        low = middle
        if edge == values:
            break
    return low


def _walk(bounds: Bounds, values: list[Comparable], at: int, by: int, *, between: bool) -> int:
    """As far as bounds begin with ``values``, in one direction; ``between``: only from a bound that has both neighbours."""
    count, last = len(values), len(bounds.edges) - 1
    while (at >= 1 or (by > 0 and not between)) and (at < last or (by < 0 and not between)):
        if bounds.edges[at + by][:count] != values:
            break
        at += by
    return at
