"""What can be told of an expression or a query without evaluating it.

Expressions and queries are walked as plain dicts: they are small or rare, and every node kind may occur.
"""

from collections.abc import Callable
from typing import Any

from msgspec import Raw, json

from lockgate.postgres.tree.calls import sure_calls, sure_in
from lockgate.postgres.tree.conditions import Scope
from lockgate.postgres.tree.constants import strings
from lockgate.postgres.tree.dropped import (
    dropped_of_case,
    dropped_of_coalesce,
    dropped_of_condition,
    dropped_with,
    planned_apart,
)
from lockgate.postgres.tree.lexing import dotted
from lockgate.postgres.tree.outputs import output_columns, starred
from lockgate.postgres.tree.pushing import (
    Outputs,
    agreed,
    alias_of,
    arm,
    arm_outputs,
    lasting,
    outputs_of,
    plain_outputs,
    pushed,
    through,
    translated,
)
from lockgate.postgres.tree.words import (
    Access,
    Condition,
    Expression,
    Insert,
    LockMode,
    Name,
    Query,
    TypeName,
    Write,
)
from lockgate.postgres.tree.written import chooses, insert_of, merged, puts_of, sets_of

CONSTANT = Expression(constant=True)
_NULL = Expression(constant=True, null=True)

_decode = json.Decoder().decode
_CONST_PREFIX = b'{"A_Const"'

# The server spells these as grammar, not as function calls; by name they join the functions of an expression.
_NOT_NULL_SAFE = "IS_NOT_NULL"


class _Seen:
    """What one walk gathers."""

    __slots__ = ("accesses", "apart", "columns", "forced", "functions", "idle", "inserts", "literals", "operators", "scopes", "sequences", "serials", "settings", "starred", "types", "writes")  # fmt: skip

    def __init__(self) -> None:
        self.accesses: dict[Access, None] = {}
        self.inserts: list[Insert] = []
        # Of the query being walked and those around it: what each table of FROM is asked for.
        self.scopes: list[Scope] = []
        self.functions: dict[str, None] = {}
        self.columns: dict[str, None] = {}
        self.literals: list[str] = []
        self.sequences: list[str] = []
        self.serials: list[tuple[str, str]] = []
        self.writes: list[Write] = []
        self.operators: dict[str, None] = {}
        self.types: dict[TypeName, None] = {}
        self.settings: list[tuple[str, str]] = []
        self.starred: dict[Name | None, None] = {}
        # Whether the next query is planned by itself, whatever stands around it.
        self.apart = False
        # Inside a part that is not planned.
        self.idle = False
        # Queries in FROM whose rows FOR UPDATE around them locks.
        self.forced: list[dict[str, Any]] = []

    def relation(self, node: dict[str, Any], mode: LockMode, *, insert: bool = False) -> None:
        conditions: tuple[Condition, ...] = ()
        outputs: Outputs = ()
        if self.scopes and not insert:
            scope = self.scopes[-1]
            conditions = scope.of(node)
            if scope.given or scope.outputs:
                own = outputs_of(scope.node, alias_of(node))
                conditions += translated(scope.given, own)
                outputs = through(scope.outputs, own)
            conditions = agreed(conditions) if scope.given else conditions
        name = Name(node.get("schemaname", ""), node["relname"])
        only = not node.get("inh", False)
        self.accesses[Access(name, mode, only, conditions, insert, outputs, self.idle and not insert)] = None

    def access_list(self) -> tuple[Access, ...]:
        return tuple(self.accesses)


def role_of(node: dict[str, Any]) -> str:
    """A role by its name, or ``current_user``, ``public``, …"""
    name = node.get("rolename")
    return str(name) if name else str(node.get("roletype", "")).removeprefix("ROLESPEC_").lower()


def name_of_parts(parts: list[str]) -> Name:
    """A name from its dotted parts; a database part in front is dropped."""
    return Name(parts[-2] if len(parts) > 1 else "", parts[-1])


def type_of_dict(node: dict[str, Any]) -> TypeName:
    """A type from its decoded node."""
    parts = strings(node.get("names", []))
    schema = parts[-2] if len(parts) > 1 else ""
    mods = tuple(
        const["ival"].get("ival", 0)
        for mod in node.get("typmods", ())
        if isinstance(const := mod.get("A_Const"), dict) and "ival" in const
    )
    return TypeName(
        parts[-1] if parts else "",
        "" if schema == "pg_catalog" else schema,
        mods,
        bool(node.get("arrayBounds")),
    )


def expression_of(raw: Raw) -> Expression | None:
    """The expression in ``raw``, or None when there is none."""
    source = bytes(raw)
    if not source:
        return None
    if source.startswith(_CONST_PREFIX):
        if b'"sval"' not in source:
            return _NULL if b'"isnull"' in source else CONSTANT
        value = _decode(source)["A_Const"]
        return Expression(constant=True, literal=value.get("sval", {}).get("sval", ""))
    return expression_of_node(_decode(source))


def expression_of_node(node: Any) -> Expression:
    """The expression of a decoded node."""
    seen = _Seen()
    _walk(node, seen, frozenset(), LockMode.AccessShareLock)
    column, casts = _cast_chain(node)
    return Expression(
        constant=not (seen.functions or seen.columns or seen.accesses),
        functions=tuple(seen.functions),
        columns=tuple(seen.columns),
        not_null=tuple(_proves_not_null(node)),
        accesses=seen.access_list(),
        cast_of=column,
        casts=tuple(casts),
        literal=_literal(node),
        null=_null(node),
        sequences=tuple(seen.sequences),
        calls=sure_in(node) if seen.functions else (),
    )


def query_of_node(node: Any, outputs: Outputs = ()) -> tuple[Query, tuple[str, ...]]:
    """The query of a decoded statement node, and the string literals in it; ``outputs`` is what a view hands on of it."""
    seen = _Seen()
    if outputs and "SelectStmt" in node:
        _select(node["SelectStmt"], seen, frozenset(), LockMode.AccessShareLock, (), outputs)
    else:
        _walk(node, seen, frozenset(), LockMode.AccessShareLock)
    columns, star, shown = output_columns(node)
    query = Query(
        seen.access_list(),
        tuple(seen.functions),
        columns,
        star,
        tuple(seen.columns),
        tuple(seen.sequences),
        tuple(seen.serials),
        tuple(seen.inserts),
        sure_calls(node) if seen.functions else (),
        tuple(seen.writes),
        tuple(seen.operators),
        tuple(seen.types),
        tuple(seen.settings),
        tuple(seen.starred),
        shown,
        plain_outputs(node),
    )
    return query, tuple(seen.literals)


def _literal(node: Any) -> str | None:
    while isinstance(node, dict):
        if "TypeCast" in node:
            node = node["TypeCast"].get("arg")
        elif "A_Const" in node:
            sval = node["A_Const"].get("sval")
            return None if sval is None else sval.get("sval", "")
        else:
            return None
    return None


def _null(node: Any) -> bool:
    while isinstance(node, dict) and "TypeCast" in node:
        node = node["TypeCast"].get("arg")
    return isinstance(node, dict) and bool(node.get("A_Const", {}).get("isnull", False))


def _cast_chain(node: Any) -> tuple[str, list[TypeName]]:
    casts: list[TypeName] = []
    while isinstance(node, dict):
        if "TypeCast" in node:
            cast = node["TypeCast"]
            casts.append(type_of_dict(cast["typeName"]))
            node = cast.get("arg")
        elif "ColumnRef" in node:
            parts = strings(node["ColumnRef"].get("fields", []))
            casts.reverse()
            return (parts[-1], casts) if parts else ("", [])
        else:
            break
    return "", []


def _proves_not_null(node: Any) -> list[str]:
    if not isinstance(node, dict):
        return []
    if "BoolExpr" in node and node["BoolExpr"].get("boolop") == "AND_EXPR":
        return [name for arg in node["BoolExpr"].get("args", ()) for name in _proves_not_null(arg)]
    test = node.get("NullTest")
    if test and test.get("nulltesttype") == _NOT_NULL_SAFE and "ColumnRef" in test.get("arg", {}):
        parts = strings(test["arg"]["ColumnRef"].get("fields", []))
        return parts[-1:]
    return []


def _walk(node: Any, seen: _Seen, ctes: frozenset[str], mode: LockMode) -> None:
    """Gather relations, functions, columns and literals below ``node``; ``ctes`` are names that are no tables."""
    if isinstance(node, list):
        for item in node:
            if isinstance(item, (dict, list)):
                _walk(item, seen, ctes, mode)
        return
    for key, value in node.items():
        if not isinstance(value, (dict, list)):
            continue
        leaf = _LEAVES.get(key)
        if leaf is not None and isinstance(value, dict):
            leaf(value, seen, ctes, mode)
            continue
        # Here and not in a leaf of its own: a chain of operators is as deep as it is long.
        if key == "A_Expr" and isinstance(value, dict):
            seen.operators.update(dict.fromkeys(strings(value.get("name", []))[-1:]))
        elif key == "TypeCast" and isinstance(value, dict):
            seen.types[type_of_dict(value["typeName"])] = None
        _walk(value, seen, ctes, mode)


def _sublink(node: dict[str, Any], seen: _Seen, ctes: frozenset[str], mode: LockMode) -> None:
    seen.apart = planned_apart(node)
    _walk(node, seen, ctes, mode)


def _condition(node: dict[str, Any], seen: _Seen, ctes: frozenset[str], mode: LockMode) -> None:
    _decided(dropped_of_condition, node, seen, ctes, mode)


def _case(node: dict[str, Any], seen: _Seen, ctes: frozenset[str], mode: LockMode) -> None:
    _decided(dropped_of_case, node, seen, ctes, mode)


def _coalesce(node: dict[str, Any], seen: _Seen, ctes: frozenset[str], mode: LockMode) -> None:
    _decided(dropped_of_coalesce, node, seen, ctes, mode)


def _decided(
    dropped: Callable[[dict[str, Any]], list[Any]],
    node: dict[str, Any],
    seen: _Seen,
    ctes: frozenset[str],
    mode: LockMode,
) -> None:
    """What constants decide: queries in the parts that are left out are not planned."""
    parts = dropped(node) if not seen.idle and "SubLink" in repr(node) else []
    if not parts:
        _walk(node, seen, ctes, mode)
        return
    for value in node.values():
        for item in value if isinstance(value, list) else [value]:
            arms = item["CaseWhen"] if isinstance(item, dict) and "CaseWhen" in item else {"": item}
            for part in arms.values():
                seen.idle = any(part is at or item is at for at in parts)
                if isinstance(part, (dict, list)):
                    _walk(part, seen, ctes, mode)
    seen.idle = False


def _range_var(node: dict[str, Any], seen: _Seen, ctes: frozenset[str], mode: LockMode) -> None:
    if "relname" in node and (node.get("schemaname") or node["relname"] not in ctes):
        seen.relation(node, mode)


def _column_ref(node: dict[str, Any], seen: _Seen, _ctes: frozenset[str], _mode: LockMode) -> None:
    parts = strings(node.get("fields", []))
    if parts:
        seen.columns[parts[-1]] = None


def _join(node: dict[str, Any], seen: _Seen, ctes: frozenset[str], mode: LockMode) -> None:
    seen.columns.update(dict.fromkeys(strings(node.get("usingClause", []))))
    for key, value in node.items():
        if key != "usingClause" and isinstance(value, (dict, list)):
            _walk(value, seen, ctes, mode)


def _constant(node: dict[str, Any], seen: _Seen, _ctes: frozenset[str], _mode: LockMode) -> None:
    if "sval" in node:
        seen.literals.append(node["sval"].get("sval", ""))


def _func_call(node: dict[str, Any], seen: _Seen, ctes: frozenset[str], mode: LockMode) -> None:
    parts = strings(node.get("funcname", []))
    name = dotted(*(parts[1:] if parts[:1] == ["pg_catalog"] else parts))
    seen.functions[name] = None
    if name in ("nextval", "setval", "currval"):
        _sequence(node.get("args") or [], seen)
    elif name == "set_config":
        setting, value = ([*map(_literal, node.get("args") or ()), "", ""])[:2]
        seen.settings.append(((setting or "?").lower(), "?" if value is None else value))
    for key, value in node.items():
        if key != "funcname" and isinstance(value, (dict, list)):
            _walk(value, seen, ctes, mode)


def _sequence(arguments: list[Any], seen: _Seen) -> None:
    """The sequence that nextval, setval or currval names, where it is sure to be asked: setval of NULL does nothing."""
    if not all(_never_null(argument) for argument in arguments[1:]):
        return
    literal = _literal((arguments or [None])[0])
    if literal:
        seen.sequences.append(literal)
        return
    called = arguments[0].get("FuncCall", {}) if arguments and isinstance(arguments[0], dict) else {}
    if strings(called.get("funcname", []))[-1:] == ["pg_get_serial_sequence"]:
        table, column = (_literal(argument) for argument in [*called.get("args", ()), None, None][:2])
        if table and column:
            seen.serials.append((table, column))


def _never_null(node: Any) -> bool:
    if "CoalesceExpr" in node:
        return any(_never_null(item) for item in node["CoalesceExpr"].get("args", ()))
    if "TypeCast" in node:
        return _never_null(node["TypeCast"].get("arg", {}))
    if "A_Expr" in node:
        sides = [node["A_Expr"][side] for side in ("lexpr", "rexpr") if side in node["A_Expr"]]
        return all(_never_null(side) for side in sides)
    return "A_Const" in node and not node["A_Const"].get("isnull", False)


def _value_function(node: dict[str, Any], seen: _Seen, _ctes: frozenset[str], _mode: LockMode) -> None:
    seen.functions[str(node.get("op", "")).removeprefix("SVFOP_").lower()] = None


def _set_to_default(node: dict[str, Any], seen: _Seen, _ctes: frozenset[str], _mode: LockMode) -> None:
    seen.functions["default"] = None


def _subselect(node: dict[str, Any], seen: _Seen, ctes: frozenset[str], mode: LockMode) -> None:
    """A query in FROM: what is asked of it is asked of its tables."""
    inner = node.get("subquery", {}).get("SelectStmt")
    if inner is None or "colnames" in node.get("alias", {}) or not seen.scopes:
        _walk(node.get("subquery", {}), seen, ctes, mode)
        return
    scope = seen.scopes[-1]
    own = outputs_of(scope.node, alias_of(node)) if scope.given or scope.outputs else ()
    asked = (*scope.of(node), *translated(scope.given, own))
    seen.apart = not scope.crowded
    _select(inner, seen, ctes, mode, asked, through(scope.outputs, own))


def _once(node: dict[str, Any], item: dict[str, Any]) -> dict[str, Any] | None:
    """The one place in FROM that names a query of WITH, which the planner then takes for a subquery."""
    if (
        item.get("ctematerialized", "CTEMaterializeDefault") == "CTEMaterializeAlways"
        or "aliascolnames" in item
    ):
        return None
    if repr(node).count(repr({"relname": item["ctename"]})[1:-1]) != 1:
        return None
    tables = [table["RangeVar"] for table in node.get("fromClause", ()) if "RangeVar" in table]
    return next((table for table in tables if table["relname"] == item["ctename"]), None)


def _with(
    node: dict[str, Any], seen: _Seen, ctes: frozenset[str], scope: Scope | None = None
) -> frozenset[str]:
    clause = node.get("withClause")
    if not clause:
        return ctes
    items = [item["CommonTableExpr"] for item in clause.get("ctes", ())]
    idle, dropped = seen.idle, dropped_with(node)
    if clause.get("recursive"):
        ctes |= {item["ctename"] for item in items}
    for item in items:
        query = item.get("ctequery", {})
        seen.idle = idle or item["ctename"] in dropped
        named = _once(node, item) if scope is not None and not clause.get("recursive") else None
        if named is not None and scope is not None and "SelectStmt" in query:
            own = outputs_of(node, alias_of(named)) if scope.given or scope.outputs else ()
            asked = (*lasting(scope.of(named)), *translated(scope.given, own))
            seen.apart = not scope.crowded
            _select(
                query["SelectStmt"], seen, ctes, LockMode.AccessShareLock, asked, through(scope.outputs, own)
            )
        else:
            seen.apart = True
            _walk(query, seen, ctes, LockMode.AccessShareLock)
        ctes |= {item["ctename"]}
    seen.idle = idle
    return ctes


def _select(
    node: dict[str, Any],
    seen: _Seen,
    ctes: frozenset[str],
    _mode: LockMode,
    given: tuple[Condition, ...] = (),
    outputs: Outputs = (),
) -> None:
    """A SELECT; ``given`` is what the query around it asks of its rows, ``outputs`` what that one hands on of them."""
    if _excepts(node):
        given, outputs = (), ()  # the planner pushes nothing into any arm
    scope = Scope(node, given, outputs, inside=bool(seen.scopes) and not seen.apart)
    seen.apart = False
    seen.scopes.append(scope)
    ctes = _with(node, seen, ctes, scope)
    seen.starred.update(dict.fromkeys(starred(node, ctes)))
    locked = set() if any(node is at for at in seen.forced) else _locked_names(node)
    for key, value in node.items():
        if key in ("larg", "rarg"):
            first, asked, shown = node["larg"], pushed(given), outputs
            if key == "rarg":
                asked, shown = arm(first, value, asked), arm_outputs(first, value, outputs)
            seen.apart = True
            _select(value, seen, ctes, LockMode.AccessShareLock, asked, shown)
        elif key == "fromClause":
            for item in value:
                if locked is not None:
                    seen.forced += _queries_below(item, locked)
                _walk(item, seen, ctes, LockMode.AccessShareLock)
                if locked is not None:
                    _lock_rows(item, seen, ctes, locked)
        elif key not in ("withClause", "lockingClause", "intoClause") and isinstance(value, (dict, list)):
            _walk(value, seen, ctes, LockMode.AccessShareLock)
    seen.scopes.pop()


def _excepts(node: dict[str, Any]) -> bool:
    """Whether the arms of a set operation are set against each other by EXCEPT, at any depth."""
    if "larg" not in node:
        return False
    return node.get("op") == "SETOP_EXCEPT" or _excepts(node["larg"]) or _excepts(node["rarg"])


def _locked_names(node: dict[str, Any]) -> set[str] | None:
    clauses = node.get("lockingClause")
    if not clauses:
        return None
    names: set[str] = set()
    for item in clauses:
        relations = item["LockingClause"].get("lockedRels")
        if not relations:
            return set()
        names |= {relation["RangeVar"]["relname"] for relation in relations}
    return names


def _queries_below(item: Any, locked: set[str]) -> list[dict[str, Any]]:
    """The queries in FROM that FOR UPDATE reaches into; those of WITH it does not."""
    if "RangeSubselect" in item:
        query = item["RangeSubselect"].get("subquery", {}).get("SelectStmt")
        return (
            [query]
            if query is not None and (not locked or alias_of(item["RangeSubselect"]) in locked)
            else []
        )
    join = item.get("JoinExpr", {})
    return [
        found for side in ("larg", "rarg") if side in join for found in _queries_below(join[side], locked)
    ]


def _lock_rows(item: Any, seen: _Seen, ctes: frozenset[str], locked: set[str]) -> None:
    """FOR UPDATE and its kin: RowShareLock on the tables of FROM, or on those named by OF."""
    if "RangeVar" in item:
        relation = item["RangeVar"]
        alias = relation.get("alias", {}).get("aliasname", relation["relname"])
        if (not locked or alias in locked) and (
            relation.get("schemaname") or relation["relname"] not in ctes
        ):
            seen.relation(relation, LockMode.RowShareLock)
    elif "JoinExpr" in item:
        for side in ("larg", "rarg"):
            _lock_rows(item["JoinExpr"].get(side, {}), seen, ctes, locked)


def _writes(node: dict[str, Any], seen: _Seen, ctes: frozenset[str], _mode: LockMode) -> None:
    """UPDATE, DELETE, MERGE: RowExclusiveLock on the target."""
    seen.scopes.append(Scope(node, inside=bool(seen.scopes)))
    ctes = _with(node, seen, ctes)
    if "relation" in node:
        seen.relation(node["relation"], LockMode.RowExclusiveLock)
        event = "merge" if "joinCondition" in node else "update" if "targetList" in node else "delete"
        target = Name(node["relation"].get("schemaname", ""), node["relation"]["relname"])
        seen.writes.append(
            Write(
                target,
                event,
                merged(node) or (event,),
                chooses(node),
                sets_of(node),
                puts_of(node),
            )
        )
    for key, value in node.items():
        if key not in ("withClause", "relation") and isinstance(value, (dict, list)):
            _walk(value, seen, ctes, LockMode.AccessShareLock)
    seen.scopes.pop()


def _inserts(node: dict[str, Any], seen: _Seen, ctes: frozenset[str], mode: LockMode) -> None:
    """INSERT: what it puts into its target is told apart from what the statement reads."""
    ctes = _with(node, seen, ctes)
    seen.inserts.append(insert_of(node))
    seen.relation(node["relation"], LockMode.RowExclusiveLock, insert=True)
    for key, value in node.items():
        if key not in ("withClause", "relation") and isinstance(value, (dict, list)):
            _walk(value, seen, ctes, LockMode.AccessShareLock)


_LEAVES = {
    "RangeVar": _range_var,
    "RangeSubselect": _subselect,
    "ColumnRef": _column_ref,
    "JoinExpr": _join,
    "A_Const": _constant,
    "FuncCall": _func_call,
    "SQLValueFunction": _value_function,
    "SetToDefault": _set_to_default,
    "SubLink": _sublink,
    "BoolExpr": _condition,
    "CaseExpr": _case,
    "CoalesceExpr": _coalesce,
    "SelectStmt": _select,
    "InsertStmt": _inserts,
    "UpdateStmt": _writes,
    "DeleteStmt": _writes,
    "MergeStmt": _writes,
}
