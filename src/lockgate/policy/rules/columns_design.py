"""Hazards of family B: types and order of new columns - advice, not alarm."""

from collections.abc import Iterable, Iterator

from lockgate.policy.hazard import ERROR, INFO, WARNING, Hazard
from lockgate.policy.judging import Tree
from lockgate.policy.model.names import joined
from lockgate.policy.model.schema import Relation
from lockgate.policy.model.spelling import quote, quoted, spelled, type_sql
from lockgate.policy.registry import rule
from lockgate.policy.subject import File, Hit, Subject
from lockgate.postgres.tree import words as w

_SETUP = "CREATE TABLE orders (id bigint PRIMARY KEY, qty integer);"


def _columns(subject: Subject) -> tuple[w.Column, ...]:
    """The columns that a CREATE TABLE or an ADD COLUMN brings."""
    if isinstance(subject.action, w.AddColumn):
        return (subject.action.column,)
    return subject.statement.columns if isinstance(subject.statement, w.CreateTable) else ()


@rule(
    Hazard(
        id="col-add-json",
        name="Column of type json",
        detects="A new column of type json.",
        effect="json has no equality: SELECT DISTINCT, GROUP BY and UNION over the table fail from then on.",
        severity=INFO,
        workaround="jsonb.",
        source="PostgreSQL documentation, JSON Types",
        setup=_SETUP,
        bad="ALTER TABLE orders ADD COLUMN payload json;",
        good="ALTER TABLE orders ADD COLUMN payload jsonb;",
    ),
    on=(w.AddColumn, w.CreateTable),
)
def add_json(subject: Subject) -> Iterator[Hit]:
    """Queries exist already on a table that exists; on a new one it is advice."""
    for column in _columns(subject):
        if column.type.name == "json" and not column.type.schema:
            old = subject.action is not None and not subject.new
            yield Hit(
                f"SELECT DISTINCT and GROUP BY cannot compare {subject.key}.{column.name}",
                f"ALTER TABLE {subject.sql} ADD COLUMN {quote(column.name)} jsonb;"
                if old
                else f"{quote(column.name)} jsonb",
                severity=WARNING if old else INFO,
            )


@rule(
    Hazard(
        id="col-add-sti-type",
        name="Column that an object mapper reads as a class name",
        detects="ADD COLUMN type of a text type: Rails takes it for single-table inheritance.",
        effect="A Rails release that is still running looks for the class that each row names.",
        severity=INFO,
        workaround="Another name; or set inheritance_column, deploy, then add it.",
        source="Field practice with columns",
        setup=_SETUP,
        bad="ALTER TABLE orders ADD COLUMN type text;",
        good="ALTER TABLE orders ADD COLUMN kind text;",
    ),
    on=w.AddColumn,
)
def add_sti_type(subject: Subject) -> Iterator[Hit]:
    """Only the name is known, not the framework."""
    for column in _columns(subject):
        if column.name == "type" and column.type.name in ("text", "varchar") and not subject.new:
            yield Hit(
                f"where Rails reads {subject.key}, {column.name} names a class",
                f"ALTER TABLE {subject.sql} ADD COLUMN kind {type_sql(column.type)};",
            )


_MONEY = ("price", "amount", "total", "cost", "fee", "salary", "balance", "tax", "discount")
_WIDTHS = {"int2": "smallint", "int4": "integer"}


def _style(column: w.Column, key: bool) -> tuple[str, str]:
    """What speaks against the type, and a better one; empty when nothing does."""
    kind = column.type
    if kind.schema or kind.array:
        return "", ""
    if kind.serial:
        wide = "bigint"
        return "its sequence has rights and an owner of its own", f"{wide} GENERATED ALWAYS AS IDENTITY"
    if key and kind.name in _WIDTHS:
        return f"{_WIDTHS[kind.name]} runs out and cannot be widened without a rewrite", "bigint"
    if kind.name == "varchar" and kind.mods:
        return (
            "lowering its limit takes a check of all rows",
            f"text CHECK (length({column.name}) <= {kind.mods[0]})",
        )
    if kind.name == "bpchar" and kind.mods:
        return "char(n) is padded with blanks, and they do not count when compared", "text"
    if kind.name == "timestamp":
        return "a timestamp without a zone is no point in time", "timestamptz"
    if kind.name == "timetz":
        return "an offset without a date says nothing", "timestamptz"
    if kind.name == "money":
        return "money depends on the locale of the server", "numeric"
    if kind.name in ("float4", "float8") and any(word in column.name for word in _MONEY):
        return "floating point does not add up to the cent", "numeric"
    return "", ""


@rule(
    Hazard(
        id="col-type-style",
        name="Type that is regretted later",
        detects="integer keys, serial, varchar(n), char(n), timestamp, timetz, money, floating point for money.",
        effect="Nothing today; changing it later takes a rewrite of the table.",
        severity=INFO,
        workaround="bigint, identity, text, timestamptz, numeric.",
        source="PostgreSQL wiki, Don't Do This",
        setup=_SETUP,
        bad="CREATE TABLE customers (id serial PRIMARY KEY, name varchar(50), seen timestamp, balance float8);",
        good="CREATE TABLE customers (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text, seen timestamptz, balance numeric);",
    ),
    on=(w.AddColumn, w.CreateTable),
)
def type_style(subject: Subject) -> Iterator[Hit]:
    """One word for each column."""
    word = subject.statement
    table = word.constraints if isinstance(word, w.CreateTable) else ()
    keys = {name for constraint in table if constraint.kind == "primary" for name in constraint.columns}
    for column in _columns(subject):
        key = column.name in keys or any(constraint.kind == "primary" for constraint in column.constraints)
        why, better = _style(column, key)
        if better:
            yield Hit(f"{subject.key}.{column.name}: {why}", f"{column.name} {better}")


@rule(
    Hazard(
        id="col-policy",
        name="Column against the rules of the house",
        detects="A type that the settings forbid (at first those of the catalogues), or a new table without a column that they require.",
        effect="None on the server: the schema drifts from what everybody relies on.",
        severity=WARNING,
        workaround="The type that the house uses; the columns that every table has.",
        source="PostgreSQL documentation, Object Identifier Types",
        setup=_SETUP,
        bad="ALTER TABLE orders ADD COLUMN owner_name name;",
        good="ALTER TABLE orders ADD COLUMN owner_name text;",
    ),
    on=(w.AddColumn, w.CreateTable),
)
def policy(subject: Subject) -> Iterator[Hit]:
    """Partitions, copies and temporary tables take their columns from elsewhere."""
    forbidden, word = subject.options.forbidden_types, subject.statement
    columns = _columns(subject)
    for column in columns:
        if column.type.name in forbidden and not column.type.schema:
            yield Hit(
                f"{subject.key}.{column.name} has the type {column.type.name}, which the settings forbid"
            )
    if isinstance(word, w.CreateTable) and word.persistence != "t":
        names = {column.name for column in columns}
        missing = [name for name in subject.options.required_columns if name not in names]
        if missing and not (word.partition_of or word.inherits or word.like or word.of_type):
            yield Hit(f"{subject.key} lacks {', '.join(missing)}, which the settings require of every table")


# What a column takes, and to what multiple it is placed; varlena values may stand anywhere when short.
_SIZES = {
    "bool": (1, 1), "int2": (2, 2), "int4": (4, 4), "int8": (8, 8), "float4": (4, 4), "float8": (8, 8),
    "date": (4, 4), "timestamp": (8, 8), "timestamptz": (8, 8), "time": (8, 8), "timetz": (12, 8),
    "interval": (16, 8), "uuid": (16, 1), "oid": (4, 4), "char": (1, 1), "money": (8, 8), "point": (16, 8),
}  # fmt: skip
_WASTE = 8


def padding(types: Iterable[w.TypeName]) -> int:
    """Bytes that a row spends on aligning its columns, as far as their sizes are fixed."""
    offset = wasted = 0
    for kind in types:
        size, align = (0, 1) if kind.array or kind.schema else _SIZES.get(kind.name, (0, 1))
        if not size:
            # The width of the value decides where the next one stands.
            offset = 0
            continue
        gap = -offset % align
        wasted += gap
        offset += gap + size
    return wasted


def _alignment(column: w.Column) -> int:
    kind = column.type
    return 0 if kind.array or kind.schema else _SIZES.get(kind.name, (0, 0))[1]


@rule(
    Hazard(
        id="col-order-padding",
        name="Column order that wastes room",
        detects=f"CREATE TABLE whose column order costs {_WASTE} bytes of padding a row, or more.",
        effect="Bigger rows, for ever: columns cannot be moved.",
        severity=INFO,
        workaround="Fixed-width columns first, the widest alignment before the narrower.",
        source="PostgreSQL documentation, Database Page Layout",
        setup=_SETUP,
        bad="CREATE TABLE items (open boolean, id bigint, big boolean, order_id bigint);",
        good="CREATE TABLE items (id bigint, order_id bigint, open boolean, big boolean);",
    ),
    on=w.CreateTable,
)
def order_padding(subject: Subject) -> Iterator[Hit]:
    """The order as written, against the order by alignment."""
    word = subject.statement
    assert isinstance(word, w.CreateTable)
    if len(word.columns) < 3:
        return
    best = sorted(word.columns, key=_alignment, reverse=True)
    saved = padding(c.type for c in word.columns) - padding(c.type for c in best)
    if saved >= _WASTE:
        yield Hit(
            f"each row of {subject.key} spends {saved} bytes on padding that another order saves",
            f"-- the columns of {subject.sql} in this order:\n-- {quoted(column.name for column in best)}",
        )


_LARGEST = {"int2": (1 << 15) - 1, "int4": (1 << 31) - 1}


@rule(
    Hazard(
        id="col-int-key-exhaustion",
        name="Integer key that runs out",
        detects="A smallint or integer key on a table that the snapshot shows to be half full.",
        effect="When the last number is used, every insert fails.",
        severity=WARNING,
        workaround="A bigint column beside it, kept in step and filled in batches, then a swap.",
        source="PostgreSQL documentation, Numeric Types",
        setup="CREATE TABLE orders (id integer PRIMARY KEY, qty integer);",
        bad="ALTER TABLE orders ADD COLUMN note text;",
        good="ALTER TABLE orders ADD COLUMN id_new bigint;",
        sizes={"orders": (1_300_000_000, 90 << 30)},
    ),
    scope="tree",
)
def int_key_exhaustion(tree: Tree) -> Iterator[tuple[File, Hit]]:
    """Rows are a lower bound of the numbers used. A bigint column named after the key shows that work has begun."""
    if not tree.files:
        return
    for state in tree.schema.relations.values():
        if state.kind not in "rp" or state.rows < _LARGEST["int2"] // 2:
            continue
        for name in _numbered(state):
            column = state.columns[name]
            largest = _LARGEST.get(column.type.name, 0)
            begun = any(
                other.type.name == "int8" and other.name.startswith(f"{name}_")
                for other in state.columns.values()
            )
            if largest and not begun and state.rows >= largest // 2:
                share = state.rows / largest
                yield (
                    tree.files[-1],
                    Hit(
                        f"{state.key}.{name} ({_WIDTHS[column.type.name]}) has used at least {share:.0%} of its numbers",
                        f"ALTER TABLE {spelled(state.key)} ADD COLUMN {quote(joined(name, '', 'new'))} bigint;\n-- then a move, and a swap",
                        state.key,
                        severity=ERROR if share >= 0.9 else "",
                        line=1,
                    ),
                )


def _numbered(state: Relation) -> set[str]:
    """Keys of one column, and columns that number the rows by themselves."""
    keys = {
        constraint.columns[0]
        for constraint in state.constraints.values()
        if constraint.kind == "primary" and len(constraint.columns) == 1
    }
    made = {column.name for column in state.columns.values() if column.identity or column.sequence}
    return (keys | made) & state.columns.keys()
