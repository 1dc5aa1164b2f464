"""Hazards of family C: what a constraint says - foreign keys and expressions that do harm later."""

from collections.abc import Iterator

from lockgate.policy.hazard import INFO, WARNING, Hazard
from lockgate.policy.judging import Tree
from lockgate.policy.model.names import bare, joined, joined_columns
from lockgate.policy.model.schema import Relation, Schema
from lockgate.policy.model.spelling import quote, quoted, spelled
from lockgate.policy.model.volatility import VOLATILE
from lockgate.policy.registry import rule
from lockgate.policy.rules.each_partition import OFF, index_on_each
from lockgate.policy.subject import File, Hit, Subject
from lockgate.postgres.tree import words as w
from lockgate.postgres.tree.lexing import parted

_SETUP = """CREATE TABLE customers (id bigint PRIMARY KEY);
CREATE TABLE shops (id bigint PRIMARY KEY);
CREATE TABLE orders (id bigint PRIMARY KEY, customer_id bigint, shop_id bigint, short_id integer, placed_at timestamptz);"""
_FK = "ALTER TABLE orders ADD CONSTRAINT orders_customer_fk FOREIGN KEY (customer_id) REFERENCES customers (id) NOT VALID;"
_FK_SHOP = (
    "ALTER TABLE orders ADD CONSTRAINT orders_shop_fk FOREIGN KEY (shop_id) REFERENCES shops (id) NOT VALID;"
)


def _of_action(action: w.Action) -> list[w.Constraint]:
    if isinstance(action, w.AddConstraint):
        return [action.constraint]
    return list(action.column.constraints) if isinstance(action, w.AddColumn) else []


def _of_table(word: w.CreateTable) -> list[w.Constraint]:
    return [*word.constraints, *(c for column in word.columns for c in column.constraints)]


def _constraints(subject: Subject) -> list[w.Constraint]:
    """What the statement, or the action, adds."""
    if subject.action is not None:
        return _of_action(subject.action)
    return _of_table(subject.statement) if isinstance(subject.statement, w.CreateTable) else []


def _all(word: w.Statement) -> list[w.Constraint]:
    """What a whole statement adds."""
    if isinstance(word, w.CreateTable):
        return _of_table(word)
    if isinstance(word, w.AlterTable):
        return [constraint for action in word.actions for constraint in _of_action(action)]
    return []


@rule(
    Hazard(
        id="con-fk-many-parents",
        name="Several foreign keys in one transaction",
        detects="A file that adds foreign keys to two or more tables of earlier files.",
        effect="Several tables are locked against writes one after the other: a deadlock with whoever takes them in another order.",
        lock="ShareRowExclusiveLock on each referenced table",
        severity=WARNING,
        workaround="One foreign key a file.",
        source="observed",
        setup=_SETUP,
        bad=f"{_FK}\n{_FK_SHOP}",
        good=_FK,
    ),
    scope="file",
)
def fk_many_parents(tree: Tree) -> Iterator[Hit]:
    """In the file that makes the table it is told, no more: nobody else waits for that one."""
    for file in tree.files:
        if not file.transactional:
            continue
        parents: dict[str, int] = {}
        altered = False
        for judged in file.judged:
            word = judged.statement
            for constraint in _all(word):
                if constraint.references is None:
                    continue
                key = tree.schema.resolve(constraint.references)
                state = tree.schema.relations.get(key)
                if state is None or state.created_file != file.number:
                    parents.setdefault(key, judged.line)
                    child = tree.schema.get(word.name) if isinstance(word, w.AlterTable) else None
                    altered |= child is not None and child.created_file != file.number
        if len(parents) > 1:
            yield Hit(
                f"{', '.join(parents)} are locked against writes by one transaction",
                "-- one file for each foreign key, each in its own transaction",
                severity=WARNING if altered else INFO,
                line=list(parents.values())[-1],
            )


def _column_type(subject: Subject, name: str) -> w.TypeName | None:
    """The type of a column of the referencing table, by the statement itself or by the model."""
    if isinstance(subject.action, w.AddColumn) and subject.action.column.name == name:
        return subject.action.column.type
    if isinstance(subject.statement, w.CreateTable):
        return next((column.type for column in subject.statement.columns if column.name == name), None)
    column = subject.table.columns.get(name) if subject.table is not None else None
    return column.type if column is not None else None


def _primary(state: Relation) -> tuple[str, ...]:
    return next((c.columns for c in state.constraints.values() if c.kind == "primary"), ())


_SAME = {"varchar": "text", "bpchar": "text", "citext": "text"}


def _plain(schema: Schema, kind: w.TypeName) -> str:
    state = schema.user_type(kind)
    if state is not None and state.kind == "domain" and state.base is not None:
        return _plain(schema, state.base)
    return f"{kind.schema}.{_SAME.get(kind.name, kind.name)}"


@rule(
    Hazard(
        id="con-fk-type-mismatch",
        name="Foreign key between two types",
        detects="A foreign key whose column has another type than the column it points to.",
        effect="Every check casts, joins may not use the index, and the narrower side runs out first.",
        severity=WARNING,
        workaround="The same type on both sides.",
        source="Field practice with constraints",
        setup=_SETUP,
        bad="ALTER TABLE orders ADD CONSTRAINT orders_customer_fk FOREIGN KEY (short_id) REFERENCES customers (id) NOT VALID;",
        good=_FK,
    ),
    on=(w.AddConstraint, w.AddColumn, w.CreateTable),
)
def fk_type_mismatch(subject: Subject) -> Iterator[Hit]:
    """Column by column; text and varchar count as one."""
    for constraint in _constraints(subject):
        other = subject.schema.get(constraint.references) if constraint.references is not None else None
        if other is None:
            continue
        pairs = zip(constraint.columns, constraint.ref_columns or _primary(other), strict=False)
        for name, there in pairs:
            one = _column_type(subject, name)
            two = other.columns[there].type if there in other.columns else None
            if one is not None and two is not None and _plain(subject.schema, one) != _plain(subject.schema, two):  # fmt: skip
                yield Hit(
                    f"{subject.key}.{name} is {one.name}, {other.key}.{there} is {two.name}",
                    f"{name} {two.name}",
                )


@rule(
    Hazard(
        id="con-fk-no-index",
        name="Foreign key without an index",
        detects="A foreign key whose columns lead no index when all files are applied.",
        effect="Every DELETE, and every UPDATE of the key, on the referenced table reads the whole referencing table.",
        severity=WARNING,
        workaround="CREATE INDEX CONCURRENTLY on the referencing columns.",
        source="PostgreSQL documentation, Foreign Keys",
        setup=_SETUP + "\nCREATE INDEX orders_shop_id_idx ON orders (shop_id);",
        bad=_FK,
        good=_FK_SHOP,
    ),
    scope="tree",
)
def fk_no_index(tree: Tree) -> Iterator[tuple[File, Hit]]:
    """Judged at the end: the index may come before the key, or after it in a file of its own."""
    for file in tree.files:
        for judged in file.judged:
            word = judged.statement
            if not isinstance(word, w.AlterTable | w.CreateTable):
                continue
            state = tree.schema.get(word.name)
            for constraint in _all(word):
                if state is None or constraint.references is None:
                    continue
                there = any(
                    own.kind == "foreign" and own.columns == constraint.columns
                    for own in state.constraints.values()
                )
                if there and not _led(tree.schema, state, constraint.columns):
                    columns = ", ".join(constraint.columns)
                    name = joined(bare(state.key), joined_columns(constraint.columns), "idx")
                    keys = f"({quoted(constraint.columns)})"
                    build = f"{OFF}CREATE INDEX CONCURRENTLY {quote(name)} ON {spelled(state.key)} {keys};"
                    if state.kind == "p":
                        build = index_on_each(tree.schema, state.key, name, keys)
                    quiet = state.created_file == file.number or 0 <= state.rows < tree.options.small_rows
                    yield (
                        file,
                        Hit(
                            f"a DELETE on {tree.schema.resolve(constraint.references)} reads all of {state.key}: "
                            f"no index begins with ({columns})",
                            build,
                            state.key,
                            severity=INFO if quiet else "",
                            line=judged.line,
                        ),
                    )


def _led(schema: Schema, state: Relation, columns: tuple[str, ...]) -> bool:
    """Whether the first columns of some index are among ``columns``."""
    return any(
        not index.partial and bool(index.columns) and set(index.columns[: len(columns)]) <= set(columns)
        for index in schema.indexes_of(state.key)
    )


@rule(
    Hazard(
        id="con-fk-policy",
        name="Foreign key that does more than refuse",
        detects="ON DELETE CASCADE, SET NULL or SET DEFAULT; DEFERRABLE.",
        effect="One DELETE writes rows of other tables in the same transaction, as many as there are; a deferred check fails at COMMIT.",
        severity=INFO,
        workaround="NO ACTION, and delete the children in batches first.",
        source="PostgreSQL documentation, Foreign Keys",
        setup=_SETUP,
        bad=_FK.replace(" NOT VALID", " ON DELETE CASCADE NOT VALID"),
        good=_FK,
    ),
    on=(w.AddConstraint, w.AddColumn, w.CreateTable),
)
def fk_policy(subject: Subject) -> Iterator[Hit]:
    """Advice; SET NULL on a column that refuses NULL is a mistake."""
    for constraint in _constraints(subject):
        if constraint.references is None:
            continue
        other = subject.schema.resolve(constraint.references)
        columns = ", ".join(constraint.columns)
        if constraint.on_delete == "c":
            yield Hit(f"a DELETE on {other} deletes all its rows of {subject.key} in the same transaction")
        elif constraint.on_delete == "n":
            strict = [name for name in constraint.columns if _refuses_null(subject, name)]
            if strict:
                yield Hit(
                    f"ON DELETE SET NULL on {subject.key} ({columns}), and {strict[0]} is NOT NULL: every such "
                    f"DELETE on {other} fails",
                    severity=WARNING,
                )
            else:
                yield Hit(f"a DELETE on {other} writes all its rows of {subject.key} in the same transaction")
        elif constraint.on_delete == "d":
            yield Hit(f"a DELETE on {other} gives its rows of {subject.key} another parent")
        if constraint.deferrable:
            yield Hit(f"the key on {subject.key} ({columns}) may fail as late as COMMIT")


def _refuses_null(subject: Subject, name: str) -> bool:
    word = subject.statement
    if isinstance(subject.action, w.AddColumn):
        return subject.action.column.not_null
    if isinstance(word, w.CreateTable):
        keys = {n for c in word.constraints if c.kind in ("primary", "not_null") for n in c.columns}
        return name in keys or any(column.name == name and column.not_null for column in word.columns)
    column = subject.table.columns.get(name) if subject.table is not None else None
    return column is not None and column.not_null


_TIME = {
    "now", "current_timestamp", "current_date", "current_time", "localtime", "localtimestamp", "current_user",
    "statement_timestamp", "transaction_timestamp", "current_setting", "session_user",
}  # fmt: skip


@rule(
    Hazard(
        id="con-expression",
        name="Constraint that does not stay true",
        detects="A CHECK over a function whose answer changes (now(), random(), a volatile function), or NOT ENFORCED.",
        effect="Rows that were right when written are wrong later: a restore of a dump fails on them.",
        severity=WARNING,
        workaround="Check such rules where the row is written, in a trigger or in the application.",
        source="PostgreSQL documentation, Check Constraints",
        setup=_SETUP,
        bad="ALTER TABLE orders ADD CONSTRAINT not_in_future CHECK (placed_at <= now()) NOT VALID;",
        good="ALTER TABLE orders ADD CONSTRAINT after_start CHECK (placed_at >= '2020-01-01Z') NOT VALID;",
    ),
    on=(w.AddConstraint, w.AddColumn, w.CreateTable),
)
def expression(subject: Subject) -> Iterator[Hit]:
    """Only functions that are known to change; what nobody declared is left alone."""
    for constraint in _constraints(subject):
        name = constraint.name or "the constraint"
        if not constraint.enforced:
            yield Hit(f"{name} of {subject.key} is not enforced: it documents and keeps nothing out")
        if constraint.kind != "check" or constraint.expression is None:
            continue
        for function in constraint.expression.functions:
            schema, plain = parted(function)
            declared = subject.schema.functions.get(subject.schema.type_key(schema, plain), "")
            if function in VOLATILE or function in _TIME or declared in ("volatile", "stable"):
                yield Hit(f"{name} of {subject.key} asks {function}(), which answers otherwise another time")
                break
