"""``verify/*.sql``: what has to be so after a migration, one query a file, with what is expected in its first comment.

-- lockgate: expect=empty            no row (the default)
-- lockgate: expect=rows             at least one row; rows=3 exactly three, rows>=3 at least three
-- lockgate: expect=value value=42   the first column of the one row, as text
-- lockgate: expect=explain uses=index_name max_cost=1000   the plan of the query, which is not run
"""

import json
import re
from pathlib import Path
from typing import Any

import msgspec

from lockgate.errors import ConfigError, LockgateError
from lockgate.migrations.limits import Limits
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Call, Cancelled, Wire
from lockgate.record.redact import redact
from lockgate.record.verdict import Verdict
from lockgate.record.words import counted
from lockgate.release.look import connect_patiently
from lockgate.release.verify import Check

_LINE = re.compile(r"^\s*--\s*lockgate:(?P<rest>.*)$")
_PAIR = re.compile(r'(?P<key>[a-z_]+)(?P<op>>=|=)(?P<value>"[^"]*"|\S+)')
_KEYS = frozenset({"expect", "rows", "value", "uses", "avoids", "max_cost", "timeout"})


class Assertion(msgspec.Struct, frozen=True):
    """One query and what its answer has to be."""

    name: str
    sql: str
    expect: str = "empty"
    rows: int | None = None
    at_least: bool = False
    value: str | None = None
    uses: str = ""
    avoids: str = ""
    max_cost: float | None = None
    seconds: float = 60.0


def read_assertions(directory: Path) -> list[Assertion]:
    """The assertions of a folder, by name; none where it does not exist. Raises ``ConfigError`` with file and line."""
    if not directory.is_dir():
        return []
    return [parse(path.stem, path.read_text("utf-8"), str(path)) for path in sorted(directory.glob("*.sql"))]


def parse(name: str, text: str, file: str) -> Assertion:
    """Read one assertion. An unknown directive is an error: a check that means less than it says is none."""
    fields: dict[str, Any] = {}
    for number, line in enumerate(text.splitlines(), 1):
        match = _LINE.match(line)
        if not match:
            continue
        rest = match["rest"].strip()
        pairs = list(_PAIR.finditer(rest))
        if not pairs or _PAIR.sub("", rest).strip():
            raise ConfigError(f"{file}:{number}: {rest!r} is not like expect=empty or expect=rows rows>=1")
        for pair in pairs:
            key, value = pair["key"], pair["value"].strip('"')
            if key not in _KEYS or key in fields:
                raise ConfigError(f"{file}:{number}: {key!r} is {'doubled' if key in fields else 'unknown'}")
            if pair["op"] == ">=" and key != "rows":
                raise ConfigError(f"{file}:{number}: only rows takes >=")
            fields[key] = value
            if key == "rows":
                fields["at_least"] = pair["op"] == ">="
    try:
        return _assertion(name, text, fields)
    except ValueError as error:
        raise ConfigError(f"{file}: {error}") from None


def _assertion(name: str, text: str, fields: dict[str, Any]) -> Assertion:
    expect = fields.get("expect") or (
        "rows" if "rows" in fields else "value" if "value" in fields else "empty"
    )
    if expect not in ("empty", "rows", "value", "explain"):
        raise ValueError(f"expect={expect} is none of empty, rows, value, explain")
    if expect == "value" and "value" not in fields:
        raise ValueError("expect=value needs value=...")
    if expect == "explain" and not {"uses", "avoids", "max_cost"} & fields.keys():
        raise ValueError("expect=explain needs uses=, avoids= or max_cost=")
    body = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("--")).strip()
    if not body:
        raise ValueError("it holds no query")
    rows = fields.get("rows")
    return Assertion(
        name,
        body.rstrip().rstrip(";"),
        expect,
        None if rows is None else int(rows),
        bool(fields.get("at_least", False)),
        fields.get("value"),
        fields.get("uses", ""),
        fields.get("avoids", ""),
        float(fields["max_cost"]) if "max_cost" in fields else None,
        float(fields.get("timeout", "60").removesuffix("s")),
    )


def judge(assertion: Assertion, rows: list[tuple[str | None, ...]]) -> Check:
    """What the rows of an answer come to."""
    name, count = f"verify/{assertion.name}", len(rows)
    shown = redact("; ".join(" | ".join("NULL" if c is None else c for c in row) for row in rows[:3]))[:300]
    if assertion.expect == "explain":
        return _judge_plan(assertion, name, rows)
    if assertion.expect == "empty":
        good, told = (
            count == 0,
            "no row, as expected" if count == 0 else f"{counted(count, 'row')}, expected none: {shown}",
        )
    elif assertion.expect == "rows":
        wanted = 1 if assertion.rows is None else assertion.rows
        least = assertion.at_least or assertion.rows is None
        good = count >= wanted if least else count == wanted
        told = f"{counted(count, 'row')}, expected {'at least ' if least else ''}{wanted}"
    else:
        seen = rows[0][0] if count == 1 and rows[0] else None
        good = count == 1 and seen == assertion.value
        told = f"{'NULL' if seen is None else redact(seen)[:200]} from {counted(count, 'row')}, expected {assertion.value}"
    return Check(name, Verdict.PASS if good else Verdict.FAIL, told)


def _judge_plan(assertion: Assertion, name: str, rows: list[tuple[str | None, ...]]) -> Check:
    plan = json.loads(rows[0][0] or "[]")[0]["Plan"]
    nodes, used = [plan], set()
    while nodes:
        node = nodes.pop()
        used |= {str(node[key]) for key in ("Index Name", "Node Type", "Relation Name") if key in node}
        nodes += node.get("Plans", [])
    cost = float(plan["Total Cost"])
    wrong = []
    if assertion.uses and assertion.uses not in used:
        wrong.append(f"does not use {assertion.uses}")
    if assertion.avoids and assertion.avoids in used:
        wrong.append(f"uses {assertion.avoids}")
    if assertion.max_cost is not None and cost > assertion.max_cost:
        wrong.append(f"costs {cost:g}, above {assertion.max_cost:g}")
    told = "; ".join(wrong) or f"the plan is as expected, cost {cost:g}"
    return Check(name, Verdict.FAIL if wrong else Verdict.PASS, told)


def run_assertions(target: Target, assertions: list[Assertion], limits: Limits) -> list[Check]:
    """Ask all of them, each in a read-only transaction of its own. One that cannot be asked fails; a lost server holds."""
    checks: list[Check] = []
    if not assertions:
        return checks
    wire = connect_patiently(target, "verify", limits, None)
    try:
        for assertion in assertions:
            checks.append(_ask(wire, assertion, limits))
    finally:
        wire.close()
    return checks


def _ask(wire: Wire, assertion: Assertion, limits: Limits) -> Check:
    explain = "EXPLAIN (FORMAT JSON) " if assertion.expect == "explain" else ""
    milliseconds = max(1, round(assertion.seconds * 1000))
    name = f"verify/{assertion.name}"
    try:
        replies = wire.batch(
            [
                Call("BEGIN READ ONLY"),
                Call(f"SET LOCAL statement_timeout = {milliseconds}"),
                Call(explain + assertion.sql),
            ],
            deadline=limits.clock() + assertion.seconds + 10,
        )
        return judge(assertion, replies[-1].rows)
    except ServerError as error:
        return Check(name, Verdict.FAIL, f"it could not be asked: {redact(error.message)}")
    except (LockgateError, Cancelled) as error:
        return Check(name, Verdict.HOLD, f"it could not be asked: {error}")
    finally:
        if wire.alive and wire.in_transaction:
            wire.batch([Call("ROLLBACK")], uncancellable=True)
