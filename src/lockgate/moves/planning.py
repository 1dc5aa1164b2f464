"""What a move would do, and everything that could stop it later: looked for before anything is changed."""

import msgspec

from lockgate.errors import ConfigError, LockgateError
from lockgate.moves import in_place
from lockgate.moves.declaration import Declaration
from lockgate.moves.functions import functions_of, tried
from lockgate.moves.layout import (
    Layout,
    Problem,
    Surroundings,
    budget_problems,
    default_problems,
    index_problems,
    key_of,
    layout,
    owned_problems,
    surroundings_problems,
)
from lockgate.moves.lineage import holding_keys, lacking_keys, lineage_notes, lineage_problems
from lockgate.moves.opened import Opened, surroundings
from lockgate.moves.planned import PlannedInServer
from lockgate.moves.probing import Expression, of_mapping, of_sql, probe, without
from lockgate.moves.references import references, unanswerable
from lockgate.moves.row_security import role_problems, security_problems
from lockgate.moves.stages import OVER
from lockgate.moves.strictness import stricter
from lockgate.moves.types_there import type_problems
from lockgate.postgres.moves import capture, ledger, log, switch
from lockgate.postgres.moves.dangling import foreign_keys
from lockgate.postgres.moves.in_place import sync_of
from lockgate.postgres.moves.mapping import Mapping
from lockgate.postgres.queries import query
from lockgate.postgres.relation import Relation, estimated, find, server_facts
from lockgate.postgres.sqlstate import ServerError
from lockgate.record.words import counted


def plan(move: Opened) -> PlannedInServer:
    """Look at both sides and tell. Changes nothing."""
    declared = move.declared
    source = estimated(move.home, find(move.home, declared.source.table))
    target, problems = find_target(move, source)
    if declared.in_place:
        return _plan_in_place(move, source, target, problems)
    made: Layout | None = None
    notes: list[str] = []
    move.pin()
    if target is not None:
        tables = fresh = switch.fresh(move.home, source.oid), switch.fresh(move.far, target.oid)
        made, found = _layout(declared, *fresh)
        problems += found + default_problems(*fresh)
        around = surroundings(move.home, source.oid, move.name), surroundings(move.far, target.oid, move.name)
        problems += surroundings_problems(declared, *around, (source, target))
        problems += security_problems(around, (source, target))
        if not _one_table(move, *fresh):  # what it holds is the source's
            problems += _rows_that_are_there(move, *fresh)
        unequal, judged = index_problems(declared, *around, fresh)
        problems += unequal
        notes += [p.what for p in judged]
        problems += lineage_problems(declared, around[0], source, target, create=False)
        enforced = [k for k in foreign_keys(move.far, target.oid) if k.oid != target.oid]
        given = {(k.columns, k.schema, k.table) for k in enforced}
        held = [k for k in foreign_keys(move.home, source.oid) if k.oid != source.oid]
        lacking = [k.name for k in held if (k.columns, k.schema, k.table) not in given]
        holding, told = holding_keys(held, enforced, source.name, target.name, across=declared.two_databases)
        problems, notes = problems + holding, notes + told
        notes += lacking_keys(lacking, source.name, declared.name, created=capture.owned(move.far, target.oid))  # fmt: skip
        notes += lineage_notes(around[0], source, target, around[1])
    else:
        # Its types are qualified only now.
        source = msgspec.structs.replace(switch.fresh(move.home, source.oid), rows=source.rows)
        assumed = msgspec.structs.replace(source, oid=0, name=bare(declared.target.table))
        tables = source, assumed
        made, found = _layout(declared, source, assumed)
        problems += found
        around_source = surroundings(move.home, source.oid, move.name)
        problems += surroundings_problems(declared, around_source, Surroundings(), (source, assumed))
        problems += lineage_problems(declared, around_source, source, assumed, create=True)
        roles = _roles(move) if declared.two_databases else None
        problems += role_problems(around_source, source, roles)
        notes += lineage_notes(around_source, source, assumed, None, roles)
        notes += lacking_keys(around_source.references, source.name, declared.name, created=True)
        held = [k for k in foreign_keys(move.home, source.oid) if k.oid != source.oid]
        holding, told = holding_keys(held, (), source.name, "", across=declared.two_databases)
        problems, notes = problems + holding, notes + told
        if around_source.triggers:
            notes.append(
                f"triggers of {source.name} ({', '.join(around_source.triggers)}) are not copied to a created table; create them in the release that switches"
            )
    if declared.two_databases:
        here, there = server_facts(move.home), server_facts(move.far)
        wanted = {c.name: c.type for c in tables[1].columns}
        carried = [c for c in tables[0].columns if c.name not in declared.columns and (not target or wanted.get(c.name) == c.type)]  # fmt: skip
        problems += type_problems(move.home, move.far, carried, source.name)
        if here.same_database(there):
            problems.append(
                Problem(
                    f"{declared.target.url_env} leads to the source's own database",
                    "Leave url_env out to move within one database.",
                )
            )
        if here.in_recovery or there.in_recovery:
            problems.append(Problem("a side is a standby", "Point both URLs at primaries."))
        if here.encoding != there.encoding:
            problems.append(
                Problem(
                    f"the encodings differ ({here.encoding}, {there.encoding})",
                    "Create the target database with the source's encoding; accept = ['encoding'] puts what it cannot hold into quarantine.",
                    "encoding",
                )
            )
        if here.locale != there.locale:
            notes.append(
                f"the databases sort differently ({here.locale}, {there.locale}): columns without a collation of their own change their order at the switch"
            )
        if here.probe != there.probe:
            problems.append(
                Problem(
                    "the servers hash differently (architecture or version)",
                    "Digests of batches could not be compared; move by dump and restore.",
                )
            )
    if declared.switch == "rename":
        old = switch.retired_name(source.name, move.name, "old")
        if move.home.value(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_class WHERE relname = $1 AND relnamespace = $2::regnamespace)",
            old,
            f'"{source.schema}"',
        ):
            problems.append(
                Problem(
                    f"{source.schema}.{old}, the name that the old table gets, is taken",
                    f"Drop the table of the earlier move by a migration: DROP TABLE {old}",
                )
            )
    if declared.capture == "log":
        why_not = log.unfit(move.home, source, key_of(declared, source))
        notes.append(f"the log cannot be read ({why_not}): triggers capture instead" if why_not else "capture reads the server's log: writers pay nothing, and the slot holds the log back until it is read")  # fmt: skip
    if declared.columns and declared.one_way:
        notes.append("one-way: after the cutover there is no rollback")
    estimate = max(source.rows, 0)
    problems += _budget(move)
    # Rows that are hidden from this role are a problem already, and the server lets nobody try them.
    if made is not None and not _hidden(move, *tables):
        calling = tried(move.home, declared.columns, {} if declared.one_way else declared.reverse, *tables)
        problems += [Problem(what, fix) for what, fix in calling.problems]
        notes += calling.notes
        back, untried = without(of_mapping(made.reverse), declared) if made.reverse is not None else ([], [])
        notes += untried
        exists = (move.far, target.sql) if target is not None else None
        probed = probe(move.home, made.forward.origin, of_sql(made.forward, declared.columns), back, exists)
        problems += probed.problems
        notes += probed.notes
        if target is not None and not probed.problems:
            demanded = stricter(move.home, move.far, declared, made, *fresh)
            problems += demanded.problems
            notes += demanded.notes
    problems += _replica_problems(move, notes)
    pointed = references(
        move,
        source,
        target
        if target is not None
        else msgspec.structs.replace(source, oid=0, name=bare(declared.target.table)),
    )
    problems += pointed.problems
    if made is not None and target is not None:
        problems += unanswerable(move, pointed, made.forward, target)
    notes += [*pointed.notes, *(f"checked after each batch and before the end: {r}" for r in pointed.checked)]
    problems, accepted = _accepted(declared, problems)
    notes += accepted
    return PlannedInServer(
        name=move.name, source=f"{source.schema}.{source.name}", target=f"{target.schema}.{target.name}" if target else declared.target.table, target_exists=target is not None,
        key=tuple(k.origin for k in made.forward.key) if made else (), columns=_told(declared, made.forward) if made else {},
        rows=source.rows, bytes=source.bytes, batches=-(-estimate // declared.limits.batch_rows), problems=[p._asdict() for p in problems], notes=notes,
        steps=_steps(move, source, target),
    )  # fmt: skip


def _hidden(move: Opened, source: Relation, target: Relation) -> bool:
    sides = [(move.home, source.oid)] + ([(move.far, target.oid)] if target.oid else [])
    return any(link.value("SELECT pg_catalog.row_security_active($1::oid)", oid) for link, oid in sides)


def _one_table(move: Opened, source: Relation, target: Relation) -> bool:
    """True when both sides are one table, also where ``url_env`` leads back to the source's database."""
    here = source.oid == target.oid
    return here and (not move.declared.two_databases or server_facts(move.home).same_database(server_facts(move.far)))  # fmt: skip


def _rows_that_are_there(move: Opened, source: Relation, target: Relation) -> list[Problem]:
    """What is in the target before the move begins: the copy passes such rows by, so the proof would find them, hours later."""
    before = ledger.read_if_there(move.home, move.name)
    if before is not None and before.stage not in OVER:
        return []
    try:
        if not move.far.value(f"SELECT EXISTS (SELECT FROM {target.sql})"):
            return []
    except ServerError as error:
        if error.sqlstate == "42501":  # a problem of its own
            return []
        raise
    return [
        Problem(
            f"{target.schema}.{target.name} holds rows already: the copy overwrites none, and rows that are not what {source.name} gives pause the move at its proof",
            f"TRUNCATE {target.sql}; accept = ['rows'] begins all the same, and lockgate move verify {move.name} --repair mends then what differs.",
            "rows",
        )
    ]


def _layout(declared: Declaration, source: Relation, target: Relation) -> tuple[Layout | None, list[Problem]]:
    """As ``layout``; a function that cannot be loaded is a problem like others."""
    try:
        return layout(declared, source, target)
    except LockgateError as error:
        return None, [Problem(error.message, error.next)]


def _told(declared: Declaration, mapping: Mapping) -> dict[str, str]:
    """What gives each column, for people."""
    by = {name: f"{t.python} {t.version}" for name, t in functions_of(declared.columns).items()}
    return {v.destination: by.get(v.destination, v.expression) for v in mapping.values}


def _roles(move: Opened) -> set[str]:
    return {row[0] for row in move.far.rows("SELECT rolname::text FROM pg_catalog.pg_roles")}


def _replica_problems(move: Opened, notes: list[str]) -> list[Problem]:
    try:
        replica = move.replica
    except LockgateError as error:
        return [Problem(error.message, error.next)]
    if replica is not None:
        what = "rows are copied and compared" if move.declared.two_databases else "both sides are compared (rows are copied within the primary)"  # fmt: skip
        notes.append(f"{what} from {replica.target}, once it is past the point that is needed: up to {move.declared.limits.replica_wait_seconds} s are waited for that")  # fmt: skip
    return []


def _accepted(declared: Declaration, problems: list[Problem]) -> tuple[list[Problem], list[str]]:
    """(what stands in the way, what is taken knowingly)."""
    taken = [p for p in problems if p.kind in declared.accept and p.kind]
    return [p for p in problems if p not in taken], [f"accepted ({p.kind}): {p.what}" for p in taken]


def _budget(move: Opened) -> list[Problem]:
    workers = move.declared.limits.workers
    wanted = workers + 3 if len(move.links) == 2 else workers + 4
    servers = [(str(link.target), int(link.value(query("moves/free"))), wanted) for link in move.links]
    return budget_problems(workers, servers)


def _plan_in_place(
    move: Opened, source: Relation, target: Relation | None, problems: list[Problem]
) -> PlannedInServer:
    declared = move.declared
    move.pin()
    source = msgspec.structs.replace(switch.fresh(move.home, source.oid), rows=source.rows)
    made = None
    notes = []
    if target is None:
        problems = [Problem(f"there is no table {declared.target.table}", in_place.EXPAND)]
    else:
        target = switch.fresh(move.home, target.oid)
        made, found = in_place.sides(declared, source, target)
        around = surroundings(move.home, source.oid, move.name)
        problems += found + in_place.sync_problems(
            declared,
            sync_of(move.home, [source.oid, target.oid], declared.sync.triggers, declared.sync.checks),
        )
        problems += owned_problems((("source", around, source),))
        problems += _budget(move)
        if made is not None:
            move.unpin()
            back = [Expression(b.column, b.expression, b.type) for b in made.back]
            forward = of_mapping(made.mapping)
            probed = probe(move.home, made.mapping.origin, forward, back)
            problems, notes = problems + probed.problems, probed.notes
        problems, accepted = _accepted(declared, problems)
        notes += accepted
        others = [t for t in around.triggers if t not in declared.sync.triggers]
        if others:
            notes.append(
                f"triggers of {source.name} ({', '.join(others)}) fire for every row that is filled in"
            )
    return PlannedInServer(
        name=move.name, source=f"{source.schema}.{source.name}", target=f"{target.schema}.{target.name}" if target else declared.target.table, target_exists=target is not None,
        key=tuple(k.origin for k in made.mapping.key) if made else (), columns={name: str(by) for name, by in declared.columns.items()}, rows=source.rows, bytes=source.bytes,
        batches=-(-max(source.rows, 0) // declared.limits.batch_rows), problems=[p._asdict() for p in problems], notes=notes, steps=in_place.steps(declared, source),
    )  # fmt: skip


def _steps(move: Opened, source: Relation, target: Relation | None) -> list[str]:
    d = move.declared
    steps = (
        []
        if target
        else [
            f"create {d.target.table} like {source.name}: columns, collations, defaults, key, checks, indexes (under names of their own), privileges, row level security"
        ]
    )
    steps += [
        f"register capture on {source.name}: triggers that write changed keys to an outbox (SHARE ROW EXCLUSIVE for a moment, attempts of {d.limits.lock_attempt_ms} ms)",
        f"copy {counted(max(source.rows, 0), 'row')} in batches of {d.limits.batch_rows} by {d.limits.workers} workers, each with count, digest and ledger row",
        "relay the outbox, compare both sides exactly",
        f"switch: lock both tables (attempts of {d.limits.lock_attempt_ms} ms), drain, compare the changed keys, rename, advance sequences"
        if d.switch == "rename"
        else "switch: barrier on the source in the writers' own transactions, drain, compare the changed keys, advance sequences, open the target",
    ]
    steps.append(
        "no way back: one_way = true"
        if d.one_way
        else f"keep the old side current for {d.rollback_hours:g} h: lockgate move rollback {move.name}"
    )
    return steps


def bare(name: str) -> str:
    """The last part of a table's name as it is stored: unquoted, or folded."""
    last = name.rpartition(".")[2]
    return last[1:-1].replace('""', '"') if last.startswith('"') else last.lower()


def find_target(move: Opened, source: Relation) -> tuple[Relation | None, list[Problem]]:
    """The target where it is there, and what stands in the way of finding or making it."""
    declared = move.declared
    try:
        return find(move.far, declared.target.table), []
    except ConfigError:
        if declared.target.create:
            return None, _create_problems(move)
        return None, [
            Problem(
                f"there is no table {declared.target.table}",
                "Create it by a migration, or say create = true in [target].",
            )
        ]


def _create_problems(move: Opened) -> list[Problem]:
    """Whether this role may make the target where it is to be; before the search path is taken away."""
    given = move.declared.target.table.rpartition(".")[0]
    schema = (given[1:-1] if given.startswith('"') else given.lower()) or move.far.value("SELECT current_schema()")  # fmt: skip
    may = move.far.value(
        "SELECT pg_catalog.has_schema_privilege(n.oid, 'CREATE') FROM pg_catalog.pg_namespace n WHERE n.nspname = $1",
        schema or "",
    )
    if may:
        return []
    words = "there is no schema" if may is None else "this role may not make tables in the schema"
    fix = (
        "CREATE SCHEMA by a migration first."
        if may is None
        else f"GRANT CREATE ON SCHEMA {schema} TO this role."
    )
    return [Problem(f"{words} {schema} for {move.declared.target.table}", fix)]
