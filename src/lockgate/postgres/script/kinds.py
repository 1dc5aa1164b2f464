"""What each kind of statement means to the engine: refused, alone, opaque, and what the role needs for it."""

from collections.abc import Callable
from typing import Any

from lockgate.postgres.script.nodes import Node, constant, names, options, relation, word
from lockgate.postgres.script.statement import Alone

Facts = dict[str, Any]
"""Fields of a ``Statement``."""

SESSION_SETTINGS = frozenset({"role", "session_authorization", "session_replication_role"})
READ_AS_JUDGED = {
    "client_encoding": frozenset({"utf8", "utf-8", "unicode"}),
    "standard_conforming_strings": frozenset({"on", "true", "yes", "1"}),
}
"""Settings with the values under which the server reads the file as the parser did."""


def facts_of(kind: str, node: Node, text: str) -> Facts:
    """What is special about a statement of ``kind``."""
    judge = _JUDGES.get(kind)
    facts = judge(node, text) if judge else {}
    need = _NEEDS.get(kind)
    if need:
        facts["needs"] = need(node)
    return facts


def _refused(code: str, what: str) -> Facts:
    return {"problem": (code, what)}


def _transaction(node: Node, text: str) -> Facts:
    return _refused("FILE_TRANSACTION_CONTROL", " ".join(text.split()[:2]).upper())


def _variable_set(node: Node, text: str) -> Facts:
    name = node.get("name", "").lower()
    if name in SESSION_SETTINGS or name.startswith("lockgate."):
        return _refused("FILE_SESSION_STATE", f"SET {name}")
    wanted = READ_AS_JUDGED.get(name)
    value = constant(node["args"][0]) if node.get("args") else ""
    if wanted and value and value not in wanted:
        return _refused("FILE_SESSION_STATE", f"SET {name} = {value}")
    if name == "transaction" or name.startswith("session characteristics"):
        return _refused("FILE_TRANSACTION_CONTROL", "SET TRANSACTION")
    if node.get("kind") == "VAR_RESET_ALL":
        return _refused("FILE_SESSION_STATE", "RESET ALL")
    return {}


def _session(node: Node, text: str) -> Facts:
    return _refused("FILE_SESSION_STATE", " ".join(text.split()[:2]).upper())


def _forbidden(why: str) -> Callable[[Node, str], Facts]:
    return lambda _node, _text: _refused("FILE_FORBIDDEN", why)


def _copy(node: Node, text: str) -> Facts:
    if node.get("is_program"):
        return _refused("FILE_FORBIDDEN", "COPY ... PROGRAM runs a command on the server")
    if node.get("filename"):
        return _refused("FILE_FORBIDDEN", "COPY works with the server's own files")
    if node.get("is_from"):
        return _refused("FILE_COPY_STDIN", "COPY ... FROM STDIN carries data that only psql can send")
    return _refused("FILE_FORBIDDEN", "COPY ... TO STDOUT has no reader in a migration")


def _function(node: Node, text: str) -> Facts:
    for name, argument in options(node):
        if name == "language" and word(argument).lower() in ("c", "internal"):
            return _refused("FILE_FORBIDDEN", f"LANGUAGE {word(argument)} loads code into the server")
    return {}


def _opaque(node: Node, text: str) -> Facts:
    return {"opaque": True}


def _concurrently(node: Node) -> bool:
    """True when REINDEX's option list holds CONCURRENTLY and does not switch it off."""
    for name, argument in options(node, "params"):
        if name == "concurrently":
            value = word(argument) or str(argument.get("Boolean", {"boolval": True}).get("boolval", False))
            return value.lower() not in ("off", "false", "0")
    return False


def _index(node: Node, text: str) -> Facts:
    if not node.get("concurrent"):
        return {}
    schema, table = relation(node)
    name, lenient = node.get("idxname", ""), node.get("if_not_exists", False)
    return {"alone": Alone("create_index", schema, name, table, schema, lenient)}


def _drop(node: Node, text: str) -> Facts:
    if not node.get("concurrent"):
        return {}
    schema, name = names(node["objects"][0]["List"]["items"])
    return {"alone": Alone("drop_index", schema, name, lenient=node.get("missing_ok", False))}


def _reindex(node: Node, text: str) -> Facts:
    what = node.get("kind", "").removeprefix("REINDEX_OBJECT_").lower()
    if what in ("schema", "system", "database"):
        return _refused(
            "FILE_FORBIDDEN",
            f"REINDEX {what.upper()} is maintenance of the whole database, not a migration",
        )
    if not _concurrently(node):
        return {}
    schema, name = relation(node)
    index = what == "index"
    return {"alone": Alone(f"reindex_{what}", schema, name if index else "", "" if index else name, schema)}


def _alter_table(node: Node, text: str) -> Facts:
    for item in node.get("cmds", ()):
        command = item.get("AlterTableCmd", {})
        if command.get("subtype") == "AT_DetachPartition":
            detached = command["def"]["PartitionCmd"]
            if detached.get("concurrent"):
                schema, name = relation(detached, "name")
                table_schema, table = relation(node)
                return {"alone": Alone("detach_partition", schema, name, table, table_schema)}
    return {}


def _vacuum(node: Node, text: str) -> Facts:
    return {"alone": Alone("vacuum")} if node.get("is_vacuumcmd") else {}


def _type_name(node: Node) -> str:
    schema, name = names(node.get("typeName", ()))
    return f"{schema}.{name}" if schema else name


def _alter_enum(node: Node, text: str) -> Facts:
    if node.get("oldVal") or not node.get("newVal"):
        return {}
    return {"enum_value": (_type_name(node), node["newVal"])}


def _create_enum(node: Node, text: str) -> Facts:
    return {"creates_type": _type_name(node)}


def _cluster(node: Node, text: str) -> Facts:
    if node.get("relation"):
        return {}
    return _refused("FILE_FORBIDDEN", "CLUSTER without a table rewrites the whole database")


def _alter_database(node: Node, text: str) -> Facts:
    if any(name == "tablespace" for name, _ in options(node)):
        return _refused("FILE_FORBIDDEN", "ALTER DATABASE ... SET TABLESPACE moves the whole database")
    return {}


def _create_in(field: str) -> Callable[[Node], tuple[str, str]]:
    def need(node: Node) -> tuple[str, str]:
        temporary = node.get(field, {}).get("relpersistence") == "t"
        return ("", "") if temporary else ("create", relation(node, field)[0])

    return need


def _own(node: Node) -> tuple[str, str]:
    parts = [part.replace('"', '""') for part in relation(node) if part]
    return ("own", ".".join(f'"{part}"' for part in parts))


_NEEDS: dict[str, Callable[[Node], tuple[str, str]]] = {
    "create_extension_stmt": lambda node: ("extension", node.get("extname", "")),
    "create_schema_stmt": lambda node: ("schema", node.get("schemaname", "")),
    "create_stmt": _create_in("relation"),
    "create_seq_stmt": _create_in("sequence"),
    "view_stmt": _create_in("view"),
    "create_enum_stmt": lambda node: ("create", names(node.get("typeName", ()))[0]),
    "create_function_stmt": lambda node: ("create", names(node.get("funcname", ()))[0]),
    "alter_table_stmt": _own,
    "index_stmt": _own,
}
_OUTSIDE = "works outside this database; that is provisioning, not a migration"
_JUDGES: dict[str, Callable[[Node, str], Facts]] = {
    "transaction_stmt": _transaction,
    "variable_set_stmt": _variable_set,
    "discard_stmt": _session,
    "prepare_stmt": _session,
    "execute_stmt": _session,
    "deallocate_stmt": _session,
    "listen_stmt": _session,
    "copy_stmt": _copy,
    "create_function_stmt": _function,
    "do_stmt": _opaque,
    "call_stmt": _opaque,
    "index_stmt": _index,
    "drop_stmt": _drop,
    "reindex_stmt": _reindex,
    "alter_table_stmt": _alter_table,
    "vacuum_stmt": _vacuum,
    "alter_enum_stmt": _alter_enum,
    "create_enum_stmt": _create_enum,
    "cluster_stmt": _cluster,
    "alter_database_stmt": _alter_database,
    "createdb_stmt": _forbidden(f"CREATE DATABASE {_OUTSIDE}"),
    "dropdb_stmt": _forbidden(f"DROP DATABASE {_OUTSIDE}"),
    "alter_system_stmt": _forbidden(f"ALTER SYSTEM {_OUTSIDE}"),
    "create_table_space_stmt": _forbidden(f"CREATE TABLESPACE {_OUTSIDE}"),
    "drop_table_space_stmt": _forbidden(f"DROP TABLESPACE {_OUTSIDE}"),
    "create_subscription_stmt": _forbidden(
        "CREATE SUBSCRIPTION makes a slot on another server and cannot be rolled back"
    ),
    "drop_subscription_stmt": _forbidden(
        "DROP SUBSCRIPTION drops a slot on another server and cannot be rolled back"
    ),
    "load_stmt": _forbidden("LOAD loads code into the server"),
    "check_point_stmt": _forbidden("CHECKPOINT works on the whole server"),
}
