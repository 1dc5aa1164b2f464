"""Readers of all other statements. They are rare, so they read plain dicts."""

from collections.abc import Callable
from typing import Any

from msgspec import Raw, json

from lockgate.postgres.tree import objects, queries
from lockgate.postgres.tree import words as w
from lockgate.postgres.tree.constants import strings
from lockgate.postgres.tree.expressions import expression_of_node, name_of_parts, query_of_node, role_of
from lockgate.postgres.tree.wording import Unknown

_any: Callable[[Raw], Any] = json.Decoder().decode

Tree = dict[str, Any]


def _name(node: Tree | None) -> w.Name:
    if not node:
        raise Unknown("a statement without a name")
    return w.Name(node.get("schemaname", ""), node["relname"])


def _listed(node: Tree) -> list[str]:
    """The dotted parts of an object in the several shapes that the parser has for it."""
    if "List" in node:
        parts: list[str] = []
        for item in node["List"].get("items", ()):
            parts.extend(_listed(item))
        return parts
    if "String" in node:
        return [node["String"].get("sval", "")]
    if "TypeName" in node:
        return strings(node["TypeName"].get("names", []))
    if "ObjectWithArgs" in node:
        return strings(node["ObjectWithArgs"].get("objname", []))
    if "RangeVar" in node:
        name = _name(node["RangeVar"])
        return [name.schema, name.name] if name.schema else [name.name]
    return [""]


def _object_name(node: Tree) -> w.Name:
    return name_of_parts(_listed(node))


def _kind(value: str) -> str:
    return value.removeprefix("OBJECT_").lower()


_ON_RELATION = {"trigger", "rule", "policy"}


def _drop(node: Tree) -> w.Drop:
    kind = _kind(node["removeType"])
    names: list[w.Name] = []
    subs: list[str] = []
    for item in node.get("objects", ()):
        parts = _listed(item)
        if kind in _ON_RELATION:
            subs.append(parts.pop())
        names.append(name_of_parts(parts))
    return w.Drop(
        kind,
        tuple(names),
        tuple(subs),
        node.get("behavior") == "DROP_CASCADE",
        node.get("concurrent", False),
        node.get("missing_ok", False),
    )


def _rename(node: Tree) -> w.Rename:
    kind = _kind(node["renameType"])
    name = _name(node["relation"]) if "relation" in node else _object_name(node.get("object", {}))
    return w.Rename(
        kind,
        name,
        node.get("newname", ""),
        node.get("subname", ""),
        _kind(node.get("relationType", "OBJECT_TABLE")),
        "relation" in node and not node["relation"].get("inh", False),
        node.get("missing_ok", False),
    )


def _set_schema(node: Tree) -> w.SetSchema:
    name = _name(node["relation"]) if "relation" in node else _object_name(node.get("object", {}))
    return w.SetSchema(_kind(node["objectType"]), name, node["newschema"], node.get("missing_ok", False))


def _truncate(node: Tree) -> w.Truncate:
    relations = [item["RangeVar"] for item in node.get("relations", ())]
    return w.Truncate(
        tuple([_name(item) for item in relations]),
        tuple([not item.get("inh", False) for item in relations]),
        node.get("restart_seqs", False),
        node.get("behavior") == "DROP_CASCADE",
    )


def _refresh(node: Tree) -> w.Refresh:
    return w.Refresh(_name(node["relation"]), node.get("concurrent", False), not node.get("skipData", False))


def _flag(items: list[Tree], name: str) -> bool:
    """A boolean option: present without a value means on."""
    for item in items:
        element = item["DefElem"]
        if element["defname"].lower() == name:
            arg = element.get("arg")
            if not arg:
                return True
            kind, value = next(iter(arg.items()))
            if kind == "String":
                return str(value.get("sval", "")).lower() not in ("off", "false", "0", "no")
            if kind == "Integer":
                return bool(value.get("ival", 0))
            return bool(value.get("boolval", False)) if kind == "Boolean" else True
    return False


def _reindex(node: Tree) -> w.Reindex:
    kind = node["kind"].removeprefix("REINDEX_OBJECT_").lower()
    name = _name(node["relation"]) if "relation" in node else w.Name("", node.get("name", ""))
    return w.Reindex(kind, name, _flag(node.get("params", []), "concurrently"))


def _cluster(node: Tree) -> w.Cluster:
    return w.Cluster(_name(node["relation"]) if "relation" in node else None, node.get("indexname", ""))


def _vacuum(node: Tree) -> w.Vacuum:
    options = node.get("options", [])
    relations = [item["VacuumRelation"]["relation"] for item in node.get("rels", ())]
    names = [_name(relation) for relation in relations]
    vacuum = node.get("is_vacuumcmd", False)
    return w.Vacuum(
        tuple(names), vacuum, vacuum and _flag(options, "full"), not vacuum or _flag(options, "analyze"),
        tuple([not relation.get("inh", False) for relation in relations]),
    )  # fmt: skip


def _lock(node: Tree) -> w.LockTable:
    relations = [item["RangeVar"] for item in node.get("relations", ())]
    return w.LockTable(
        tuple([_name(item) for item in relations]),
        w.LockMode(node["mode"]),
        tuple([not item.get("inh", False) for item in relations]),
    )


_SUB_OBJECTS = {"column", "tabconstraint", "trigger", "rule", "policy"}
_RELATIONS = {"table", "view", "matview", "index", "sequence", "foreign_table"}


def _comment(node: Tree) -> w.Comment:
    kind = _kind(node["objtype"])
    parts = _listed(node.get("object", {}))
    sub = parts.pop() if kind in _SUB_OBJECTS else ""
    return w.Comment(kind, name_of_parts(parts) if parts else None, sub)


def _grant(node: Tree) -> w.Grant:
    return w.Grant(
        node.get("is_grant", False),
        _kind(node["objtype"]),
        tuple([_object_name(item) for item in node.get("objects", ())]),
        tuple([item["AccessPriv"].get("priv_name", "") for item in node.get("privileges", ())]),
        tuple([role_of(item["RoleSpec"]) for item in node.get("grantees", ())]),
        node.get("targtype") != "ACL_TARGET_OBJECT",
    )


def _grant_role(node: Tree) -> w.Grant:
    return w.Grant(node.get("is_grant", False), "role")


def _publication(node: Tree, *, create: bool) -> w.Publication:
    tables, only = [], []
    columns, reads = [], []
    for item in node.get("pubobjects", ()):
        table = item["PublicationObjSpec"].get("pubtable")
        if table:
            tables.append(_name(table["relation"]))
            only.append(not table["relation"].get("inh", False))
            columns.append(tuple(strings(table.get("columns", []))))
            where = table.get("whereClause")
            reads.append(expression_of_node(where).columns if where else ())
    return w.Publication(
        node["pubname"],
        tuple(tables),
        create,
        tuple(columns),
        node.get("for_all_tables", False),
        {"AP_DropObjects": "drop", "AP_SetObjects": "set"}.get(node.get("action", ""), "add"),
        tuple(only),
        tuple(reads),
    )


def _set(node: Tree) -> w.SetVariable:
    values = []
    for item in node.get("args", ()):
        inner = item.get("TypeCast", {}).get("arg", item)
        const = inner.get("A_Const", {})
        if "sval" in const:
            values.append(const["sval"].get("sval", ""))
        elif "ival" in const:
            values.append(str(const["ival"].get("ival", 0)))
        else:
            values.append(str(const.get("fval", {}).get("fval", "")))
    kind = node["kind"]
    return w.SetVariable(
        node.get("name", "all"),
        tuple(values),
        node.get("is_local", False),
        kind in ("VAR_RESET", "VAR_RESET_ALL"),
    )


def _set_multi(node: Tree) -> w.Statement:
    if node["kind"] == "VAR_SET_MULTI" and node.get("name") in ("TRANSACTION", "SESSION CHARACTERISTICS"):
        return (
            w.TransactionControl("SET TRANSACTION")
            if node["name"] == "TRANSACTION"
            else w.Utility("SET SESSION")
        )
    return _set(node)


def _do(node: Tree) -> w.DoBlock:
    language, body = "plpgsql", ""
    for item in node.get("args", ()):
        element = item["DefElem"]
        value = element.get("arg", {}).get("String", {}).get("sval", "")
        if element["defname"] == "language":
            language = value.lower()
        else:
            body = value
    return w.DoBlock(language, body)


def _call(node: Tree) -> w.Call:
    name = name_of_parts(strings(node["funccall"]["funcname"]))
    return w.Call(name, query_of_node({"CallStmt": node})[0])


def _transaction(node: Tree) -> w.TransactionControl:
    return w.TransactionControl(node["kind"].removeprefix("TRANS_STMT_").replace("_", " "))


def _schema(node: Tree) -> w.CreateSchema:
    from lockgate.postgres.tree.reader import read_node

    name = node.get("schemaname") or role_of(node.get("authrole", {}))
    elements = tuple(
        [
            read_node(kind, Raw(json.encode(body)))
            for item in node.get("schemaElts", ())
            for kind, body in item.items()
        ]
    )
    return w.CreateSchema(name, elements, node.get("if_not_exists", False))


def _depends(node: Tree) -> w.Statement:
    kind = _kind(node["objectType"])
    if "relation" in node and kind in ("index", "matview"):
        return w.AlterTable(_name(node["relation"]), (w.DependsOnExtension(node["extname"]["sval"]),), kind)
    if kind == "trigger":
        return w.AlterTable(
            _name(node["relation"]), (w.DependsOnExtension(node["extname"]["sval"]),), "trigger"
        )
    return w.Utility("ALTER DEPENDS ON EXTENSION")


def _owner(node: Tree) -> w.Statement:
    kind = _kind(node["objectType"])
    if kind in ("type", "domain"):
        return w.AlterTable(_object_name(node["object"]), (w.OwnerTo(role_of(node["newowner"])),), "type")
    return w.Utility("ALTER OWNER " + kind)


def _roles(node: Tree) -> tuple[str, ...]:
    return tuple([role_of(item["RoleSpec"]) for item in node.get("roles", ())])


def _drop_owned(node: Tree) -> w.Drop:
    names = [w.Name("", role) for role in _roles(node)]
    return w.Drop("owned", tuple(names), cascade=node.get("behavior") == "DROP_CASCADE")


def _reassign_owned(node: Tree) -> w.ReassignOwned:
    return w.ReassignOwned(_roles(node), role_of(node["newrole"]))


def _move_all(node: Tree) -> w.MoveAll:
    return w.MoveAll(
        _kind(node["objtype"]), node["orig_tablespacename"], node["new_tablespacename"], _roles(node)
    )


def _import(node: Tree) -> w.Statement:
    raise Unknown("IMPORT FOREIGN SCHEMA: which tables it makes, only the other server knows")


def _drop_database(node: Tree) -> w.Utility:
    return w.Utility("DROP DATABASE", False, node.get("dbname", ""))


def _discard(node: Tree) -> w.Utility:
    target = node.get("target", "DISCARD_ALL")
    return w.Utility("DISCARD", target != "DISCARD_ALL")


def _subscription(node: Tree) -> w.Utility:
    return w.Utility("CREATE SUBSCRIPTION", False, node.get("subname", ""))


# Known, without a relation lock that any other session could notice.
_UTILITIES = {
    "AlterCollationStmt": "ALTER COLLATION", "AlterDefaultPrivilegesStmt": "ALTER DEFAULT PRIVILEGES",
    "VariableShowStmt": "SHOW", "AlterTableSpaceOptionsStmt": "ALTER TABLESPACE",
    "CreateFdwStmt": "CREATE FOREIGN DATA WRAPPER", "AlterFdwStmt": "ALTER FOREIGN DATA WRAPPER",
    "AlterForeignServerStmt": "ALTER SERVER",
    "CreateUserMappingStmt": "CREATE USER MAPPING", "AlterUserMappingStmt": "ALTER USER MAPPING",
    "DropUserMappingStmt": "DROP USER MAPPING", "CreateAmStmt": "CREATE ACCESS METHOD",
    "CreateEventTrigStmt": "CREATE EVENT TRIGGER", "AlterEventTrigStmt": "ALTER EVENT TRIGGER",
    "CreatePLangStmt": "CREATE LANGUAGE", "CreateRoleStmt": "CREATE ROLE", "AlterRoleStmt": "ALTER ROLE",
    "AlterRoleSetStmt": "ALTER ROLE SET", "DropRoleStmt": "DROP ROLE", "CreateOpClassStmt": "CREATE OPERATOR CLASS",
    "CreateOpFamilyStmt": "CREATE OPERATOR FAMILY", "AlterOpFamilyStmt": "ALTER OPERATOR FAMILY",
    "ClosePortalStmt": "CLOSE", "FetchStmt": "FETCH",
    "AlterOperatorStmt": "ALTER OPERATOR", "AlterTypeStmt": "ALTER TYPE SET", "NotifyStmt": "NOTIFY",
    "ListenStmt": "LISTEN", "UnlistenStmt": "UNLISTEN", "LoadStmt": "LOAD",
    "AlterDatabaseRefreshCollStmt": "ALTER DATABASE REFRESH COLLATION", "AlterDatabaseSetStmt": "ALTER DATABASE SET",
    "CheckPointStmt": "CHECKPOINT", "ConstraintsSetStmt": "SET CONSTRAINTS",
    "CreateConversionStmt": "CREATE CONVERSION",
    "CreateTransformStmt": "CREATE TRANSFORM", "DeallocateStmt": "DEALLOCATE",
    "AlterTSDictionaryStmt": "ALTER TEXT SEARCH DICTIONARY",
    "AlterTSConfigurationStmt": "ALTER TEXT SEARCH CONFIGURATION", "AlterDatabaseStmt": "ALTER DATABASE",
    "AlterSubscriptionStmt": "ALTER SUBSCRIPTION", "DropSubscriptionStmt": "DROP SUBSCRIPTION",
    "AlterStatsStmt": "ALTER STATISTICS", "AlterExtensionContentsStmt": "ALTER EXTENSION ADD",
}  # fmt: skip

_NOT_IN_TRANSACTION = {
    "CreateTableSpaceStmt": "CREATE TABLESPACE", "DropTableSpaceStmt": "DROP TABLESPACE",
    "CreatedbStmt": "CREATE DATABASE", "AlterSystemStmt": "ALTER SYSTEM",
}  # fmt: skip


def _dicts(reader: Callable[[Tree], w.Statement]) -> Callable[[Raw], w.Statement]:
    return lambda body: reader(_any(body))


def _fixed(word: w.Statement) -> Callable[[Raw], w.Statement]:
    return lambda _: word


_BY_DICT: dict[str, Callable[[Tree], w.Statement]] = {
    "DropStmt": _drop,
    "RenameStmt": _rename,
    "AlterObjectSchemaStmt": _set_schema,
    "AlterObjectDependsStmt": _depends,
    "AlterOwnerStmt": _owner,
    "DropOwnedStmt": _drop_owned,
    "ReassignOwnedStmt": _reassign_owned,
    "AlterTableMoveAllStmt": _move_all,
    "TruncateStmt": _truncate,
    "RefreshMatViewStmt": _refresh,
    "ReindexStmt": _reindex,
    "ClusterStmt": _cluster,
    "VacuumStmt": _vacuum,
    "LockStmt": _lock,
    "CommentStmt": _comment,
    "SecLabelStmt": _comment,
    "GrantStmt": _grant,
    "GrantRoleStmt": _grant_role,
    "CreatePublicationStmt": lambda node: _publication(node, create=True),
    "AlterPublicationStmt": lambda node: _publication(node, create=False),
    "VariableSetStmt": _set_multi,
    "DoStmt": _do,
    "CallStmt": _call,
    "TransactionStmt": _transaction,
    "CreateSchemaStmt": _schema,
    "DropdbStmt": _drop_database,
    "ImportForeignSchemaStmt": _import,
    "DiscardStmt": _discard,
    "CreateSubscriptionStmt": _subscription,
    **objects.READERS,
    **queries.READERS,
}

READERS: dict[str, Callable[[Raw], w.Statement]] = {
    **{node: _dicts(reader) for node, reader in _BY_DICT.items()},
    **{node: _fixed(w.Utility(kind)) for node, kind in _UTILITIES.items()},
    **{node: _fixed(w.Utility(kind, False)) for node, kind in _NOT_IN_TRANSACTION.items()},
}
