"""Readers of types, domains, sequences, functions, extensions and statistics."""

from collections.abc import Callable
from typing import Any

from msgspec import json

from lockgate.postgres.tree import words as w
from lockgate.postgres.tree.constants import strings
from lockgate.postgres.tree.expressions import (
    expression_of_node,
    name_of_parts,
    query_of_node,
    type_of_dict,
)
from lockgate.postgres.tree.library import SyntaxProblem, tree_json
from lockgate.postgres.tree.nodes import ColumnDef, ConstraintNode
from lockgate.postgres.tree.wording import column_of, constraint_of

Tree = dict[str, Any]

_column = json.Decoder(ColumnDef).decode
_constraint = json.Decoder(ConstraintNode).decode


def _name(node: Tree) -> w.Name:
    return w.Name(node.get("schemaname", ""), node["relname"])


def _constraint_of(node: Tree) -> w.Constraint:
    return constraint_of(_constraint(json.encode(node)))


def _options(node: Tree) -> dict[str, Any]:
    return {item["DefElem"]["defname"]: item["DefElem"].get("arg", {}) for item in node.get("options", ())}


def _owner(options: dict[str, Any]) -> tuple[tuple[w.Name, str] | None, bool]:
    arg = options.get("owned_by")
    if not arg:
        return None, False
    parts = strings(arg["List"].get("items", []))
    if len(parts) < 2:
        return None, True
    return (name_of_parts(parts[:-1]), parts[-1]), False


def _turns(name: str, value: dict[str, Any]) -> bool:
    """Whether an option of ALTER SEQUENCE changes which numbers come, or how many are left."""
    if name == "as":
        return type_of_dict(value.get("TypeName", {})).name != "int8"
    # NO MAXVALUE and NO MINVALUE have no value.
    return name in ("restart", "increment", "cycle") or (name in ("maxvalue", "minvalue") and bool(value))


def _create_sequence(node: Tree) -> w.CreateSequence:
    owner, _ = _owner(_options(node))
    sequence = node["sequence"]
    return w.CreateSequence(
        _name(sequence), owner, node.get("if_not_exists", False), sequence.get("relpersistence", "p")
    )


def _alter_sequence(node: Tree) -> w.AlterSequence:
    options = _options(node)
    owner, none = _owner(options)
    return w.AlterSequence(
        _name(node["sequence"]),
        tuple(options),
        owner,
        none,
        node.get("missing_ok", False),
        tuple([name for name in options if _turns(name, options[name])]),
    )


def _enum(node: Tree) -> w.CreateType:
    return w.CreateType(
        name_of_parts(strings(node["typeName"])), "enum", tuple(strings(node.get("vals", [])))
    )


def _composite(node: Tree) -> w.CreateType:
    columns = [column_of(_column(json.encode(item["ColumnDef"]))) for item in node.get("coldeflist", ())]
    return w.CreateType(_name(node["typevar"]), "composite", (), tuple(columns))


def _range(node: Tree) -> w.CreateType:
    return w.CreateType(name_of_parts(strings(node["typeName"])), "range")


def _define(node: Tree) -> w.Statement:
    kind = node["kind"].removeprefix("OBJECT_").lower()
    if kind == "type":
        return w.CreateType(
            name_of_parts(strings(node["defnames"])), "base" if node.get("definition") else "shell"
        )
    if kind == "operator":
        for item in node.get("definition", ()):
            if item["DefElem"]["defname"] in ("function", "procedure"):
                names = item["DefElem"]["arg"]["TypeName"]["names"]
                return w.CreateConversion(name_of_parts(strings(names)), strings(node["defnames"])[-1])
    return w.Utility("CREATE " + kind.upper())


def _create_cast(node: Tree) -> w.Statement:
    if "func" not in node:
        return w.Utility("CREATE CAST")
    function = name_of_parts(strings(node["func"]["objname"]))
    return w.CreateConversion(function, type=type_of_dict(node["targettype"]))


def _alter_enum(node: Tree) -> w.AlterEnum:
    return w.AlterEnum(
        name_of_parts(strings(node["typeName"])),
        node["newVal"],
        node.get("oldVal", ""),
        "newValNeighbor" in node,
        node.get("skipIfNewValExists", False),
        node.get("newValNeighbor", ""),
        node.get("newValIsAfter", False),
    )


def _create_domain(node: Tree) -> w.CreateDomain:
    constraints: list[w.Constraint] = []
    default, not_null = None, False
    for item in node.get("constraints", ()):
        constraint = item["Constraint"]
        kind = constraint["contype"]
        if kind == "CONSTR_NOTNULL":
            not_null = True
        elif kind == "CONSTR_DEFAULT":
            default = expression_of_node(constraint["raw_expr"])
        elif kind == "CONSTR_CHECK":
            constraints.append(_constraint_of(constraint))
    return w.CreateDomain(
        name_of_parts(strings(node["domainname"])),
        type_of_dict(node["typeName"]),
        tuple(constraints),
        default,
        not_null,
    )


_DOMAIN_ACTIONS = {
    "T": "default", "N": "drop_not_null", "O": "set_not_null", "C": "add", "X": "drop", "V": "validate",
}  # fmt: skip


def _alter_domain(node: Tree) -> w.AlterDomain:
    definition = node.get("def", {})
    constraint = _constraint_of(definition["Constraint"]) if "Constraint" in definition else None
    what = _DOMAIN_ACTIONS[node["subtype"]]
    if what == "add" and constraint is not None and constraint.kind == "not_null":
        what = "set_not_null"
    default = expression_of_node(definition) if what == "default" and definition else None
    return w.AlterDomain(
        name_of_parts(strings(node["typeName"])), what, constraint, node.get("name", ""), default
    )


def _create_function(node: Tree) -> w.CreateFunction:
    options = _function_options(node)
    language = options.get("language", "sql" if "sql_body" in node else "")
    body = options.get("as", "")
    accesses: tuple[w.Access, ...] = ()
    opaque, tree = True, ""
    arguments = [item["FunctionParameter"] for item in node.get("parameters", ())]
    if "sql_body" in node:
        accesses, opaque = query_of_node(node["sql_body"])[0].accesses, False
        tree = json.encode(node["sql_body"]).decode()
    elif language == "sql" and body:
        accesses, opaque = _body_accesses(body)
    return w.CreateFunction(
        name_of_parts(strings(node["funcname"])),
        node.get("replace", False),
        node.get("is_procedure", False),
        language,
        options.get("volatility", "volatile"),
        options.get("security") == "true",
        "set:search_path" in options,
        accesses,
        opaque,
        body,
        w.Routine(
            language,
            body,
            tree,
            tuple(map(_argument, arguments)),
            tuple([_type(item["argType"]) for item in arguments if _mode(item) not in ("OUT", "TABLE")]),
            _returned(node),
            tuple(options.get("set:search_path", "").split(", ")) if "set:search_path" in options else (),
            options.get("strict") == "true" and bool(arguments),
            _called_by_default(arguments),
        ),
    )


def _called_by_default(arguments: list[Tree]) -> tuple[str, ...]:
    """The functions that defaults of arguments call."""
    defaults = [{"ResTarget": {"val": item["defexpr"]}} for item in arguments if "defexpr" in item]
    return query_of_node({"SelectStmt": {"targetList": defaults}})[0].functions if defaults else ()


def _alter_function(node: Tree) -> w.AlterFunction:
    settings = [
        item["DefElem"].get("arg", {}).get("VariableSetStmt", {})
        for item in node.get("actions", ())
        if item["DefElem"]["defname"] == "set"
    ]
    known = all(setting.get("kind") == "VAR_SET_VALUE" for setting in settings)
    paths = [setting for setting in settings if setting.get("name") == "search_path"]
    options = _function_options({"options": node.get("actions", ())})
    return w.AlterFunction(
        name_of_parts(strings(node["func"]["objname"])),
        tuple(options.get("set:search_path", "").split(", ")) if paths and known else (),
        options.get("strict") == "true",
        not known,
        options.get("security") == "true",
    )


def _type(node: Tree) -> str:
    found = type_of_dict(node)
    schema = f"{found.schema}." if found.schema not in ("", "public") else ""
    return f"{schema}{found.name}{'[]' if found.array else ''}"


_MODES = {"FUNC_PARAM_OUT": "OUT", "FUNC_PARAM_INOUT": "INOUT", "FUNC_PARAM_TABLE": "TABLE"}


def _mode(item: Tree) -> str:
    return _MODES.get(item.get("mode", ""), "IN")


def _argument(item: Tree) -> str:
    mode = _mode(item).replace("TABLE", "OUT")
    name = item.get("name", "").replace('"', '""')
    return f'{mode} "{name}" text' if name else f"{mode} text"


def _returned(node: Tree) -> str:
    """The type that a frame for the body says: what RETURN may stand in it depends on that."""
    result = node.get("returnType")
    if not result:
        return "void"
    name = strings(result.get("names", []))[-1:]
    if name in (["trigger"], ["event_trigger"], ["void"]):
        return name[0]
    return "SETOF text" if result.get("setof") else "text"


def _function_options(node: Tree) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in node.get("options", ()):
        element = item["DefElem"]
        arg = element.get("arg", {})
        if "String" in arg:
            found[element["defname"]] = arg["String"].get("sval", "")
        elif "List" in arg:
            found[element["defname"]] = "".join(strings(arg["List"].get("items", []))[:1])
        elif "Boolean" in arg:
            found[element["defname"]] = "true" if arg["Boolean"].get("boolval") else "false"
        elif "VariableSetStmt" in arg:
            setting = arg["VariableSetStmt"]
            found["set:" + setting.get("name", "")] = ", ".join(
                item.get("A_Const", {}).get("sval", {}).get("sval", "") for item in setting.get("args", ())
            )
    if "language" in found:
        found["language"] = found["language"].lower()
    return found


def _body_accesses(body: str) -> tuple[tuple[w.Access, ...], bool]:
    """The server validates the body of an SQL function when it is created, and so locks what it names."""
    try:
        tree = json.decode(tree_json(body.encode("utf-8", "surrogatepass")))
    except SyntaxProblem:
        return (), True
    return query_of_node(tree.get("stmts", []))[0].accesses, False


def _create_extension(node: Tree) -> w.CreateExtension:
    return _extension(node, create=True)


def _alter_extension(node: Tree) -> w.CreateExtension:
    return _extension(node, create=False)


def _extension(node: Tree, *, create: bool) -> w.CreateExtension:
    options = {key: arg.get("String", {}).get("sval", "") for key, arg in _options(node).items()}
    return w.CreateExtension(
        node["extname"],
        create,
        options.get("new_version", ""),
        options.get("schema", ""),
        node.get("if_not_exists", False),
    )


def _statistics(node: Tree) -> w.CreateStatistics:
    relations = [item["RangeVar"] for item in node.get("relations", ()) if "RangeVar" in item]
    names = strings(node.get("defnames", []))
    return w.CreateStatistics(
        name_of_parts(names) if names else w.Name("", ""),
        _name(relations[0]) if relations else None,
        node.get("if_not_exists", False),
    )


def _server(node: Tree) -> w.CreateServer:
    return w.CreateServer(node["servername"], node["fdwname"])


READERS: dict[str, Callable[[Tree], w.Statement]] = {
    "CreateSeqStmt": _create_sequence,
    "AlterSeqStmt": _alter_sequence,
    "CreateEnumStmt": _enum,
    "CompositeTypeStmt": _composite,
    "CreateRangeStmt": _range,
    "DefineStmt": _define,
    "AlterEnumStmt": _alter_enum,
    "CreateDomainStmt": _create_domain,
    "AlterDomainStmt": _alter_domain,
    "CreateFunctionStmt": _create_function,
    "CreateCastStmt": _create_cast,
    "AlterFunctionStmt": _alter_function,
    "CreateExtensionStmt": _create_extension,
    "AlterExtensionStmt": _alter_extension,
    "CreateStatsStmt": _statistics,
    "CreateForeignServerStmt": _server,
}
