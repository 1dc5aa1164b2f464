"""Hazards of family D that change a live table: cascades, moves, replication, row security, ownership."""

from collections.abc import Iterator

from lockgate.policy.hazard import INFO, WARNING, Hazard
from lockgate.policy.judging import Tree
from lockgate.policy.model.drops import Closure, closure_of
from lockgate.policy.model.names import bare, joined
from lockgate.policy.model.replay_alter import SELF
from lockgate.policy.model.schema import Schema
from lockgate.policy.model.spelling import in_words, qualified, quote, spelled
from lockgate.policy.registry import rule
from lockgate.policy.subject import Hit, Subject
from lockgate.postgres.tree import words as w

_SETUP = "CREATE TABLE orders (id bigint PRIMARY KEY, tenant text);"
_AX = "AccessExclusiveLock"
_RELATIONS = {"table": "TABLE", "view": "VIEW", "matview": "MATERIALIZED VIEW", "sequence": "SEQUENCE"}


@rule(
    Hazard(
        id="tab-drop-cascade",
        name="Drop that takes others with it",
        detects="DROP … CASCADE of a table, view, sequence, type, domain, function, collation or schema that others depend on, or DROP CONSTRAINT … CASCADE of a key that foreign keys point to.",
        effect="Everything that depends on it goes too or loses a column or key, unnamed and locked.",
        lock=f"{_AX} on all of them",
        workaround="Drop what depends on it by name first, then drop without CASCADE.",
        destructive=True,
        source="observed",
        setup=f"{_SETUP}\nCREATE VIEW order_list AS TABLE orders;",
        bad="-- lockgate: phase=contract\nDROP TABLE orders CASCADE;",
        good="-- lockgate: phase=contract\nDROP VIEW order_list;\nDROP TABLE orders;",
    ),
    on=(w.Drop, w.DropConstraint),
)
def drop_cascade(subject: Subject) -> Iterator[Hit]:
    """What CASCADE takes beyond what is named."""
    word = subject.statement
    if isinstance(subject.action, w.DropConstraint):
        yield from _keys_taken(subject, subject.action)
        return
    assert isinstance(word, w.Drop)
    if not word.cascade or word.kind in ("index", "trigger", "rule", "policy", "extension", "owned"):
        return
    schema = subject.schema
    every = closure_of(schema, word.kind, word.names, word.subs, cascade=True)
    alone = closure_of(schema, word.kind, word.names, word.subs, cascade=False)
    gone = [key for key in every.gone if key not in alone.gone and key not in schema.indexes]
    gone = [key for key in gone if not subject.is_new(key)]
    lost = [f"{table}.{column}" for table, column in every.columns if table not in every.gone]
    lost += [f"constraint {name} of {table}" for table, name in every.constraints if table not in every.gone]
    lost += [f"{label} of {table}" for table, label in every.guards if table not in every.gone]
    lost += [f"trigger {name} of {table}" for table, name in every.triggers if table not in every.gone]
    lost += [f"a check of the domain {key}" for key in every.domains if key not in every.types]
    lost += [
        f"index {key}" for key in every.gone if key not in alone.gone and _stands_alone(schema, key, every)
    ]
    for name in word.names if word.kind == "schema" and not gone else ():
        if schema.schemas.get(name.name, -1) != subject.file.number:
            yield Hit(
                f"CASCADE also takes whatever lies in {name.name}, which neither the files nor the snapshot tell",
                f"DROP SCHEMA {quote(name.name)};",
            )
    if gone or lost:
        views = [key for key in gone if key in schema.relations and schema.relations[key].kind in "vm"]
        kinds = {"v": "VIEW", "m": "MATERIALIZED VIEW"}
        drops = [f"DROP {kinds[schema.relations[key].kind]} {spelled(key)};" for key in reversed(views)]
        names = ", ".join(
            in_words(name, schema.resolve(name)) if word.kind in _RELATIONS else qualified(name)
            for name in word.names
        )
        yield Hit(
            f"CASCADE also takes {', '.join(dict.fromkeys([*gone, *lost]))}",
            "\n".join(
                [*drops, f"DROP {_RELATIONS.get(word.kind, word.kind.upper().replace('_', ' '))} {names};"]
            ),
        )


def _stands_alone(schema: Schema, key: str, every: Closure) -> bool:
    """Whether an index goes by itself: its table stays, and so do all its columns."""
    index = schema.indexes.get(key)
    if index is None or index.constraint or index.parent or index.table in every.gone:
        return False
    return not any((index.table, column) in every.columns for column in index.reads)


def _keys_taken(subject: Subject, action: w.DropConstraint) -> Iterator[Hit]:
    """The foreign keys of other tables that go with a key."""
    if not action.cascade or subject.new:
        return
    closure = Closure(subject.schema)
    closure.constraint(subject.key, action.name)
    family = {subject.key, *subject.schema.descendants(subject.key)}
    lost = [(table, name) for table, name in closure.constraints if table not in family]
    if lost:
        drops = [
            f"ALTER TABLE {spelled(table)} DROP CONSTRAINT {quote(name)};"
            for table, name in dict.fromkeys(lost)
        ]
        told = ", ".join(f"constraint {name} of {table}" for table, name in dict.fromkeys(lost))
        drops.append(f"ALTER TABLE {subject.sql} DROP CONSTRAINT {quote(action.name)};")
        yield Hit(f"CASCADE also takes {told}", "\n".join(drops))


@rule(
    Hazard(
        id="tab-move",
        name="Table moved to other storage",
        detects="SET TABLESPACE or SET ACCESS METHOD on a table, index or materialized view of an earlier file, or ALL IN TABLESPACE.",
        effect="All of it is written again while nobody can use it.",
        lock=_AX,
        by_size=True,
        workaround="pg_repack --tablespace, or a new table and a move of the rows.",
        source="PostgreSQL documentation, ALTER TABLE; observed",
        setup="DROP ACCESS METHOD IF EXISTS other_heap CASCADE;\n"
        "CREATE ACCESS METHOD other_heap TYPE TABLE HANDLER heap_tableam_handler;\n" + _SETUP,
        bad="ALTER TABLE orders SET ACCESS METHOD other_heap;",
        good="ALTER TABLE orders SET ACCESS METHOD heap;",
    ),
    on=(w.SetTablespace, w.SetAccessMethod, w.MoveAll),
)
def move(subject: Subject) -> Iterator[Hit]:
    """Storage that is replaced."""
    action = subject.action
    written = subject.facts.rewrites
    if isinstance(subject.statement, w.MoveAll):
        found = ", ".join(written) or "the files and the snapshot do not tell which relations"
        yield Hit(f"{_AX} on all that lies there until it is written again: {found}")
        return
    if not written or subject.is_new(subject.key):
        return
    space = action.tablespace if isinstance(action, w.SetTablespace) else ""
    yield Hit(
        f"{_AX} until all is written again: {', '.join(written)}",
        f"pg_repack --table={subject.key} --tablespace={space}" if space and subject.table else "",
        subject.key,
    )


@rule(
    Hazard(
        id="tab-replica-identity",
        name="Replica identity without a key",
        detects="REPLICA IDENTITY FULL or NOTHING on a table of an earlier file.",
        effect="FULL writes every old row to the log and makes subscribers search for it; with NOTHING a published UPDATE or DELETE fails.",
        lock=_AX,
        severity=WARNING,
        workaround="REPLICA IDENTITY USING INDEX of a unique index on NOT NULL columns, or a primary key.",
        source="PostgreSQL documentation, ALTER TABLE, REPLICA IDENTITY; observed",
        setup=_SETUP,
        bad="ALTER TABLE orders REPLICA IDENTITY FULL;",
        good="ALTER TABLE orders REPLICA IDENTITY USING INDEX orders_pkey;",
    ),
    on=w.ReplicaIdentity,
)
def replica_identity(subject: Subject) -> Iterator[Hit]:
    """The two forms without a key."""
    action = subject.action
    assert isinstance(action, w.ReplicaIdentity)
    if subject.new or action.kind not in "fn":
        return
    table = subject.table
    primary = [c.index for c in table.constraints.values() if c.kind == "primary"] if table else []
    fix = (
        f"ALTER TABLE {subject.sql} REPLICA IDENTITY USING INDEX {quote(bare(primary[0]))};"
        if primary
        else ""
    )
    if action.kind == "f":
        yield Hit(f"each UPDATE and DELETE of {subject.key} logs the whole old row", fix)
    else:
        yield Hit(f"UPDATE and DELETE of {subject.key} fail as soon as it is published", fix)


@rule(
    Hazard(
        id="tab-rls-toggle",
        name="Row security switched",
        detects="ENABLE or FORCE ROW LEVEL SECURITY on a table without policies, DISABLE, NO FORCE, or a policy on a table where it is off.",
        effect="Without a policy nobody but the owner sees a row (with FORCE not even the owner); once it is off everybody sees all.",
        lock=_AX,
        severity=WARNING,
        workaround="CREATE POLICY first, then ENABLE ROW LEVEL SECURITY.",
        source="PostgreSQL documentation, Row Security Policies; observed",
        setup=_SETUP,
        bad="ALTER TABLE orders ENABLE ROW LEVEL SECURITY;",
        good="CREATE POLICY own_rows ON orders USING (tenant = current_user);\nALTER TABLE orders ENABLE ROW LEVEL SECURITY;",
    ),
    scope="file",
)
def row_security(tree: Tree) -> Iterator[Hit]:
    """Judged by what stands at the end of the file: policies may follow the switch."""
    for file in tree.files:
        for judged in file.judged:
            word = judged.statement
            if isinstance(word, w.Policy):
                state = tree.schema.get(word.table)
                if word.create and state is not None and state.kind in "rp" and not state.row_security:
                    yield Hit(
                        f"policy {word.name} does nothing while row security of {state.key} is off",
                        f"ALTER TABLE {spelled(state.key)} ENABLE ROW LEVEL SECURITY;",
                        severity=INFO,
                        line=judged.line,
                    )
            if not isinstance(word, w.AlterTable):
                continue
            state = tree.schema.get(word.name)
            if state is None or state.created_file == file.number:
                continue
            for action in word.actions:
                if isinstance(action, w.RowSecurity):
                    yield from _switched(state.key, action.what, bool(state.policies), judged.line)


def _switched(key: str, what: str, policies: bool, line: int) -> Iterator[Hit]:
    if what == "disable":
        yield Hit(f"every role with a right on {key} sees all of its rows", line=line)
    elif what == "no force":
        yield Hit(f"the owner of {key} sees all of its rows, whatever its policies say", line=line)
    elif what in ("enable", "force") and not policies:
        who = "everyone but its owner" if what == "enable" else "everyone, its owner included,"
        yield Hit(
            f"{who} sees no row of {key}: it has no policy",
            f"CREATE POLICY {quote(joined(bare(key), '', 'rows'))} ON {spelled(key)} USING (…);\n"
            f"ALTER TABLE {spelled(key)} {what.upper()} ROW LEVEL SECURITY;",
            line=line,
        )


@rule(
    Hazard(
        id="tab-inherit-owner",
        name="Parent or owner changed",
        detects="INHERIT, NO INHERIT or OWNER TO on a table of an earlier file, and REASSIGN OWNED.",
        effect="Queries on the parent gain or lose rows at once; the old owner can no longer change the table.",
        lock=_AX,
        severity=WARNING,
        workaround="A file of its own, so that the lock is held for a moment only; grant the old owner what it still needs.",
        source="observed",
        setup=_SETUP + "\nCREATE TABLE archive (id bigint, tenant text);",
        bad="ALTER TABLE orders INHERIT archive;",
        good="GRANT SELECT ON orders TO CURRENT_USER;",
    ),
    on=(w.Inherit, w.OwnerTo, w.ReassignOwned),
)
def inherit_owner(subject: Subject) -> Iterator[Hit]:
    """Tables only: views and sequences belong to whoever uses them here."""
    action, state = subject.action, subject.table
    if isinstance(subject.statement, w.ReassignOwned):
        reassigned = subject.statement
        yield Hit(
            f"{_AX} on all that {', '.join(reassigned.roles)} owns ({', '.join(subject.facts.locks) or 'not told by the files'}), "
            f"which belongs to {reassigned.new} from now on"
        )
        return
    if subject.new or subject.is_new(subject.key) or (state is not None and state.kind not in "rpf"):
        return
    if isinstance(action, w.Inherit):
        parent = subject.schema.resolve(action.parent)
        change = "gain" if action.add else "lose"
        yield Hit(f"queries on {parent} {change} the rows of {subject.key} at once")
    elif isinstance(action, w.OwnerTo):
        before = state.owner if state is not None else ""
        role = "" if action.role in (*SELF, subject.options.server.role) else action.role
        if role != before:
            runner = "the role that runs the migrations"
            yield Hit(
                f"{subject.key} belongs to {role or runner} from now on: {before or runner} can no longer change it"
            )
