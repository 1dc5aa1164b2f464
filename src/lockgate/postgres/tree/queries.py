"""Readers of queries: SELECT, DML, views, and what wraps a query."""

from collections.abc import Callable
from typing import Any

from msgspec import structs

from lockgate.postgres.tree import words as w
from lockgate.postgres.tree.constants import strings
from lockgate.postgres.tree.expressions import expression_of_node, name_of_parts, query_of_node, role_of
from lockgate.postgres.tree.pushing import shown_as
from lockgate.postgres.tree.wording import Unknown
from lockgate.postgres.tree.written import chooses, merged, puts_of, sets_of

Tree = dict[str, Any]

_EMPTY = w.Query()


def _name(node: Tree) -> w.Name:
    return w.Name(node.get("schemaname", ""), node["relname"])


def _select(node: Tree) -> w.Statement:
    into = _into(node)
    query, literals = query_of_node({"SelectStmt": node})
    if into:
        return w.CreateTableAs(_name(into["rel"]), query, persistence=into["rel"].get("relpersistence", "p"))
    return w.Dml("select", query, where="whereClause" in node, literals=literals)


def _into(node: Tree) -> Tree | None:
    while "larg" in node:
        node = node["larg"]
    into: Tree | None = node.get("intoClause")
    return into


def _insert(node: Tree) -> w.Dml:
    query, literals = query_of_node({"InsertStmt": node})
    # Those of WITH come first, its own last.
    *others, own = query.inserts
    return w.Dml(
        "insert",
        structs.replace(query, inserts=tuple(others)),
        own.target,
        where="whereClause" in node.get("selectStmt", {}).get("SelectStmt", {})
        or (own.values and "whereClause" in node.get("onConflictClause", {})),
        values=own.values,
        columns=own.columns,
        on_conflict="onConflictClause" in node,
        default_values="selectStmt" not in node,
        insert=own,
        sets=sets_of(node.get("onConflictClause", {})),
        events=("update",) if node.get("onConflictClause", {}).get("action") == "ONCONFLICT_UPDATE" else (),
        returning="returningClause" in node,
        literals=literals,
    )


def _writes(kind: str, box: str) -> Callable[[Tree], w.Dml]:
    def read(node: Tree) -> w.Dml:
        query, literals = query_of_node({box: node})
        columns = [item["ResTarget"].get("name", "") for item in node.get("targetList", ())]
        # Those of WITH come first, its own last.
        query = structs.replace(query, writes=query.writes[:-1])
        return w.Dml(
            kind,
            query,
            _name(node["relation"]),
            where=chooses(node),
            columns=tuple(columns),
            sets=sets_of(node),
            events=merged(node),
            puts=puts_of(node),
            returning="returningClause" in node,
            literals=literals,
        )

    return read


def _copy(node: Tree) -> w.Dml:
    if "query" in node:
        query, _ = query_of_node(node["query"])
        return w.Dml("copy to", query)
    name = _name(node["relation"])
    writes = node.get("is_from", False)
    mode = w.LockMode.RowExclusiveLock if writes else w.LockMode.AccessShareLock
    return w.Dml(
        "copy from" if writes else "copy to",
        w.Query((w.Access(name, mode, insert=writes),)),
        name if writes else None,
        unplanned=True,
        insert=w.Insert(name) if writes else None,
    )


def _create_as(node: Tree) -> w.CreateTableAs:
    into = node["into"]
    if "ExecuteStmt" in node["query"]:
        raise Unknown("CREATE TABLE AS EXECUTE: the prepared query is not known")
    query, _ = query_of_node(node["query"])
    names = [item["String"]["sval"] for item in into.get("colNames", ())]
    if names:
        query = structs.replace(query, columns=tuple(names))
    return w.CreateTableAs(
        _name(into["rel"]),
        query,
        node.get("objtype") == "OBJECT_MATVIEW",
        not into.get("skipData", False),
        node.get("if_not_exists", False),
        into["rel"].get("relpersistence", "p"),
    )


def _view(node: Tree) -> w.CreateView:
    aliases = tuple(strings(node.get("aliases", [])))
    query, _ = query_of_node(node["query"], shown_as(node["query"].get("SelectStmt", {}), aliases))
    if aliases:
        query = structs.replace(query, columns=aliases)
    options = [item["DefElem"]["defname"] for item in node.get("options", ())]
    return w.CreateView(
        _name(node["view"]),
        query,
        node.get("replace", False),
        node["view"].get("relpersistence", "p"),
        tuple(options),
    )


def _explain(node: Tree) -> w.Statement:
    inner = _wrapped(node["query"])
    runs = any(
        option["DefElem"]["defname"].lower() == "analyze" and _on(option["DefElem"].get("arg"))
        for option in node.get("options", ())
    )
    if isinstance(inner, w.Dml):
        return structs.replace(inner, runs=runs)
    if isinstance(inner, w.CreateTableAs):
        # EXPLAIN without ANALYZE creates nothing; with ANALYZE it does. Both plan the query.
        return w.Dml("explain", inner.query, runs=runs)
    raise Unknown("EXPLAIN of something that is no query")


def _on(value: Tree | None) -> bool:
    text = str(next(iter(value.values()), {})) if value else "true"
    return not any(word in text.lower() for word in ("'off'", "'false'", "'0'", "false}", "'ival': 0"))


def _cursor(node: Tree) -> w.Statement:
    inner = _wrapped(node["query"])
    return structs.replace(inner, runs=False) if isinstance(inner, w.Dml) else inner


def _prepare(node: Tree) -> w.Dml:
    """PREPARE parses, and plans nothing yet."""
    return w.Dml("prepare", query_of_node(node["query"])[0], unplanned=True, runs=False)


def _execute(node: Tree) -> w.Statement:
    raise Unknown("EXECUTE: the prepared query is not known")


def _wrapped(node: Tree) -> w.Statement:
    ((kind, body),) = node.items()
    reader = READERS.get(kind)
    if reader is None:
        raise Unknown(f"a wrapped {kind}")
    return reader(body)


def _trigger(node: Tree) -> w.CreateTrigger:
    timing = node.get("timing", 0)
    return w.CreateTrigger(
        node["trigname"],
        _name(node["relation"]),
        node.get("row", False),
        node.get("replace", False),
        node.get("isconstraint", False),
        "before" if timing & 2 else "instead" if timing & 64 else "after",
        node.get("events", 0),
        name_of_parts(strings(node["funcname"])),
        _name(node["constrrel"]) if "constrrel" in node else None,
        "whenClause" in node,
        tuple(strings(node.get("columns", []))),
        node.get("initdeferred", False),
        tuple([item["TriggerTransition"]["name"] for item in node.get("transitionRels", ())]),
        expression_of_node(node["whenClause"]).columns if "whenClause" in node else (),
    )


def _rule(node: Tree) -> w.CreateRule:
    query, _ = query_of_node({"actions": node.get("actions", []), "where": node.get("whereClause", {})})
    return w.CreateRule(
        node["rulename"],
        _name(node["relation"]),
        node.get("replace", False),
        query.accesses,
        node.get("instead", False),
        str(node.get("event", "")).removeprefix("CMD_").lower(),
        "whereClause" in node,
        query.functions,
        query.inserts,
        bool(node.get("actions")),
        any(f"{{'sval': '{row}'}}" in repr(node) for row in ("old", "new")),
    )


def _policy(create: bool) -> Callable[[Tree], w.Policy]:
    def read(node: Tree) -> w.Policy:
        expressions = [expression_of_node(node[key]) for key in ("qual", "with_check") if key in node]
        accesses = tuple([access for expression in expressions for access in expression.accesses])
        constants = [
            node.get(key, {}).get("A_Const", {}).get("boolval", {}) for key in ("qual", "with_check")
        ]
        return w.Policy(
            node["policy_name"],
            _name(node["table"]),
            create,
            accesses,
            # A false constant comes as an empty object.
            any(constant.get("boolval", False) for constant in constants),
            node.get("permissive", False),
            node.get("cmd_name", ""),
            tuple([role_of(item["RoleSpec"]) for item in node.get("roles", ())]),
            tuple([function for expression in expressions for function in expression.functions]),
            tuple([column for expression in expressions for column in expression.columns]),
        )

    return read


READERS: dict[str, Callable[[Tree], w.Statement]] = {
    "SelectStmt": _select,
    "InsertStmt": _insert,
    "UpdateStmt": _writes("update", "UpdateStmt"),
    "DeleteStmt": _writes("delete", "DeleteStmt"),
    "MergeStmt": _writes("merge", "MergeStmt"),
    "CopyStmt": _copy,
    "CreateTableAsStmt": _create_as,
    "ViewStmt": _view,
    "ExplainStmt": _explain,
    "DeclareCursorStmt": _cursor,
    "PrepareStmt": _prepare,
    "ExecuteStmt": _execute,
    "CreateTrigStmt": _trigger,
    "RuleStmt": _rule,
    "CreatePolicyStmt": _policy(True),
    "AlterPolicyStmt": _policy(False),
}
