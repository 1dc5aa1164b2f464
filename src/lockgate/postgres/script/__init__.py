"""SQL text → statements, by PostgreSQL's own grammar, with what the engine has to know of each.

The only other reader of the parser is ``postgres.tree``, which knows far more for the policy. Here stands what
decides whether and how a statement may run at all.
"""

from lockgate.postgres.script.identifiers import bad_name
from lockgate.postgres.script.kinds import facts_of
from lockgate.postgres.script.nodes import kind_of, parse, string, walk
from lockgate.postgres.script.statement import Alone, ScriptError, Statement
from lockgate.postgres.script.suspects import find_suspect

__all__ = ["Alone", "ScriptError", "Statement", "literals", "probe_index", "split"]

_BLANKS = " \t\n\r\f\v"
"""What the server skips; Python's own idea of a blank includes what belongs to a name here."""


def split(text: str, *, allow_functions: frozenset[str] = frozenset()) -> list[Statement]:
    """The statements of ``text`` in order.

    What goes in comes out: each statement's text is a slice of the input, and between two slices stand only blanks,
    comments and semicolons. ``allow_functions`` are functions that the project allows although they reach outside.
    Raises ``ScriptError``.
    """
    items = parse(text)
    raw = text.encode()
    ascii_only = len(raw) == len(text)
    line, counted = 1, 0
    statements = []
    for item in items:
        start, length = item.get("stmt_location", 0), item.get("stmt_len", 0)
        end = start + length if length else len(raw)
        body = (text[start:end] if ascii_only else raw[start:end].decode()).rstrip(_BLANKS)
        line, counted = line + raw.count(b"\n", counted, start), start
        kind, node = kind_of(item.get("stmt", {}))
        facts = facts_of(kind, node, body)
        if "problem" not in facts and (problem := find_suspect(body, kind, node, allow_functions)):
            facts["problem"] = problem
        statements.append(
            Statement(text=body, line=line, end_line=line + body.count("\n"), kind=kind, **facts)
        )
    problem_with_name = bad_name(text, raw)
    if problem_with_name:
        raise problem_with_name
    return statements


def literals(text: str) -> set[str]:
    """Every string literal of ``text``; for the check of enum values used where they are added."""
    return {
        string({"A_Const": node})
        for item in parse(text)
        for name, node in walk(item)
        if name == "A_Const" and "sval" in node
    }


def probe_index(text: str, table: str) -> str:
    """The CREATE INDEX of ``text`` as it would be on the temporary table ``table``: same definition, not concurrent."""
    import postgast  # only it can turn a tree back into text; see identifiers.py on its price

    tree = postgast.parse(text)
    node = tree.stmts[0].stmt.index_stmt
    node.concurrent = False
    node.if_not_exists = False
    node.relation.schemaname = "pg_temp"
    node.relation.catalogname = ""
    node.relation.relname = table
    return str(postgast.deparse(tree))
