"""Hazards of family G that need several statements: copy, keep in step, compare, take away."""

import re
from collections.abc import Iterator

from msgspec import Struct

from lockgate.policy.hazard import WARNING, Hazard
from lockgate.policy.judging import Tree
from lockgate.policy.model.names import bare
from lockgate.policy.model.spelling import quote, spelled
from lockgate.policy.phase import CONTRACT
from lockgate.policy.registry import rule
from lockgate.policy.rules.batches import plain
from lockgate.policy.subject import File, Hit, Judged
from lockgate.postgres.tree import words as w
from lockgate.postgres.tree.words import LockMode

_SETUP = "CREATE TABLE orders (id bigint PRIMARY KEY, qty integer, total integer);"
_REVISION = re.compile(r"\d{13}")
_ONE_DAY = 24 * 3600 * 1000
# Row triggers that see new values: INSERT and UPDATE.
_WRITING = 4 | 16


class _Copy(Struct):
    """Values that a statement copies: from columns of ``source`` into ``columns`` of ``target``."""

    file: File
    line: int
    source: str
    target: str
    read: frozenset[str]
    columns: frozenset[str]


def _copies(tree: Tree, file: File, judged: Judged) -> Iterator[_Copy]:
    word = judged.statement
    if not isinstance(word, w.Dml) or word.target is None:
        return
    target = tree.schema.resolve(word.target)
    read = frozenset(word.query.column_refs)
    if word.kind == "update" and read - set(word.columns):
        yield _Copy(file, judged.line, target, target, read, frozenset(word.columns))
    elif word.kind == "insert" and not word.values:
        for access in word.query.accesses:
            source = tree.schema.resolve(access.name)
            if access.mode == LockMode.AccessShareLock and source != target:
                yield _Copy(file, judged.line, source, target, read, frozenset(word.columns))


def _walk(tree: Tree) -> Iterator[tuple[File, Judged]]:
    return ((file, judged) for file in tree.files for judged in file.judged)


@rule(
    Hazard(
        id="dml-backfill-before-sync",
        name="Copied before it is kept in step",
        detects="A trigger that keeps a copy in step is made after the statement that fills the copy.",
        effect="What the application writes between the two is in the original and never in the copy.",
        workaround="First the trigger, in a file of its own; then the copy.",
        source="Field practice with backfills",
        setup=_SETUP
        + "\nCREATE FUNCTION to_total() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.total := NEW.qty; RETURN NEW; END $$;",
        bad="""CREATE OR REPLACE FUNCTION to_total() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.total := NEW.qty; RETURN NEW; END $$;
UPDATE orders SET total = qty WHERE id BETWEEN 1 AND 1000;
CREATE TRIGGER keep_total BEFORE INSERT OR UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION to_total();""",
        good="""CREATE OR REPLACE FUNCTION to_total() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.total := NEW.qty; RETURN NEW; END $$;
CREATE TRIGGER keep_total BEFORE INSERT OR UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION to_total();
UPDATE orders SET total = qty WHERE id BETWEEN 1 AND 1000;""",
    ),
    scope="tree",
)
def before_sync(tree: Tree) -> Iterator[tuple[File, Hit]]:
    """The trigger's body names what an earlier statement filled, and no later one fills it again."""
    bodies: dict[str, str] = {}
    copies: list[_Copy] = []
    made: list[tuple[File, int, str, str, _Copy]] = []
    for file, judged in _walk(tree):
        word = judged.statement
        if isinstance(word, w.CreateFunction):
            bodies[word.name.name] = plain(word.body)
        elif isinstance(word, w.CreateTrigger) and word.row and word.events & _WRITING and word.function:
            table = tree.schema.resolve(word.table)
            said = set(re.findall(r"\w+", bodies.get(word.function.name, "")))
            for copy in copies:
                if copy.source != table or _new(tree, table, copy.file):
                    continue
                if copy.target == table:
                    keeps = said & copy.columns and said & (copy.read - copy.columns)
                else:
                    keeps = said & {bare(copy.target)}
                if keeps:
                    made.append((file, judged.line, word.name, table, copy))
        for copy in _copies(tree, file, judged):
            copies.append(copy)
            made = [one for one in made if (one[4].source, one[4].target) != (copy.source, copy.target)]
    for file, line, name, table, copy in made:
        yield (
            file,
            Hit(
                f"rows of {table} that change after {copy.file.name}:{copy.line} has copied them and before {name} "
                f"is there are lost to {copy.target}",
                f"Put {name} into an earlier file than the copy.",
                line=line,
            ),
        )


def _new(tree: Tree, key: str, file: File) -> bool:
    state = tree.schema.relations.get(key)
    return state is not None and state.created_file == file.number


@rule(
    Hazard(
        id="dml-backfill-unverified",
        name="Original dropped without a proof of the copy",
        detects="A column or table is dropped after its values were copied, and nothing in between compares the two.",
        effect="What the copy missed is gone for good.",
        severity=WARNING,
        workaround="Copy by a move and name it (`-- lockgate: after=move:<name>`), or let the server look at every copied row: a validated CHECK, SET NOT NULL, or a DO block that raises.",
        destructive=True,
        source="Field practice with backfills",
        setup=_SETUP,
        bad="UPDATE orders SET total = qty WHERE id BETWEEN 1 AND 1000;\n-- next file\n-- lockgate: phase=contract\nALTER TABLE orders DROP COLUMN qty;",
        good="UPDATE orders SET total = qty WHERE id BETWEEN 1 AND 1000;\n-- next file\n-- lockgate: phase=contract\n-- lockgate: after=move:example\nALTER TABLE orders DROP COLUMN qty;",
    ),
    scope="tree",
)
def unverified(tree: Tree) -> Iterator[tuple[File, Hit]]:
    """A copy, then a drop of what it read."""
    copies: list[_Copy] = []
    for file, judged in _walk(tree):
        word = judged.statement
        copies.extend(_copies(tree, file, judged))
        if isinstance(word, w.DoBlock) and re.search(r"\b(raise\s+exception|assert)\b", plain(word.body)):
            copies.clear()
        if not copies or file.after:
            continue
        if isinstance(word, w.AlterTable):
            table = tree.schema.resolve(word.name)
            if any(isinstance(action, w.ValidateConstraint | w.SetNotNull) for action in word.actions):
                # The server has looked at every row of the copy: none was left out.
                copies = [copy for copy in copies if copy.target != table]
            gone = [action.column for action in word.actions if isinstance(action, w.DropColumn)]
            for column in gone:
                copy = next((c for c in copies if c.source == table and column in c.read), None)
                if copy is not None:
                    yield file, _missed(f"{table}.{column}", copy, judged.line)
        elif isinstance(word, w.Drop) and word.kind == "table":
            for name in word.names:
                table = tree.schema.resolve(name)
                copy = next((c for c in copies if c.source == table and c.target != table), None)
                if copy is not None:
                    yield file, _missed(table, copy, judged.line)


def _missed(what: str, copy: _Copy, line: int) -> Hit:
    return Hit(
        f"{what} goes, and nothing has compared it with its copy of {copy.file.name}:{copy.line}",
        "-- lockgate: after=move:<name>",
        line=line,
    )


@rule(
    Hazard(
        id="dml-contract-before-n1",
        name="Expand and contract in one release",
        detects="A column is added to a table and another one dropped from it in the same file, or in files of the same day.",
        effect="The release before knows only the old column, the next one only the new: there is no moment when both can run.",
        severity=WARNING,
        workaround="Add now; drop in a contract file once no release that reads the old column runs or may be rolled back to.",
        destructive=True,
        source="Field practice with backfills",
        setup=_SETUP,
        bad="ALTER TABLE orders ADD COLUMN amount integer;\nALTER TABLE orders DROP COLUMN qty;",
        good="ALTER TABLE orders ADD COLUMN amount integer;",
    ),
    scope="tree",
)
def before_n1(tree: Tree) -> Iterator[tuple[File, Hit]]:
    """ADD COLUMN, and a DROP COLUMN too close behind it."""
    added: dict[str, tuple[File, int, str]] = {}
    for file, judged in _walk(tree):
        word = judged.statement
        if not isinstance(word, w.AlterTable):
            continue
        table = tree.schema.resolve(word.name)
        drops = [action.column for action in word.actions if isinstance(action, w.DropColumn)]
        before = added.get(table)
        for column in drops if not _new(tree, table, file) and not file.after else ():
            if before is not None and column != before[2] and _together(before[0], file):
                yield (
                    file,
                    Hit(
                        f"{table}.{before[2]} came with {before[0].name}:{before[1]}, in the same release in which "
                        f"{column} goes",
                        f"-- a file of a later release:\n-- lockgate: phase={CONTRACT}\nALTER TABLE {spelled(table)} DROP COLUMN {quote(column)};",
                        line=judged.line,
                    ),
                )
        for action in word.actions:
            if isinstance(action, w.AddColumn):
                added[table] = (file, judged.line, action.column.name)


def _together(one: File, other: File) -> bool:
    if one is other:
        return True
    first, second = _REVISION.match(one.name), _REVISION.match(other.name)
    if first is None or second is None:
        return False
    return 0 <= int(second[0]) - int(first[0]) < _ONE_DAY
