"""``lockgate drift``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lockgate.cli.options import Session, leave, shared, usage
from lockgate.record.reasons import Exit
from lockgate.record.verdict import Verdict

if TYPE_CHECKING:
    from lockgate.cli.output import Output
    from lockgate.indexes.drift import Drift

EXITS = {Verdict.PASS: Exit.OK, Verdict.FAIL: Exit.FOUND, Verdict.HOLD: Exit.HOLD}
CODES = {Verdict.PASS: "", Verdict.FAIL: "INDEX_DRIFT", Verdict.HOLD: "INDEX_HELD"}


@click.command("drift")
@shared(target=False)
@click.option(
    "--gold", metavar="DIR", required=True, help="Gold set: corpus.jsonl, queries.jsonl, qrels.tsv."
)
@click.option(
    "--baseline",
    metavar="RUN",
    required=True,
    multiple=True,
    help="Answers of the generation that serves now; again for each seed.",
)
@click.option(
    "--candidate",
    metavar="RUN",
    required=True,
    multiple=True,
    help="Answers of the generation that shall replace it; again for each seed.",
)
@click.option(
    "--profile",
    type=click.Choice(["like-for-like", "model-change"]),
    default="like-for-like",
    show_default=True,
    help="What may differ: storage only, or the model.",
)
@click.option(
    "--k", metavar="N", type=int, default=None, help="How many answers of each query count (default: 10)."
)
@click.option(
    "--limit", metavar="NAME=VALUE", multiple=True, help="Set one limit of docs/indexes.md; can be repeated."
)
@click.option(
    "--html",
    metavar="FILE",
    default=None,
    help="Write the report with distributions and worst queries there.",
)
@click.option(
    "--seed", metavar="N", type=int, default=20250101, show_default=True, help="Seed of the bootstrap."
)
def command(
    gold: str,
    baseline: tuple[str, ...],
    candidate: tuple[str, ...],
    profile: str,
    k: int | None,
    limit: tuple[str, ...],
    html: str | None,
    seed: int,
    **shared_options: Any,
) -> None:
    """Measure retrieval drift: answers of two generations to the queries of one gold set.

    RUN is a TREC run file, or JSON lines {"qid": ..., "hits": [{"id": ..., "score": ...}]}. Exits 1 when retrieval got
    worse, 5 when it cannot be told.
    """
    from lockgate.indexes.drift import compare
    from lockgate.indexes.gold import read_gold
    from lockgate.indexes.limits import choose
    from lockgate.indexes.runs import read_run

    session = Session(**shared_options)
    limits = choose(profile, limit_changes(limit), k)
    drift = compare(
        read_gold(Path(gold)),
        [read_run(Path(path)) for path in baseline],
        [read_run(Path(path)) for path in candidate],
        limits,
        seed=seed,
    )
    show(session.output, drift, "drift", html, f"{Path(baseline[0]).name} -> {Path(candidate[0]).name}")
    leave(EXITS[drift.verdict])


def limit_changes(given: tuple[str, ...]) -> dict[str, str]:
    """``NAME=VALUE`` texts as a mapping. Raises a usage error for anything else."""
    changes: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise usage(f"--limit {text!r} is not NAME=VALUE", "lockgate drift --help")
        changes[name.strip()] = value.strip()
    return changes


def show(output: "Output", drift: "Drift", name: str, html: str | None, title: str, **more: Any) -> None:
    """Print a drift answer, and write its report where one is wanted."""
    import msgspec

    if html is not None:
        from lockgate.indexes.report import page
        from lockgate.record.artifact import write_atomically

        path = Path(html)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, page(drift, title).encode())
        except OSError as error:
            raise usage(
                f"--html {html}: {error.strerror}", "Name a file in a folder that can be written."
            ) from None
    plain = msgspec.to_builtins(drift)
    spread = plain.pop("spread")
    output.json(
        {
            "command": name,
            "reasonCode": CODES[drift.verdict],
            **more,
            **plain,
            "lambdaStates": spread["states"],
        }
    )
    output.table(
        ("check", "value", "limit", "answer", "evidence"),
        [
            (
                c.id,
                "-" if c.value is None else f"{c.value:.4g}",
                "-" if c.limit is None else f"{c.limit:.4g}",
                output.mark(str(c.answer), "good" if c.answer is Verdict.PASS else "bad"),
                c.details,
            )
            for c in drift.checks
        ],
    )
    for cause in drift.causes:
        output.say(f"{'cause' if cause.sure else 'possible cause'}: {cause.cause}: {cause.evidence}")
    for worst in drift.worst[:3]:
        output.say(
            f"{worst.qid}: overlap {worst.overlap:.2f}, delta-S {worst.delta_s:+.3f}: {worst.text[:80]}"
        )
        output.say(f"  before {' '.join(h.id for h in worst.baseline)}")
        output.say(f"  after  {' '.join(h.id for h in worst.candidate)}")
    output.say(f"verdict: {drift.verdict} {CODES[drift.verdict]}".rstrip())
