"""Plan and start: everything that could stop a move later is looked for first; then capture is registered, before any row is copied."""

import msgspec

from lockgate.errors import ConfigError, LockgateError, Refused
from lockgate.moves import in_place
from lockgate.moves.declaration import Declaration
from lockgate.moves.layout import (
    Layout,
    Problem,
    Surroundings,
    budget_problems,
    index_problems,
    key_of,
    layout,
    owned_problems,
    surroundings_problems,
)
from lockgate.moves.opened import Opened, surroundings
from lockgate.moves.probing import Expression, of_mapping, probe
from lockgate.moves.references import references, unanswerable
from lockgate.moves.stages import OVER, Stage, why
from lockgate.postgres.moves import capture, ledger, log, switch
from lockgate.postgres.moves.create import create_across, create_like
from lockgate.postgres.moves.in_place import sync_of
from lockgate.postgres.queries import query
from lockgate.postgres.quoting import literal, qualified
from lockgate.postgres.relation import Relation, estimated, find, server_facts
from lockgate.record.words import counted


class Planned(msgspec.Struct, frozen=True, rename="camel"):
    """What a move would do, and what stands in its way."""

    name: str
    source: str
    target: str
    target_exists: bool
    key: tuple[str, ...]
    columns: dict[str, str]
    rows: int
    bytes: int
    batches: int
    problems: list[dict[str, str]]
    notes: list[str]
    steps: list[str]


def plan(move: Opened) -> Planned:
    """Look at both sides and tell. Changes nothing."""
    declared = move.declared
    source = estimated(move.home, find(move.home, declared.source.table))
    target, problems = _find_target(move, source)
    if declared.in_place:
        return _plan_in_place(move, source, target, problems)
    made: Layout | None = None
    notes: list[str] = []
    move.pin()
    if target is not None:
        made, found = layout(
            declared, switch.fresh(move.home, source.oid), switch.fresh(move.far, target.oid)
        )
        problems += found
        around = surroundings(move.home, source.oid, move.name), surroundings(move.far, target.oid, move.name)
        problems += surroundings_problems(declared, *around, (source, target))
        unequal = index_problems(*around, (source, target))
        if declared.columns:  # columns may have other names there: which index is which is a person's word
            notes += [p.what for p in unequal]
        else:
            problems += unequal
        if around[0].publications:
            notes.append(
                f"{source.name} is in the publications {', '.join(around[0].publications)}; the new table would not be"
            )
    else:
        # Its types are qualified only now.
        source = msgspec.structs.replace(switch.fresh(move.home, source.oid), rows=source.rows)
        assumed = msgspec.structs.replace(source, oid=0, name=_bare(declared.target.table))
        made, found = layout(declared, source, assumed)
        problems += found
        around_source = surroundings(move.home, source.oid, move.name)
        problems += surroundings_problems(declared, around_source, Surroundings(), (source, assumed))
        if around_source.references:
            notes.append(
                f"foreign keys of {source.name} ({', '.join(around_source.references)}) are not copied to a created table; add them before the cutover"
            )
        if around_source.triggers:
            notes.append(
                f"triggers of {source.name} ({', '.join(around_source.triggers)}) are not copied to a created table; create them in the release that switches"
            )
    if declared.two_databases:
        here, there = server_facts(move.home), server_facts(move.far)
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
    if made is not None:
        back = of_mapping(made.reverse) if made.reverse is not None else []
        exists = (move.far, target.sql) if target is not None else None
        probed = probe(move.home, made.forward.origin, of_mapping(made.forward), back, exists)
        problems += probed.problems
        notes += probed.notes
    problems += _replica_problems(move, notes)
    pointed = references(
        move,
        source,
        target
        if target is not None
        else msgspec.structs.replace(source, oid=0, name=_bare(declared.target.table)),
    )
    problems += pointed.problems
    if made is not None and target is not None:
        problems += unanswerable(move, pointed, made.forward, target)
    notes += [*pointed.notes, *(f"checked after each batch and before the end: {r}" for r in pointed.checked)]
    problems, accepted = _accepted(declared, problems)
    notes += accepted
    return Planned(
        name=move.name, source=f"{source.schema}.{source.name}", target=f"{target.schema}.{target.name}" if target else declared.target.table, target_exists=target is not None,
        key=tuple(k.origin for k in made.forward.key) if made else (), columns={v.destination: v.expression for v in made.forward.values} if made else {},
        rows=source.rows, bytes=source.bytes, batches=-(-estimate // declared.limits.batch_rows), problems=[p._asdict() for p in problems], notes=notes,
        steps=_steps(move, source, target),
    )  # fmt: skip


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
) -> Planned:
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
    return Planned(
        name=move.name, source=f"{source.schema}.{source.name}", target=f"{target.schema}.{target.name}" if target else declared.target.table, target_exists=target is not None,
        key=tuple(k.origin for k in made.mapping.key) if made else (), columns=dict(declared.columns), rows=source.rows, bytes=source.bytes,
        batches=-(-max(source.rows, 0) // declared.limits.batch_rows), problems=[p._asdict() for p in problems], notes=notes, steps=in_place.steps(declared, source),
    )  # fmt: skip


def _steps(move: Opened, source: Relation, target: Relation | None) -> list[str]:
    d = move.declared
    steps = (
        []
        if target
        else [
            f"create {d.target.table} like {source.name}: columns, collations, defaults, key, checks, indexes"
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


def _bare(name: str) -> str:
    last = name.rpartition(".")[2]
    return last[1:-1].replace('""', '"') if last.startswith('"') else last.lower()


def _find_target(move: Opened, source: Relation) -> tuple[Relation | None, list[Problem]]:
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


def start(move: Opened, operator: str) -> str:
    """planned → dual_write, or rolled_back → dual_write. Does nothing when the move is under way; returns the stage.

    Raises ``Refused`` (``MOVE_REFUSED``) with the problems of the plan.
    """
    before = ledger.read_if_there(move.home, move.name)
    if before is not None and before.stage not in OVER:
        move.refuse_other_declaration(before)
        if before.stage == Stage.ROLLED_BACK:
            ledger.step(move.home, move.name, Stage.ROLLED_BACK, Stage.DUAL_WRITE, why(Stage.ROLLED_BACK, Stage.DUAL_WRITE), {"round": before.round + 1}, also="round = round + 1", operator=operator)  # fmt: skip
            return Stage.DUAL_WRITE
        return before.stage
    planned = plan(move)
    if planned.problems:
        raise Refused(
            f"the move {move.name} cannot start: {planned.problems[0]['what']}" + (f" (and {len(planned.problems) - 1} more)" if planned.problems[1:] else ""),
            "MOVE_REFUSED", next=planned.problems[0]["fix"], details={"problems": planned.problems},
        )  # fmt: skip
    if move.declared.in_place:
        for link in move.links:
            link.run("RESET search_path")
        source, target = (
            find(move.home, t) for t in (move.declared.source.table, move.declared.target.table)
        )
        in_place.register(move, source, target, operator)
        return Stage.DUAL_WRITE
    source, target = _tables(move)
    made, problems = layout(move.declared, source, target)
    if made is None:  # the plan passed a moment ago; somebody changed the tables since
        raise Refused(
            problems[0].what,
            "MOVE_REFUSED",
            next=problems[0].fix,
            details={"problems": [p._asdict() for p in problems]},
        )
    limits = switch.Limits(
        move.declared.limits.lock_attempt_ms,
        move.declared.limits.lock_patience_seconds,
        move.declared.limits.block_ms,
    )
    created = capture.owned(move.far, target.oid)
    unfit = (
        log.unfit(move.home, source, [k.origin for k in made.forward.key])
        if move.declared.capture == "log"
        else None
    )
    if unfit == "":
        log.create(move.home, move.name, source.sql)
    barrier = capture.unbarrier_ddl(move.name, target.sql) + capture.barrier_ddl(
        move.name, target.sql, owned=created
    )
    if created:
        barrier += capture.unmark_ddl(move.home, source.oid, target.sql)
    if not move.declared.two_databases:
        with switch.locked(move.home, [source.oid, target.oid], "SHARE ROW EXCLUSIVE", limits, move.rng):
            _register(move, made, source, target, operator, created, unfit)
            move.home.run(barrier)
            _shapes(move)
        return Stage.DUAL_WRITE
    with switch.locked(move.far, [target.oid], "SHARE ROW EXCLUSIVE", limits, move.rng):
        move.far.run(barrier)
        if made.reverse is not None:
            move.far.run(capture.outbox_ddl(made.reverse))
        move.far.run("DELETE FROM lockgate.move_switch WHERE move = $1", move.name)
    with switch.locked(move.home, [source.oid], "SHARE ROW EXCLUSIVE", limits, move.rng):
        _register(move, made, source, target, operator, created, unfit)
        _shapes(move)
    return Stage.DUAL_WRITE


def _tables(move: Opened) -> tuple[Relation, Relation]:
    for link in move.links:
        link.run("RESET search_path")
    source = find(move.home, move.declared.source.table)
    target, _ = _find_target(move, source)
    if target is None:
        schema = move.far.value("SELECT current_schema()") or "public"
        given = move.declared.target.table.rpartition(".")[0]
        schema = (given[1:-1] if given.startswith('"') else given.lower()) or schema
        name = _bare(move.declared.target.table)
        move.pin()
        source = switch.fresh(move.home, source.oid)
        if move.declared.two_databases:
            with move.far.transaction():
                create_across(move.home, move.far, source, schema, name)
                _own(move, schema, name)
        else:
            with move.home.transaction():
                create_like(move.home, source, schema, name)
                _own(move, schema, name)
        target = find(move.far, f'"{schema}"."{name}"')
    move.pin()
    return switch.fresh(move.home, source.oid), switch.fresh(move.far, target.oid)


def _own(move: Opened, schema: str, name: str) -> None:
    """Mark what was made, in the transaction that made it: it is the move's until it serves, and no drift of the schema."""
    move.far.run(capture.barrier_ddl(move.name, qualified(schema, name), owned=True))


def _register(
    move: Opened,
    made: Layout,
    source: Relation,
    target: Relation,
    operator: str,
    created: bool,
    unfit: str | None,
) -> None:
    """In the transaction that holds the lock: nobody writes to the source, and all who do after it are captured: by the log
    where ``unfit`` is empty, else by triggers."""
    name = move.name
    move.home.run("DELETE FROM lockgate.move WHERE name = $1", name)
    move.home.run("DELETE FROM lockgate.move_range WHERE move = $1", name)
    move.home.run("DELETE FROM lockgate.move_quarantine WHERE move = $1", name)
    move.home.run("DELETE FROM lockgate.move_switch WHERE move = $1", name)
    move.home.run(capture.outbox_ddl(made.forward))
    if made.reverse is not None and made.reverse.same_database:
        move.home.run(capture.outbox_ddl(made.reverse))
    move.home.run(capture.uncapture_ddl(made.forward, source.sql))
    if unfit != "":
        move.home.run(capture.capture_ddl(made.forward, source.sql))
    ledger.insert(
        move.home,
        {
            "name": name, "stage": Stage.DUAL_WRITE, "declaration": msgspec.json.encode(msgspec.to_builtins(move.declared)).decode(), "declaration_hash": move.declared.hash,
            "source_oid": source.oid, "target_oid": target.oid, "same_database": not move.declared.two_databases, "rows_estimate": source.rows, "operator": operator, "target_created": created,
        },
    )  # fmt: skip
    ledger.event(
        move.home, name, "step", why(Stage.PLANNED, Stage.DUAL_WRITE),
        {"source": source.sql, "target": target.sql, "key": [k.origin for k in made.forward.key], "declarationHash": move.declared.hash, "capture": "log" if unfit == "" else "triggers", "notTheLog": unfit or ""},
        before=Stage.PLANNED, after=Stage.DUAL_WRITE, operator=operator,
    )  # fmt: skip


def _shapes(move: Opened) -> None:
    source, target = move.shapes(move.row())
    move.home.run(
        "UPDATE lockgate.move SET source_shape = $2, target_shape = $3 WHERE name = $1",
        move.name,
        source,
        target,
    )


def rollback_document(move: Opened) -> str:
    """The way back, written when a move starts: exact steps, how long it stays open, what to look at."""
    d = move.declared
    head = (
        f"# The way back from the move {move.name}\n\nSource {d.source.table}, target {d.target.table}.\n\n"
    )
    if d.in_place:
        return head + in_place.way_back(d)
    if d.one_way:
        return (
            head
            + "This move is one-way: before the cutover `lockgate move abort "
            + move.name
            + "` takes it down; after it there is no way back.\n"
        )
    return head + (
        f"1. Before the cutover the source serves: `lockgate move abort {move.name}` takes capture down; nothing is lost.\n"
        f"2. After it, for {d.rollback_hours:g} hours: `lockgate move rollback {move.name}`. The reverse feed is drained, the changed keys are compared, the source serves again. It can be called again if it is cut off.\n"
        f"3. `lockgate move status {move.name}` shows until when, the reverse outbox, and who serves.\n"
        f"4. `lockgate move finish {move.name}` ends the window for good.\n"
        f"\nCheckpoints stand in lockgate.move_event: SELECT * FROM lockgate.move_event WHERE move = {literal(move.name)} ORDER BY id;\n"
    )
