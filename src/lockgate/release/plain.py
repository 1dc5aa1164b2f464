"""Which files keep the file contract for certain, by what the policy has already read of them.

The contract parses a file for itself, and so does the policy. Most files hold nothing that
the contract looks for; those are told here from words that are at hand, and need no second parse. The answer is
one-sided: True only where ``migrations.contract.prepare`` finds nothing; anything else is left to it.
"""

import re
from collections.abc import Sequence

from lockgate.postgres.script.suspects import SUSPECT
from lockgate.postgres.tree import words as w

LONGEST_TEXT = 20_000
"""Characters. A longer text may hold a chain that the contract refuses."""
LONG_NAME = re.compile(r"[^\s\"'();,.\x00-\x1f]{64,}|\"(?:[^\"]|\"\"){64,}\"")
"""As in postgres/script/identifiers.py, there in bytes."""
_OTHER = re.compile(r"\bU&\"|\bprepare\b|\bcopy\b|\bexecute\b(?!\s+(?:function|procedure)\b)", re.IGNORECASE)
"""Names in disguise, and statements that the policy reads as the query in them."""
_HINTS = (
    "pg_",
    "set_config",
    "lo_",
    "dblink",
    "session_replication_role",
    "discard",
    'u&"',
    "prepare",
    "copy",
    "execute",
)
"""One of these stands in every text that ``SUSPECT`` or ``_OTHER`` finds; looking for them first is much quicker."""

_QUIET = frozenset({
    w.CreateTable, w.CreateTableAs, w.CreateView, w.AlterTable, w.Rename, w.SetSchema, w.Drop, w.Truncate,
    w.CreateTrigger, w.CreateRule, w.Policy, w.CreateSequence, w.AlterSequence, w.CreateType, w.CreateDomain,
    w.AlterDomain, w.CreateSchema, w.CreateExtension, w.CreateStatistics, w.Refresh, w.LockTable, w.Comment,
    w.Grant, w.DoBlock, w.Call,
})  # fmt: skip
"""Words of which the contract has nothing to say, once the text holds no suspect name and no CONCURRENTLY."""
_QUERIES = frozenset({"select", "insert", "update", "delete", "merge"})
_TIMEOUTS = frozenset({"lock_timeout", "statement_timeout"})


def plain(text: str, statements: Sequence[w.Statement], *, transactional: bool, most: int) -> bool:
    """Whether ``text``, which holds ``statements``, keeps the contract for certain."""
    if not 0 < len(statements) <= most or len(text) > LONGEST_TEXT or not text.isascii() or "\0" in text:
        return False
    lower = text.lower()
    if any(hint in lower for hint in _HINTS) and (SUSPECT.search(text) or _OTHER.search(text)):
        return False
    # A run of 64 signs stands within one word, unless it is quoted; looking at words first is much quicker.
    if ('"' in text or max(map(len, text.split()), default=0) >= 64) and LONG_NAME.search(text):
        return False
    if transactional and "concurrently" in lower:
        return False
    return all(type(statement) in _QUIET or _quiet(statement) for statement in statements)


def _quiet(statement: w.Statement) -> bool:
    if isinstance(statement, w.CreateIndex):
        return bool(statement.name) or not statement.concurrently
    if isinstance(statement, w.Dml):
        return statement.kind in _QUERIES
    if isinstance(statement, w.CreateFunction):
        return statement.language in ("sql", "plpgsql")
    if isinstance(statement, w.SetVariable):
        return statement.name in _TIMEOUTS
    return False
