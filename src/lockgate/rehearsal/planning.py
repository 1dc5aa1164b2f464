"""The generic plan of a query, which every connection keeps for it in the end: whatever its parameters, one plan.

From 16 on the server makes it of the text alone, ``EXPLAIN (GENERIC_PLAN)``; before that, and where the server cannot plan the
text so, of the prepared statement under ``plan_cache_mode = force_generic_plan``. Which way was taken is part of the evidence.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from lockgate.postgres.placeholders import typed
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.wire import Call, Wire

GENERIC, FORCED = "generic_plan", "force_generic_plan"
SINCE = 160_000
"""The first ``server_version_num`` that knows ``EXPLAIN (GENERIC_PLAN)``."""


class Planned(msgspec.Struct, frozen=True):
    """How a query was planned: ``way`` is generic_plan, force_generic_plan, or "" where neither gave a plan.

    ``why`` says why it was not ``generic_plan``. ``scans`` are the tables that no index serves, even with sequential scans
    made dear; None without a plan.
    """

    way: str
    why: str = ""
    scans: frozenset[str] | None = None


def plan(wire: Wire, version: int, text: str, types: Sequence[str], execute: str) -> Planned:
    """Plan the query ``text``, prepared on ``wire`` with ``types``; ``execute`` is a call of it."""
    why = f"the server is older than 16: {version // 10000}"
    wire.one("SET enable_seqscan = off")
    try:
        if version >= SINCE:
            try:
                # By the simple protocol: the other would take the query's parameters for those of the EXPLAIN.
                asked = wire.alone(f"EXPLAIN (GENERIC_PLAN, FORMAT JSON) {typed(text, types)}")
                return Planned(GENERIC, scans=_scans([asked.rows]))
            except ServerError as error:
                why = f"EXPLAIN (GENERIC_PLAN): {error.sqlstate}: {error.message}"
        calls = [
            Call("SET plan_cache_mode = force_generic_plan"), Call(f"EXPLAIN (FORMAT JSON) {execute}"), Call("RESET plan_cache_mode"),
        ]  # fmt: skip
        try:
            return Planned(FORCED, why, _scans([wire.batch(calls)[1].rows]))
        except ServerError as error:
            return Planned("", f"{why}; EXPLAIN EXECUTE: {error.sqlstate}: {error.message}")
    finally:
        if wire.alive:
            wire.batch([Call("RESET plan_cache_mode"), Call("RESET enable_seqscan")])


def _scans(answers: Iterable[Iterable[tuple[str | None, ...]]]) -> frozenset[str]:
    return frozenset(
        name for rows in answers for row in rows for name in _sequential(json.loads(row[0] or "[]"))
    )


def _sequential(node: Any) -> list[str]:
    found = []
    if isinstance(node, list):
        for child in node:
            found += _sequential(child)
    elif isinstance(node, dict):
        if node.get("Node Type") == "Seq Scan":
            found.append(str(node.get("Relation Name", "")))
        for child in node.values():
            if isinstance(child, list | dict):
                found += _sequential(child)
    return found
