"""``lockgate index``."""

import os
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
    embedder_key,
    lock_wait_option,
    manifest_of,
    next_generation,
    of_store,
    opened,
    refuse_missing_home,
    session_of,
    source_of,
)
from lockgate.cli.options import Session, leave, shared, usage

if TYPE_CHECKING:
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
@click.option("--embedder", metavar="SPEC", default=None, help="hashing[:DIMENSION[:SEED]], http=URL=MODEL or st=MODEL; without one, records bring their vectors.")  # fmt: skip
@click.option(
    "--model", metavar="NAME", default="given", show_default=True, help="The model's name, for ready vectors."
)
@click.option("--metric", type=click.Choice(["cosine", "l2", "ip"]), default="cosine", show_default=True, help="How vectors are compared.")  # fmt: skip
@click.option("--dtype", type=click.Choice(["float32", "float16"]), default="float32", show_default=True, help="How vectors are stored.")  # fmt: skip
@click.option("--ann", metavar="SPEC", default="flat", show_default=True, help="flat, or hnsw:m=16,ef_construction=64, or ivfflat:lists=100.")  # fmt: skip
@click.option("--raw-lengths", is_flag=True, help="Vectors are not of length 1, on purpose.")
@click.option("--analyzer", metavar="NAME", default=None, help="Text search configuration or tokenizer of fts and fts5; makes an index of texts in opensearch and elasticsearch.")  # fmt: skip
@click.option(
    "--rate", metavar="N", type=click.FloatRange(min=0), default=0.0, help="At most N records a second."
)
@click.option("--batch", metavar="N", type=click.IntRange(1, 10_000), default=500, show_default=True, help="Records in one piece.")  # fmt: skip
@lock_wait_option
def build_command(name: str, **options: Any) -> None:
    """Build a generation of NAME offline and seal it; called again after a kill, it goes on where it stopped."""
    from lockgate.cli.waiting import Waiting
    from lockgate.indexes.build import Wanted, build
    from lockgate.indexes.embedders import Cached, open_embedder
    from lockgate.indexes.register import read_generations
    from lockgate.release.operator import operator_name

    session = session_of(options)
    if (options["records"] is None) == (options["table"] is None):
        raise usage("index build needs --records or --table, and not both", "lockgate index build --help")
    if options["generation"] is not None and not GENERATION.fullmatch(options["generation"]):
        raise usage(
            f"--generation {options['generation']!r}: a-z, 0-9 and -, at most 20",
            "lockgate index build --help",
        )
    embedder = open_embedder(options["embedder"], embedder_key()) if options["embedder"] else None
    with _spec_errors(), opened(session, changing=True, name=name, wait=options["lock_wait"]) as room:
        total, first, source = source_of(room, options)
        manifest = manifest_of(room, options, embedder, first)
        if manifest.kind == "text":
            embedder = None
        elif embedder is not None and not str(options["embedder"]).startswith("hashing"):
            session.settings.path(".lockgate").mkdir(exist_ok=True)
            embedder = Cached(embedder, session.settings.path(".lockgate") / "embeddings.sqlite")
        known = read_generations(room.link, name)
        generation = options["generation"] or next_generation(known, manifest.spec_hash)
        wanted = Wanted(name, generation, options["kind"], options["place"], manifest, options["embedder"] or "", total, options["rate"], options["batch"])  # fmt: skip
        with Waiting(session.output) as waiting:
            built = build(
                room.link, room.store(options["kind"], options["place"]), wanted, source, embedder, actor=operator_name(), progress=waiting.show
            )  # fmt: skip
    import msgspec

    told = of_store(session, options["kind"], options["place"])
    session.output.json({"command": "index build", **msgspec.to_builtins(built), **told})
    session.output.say(f"{session.output.mark('sealed', 'good')}: {name} {built.generation}, {built.records} records ({built.written} written, {built.resumed} there already) in {built.seconds:.1f} s")  # fmt: skip
    session.output.say(f"index_hash {built.index_hash}")
    others = [g.generation for g in known if g.state == "sealed" and g.generation != built.generation]
    if others:
        session.output.say(f"next: lockgate index validate {name} --against {others[-1]} --generation {built.generation} --gold DIR")  # fmt: skip
    else:
        session.output.say(f"next: lockgate index swap {name} --to {built.generation}")


@command.command("validate")
@shared()
@click.argument("name")
@click.option("--against", metavar="GENERATION", required=True, help="The generation to compare with.")
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
    from lockgate.indexes.differences import Side
    from lockgate.indexes.embedders import open_embedder
    from lockgate.indexes.gold import read_gold
    from lockgate.indexes.limits import choose
    from lockgate.indexes.register import find_generation, read_generations
    from lockgate.indexes.validate import questions_of, read_query_vectors, remember, validate

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
        for one in (row, against):
            if one.state != "sealed":
                from lockgate.errors import Refused

                raise Refused(f"generation {one.generation} of {name} is not sealed", "INDEX_NOT_READY", next=f"lockgate index build {name}")  # fmt: skip
        sides = []
        for one in (row, against):
            embedder = (
                open_embedder(one.embedder, embedder_key())
                if one.embedder and one.manifest.kind == "vector"
                else None
            )
            sides.append(Side(one, room.of(one), questions_of(one, gold, embedder, given), embedder))
        with Waiting(session.output) as waiting:
            drift = validate(
                gold, sides[0], sides[1], limits, breadth=options["breadth"], progress=waiting.show
            )
        if os.environ.get("LOCKGATE_ROLE", "").strip().lower() != "app":
            remember(room.link, row, drift, against.generation)
    told = of_store(session, row.store, row.place)
    where = f" ({row.store}: {told['unproven']})" if told["unproven"] else ""
    show_drift(
        session.output, drift, "index validate", options["html"], f"{name} {against.generation} -> {row.generation}{where}", **told,
        index=name, generation=row.generation, against=against.generation, specHash=row.spec_hash, indexHash=row.index_hash,
    )  # fmt: skip
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
            two_step=two_step, kind="swap, unvalidated" if unvalidated and target.verdict != "pass" else "swap",
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
@lock_wait_option
def rollback_command(name: str, lock_wait: float, **shared_options: Any) -> None:
    """Point the alias NAME back to the generation before, while its window is open."""
    from lockgate.errors import Refused
    from lockgate.indexes.register import find_generation
    from lockgate.indexes.swap import previous_of, recover, swap
    from lockgate.release.operator import operator_name

    session = Session(**shared_options)
    with opened(session, changing=True, name=name, wait=lock_wait) as room:
        recover(room.link, room.of, name, actor=operator_name())
        last = room.link.rows(
            "SELECT kind, to_generation FROM lockgate.index_event WHERE name = $1 AND kind IN ('swap', 'rollback') ORDER BY id DESC LIMIT 1",
            name,
        )
        if last and last[0][0] == "rollback":
            raise Refused(
                f"{name} was rolled back to {last[0][1]} already",
                "INDEX_NOT_READY",
                next="lockgate index swap leads forward again",
            )
        back = previous_of(room.link, name)
        target = find_generation(room.link, name, back)
        done = swap(
            room.link, room.of(target), room.of, name, back, actor=operator_name(), window_seconds=86_400.0, unvalidated=True,
            two_step=True, kind="rollback",
        )  # fmt: skip
        kind = room.of(target).capabilities.swap
    _told(session, "index rollback", done, target, kind)


def _told(session: Session, command_name: str, done: Any, target: "Generation", swap_kind: str) -> None:
    import msgspec

    told = of_store(session, target.store, target.place)
    session.output.json({"command": command_name, **msgspec.to_builtins(done), **told, "swapKind": swap_kind})
    if done.recovered:
        session.output.say(f"an interrupted swap was {done.recovered}")
    if done.changed:
        session.output.say(
            f"{done.name}: {done.before or 'nothing'} -> {session.output.mark(done.after, 'good')} in {done.elapsed_ms:.1f} ms"
        )
    else:
        session.output.say(f"{done.name} points to {done.after} already")


@command.command("list")
@shared()
@click.argument("name", required=False, default="")
def list_command(name: str, **shared_options: Any) -> None:
    """The generations of every index, or of NAME: state, hashes, verdict, and which one serves."""
    from lockgate.indexes.register import read_alias, read_generations
    from lockgate.stores.open_search import unproven

    session = Session(**shared_options)
    with opened(session, changing=False, name=name) as room:
        refuse_missing_home(room)
        rows = read_generations(room.link, name)
        aliases = {n: read_alias(room.link, n) for n in {r.name for r in rows}}
    session.output.json(
        {
            "command": "index list",
            "generations": [
                {
                    "name": g.name, "generation": g.generation, "store": g.store, "unproven": unproven(g.store, g.place), "state": g.state, "live": g.live, "records": g.records,
                    "specHash": g.spec_hash, "contentRoot": g.content_root, "indexHash": g.index_hash, "startedAt": g.started_at,
                    "sealedAt": g.sealed_at, "verdict": g.verdict,
                    "pending": bool(aliases[g.name] and (aliases[g.name].pending or {}).get("to") == g.generation),  # type: ignore[union-attr]
                }
                for g in rows
            ],
        }
    )  # fmt: skip
    session.output.table(
        ("index", "generation", "store", "state", "records", "index_hash", "validated"),
        [(g.name, g.generation, f"{g.store} ({unproven(g.store, g.place)})" if unproven(g.store, g.place) else g.store, session.output.mark("live", "good") if g.live else g.state, str(g.records), g.index_hash[:12], g.verdict) for g in rows],
    )  # fmt: skip


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
