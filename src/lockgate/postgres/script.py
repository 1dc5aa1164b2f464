"""SQL text → statements, by PostgreSQL's own grammar, with what the engine has to know of each.

The only other reader of the parser is ``postgres.tree``, which knows far more for the policy. Here stands what
decides whether and how a statement may run at all.
"""

import contextlib
import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import postgast
from google.protobuf.message import DecodeError
from postgast.errors import PgQueryError

from lockgate.postgres.chains import LONGEST, find_long_chain

with contextlib.suppress(ImportError):
    # Without this the tree of an expression of 50 terms ('a' || 'b' || ...) is deeper than the decoder takes.
    from google._upb._message import SetAllowOversizeProtos

    SetAllowOversizeProtos(True)

Node = Any
"""A node of the parser's tree (a protobuf message without stubs)."""


class Alone(msgspec.Struct, frozen=True):
    """A statement that must run outside any transaction block.

    ``kind`` is one of a closed list; ``schema`` ("" = by search_path) and ``name`` are those of the object it makes
    or drops, ``table`` the relation it works on.
    """

    kind: str
    schema: str = ""
    name: str = ""
    table: str = ""
    table_schema: str = ""
    lenient: bool = False
    """IF EXISTS or IF NOT EXISTS."""
    value: str = ""
    """The new enum value, or the partition's qualified name."""


class Statement(msgspec.Struct, frozen=True):
    """One statement: its text as written, its first line (from 1) and what is special about it."""

    text: str
    line: int
    end_line: int
    kind: str
    alone: Alone | None = None
    problem: tuple[str, str] | None = None
    """(reason code, what) when it may not stand in a migration at all."""
    opaque: bool = False
    """A DO block or CALL: what it does cannot be read."""
    enum_value: tuple[str, str] | None = None
    """(type, value) of an ALTER TYPE ... ADD VALUE."""
    creates_type: str = ""
    needs: tuple[str, str] = ("", "")
    """What the role needs for it: ("extension", name), ("create", schema), ("own", relation) or ("schema", name)."""


class ScriptError(Exception):
    """The text is not SQL, or holds what is not SQL. ``code`` is the reason code, ``line`` counts from 1."""

    def __init__(self, code: str, line: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.line = line


_BLANKS = " \t\n\r\f\v"
"""What the server skips; Python's own idea of a blank includes what belongs to a name here."""
_META = re.compile(r"\\\S*")
_COPY_STDIN = re.compile(r"^[ \t]*copy\b[^;]{0,2000}\bfrom\s+stdin\b", re.IGNORECASE | re.MULTILINE)
_SUSPECT = re.compile(
    r"pg_advisory_unlock|set_config|pg_read_file|pg_read_binary_file|pg_ls_\w*dir|pg_stat_file|lo_import|lo_export|dblink|pg_terminate_backend|pg_cancel_backend"
    r"|pg_reload_conf|pg_rotate_logfile|pg_promote|pg_switch_wal|pg_file_write|session_replication_role|discard\s+all",
    re.IGNORECASE,
)
_ESCAPED_NAME = re.compile(r"\bU&\"", re.IGNORECASE)
"""U&"..." spells a name that the text does not show."""
_LONG_NAME = re.compile(rb"[^\s\"'();,.\x00-\x1f]{64,}|\"(?:[^\"]|\"\"){64,}\"")


def split(text: str, *, allow_functions: frozenset[str] = frozenset()) -> list[Statement]:
    """The statements of ``text`` in order.

    What goes in comes out: each statement's text is a slice of the input, and between two slices stand only blanks,
    comments and semicolons. ``allow_functions`` are functions that the project allows although they reach outside.
    Raises ``ScriptError``.
    """
    tree = _parse(text)
    raw = text.encode()
    ascii_only = len(raw) == len(text)
    newlines = _Lines(raw)
    statements = []
    for item in tree.stmts:
        start, length = item.stmt_location, item.stmt_len
        end = start + length if length else len(raw)
        body = text[start:end] if ascii_only else raw[start:end].decode()
        body = body.rstrip(_BLANKS)
        kind = item.stmt.WhichOneof("node") or ""
        line = newlines.at(start)
        statements.append(
            _statement(
                body,
                line,
                line + body.count("\n"),
                kind,
                getattr(item.stmt, kind) if kind else None,
                allow_functions,
            )
        )
    problem = _bad_name(text, raw, newlines)
    if problem:
        raise problem
    return statements


def _parse(text: str) -> Node:
    """The parser's tree of ``text``. Raises ``ScriptError``, also for what the parser would not survive."""
    nul = text.find("\0")
    if nul >= 0:  # the parser takes a C string and would not see what follows
        raise ScriptError("FILE_NUL", text.count("\n", 0, nul) + 1, "a NUL byte")
    try:
        chain = find_long_chain(text)
        if chain is not None:
            line = text.encode().count(b"\n", 0, chain) + 1
            raise ScriptError(
                "FILE_SIZE", line, f"an expression of more than {LONGEST} parts overflows the parser"
            )
        return postgast.parse(text)
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        raise ScriptError("FILE_ENCODING", line, "half of a surrogate pair") from None
    except PgQueryError as error:
        raise _explain(text, error) from None
    except DecodeError:
        raise ScriptError("FILE_SIZE", 1, "an expression is nested too deeply to be judged") from None


class _Lines:
    """Line numbers of ascending byte offsets, counted once along the way."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._offset = 0
        self._line = 1

    def at(self, offset: int) -> int:
        if offset < self._offset:
            self._offset, self._line = 0, 1
        self._line += self._raw.count(b"\n", self._offset, offset)
        self._offset = offset
        return self._line


def _explain(text: str, error: PgQueryError) -> ScriptError:
    """Name what people paste by mistake; else pass the parser's word on."""
    position = max(0, (error.cursorpos or 1) - 1)
    line = text.count("\n", 0, position) + 1
    copy = _COPY_STDIN.search(text, 0, position + 1)
    if copy:
        return ScriptError(
            "FILE_COPY_STDIN",
            text.count("\n", 0, copy.start()) + 1,
            "COPY ... FROM STDIN carries data that only psql can send",
        )
    here = text[text.rfind("\n", 0, position) + 1 :].split("\n", 1)[0]
    meta = _META.search(here)
    if meta and (text[position : position + 1] == "\\" or here.lstrip().startswith("\\")):
        return ScriptError("FILE_META_COMMAND", line, f"{meta[0]} is a command of psql, not SQL")
    return ScriptError("FILE_SYNTAX", line, str(error.message or error))


def _statement(
    text: str, line: int, end_line: int, kind: str, node: Node, allowed: frozenset[str]
) -> Statement:
    judge = _JUDGES.get(kind)
    facts: dict[str, Any] = judge(node, text) if judge else {}
    need = _NEEDS.get(kind)
    if need:
        facts["needs"] = need(node)
    if "problem" not in facts and (_SUSPECT.search(text) or _ESCAPED_NAME.search(text)):
        problem = _suspect(text, kind, node, allowed)
        if problem:
            facts["problem"] = problem
    return Statement(text=text, line=line, end_line=end_line, kind=kind, **facts)


# -- what each kind of statement means to the engine ------------------------------------------------


def _transaction(node: Node, text: str) -> dict[str, Any]:
    return {"problem": ("FILE_TRANSACTION_CONTROL", " ".join(text.split()[:2]).upper())}


def _variable_set(node: Node, text: str) -> dict[str, Any]:
    name = node.name.lower()
    if name in _SESSION_SETTINGS or name.startswith("lockgate."):
        return {"problem": ("FILE_SESSION_STATE", f"SET {name}")}
    wanted = _READ_AS_JUDGED.get(name)
    value = _word(node.args[0].a_const) if node.args else ""
    if wanted and value and value not in wanted:
        return {"problem": ("FILE_SESSION_STATE", f"SET {name} = {value}")}
    if name == "transaction" or name.startswith("session characteristics"):
        return {"problem": ("FILE_TRANSACTION_CONTROL", "SET TRANSACTION")}
    if node.kind == _RESET_ALL:
        return {"problem": ("FILE_SESSION_STATE", "RESET ALL")}
    return {}


def _session(node: Node, text: str) -> dict[str, Any]:
    return {"problem": ("FILE_SESSION_STATE", " ".join(text.split()[:2]).upper())}


def _forbidden(why: str) -> Callable[[Node, str], dict[str, Any]]:
    return lambda _node, _text: {"problem": ("FILE_FORBIDDEN", why)}


def _copy(node: Node, text: str) -> dict[str, Any]:
    if node.is_program:
        return {"problem": ("FILE_FORBIDDEN", "COPY ... PROGRAM runs a command on the server")}
    if node.filename:
        return {"problem": ("FILE_FORBIDDEN", "COPY works with the server's own files")}
    if node.is_from:
        return {"problem": ("FILE_COPY_STDIN", "COPY ... FROM STDIN carries data that only psql can send")}
    return {"problem": ("FILE_FORBIDDEN", "COPY ... TO STDOUT has no reader in a migration")}


def _function(node: Node, text: str) -> dict[str, Any]:
    for option in node.options:
        if option.def_elem.defname == "language" and option.def_elem.arg.string.sval.lower() in (
            "c",
            "internal",
        ):
            return {
                "problem": (
                    "FILE_FORBIDDEN",
                    f"LANGUAGE {option.def_elem.arg.string.sval} loads code into the server",
                )
            }
    return {}


def _opaque(node: Node, text: str) -> dict[str, Any]:
    return {"opaque": True}


def _flag(params: Node, name: str) -> bool:
    """True when an option list holds ``name`` and does not switch it off."""
    for param in params:
        if param.def_elem.defname == name:
            arg = param.def_elem.arg
            word = (
                arg.string.sval.lower()
                if arg.WhichOneof("node") == "string"
                else str(arg.boolean.boolval if arg.WhichOneof("node") == "boolean" else "on").lower()
            )
            return word not in ("off", "false", "0")
    return False


def _names(items: Node) -> tuple[str, str]:
    parts = [item.string.sval for item in items]
    return (parts[-2] if len(parts) > 1 else ""), (parts[-1] if parts else "")


def _index(node: Node, text: str) -> dict[str, Any]:
    if not node.concurrent:
        return {}
    r = node.relation
    return {
        "alone": Alone(
            "create_index", r.schemaname, node.idxname, r.relname, r.schemaname, node.if_not_exists
        )
    }


def _drop(node: Node, text: str) -> dict[str, Any]:
    if not node.concurrent:
        return {}
    schema, name = _names(node.objects[0].list.items)
    return {"alone": Alone("drop_index", schema, name, lenient=node.missing_ok)}


def _reindex(node: Node, text: str) -> dict[str, Any]:
    concurrent = _flag(node.params, "concurrently")
    what = postgast.pg_query_pb2.ReindexObjectType.Name(node.kind).removeprefix("REINDEX_OBJECT_").lower()
    if what in ("schema", "system", "database"):
        return {
            "problem": (
                "FILE_FORBIDDEN",
                f"REINDEX {what.upper()} is maintenance of the whole database, not a migration",
            )
        }
    if not concurrent:
        return {}
    r = node.relation
    return {
        "alone": Alone(
            f"reindex_{what}",
            r.schemaname,
            r.relname if what == "index" else "",
            "" if what == "index" else r.relname,
            r.schemaname,
        )
    }


def _alter_table(node: Node, text: str) -> dict[str, Any]:
    for item in node.cmds:
        command = item.alter_table_cmd
        if command.subtype == _DETACH and getattr(command, "def").partition_cmd.concurrent:
            part = getattr(command, "def").partition_cmd.name
            r = node.relation
            return {
                "alone": Alone("detach_partition", part.schemaname, part.relname, r.relname, r.schemaname)
            }
    return {}


def _vacuum(node: Node, text: str) -> dict[str, Any]:
    return {"alone": Alone("vacuum")} if node.is_vacuumcmd else {}


def _alter_enum(node: Node, text: str) -> dict[str, Any]:
    if node.old_val or not node.new_val:
        return {}
    schema, name = _names(node.type_name)
    return {"enum_value": (f"{schema}.{name}" if schema else name, node.new_val)}


def _create_enum(node: Node, text: str) -> dict[str, Any]:
    schema, name = _names(node.type_name)
    return {"creates_type": f"{schema}.{name}" if schema else name}


def _cluster(node: Node, text: str) -> dict[str, Any]:
    return (
        {}
        if node.HasField("relation")
        else {"problem": ("FILE_FORBIDDEN", "CLUSTER without a table rewrites the whole database")}
    )


def _alter_database(node: Node, text: str) -> dict[str, Any]:
    for option in node.options:
        if option.def_elem.defname == "tablespace":
            return {
                "problem": ("FILE_FORBIDDEN", "ALTER DATABASE ... SET TABLESPACE moves the whole database")
            }
    return {}


def _create_in(name: str) -> Callable[[Node], tuple[str, str]]:
    def need(node: Node) -> tuple[str, str]:
        relation = getattr(node, name)
        return ("", "") if relation.relpersistence == "t" else ("create", relation.schemaname)

    return need


def _own(node: Node) -> tuple[str, str]:
    relation = node.relation
    return ("own", _quoted(relation.schemaname, relation.relname))


def _quoted(schema: str, name: str) -> str:
    parts = [part.replace('"', '""') for part in (schema, name) if part]
    return ".".join(f'"{part}"' for part in parts)


_NEEDS: dict[str, Callable[[Node], tuple[str, str]]] = {
    "create_extension_stmt": lambda node: ("extension", node.extname),
    "create_schema_stmt": lambda node: ("schema", node.schemaname),
    "create_stmt": _create_in("relation"),
    "create_seq_stmt": _create_in("sequence"),
    "view_stmt": _create_in("view"),
    "create_enum_stmt": lambda node: ("create", _names(node.type_name)[0]),
    "create_function_stmt": lambda node: ("create", _names(node.funcname)[0]),
    "alter_table_stmt": _own,
    "index_stmt": _own,
}
_RESET_ALL = postgast.pg_query_pb2.VariableSetKind.Value("VAR_RESET_ALL")
_DETACH = postgast.pg_query_pb2.AlterTableType.Value("AT_DetachPartition")
_OUTSIDE = "works outside this database; that is provisioning, not a migration"
_JUDGES: dict[str, Callable[[Node, str], dict[str, Any]]] = {
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

# -- functions that reach out, looked for only where their name stands in the text ------------------

_SESSION_FUNCTIONS = frozenset({"pg_advisory_unlock", "pg_advisory_unlock_all", "pg_advisory_unlock_shared"})
_SESSION_SETTINGS = frozenset({"role", "session_authorization", "session_replication_role"})
_READ_AS_JUDGED = {
    "client_encoding": frozenset({"utf8", "utf-8", "unicode"}),
    "standard_conforming_strings": frozenset({"on", "true", "yes", "1"}),
}
"""Settings with the values under which the server reads the file as the parser did."""


def _suspect(text: str, kind: str, node: Node, allowed: frozenset[str]) -> tuple[str, str] | None:
    if kind in ("do_stmt", "create_function_stmt"):
        # The body is text in a language of its own; a DO block runs now, a function only when it is called.
        found = (match[0].lower() for match in _SUSPECT.finditer(text))
        name = next((name for name in found if name != "set_config" and name not in allowed), "")
        if kind == "create_function_stmt" or not name:
            return None
        code = (
            "FILE_SESSION_STATE"
            if name.startswith(("pg_advisory_unlock", "session_replication", "discard"))
            else "FILE_FORBIDDEN"
        )
        return (code, f"{name} in a DO block")
    for call in _calls(node):
        name = call.funcname[-1].string.sval.lower()
        if name in allowed:
            continue
        if name in _SESSION_FUNCTIONS:
            return ("FILE_SESSION_STATE", f"{name}() can drop lockgate's own lock")
        if name == "set_config":
            setting = call.args[0].a_const.sval.sval.lower() if call.args else ""
            value = _word(call.args[1].a_const) if len(call.args) > 1 else ""
            other = value not in _READ_AS_JUDGED.get(setting, {value})
            if setting in _SESSION_SETTINGS or setting.startswith("lockgate.") or other:
                return ("FILE_SESSION_STATE", f"set_config('{setting}')")
        elif _SUSPECT.fullmatch(name) or name.startswith("dblink"):
            return ("FILE_FORBIDDEN", f"{name}() reaches outside this database")
    return None


def _word(constant: Node) -> str:
    """A constant of SET or set_config as a word."""
    kind = constant.WhichOneof("val")
    if kind == "ival":
        return str(constant.ival.ival)
    return str(constant.sval.sval).lower() if kind == "sval" else ""


def _calls(message: Node) -> Iterator[Node]:
    return (child for name, child in _walk(message) if name == "FuncCall")


def _walk(message: Node) -> Iterator[tuple[str, Node]]:
    """Every message below this one with the name of its type; without recursion, for trees that are deep."""
    left = [message]
    while left:
        for field, value in left.pop().ListFields():
            if field.message_type is not None:
                for child in value if _repeated(field) else (value,):
                    yield field.message_type.name, child
                    left.append(child)


def _repeated(field: Node) -> bool:
    flag = getattr(field, "is_repeated", None)
    return bool(flag) if flag is not None else field.label == field.LABEL_REPEATED


def literals(text: str) -> set[str]:
    """Every string literal of ``text``; for the check of enum values used where they are added."""
    return {
        child.sval.sval
        for item in postgast.parse(text).stmts
        for name, child in _walk(item.stmt)
        if name == "A_Const" and child.WhichOneof("val") == "sval"
    }


def _bad_name(text: str, raw: bytes, lines: _Lines) -> ScriptError | None:
    """A name that the server would cut at 63 bytes, or that looks like another one; scanned only where it may be."""
    long, odd = _LONG_NAME.search(raw), not text.isascii() and not unicodedata.is_normalized("NFC", text)
    if not long and not odd:
        return None
    for token in postgast.scan(text).tokens:
        if token.token not in _NAME_TOKENS:
            continue
        word = raw[token.start : token.end].decode()
        name = word[1:-1].replace('""', '"') if word.startswith('"') else word
        if len(name.encode()) > 63:
            return ScriptError(
                "FILE_IDENTIFIER",
                lines.at(token.start),
                f"the name {name[:40]}... has {len(name.encode())} bytes; the server keeps 63",
            )
        if not unicodedata.is_normalized("NFC", name):
            return ScriptError(
                "FILE_IDENTIFIER",
                lines.at(token.start),
                f"the name {name} is not in Unicode NFC, so it is another name than the one it looks like",
            )
    return None


_NAME_TOKENS = frozenset(
    {postgast.pg_query_pb2.Token.Value("IDENT"), postgast.pg_query_pb2.Token.Value("UIDENT")}
)


def probe_index(text: str, table: str) -> str:
    """The CREATE INDEX of ``text`` as it would be on the temporary table ``table``: same definition, not concurrent."""
    tree = postgast.parse(text)
    node = tree.stmts[0].stmt.index_stmt
    node.concurrent = False
    node.if_not_exists = False
    node.relation.schemaname = "pg_temp"
    node.relation.catalogname = ""
    node.relation.relname = table
    return str(postgast.deparse(tree))
