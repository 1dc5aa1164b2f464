"""Building on a partitioned table without holding it up: on each partition by itself, then on the parent."""

from lockgate.policy.model.names import bare, clipped, made_up
from lockgate.policy.model.schema import Relation, Schema
from lockgate.policy.model.spelling import beside, quote, quoted, spelled
from lockgate.postgres.tree import words as w

OFF = "-- lockgate: transaction=off\n"
NEXT = "-- next file:\n"


def index_on_each(schema: Schema, key: str, name: str, tail: str, *, unique: bool = False) -> str:
    """The files that build the index ``name`` on the partitioned table ``key``; ``tail`` stands behind the table's name.

    PostgreSQL has no CREATE INDEX CONCURRENTLY on a partitioned table, and none inside a transaction.
    """
    word = "CREATE UNIQUE INDEX" if unique else "CREATE INDEX"
    own = {key: name}
    parents = [key]
    leaves: list[str] = []
    for child in schema.descendants(key):
        state = schema.relations.get(child)
        if state is not None and state.kind == "f":
            continue  # a foreign table has no indexes
        plain = f"{bare(child)}_{name}"
        fits = clipped(plain) == plain
        own[child] = plain if fits else made_up(bare(child), name, "idx", own.values())
        (parents if state is not None and state.kind == "p" else leaves).append(child)
    text = "\n".join(f"{word} {quote(own[at])} ON ONLY {spelled(at)} {tail};" for at in parents)
    for child in leaves:
        text += f"\n{NEXT}{OFF}{word} CONCURRENTLY {quote(own[child])} ON {spelled(child)} {tail};"
    attached = [
        f"ALTER INDEX {beside(above, own[above])} ATTACH PARTITION {beside(child, own[child])};"
        for child in own
        for above in _above(schema, child)
        if above in own and child != key
    ]
    return text + f"\n{NEXT}" * bool(attached) + "\n".join(attached)


def _above(schema: Schema, child: str) -> list[str]:
    state = schema.relations.get(child)
    return state.parents[:1] if state is not None else []


_REACTIONS = {"r": "RESTRICT", "c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}


def foreign_key(constraint: w.Constraint, other: str) -> str:
    """A foreign key to ``other`` as SQL spells it, behind its name."""
    columns = f" ({quoted(constraint.ref_columns)})" if constraint.ref_columns else ""
    text = f"FOREIGN KEY ({quoted(constraint.columns)}) REFERENCES {spelled(other)}{columns}"
    for event, reaction in (("DELETE", constraint.on_delete), ("UPDATE", constraint.on_update)):
        if reaction in _REACTIONS:
            text += f" ON {event} {_REACTIONS[reaction]}"
    if constraint.deferrable or constraint.deferred:
        text += " DEFERRABLE INITIALLY DEFERRED" if constraint.deferred else " DEFERRABLE"
    return text


def key_on_each(schema: Schema, state: Relation, name: str, constraint: w.Constraint, other: str) -> str:
    """The files that add a foreign key to a partitioned table before PostgreSQL 18, which cannot add it as NOT VALID there.

    The parent takes over the keys of its partitions when they are valid, and reads nothing.
    """
    key = f"{quote(name)} {foreign_key(constraint, other)}"
    leaves = [
        at
        for at in schema.descendants(state.key)
        if (below := schema.relations.get(at)) and below.kind == "r"
    ]
    added = [f"ALTER TABLE {spelled(at)} ADD CONSTRAINT {key} NOT VALID;" for at in leaves]
    proved = [f"ALTER TABLE {spelled(at)} VALIDATE CONSTRAINT {quote(name)};" for at in leaves]
    last = f"ALTER TABLE {spelled(state.key)} ADD CONSTRAINT {key};"
    steps = [*added, *proved, last] if leaves else [last]
    return "-- on each partition, one file a statement; the parent then takes them over:\n" + "\n".join(steps)
