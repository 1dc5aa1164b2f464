"""Functions that reach out of the migration, looked for only where their name stands in the text."""

import re

from lockgate.postgres.script.kinds import READ_AS_JUDGED, SESSION_SETTINGS
from lockgate.postgres.script.nodes import Node, constant, string, walk, word

SUSPECT = re.compile(
    r"pg_advisory_unlock|set_config|pg_read_file|pg_read_binary_file|pg_ls_\w*dir|pg_stat_file|lo_import|lo_export|dblink|pg_terminate_backend|pg_cancel_backend"
    r"|pg_reload_conf|pg_rotate_logfile|pg_promote|pg_switch_wal|pg_file_write|session_replication_role|discard\s+all",
    re.IGNORECASE,
)
ESCAPED_NAME = re.compile(r"\bU&\"", re.IGNORECASE)
"""U&"..." spells a name that the text does not show."""
_SESSION_FUNCTIONS = frozenset({"pg_advisory_unlock", "pg_advisory_unlock_all", "pg_advisory_unlock_shared"})


def find_suspect(text: str, kind: str, node: Node, allowed: frozenset[str]) -> tuple[str, str] | None:
    """(reason code, what) of a call that no migration may make. ``allowed`` are functions that the project allows."""
    if not (SUSPECT.search(text) or ESCAPED_NAME.search(text)):
        return None
    if kind in ("do_stmt", "create_function_stmt"):
        # The body is text in a language of its own; a DO block runs now, a function only when it is called.
        found = (match[0].lower() for match in SUSPECT.finditer(text))
        name = next((name for name in found if name != "set_config" and name not in allowed), "")
        if kind == "create_function_stmt" or not name:
            return None
        session = name.startswith(("pg_advisory_unlock", "session_replication", "discard"))
        return ("FILE_SESSION_STATE" if session else "FILE_FORBIDDEN", f"{name} in a DO block")
    for what, call in walk(node):
        if what == "FuncCall" and (problem := _judge_call(call, allowed)):
            return problem
    return None


def _judge_call(call: Node, allowed: frozenset[str]) -> tuple[str, str] | None:
    name = word(call["funcname"][-1]).lower()
    if name in allowed:
        return None
    if name in _SESSION_FUNCTIONS:
        return ("FILE_SESSION_STATE", f"{name}() can drop lockgate's own lock")
    if name == "set_config":
        arguments = call.get("args", ())
        setting = string(arguments[0]).lower() if arguments else ""
        value = constant(arguments[1]) if len(arguments) > 1 else ""
        other = value not in READ_AS_JUDGED.get(setting, {value})
        if setting in SESSION_SETTINGS or setting.startswith("lockgate.") or other:
            return ("FILE_SESSION_STATE", f"set_config('{setting}')")
    elif SUSPECT.fullmatch(name) or name.startswith("dblink"):
        return ("FILE_FORBIDDEN", f"{name}() reaches outside this database")
    return None
