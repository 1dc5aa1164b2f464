"""Hazards of family J: what a file may leave out, and what it must not hold."""

import re
from collections.abc import Iterator

from lockgate.policy.hazard import INFO, Hazard
from lockgate.policy.judging import Tree
from lockgate.policy.phase import CONTRACT
from lockgate.policy.registry import rule
from lockgate.policy.subject import Hit, Subject
from lockgate.postgres.tree import SyntaxProblem, statements_of
from lockgate.postgres.tree import words as w
from lockgate.postgres.tree.words import LockMode

_SETUP = "CREATE TABLE orders (id bigint PRIMARY KEY, qty integer);"


@rule(
    Hazard(
        id="rep-irreversible-unmarked",
        name="No way back, and no word about it",
        detects="A statement that nothing can undo (a drop, rows deleted) in a file without a down section that does not declare phase=contract.",
        effect="Who has to go back finds out then that there is no way.",
        severity=INFO,
        workaround="`-- lockgate: phase=contract` says so; a copy of the rows, or a down section, gives a way back.",
        source="Field practice with migration repositories",
        setup=_SETUP,
        bad="DELETE FROM orders WHERE id < 10;",
        good="-- lockgate: phase=contract\nDELETE FROM orders WHERE id < 10;",
    ),
    on=(w.Drop, w.AlterTable, w.Truncate, w.Dml),
)
def irreversible(subject: Subject) -> Iterator[Hit]:
    """Rows or values of an earlier file's table are gone after it."""
    if subject.file.declared == CONTRACT or subject.file.down or subject.facts.reversible is not False:
        return
    word = subject.statement
    if isinstance(word, w.Dml) and not any(change.event == "delete" for change in word.changes):
        return
    touched = [
        key for key in subject.busy_locks(LockMode.RowExclusiveLock) if key in subject.schema.relations
    ]
    if touched:
        yield Hit(
            f"what {subject.facts.kind} takes from {touched[0]} cannot be put back", relation=touched[0]
        )


@rule(
    Hazard(
        id="rep-down-loses-data",
        name="Way back that loses rows",
        detects="DROP TABLE, DROP COLUMN, TRUNCATE or DELETE in a down section.",
        effect="What was written since the file ran is lost by going back.",
        severity=INFO,
        workaround="Go forward: a new file that keeps the rows.",
        source="Field practice with migration repositories",
        setup=_SETUP,
        bad="ALTER TABLE orders ADD COLUMN note text;\n-- lockgate: down\nALTER TABLE orders DROP COLUMN note;",
        good="CREATE VIEW big_orders AS SELECT id FROM orders WHERE qty > 9;\n-- lockgate: down\nDROP VIEW big_orders;",
    ),
    scope="file",
)
def down_loses(tree: Tree) -> Iterator[Hit]:
    """The statements of the down section."""
    (file,) = tree.files
    if not file.down:
        return
    try:
        located = statements_of(file.down)
    except SyntaxProblem:
        return
    for item in located:
        word = item.statement
        lost = ""
        if (isinstance(word, w.Drop) and word.kind in ("table", "schema")) or isinstance(word, w.Truncate):
            lost = ", ".join(name.name for name in word.names)
        elif isinstance(word, w.Dml):
            emptied = [change.target.name for change in word.changes if change.event == "delete"]
            lost = f"rows of {', '.join(dict.fromkeys(emptied))}" if emptied else ""
        elif isinstance(word, w.AlterTable):
            gone = [action.column for action in word.actions if isinstance(action, w.DropColumn)]
            lost = ", ".join(f"{word.name.name}.{column}" for column in gone)
        if lost:
            yield Hit(f"going back loses what was written to {lost}")


_SECRETS = (
    ("password", re.compile(r"\bpassword\s*'[^']", re.IGNORECASE), "a password"),
    ("://", re.compile(r"\bpostgres(?:ql)?://[^\s:/@']+:[^\s@']+@"), "a connection string with its password"),
    ("private key", re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"), "a private key"),
    ("akia", re.compile(r"\bAKIA[0-9A-Z]{16}\b"), "an access key"),
    ("gh", re.compile(r"\bgh[pousr]_[A-Za-z0-9]{36}"), "an access token"),
    ("xox", re.compile(r"\bxox[abprs]-[0-9A-Za-z-]{10,}"), "an access token"),
    ("sk_live_", re.compile(r"\bsk_live_[0-9A-Za-z]{16,}"), "an access key"),
)


@rule(
    Hazard(
        id="rep-secret-or-psql-meta",
        name="Secret in a file",
        detects="A password of a role or a user mapping, a connection string with a password, or a well-known kind of key. Commands of psql are refused by the file contract.",
        effect="Who can read the repository, the server's log or lockgate's history can read the secret.",
        workaround="Take it out and change it: it is in the history of the repository now. Passwords are set outside of migrations.",
        source="Field practice with migration repositories",
        setup=_SETUP,
        bad="CREATE ROLE reporting LOGIN PASSWORD 'correct horse';",
        good="CREATE ROLE reporting LOGIN;",
        unproven="a role would stay behind in the whole server",
    ),
    scope="file",
)
def secret(tree: Tree) -> Iterator[Hit]:
    """By what secrets look like; the message never repeats one."""
    (file,) = tree.files
    lines = set()
    lower = file.text.lower()
    for sign, pattern, what in _SECRETS:
        if sign not in lower:
            continue
        for match in pattern.finditer(file.text):
            line = file.text.count("\n", 0, match.start()) + 1
            line = max((judged.line for judged in file.judged if judged.line <= line), default=line)
            if line not in lines:
                lines.add(line)
                yield Hit(f"there is {what} in it", line=line)


@rule(
    Hazard(
        id="rep-forbidden-statements",
        name="Statement that the organisation forbids",
        detects="A statement whose kind is on the list of the settings; ALTER SYSTEM unless that says otherwise.",
        effect="It is not for migrations to do.",
        workaround="Ask who keeps the list.",
        source="Field practice with migration repositories",
        setup=_SETUP,
        bad="ALTER SYSTEM SET work_mem = '64MB';",
        good="ALTER TABLE orders ADD COLUMN note text;",
        unproven="it changes the whole server",
    )
)
def forbidden(subject: Subject) -> Iterator[Hit]:
    """By the first words of the kind, as reports show it."""
    kind = subject.facts.kind
    for name in subject.options.forbidden:
        if kind == name.upper() or kind.startswith(f"{name.upper()} "):
            yield Hit(f"{kind} is forbidden by the settings")
