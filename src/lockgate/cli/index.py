"""``lockgate index``."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lockgate.cli.drift import EXITS, limit_changes
from lockgate.cli.drift import show as show_drift
from lockgate.cli.index_room import (
    GENERATION,
    STORES,
    counted_in,
    embedder_key,
    given_options,
    lock_wait_option,
    of_store,
    opened,
    refuse_missing_home,
    refuse_unknown,
    session_of,
)
from lockgate.cli.options import Session, leave, shared, usage
from lockgate.record.verdict import Verdict
from lockgate.record.words import counted

if TYPE_CHECKING:
    from lockgate.config.index import Index
    from lockgate.indexes.register import Generation


@click.group("index")
def command() -> None:
    """Vector and search indexes: build beside what serves, validate, swap in one step, roll back, collect."""


@command.command("build")
@shared()
@click.argument("name")
@click.option(
    "--generation", metavar="NAME", default=None, help="The generation's name (default: the next number)."
)
@click.option("--store", "kind", type=click.Choice(STORES), default="pgvector", show_default=True, help="Where it lives.")  # fmt: skip
@click.option(
    "--place", metavar="PATH", default="", help="File, folder or URL of a store outside the database."
)
@click.option(
    "--records", metavar="FILE", default=None, help="JSON lines: _id, title, text, vector, payload."
)
@click.option("--table", metavar="NAME", default=None, help="Or a table of this database.")
@click.option(
    "--id", "id_column", metavar="COLUMN", default="id", show_default=True, help="Its column of ids."
)
@click.option(
    "--text", "text_column", metavar="COLUMN", default="text", show_default=True, help="Its column of texts."
)
@click.option(
    "--vector",
    "vector_column",
    metavar="COLUMN",
    default="",
    help="Its column of vectors, where they are ready.",
)
@click.option("--embedder", metavar="SPEC", default=None, help="hashing[:DIMENSION[:SEED]], minilm, http=URL=MODEL or st=MODEL; without one, records bring their vectors.")  # fmt: skip
@click.option(
    "--model", metavar="NAME", default="given", show_default=True, help="The model's name, for ready vectors."
)
@click.option("--metric", type=click.Choice(["cosine", "l2", "ip"]), default="cosine", show_default=True, help="How vectors are compared.")  # fmt: skip
@click.option("--dtype", type=click.Choice(["float32", "float16"]), default="float32", show_default=True, help="How vectors are stored.")  # fmt: skip
@click.option("--ann", metavar="SPEC", default="flat", show_default=True, help="flat, or hnsw:m=16,ef_construction=64, or ivfflat:lists=100.")  # fmt: skip
@click.option("--raw-lengths", is_flag=True, help="Vectors are not of length 1, on purpose.")
@click.option("--analyzer", metavar="NAME", default=None, help="Text search configuration or tokenizer of fts and fts5; makes an index of texts in opensearch and elasticsearch.")  # fmt: skip
@click.option("--contract", metavar="FILE", default=None, help="The image's contract: refuse where it asks for another specification.")  # fmt: skip
@click.option(
    "--rate", metavar="N", type=click.FloatRange(min=0), default=0.0, help="At most N records a second."
)
@click.option("--batch", metavar="N", type=click.IntRange(1, 10_000), default=2000, show_default=True, help="Records in one piece.")  # fmt: skip
@lock_wait_option
def build_command(name: str, **options: Any) -> None:
    """Build a generation of NAME offline and seal it; called again after a kill, it goes on where it stopped.

    Without --records and --table, [index.NAME] of lockgate.toml says from what.
    """
    from lockgate.cli.waiting import Waiting
    from lockgate.indexes.build import Wanted, build
    from lockgate.indexes.declared import embedder_of, manifest_of, next_generation, refuse_unasked, source_of
    from lockgate.indexes.register import every_name, read_alias, read_generations, unfinished
    from lockgate.release.candidate import read_specs
    from lockgate.release.operator import operator_name

    session = session_of(options)
    asked = read_specs(Path(options["contract"])) if options["contract"] else {}
    declared = _declared(session, name, options)
    if options["generation"] is not None and not GENERATION.fullmatch(options["generation"]):
        raise usage(
            f"--generation {options['generation']!r}: a-z, 0-9 and -, at most 20",
            "lockgate index build --help",
        )
    embedder = embedder_of(declared, embedder_key(), session.settings.path(".lockgate") / "embeddings.sqlite")
    with _spec_errors(), opened(session, changing=True, name=name, wait=options["lock_wait"]) as room:
        root = session.settings.root if declared is session.settings.index.get(name) else Path()
        source = source_of(room.link, root, declared)
        store = room.store(declared.store, declared.place)
        manifest = manifest_of(store, declared, embedder, source.first)
        refuse_unasked(name, manifest, asked.get(name, ""), f"the contract {options['contract']}")
        known = read_generations(room.link, name)
        generation = options["generation"] or next_generation(
            known, every_name(room.link, name), manifest.spec_hash
        )
        wanted = Wanted(name, generation, declared.store, declared.place, manifest, declared.embedder, source.total, declared.rate, declared.batch, _call(name, generation))  # fmt: skip
        live = next((g for g in known if g.live), None)
        for one in known:
            if one.generation == generation or one.live or (live and one.started_at < live.started_at):
                continue
            then = unfinished(room.link, one) if one.state == "building" else f"lockgate index swap {name} --to {one.generation}"  # fmt: skip
            session.output.say(f"{session.output.mark('note', 'hold')}: generation {one.generation} of {name} is {'being built' if one.state == 'building' else 'sealed and does not serve'}, and this makes {generation} beside it; for that one: {then}")  # fmt: skip
        with Waiting(session.output) as waiting:
            built = build(
                room.link, store, wanted, source.after, embedder, actor=operator_name(), progress=waiting.show
            )  # fmt: skip
        alias = read_alias(room.link, name)
    import msgspec

    told = of_store(session, declared.store, declared.place)
    session.output.json({"command": "index build", **msgspec.to_builtins(built), **told})
    session.output.say(f"{session.output.mark('sealed', 'good')}: {name} {built.generation}, {built.records} records ({built.written} written, {built.resumed} there already) in {built.seconds:.1f} s")  # fmt: skip
    session.output.say(f"index_hash {built.index_hash}")
    serving = alias.generation if alias is not None else ""
    if serving == built.generation:
        session.output.say("it serves already")
    elif serving:
        session.output.say(f"next: lockgate index validate {name} --against {serving} --generation {built.generation} --gold DIR")  # fmt: skip
    else:
        session.output.say(f"next: lockgate index swap {name} --to {built.generation}")


def _call(name: str, generation: str) -> str:
    """This call of ``index build`` again, for the generation that it began: what decides the records and the specification, and not how one connects."""
    return f"lockgate index build {name} --generation {generation}{given_options('generation')}"


def _declared(session: Session, name: str, options: dict[str, Any]) -> "Index":
    """What is built: the section of ``lockgate.toml`` where the call names no records, else the options of the call."""
    from lockgate.config.index import Index

    if options["records"] is None and options["table"] is None and name in session.settings.index:
        return session.settings.index[name]
    if (options["records"] is None) == (options["table"] is None):
        raise usage(
            f"index build needs --records or --table, and not both; or [index.{name[:40]}] in lockgate.toml",
            "lockgate index build --help",
        )
    return Index(
        store=options["kind"], place=options["place"], table=options["table"] or "", records=options["records"] or "",
        id=options["id_column"], text=options["text_column"], vector=options["vector_column"], embedder=options["embedder"] or "",
        model=options["model"], metric=options["metric"], dtype=options["dtype"], ann=options["ann"], raw_lengths=options["raw_lengths"],
        analyzer=options["analyzer"] or "", rate=options["rate"], batch=options["batch"],
    )  # fmt: skip


@command.command("validate")
@shared()
@click.argument("name")
@click.option("--against", metavar="GENERATION", required=True, help="The generation to compare with; a swap asks for a pass against the one that serves.")  # fmt: skip
@click.option("--generation", metavar="NAME", default=None, help="The generation to validate (default: the newest sealed one that is another).")  # fmt: skip
@click.option(
    "--gold", metavar="DIR", required=True, help="Gold set: corpus.jsonl, queries.jsonl, qrels.tsv."
)
@click.option(
    "--query-vectors", metavar="FILE", default=None, help="Lines {_id, vector}, for indexes of ready vectors."
)
@click.option("--profile", type=click.Choice(["like-for-like", "model-change"]), default="like-for-like", show_default=True, help="What may differ: storage only, or the model.")  # fmt: skip
@click.option(
    "--k", metavar="N", type=int, default=None, help="How many answers of each query count (default: 10)."
)
@click.option("--breadth", metavar="N", type=click.IntRange(0, 1000), default=0, help="ef_search of the queries (default: at least 40).")  # fmt: skip
@click.option(
    "--limit", metavar="NAME=VALUE", multiple=True, help="Set one limit of docs/indexes.md; can be repeated."
)
@click.option("--html", metavar="FILE", default=None, help="Write the report there.")
def validate_command(name: str, **options: Any) -> None:
    """Compare a generation of NAME with another: digests, norms, search structure, then answers over a gold set.

    Exits 1 when it is worse or not what its manifest says, 5 when it cannot be told.
    """
    from lockgate.cli.waiting import Waiting
    from lockgate.errors import ConfigError
    from lockgate.indexes.advice import after_answer, after_hold
    from lockgate.indexes.gold import read_gold
    from lockgate.indexes.limits import choose
    from lockgate.indexes.register import find_generation, read_alias, read_generations, unfinished
    from lockgate.indexes.validate import read_query_vectors, remember, side_of, validate
    from lockgate.release.operator import operator_name

    session = session_of(options)
    limits = choose(options["profile"], limit_changes(options["limit"]), options["k"])
    gold = read_gold(Path(options["gold"]))
    given = read_query_vectors(Path(options["query_vectors"])) if options["query_vectors"] else {}
    with opened(session, changing=False, name=name) as room:
        refuse_missing_home(room)
        against = find_generation(room.link, name, options["against"])
        sealed = [g for g in read_generations(room.link, name) if g.state == "sealed"]
        others = [g for g in sealed if g.generation != against.generation]
        if options["generation"] is not None:
            row = find_generation(room.link, name, options["generation"])
        elif others:
            row = others[-1]
        else:
            raise ConfigError(
                f"index {name} has no other sealed generation than {against.generation}", "INDEX_UNKNOWN"
            )
        if row.generation == against.generation:
            alias = read_alias(room.link, name)
            serving = (
                alias.generation if alias is not None and alias.generation != row.generation else "SERVING"
            )
            raise usage(
                f"--against {row.generation}: a generation compared with itself says nothing",
                f"lockgate index validate {name} --against {serving} --generation {row.generation} --gold DIR",
            )
        for one in (row, against):
            if one.state != "sealed":
                from lockgate.errors import Refused

                raise Refused(f"generation {one.generation} of {name} is not sealed", "INDEX_NOT_READY", next=unfinished(room.link, one))  # fmt: skip
        sides = [side_of(one, room.of(one), gold, embedder_key(), given) for one in (row, against)]
        with Waiting(session.output) as waiting:
            drift = validate(
                gold, sides[0], sides[1], limits, breadth=options["breadth"], progress=waiting.show
            )
        more = given_options("against", "generation", "gold", "breadth", "html")
        alias = read_alias(room.link, name)
        serving = alias.generation if alias is not None else ""
        then = after_hold(drift, row, against, options["gold"], more) or after_answer(drift, row, against, serving, options["gold"])  # fmt: skip
        if os.environ.get("LOCKGATE_ROLE", "").strip().lower() != "app":
            remember(
                room.link, row, drift, against.generation, actor=operator_name(), at=time.time(), next=then
            )
    told = of_store(session, row.store, row.place)
    where = f" ({row.store}: {told['unproven']})" if told["unproven"] else ""
    show_drift(
        session.output, drift, "index validate", options["html"], f"{name} {against.generation} -> {row.generation}{where}", **told,
        index=name, generation=row.generation, against=against.generation, specHash=row.spec_hash, indexHash=row.index_hash, next=then,
    )  # fmt: skip
    if then:
        session.output.say(f"next: {then}")
    leave(EXITS[drift.verdict])


@command.command("swap")
@shared()
@click.argument("name")
@click.option("--to", metavar="GENERATION", required=True, help="The generation that shall serve.")
@click.option("--window", metavar="SECONDS", type=click.FloatRange(min=0), default=86_400.0, show_default=True, help="How long rolling back stays possible.")  # fmt: skip
@click.option(
    "--unvalidated", is_flag=True, help="Swap to a generation whose validation did not pass; it is recorded."
)
@click.option("--two-step", is_flag=True, help="Accept that readers may see neither generation for a moment.")
@lock_wait_option
def swap_command(name: str, to: str, window: float, unvalidated: bool, two_step: bool, lock_wait: float, **shared_options: Any) -> None:  # fmt: skip
    """Point the alias NAME to a sealed and validated generation. Safe to repeat; an interrupted one is finished or undone."""
    from lockgate.indexes.register import find_generation
    from lockgate.indexes.swap import swap
    from lockgate.release.operator import operator_name

    session = Session(**shared_options)
    with opened(session, changing=True, name=name, wait=lock_wait) as room:
        target = find_generation(room.link, name, to)
        done = swap(
            room.link, room.of(target), room.of, name, to, actor=operator_name(), window_seconds=window, unvalidated=unvalidated,
            two_step=two_step,
        )  # fmt: skip
        kind = room.of(target).capabilities.swap
    _told(session, "index swap", done, target, kind)


@contextmanager
def _spec_errors() -> Iterator[None]:
    """What the server says of a column, a parameter or a size that was asked for is about the specification."""
    from lockgate.errors import ConfigError
    from lockgate.postgres.sqlstate import ServerError

    try:
        yield
    except ServerError as error:
        if error.sqlstate[:2] in ("22", "42", "54", "0A"):
            raise ConfigError(
                f"the server refused the specification: {error.message}", "INDEX_SPEC"
            ) from None
        raise


@command.command("rollback")
@shared()
@click.argument("name")
@click.option("--lose-writes", is_flag=True, help="Do not look whether the generation before has what was written since the swap.")  # fmt: skip
@click.option("--changed", is_flag=True, help="Go back although that generation is not what was sealed; it is recorded.")  # fmt: skip
@lock_wait_option
def rollback_command(
    name: str, lock_wait: float, lose_writes: bool, changed: bool, **shared_options: Any
) -> None:
    """Point the alias NAME back to the generation before, while its window is open, it is what was sealed, and nothing that was written since is lost by it."""
    from lockgate.errors import Refused
    from lockgate.indexes.behind import keeps_up, refuse_behind
    from lockgate.indexes.register import fed_by, find_generation, read_alias
    from lockgate.indexes.swap import previous_of, recover, swap
    from lockgate.release.operator import operator_name

    session = Session(**shared_options)
    with opened(session, changing=True, name=name, wait=lock_wait) as room:
        recover(room.link, room.of, name, actor=operator_name())
        last = room.link.rows(
            "SELECT kind, to_generation FROM lockgate.index_event WHERE name = $1 AND kind IN ('swap', 'swap, unvalidated', 'swap finished', 'rollback') ORDER BY id DESC LIMIT 1",
            name,
        )
        if last and last[0][0] == "rollback":
            alias = read_alias(room.link, name)
            raise Refused(
                f"{name} was rolled back to {last[0][1]} already",
                "INDEX_NOT_READY",
                next=_forward(name, find_generation(room.link, name, alias.previous), last[0][1])
                if alias is not None and alias.previous
                else f"lockgate index list {name}",
            )
        move = next(iter(fed_by(room.link, name).values()), "")
        if move:
            raise Refused(
                f"the move {move} feeds {name}: only it knows whether the old generation has every write since the swap",
                "INDEX_NOT_READY",
                next=f"lockgate move rollback {move}",
            )
        back = previous_of(room.link, name)
        target = find_generation(room.link, name, back)

        def turn(accepted: bool) -> Any:
            return swap(
                room.link, room.of(target), room.of, name, back, actor=operator_name(), window_seconds=86_400.0, unvalidated=True,
                two_step=True, changed=accepted, kind="rollback",
            )  # fmt: skip

        given = f"{' --lose-writes' if lose_writes else ''}{' --changed' if changed else ''}"
        try:
            if not lose_writes:
                refuse_behind(room.link, room.of, name)
            done = turn(changed)
        except Refused as refused:
            if refused.code != "INDEX_CHANGED" or not keeps_up(room.link, room.of, name):
                # What was given already belongs into the command that is named, or each would name the other for ever.
                refused.next = refused.next.replace(f"rollback {name}", f"rollback {name}{given}")
                raise
            done = turn(True)
        kind = room.of(target).capabilities.swap
    _told(session, "index rollback", done, target, kind)


def _forward(name: str, row: "Generation", serving: str) -> str:
    """The command that leads from ``serving`` to ``row``, the generation that was left by a rollback."""
    if row.passed(serving):
        return f"lockgate index swap {name} --to {row.generation} leads forward again"
    return f"lockgate index validate {name} --against {serving} --generation {row.generation} --gold DIR comes before the way forward"


def _told(session: Session, command_name: str, done: Any, target: "Generation", swap_kind: str) -> None:
    import msgspec

    from lockgate.indexes.namespace import cache_namespace

    told = of_store(session, target.store, target.place)
    session.output.json({"command": command_name, **msgspec.to_builtins(done), **told, "swapKind": swap_kind, "cacheNamespace": cache_namespace(target.name, target.index_hash)})  # fmt: skip
    if done.recovered:
        session.output.say(f"an interrupted swap was {done.recovered}")
    if done.changed:
        session.output.say(
            f"{done.name}: {done.before or 'nothing'} -> {session.output.mark(done.after, 'good')} in {done.elapsed_ms:.1f} ms"
        )
        if done.differs:
            session.output.say(
                f"{session.output.mark('note', 'hold')}: {done.after} is not what was sealed: {done.differs}"
            )
    else:
        session.output.say(f"{done.name} points to {done.after} already")


@command.command("watch")
@shared()
@click.argument("name")
@click.option("--gold", metavar="DIR", default=None, help="Gold set (default: that of [index.NAME]).")
@click.option("--query-vectors", metavar="FILE", default=None, help="Lines {_id, vector}, for indexes of ready vectors.")  # fmt: skip
@click.option("--window", metavar="SECONDS", type=click.FloatRange(min=0), default=None, help="How long after the swap (default: that of [index.NAME], else 1800).")  # fmt: skip
@click.option("--interval", metavar="SECONDS", type=click.FloatRange(min=0.01), default=None, help="From look to look (default: that of [index.NAME], else 60).")  # fmt: skip
@click.option("--breadth", metavar="N", type=click.IntRange(0, 1000), default=0, help="ef_search of the queries (default: at least 40).")  # fmt: skip
@lock_wait_option
def watch_command(name: str, **options: Any) -> None:
    """Watch NAME after its swap: ask the gold queries through the alias and go back by itself when retrieval gets worse.

    Goes back on the sources' conditions: delta-S above 0.05 for more than 15 minutes, p95 above 0.15, coverage below 0.60,
    more than a fifth of the queries not convergent, more than 1 % errors. Called again after a kill, it goes on. Exits 1
    after it went back, 5 when it cannot be told.
    """
    import msgspec

    from lockgate.cli.waiting import Waiting
    from lockgate.config import seconds
    from lockgate.indexes.gold import read_gold
    from lockgate.indexes.limits import choose
    from lockgate.indexes.validate import read_query_vectors, side_of
    from lockgate.indexes.watch import watch
    from lockgate.release.operator import operator_name

    session = session_of(options)
    one = session.settings.index.get(name)
    folder = options["gold"] or (one.gold and str(session.settings.path(one.gold)) if one else "")
    if not folder:
        raise usage(
            f"index watch needs --gold, or a gold in [index.{name[:40]}]", "lockgate index watch --help"
        )
    window, interval = options["window"], options["interval"]
    if window is None:
        window = seconds(one.watch) if one and one.watch else 1800.0
    if interval is None:
        interval = seconds(one.interval) if one else 60.0
    limits = choose(
        one.profile if one else "like-for-like", {k: str(v) for k, v in one.limits.items()} if one else {}
    )
    gold = read_gold(Path(folder))
    given = read_query_vectors(Path(options["query_vectors"])) if options["query_vectors"] else {}
    with (
        opened(session, changing=True, name=name, wait=options["lock_wait"]) as room,
        Waiting(session.output) as waiting,
    ):
        done = watch(
            room.link, room.of, lambda row: side_of(row, room.of(row), gold, embedder_key(), given), gold, name, limits,
            actor=operator_name(), window=window, interval=interval, breadth=options["breadth"] or (one.breadth if one else 0),
            tell=waiting.show,
        )  # fmt: skip
    code = {Verdict.PASS: "", Verdict.FAIL: "INDEX_WATCH_ABORTED", Verdict.HOLD: "INDEX_WATCH_HELD"}[
        done.verdict
    ]
    session.output.json({"command": "index watch", "reasonCode": code, **msgspec.to_builtins(done)})
    session.output.say(f"{done.name} {done.generation}: {session.output.mark(str(done.verdict), 'good' if done.verdict is Verdict.PASS else 'bad')} after {counted(len(done.looks), 'look')} {code}".rstrip())  # fmt: skip
    if done.reason:
        session.output.say(done.reason)
    if done.rolled_back:
        session.output.say(f"the alias went back to {done.rolled_back}")
    if done.next:
        session.output.say(f"next: {done.next}")
    leave(EXITS[done.verdict])


@command.command("list")
@shared()
@click.argument("name", required=False, default="")
def list_command(name: str, **shared_options: Any) -> None:
    """The generations of every index, or of NAME: state, what each holds against its seal, hashes, verdict, and which one serves."""
    from lockgate.indexes.namespace import cache_namespace
    from lockgate.indexes.register import read_alias, read_generations
    from lockgate.stores.open_search import unproven

    session = Session(**shared_options)
    with opened(session, changing=False, name=name) as room:
        refuse_missing_home(room)
        if name:
            refuse_unknown(room, name)
        rows = read_generations(room.link, name)
        counts = [counted_in(room, row) for row in rows]
        aliases = {n: read_alias(room.link, n) for n in {r.name for r in rows}}
    session.output.json(
        {
            "command": "index list",
            "generations": [
                {
                    "name": g.name, "generation": g.generation, "store": g.store, "unproven": unproven(g.store, g.place), "state": g.state, "live": g.live, "records": g.records, "counted": count,
                    "specHash": g.spec_hash, "contentRoot": g.content_root, "indexHash": g.index_hash, "startedAt": g.started_at,
                    "sealedAt": g.sealed_at, "verdict": g.verdict, "verdictAgainst": g.against, "cacheNamespace": cache_namespace(g.name, g.index_hash),
                    "pending": bool(aliases[g.name] and (aliases[g.name].pending or {}).get("to") == g.generation),  # type: ignore[union-attr]
                }
                for g, count in zip(rows, counts, strict=True)
            ],
        }
    )  # fmt: skip
    session.output.table(
        ("index", "generation", "store", "state", "records", "index_hash", "validated"),
        [(g.name, g.generation, f"{g.store} ({unproven(g.store, g.place)})" if unproven(g.store, g.place) else g.store, session.output.mark("live", "good") if g.live else g.state, _holding(g, count), g.index_hash[:12], f"{g.verdict} against {g.against}" if g.verdict else "") for g, count in zip(rows, counts, strict=True)],
    )  # fmt: skip


def _holding(row: "Generation", count: int | None) -> str:
    """What a generation holds, against its seal where that is another number."""
    if row.state == "building":
        return "not counted" if count is None else f"{count} written"
    if count is None:
        return f"sealed with {row.records}, not counted"
    return str(count) if count == row.records else f"{count}, sealed with {row.records}"


@command.command("gc")
@shared()
@click.argument("name")
@click.option("--abandoned", is_flag=True, help="Also drop builds that were never finished.")
@click.option("--dry-run", is_flag=True, help="Tell, and drop nothing.")
@lock_wait_option
def gc_command(name: str, abandoned: bool, dry_run: bool, lock_wait: float, **shared_options: Any) -> None:
    """Drop the generations of NAME that nothing needs: never what serves, never inside the rollback window."""
    from lockgate.indexes.register import read_generations
    from lockgate.indexes.swap import collect
    from lockgate.release.operator import operator_name

    session = Session(**shared_options)
    with opened(session, changing=True, name=name, wait=lock_wait) as room:
        refuse_missing_home(room)
        refuse_unknown(room, name)
        known = {(g.store, g.place): g for g in read_generations(room.link, name)}
        done = collect(room.link, room.of, name, actor=operator_name(), abandoned=abandoned, dry_run=dry_run)
    told = [of_store(session, kind, place) for kind, place in known]
    session.output.json(
        {
            "command": "index gc",
            "name": name,
            "dryRun": dry_run,
            "dropped": list(done.dropped),
            "kept": done.kept,
            "stores": told,
        }
    )
    for generation in done.dropped:
        session.output.say(f"{'would drop' if dry_run else 'dropped'} {name} {generation}")
    for generation, reason in done.kept.items():
        session.output.say(f"kept {name} {generation}: {reason}")
