"""``lockgate gold``."""

from pathlib import Path
from typing import Any

import click

from lockgate.cli.options import Session, leave, shared
from lockgate.record.reasons import Exit
from lockgate.record.words import counted


@click.group("gold")
def command() -> None:
    """Gold sets: the documents, queries and judgements that drift is measured with."""


@command.command("lint")
@shared(target=False)
@click.argument("folder", metavar="DIR")
@click.option("--frozen", metavar="HEX", default="", help="The digest that the set must have.")
def lint_command(folder: str, frozen: str, **shared_options: Any) -> None:
    """Check that the ids of a gold set join and that it is large and sharp enough to judge with; print its digest.

    Exits 1 on an error, 2 when the set cannot be read or does not join.
    """
    import msgspec

    from lockgate.indexes.curate import lint
    from lockgate.indexes.gold import read_gold

    session = Session(**shared_options)
    gold = read_gold(Path(folder))
    findings = lint(gold, frozen)
    session.output.json(
        {
            "command": "gold lint",
            "digest": gold.digest,
            "documents": len(gold.documents),
            "queries": sum(gold.origin(q) == q for q in gold.queries),
            "paraphrases": sum(map(len, gold.paraphrases.values())),
            "judgements": sum(map(len, gold.judgements.values())),
            "findings": [msgspec.to_builtins(f) for f in findings],
        }
    )
    for finding in findings:
        mark = session.output.mark(finding.severity, "bad" if finding.severity == "error" else "warn")
        session.output.say(
            f"{mark}: {finding.id}: {finding.message}{': ' + ', '.join(finding.items[:5]) if finding.items else ''}"
        )
    session.output.say(
        f"{counted(len(gold.documents), 'document')}, {counted(len(gold.judged), 'judged query')}; digest {gold.digest}"
    )
    leave(Exit.FOUND if any(f.severity == "error" for f in findings) else Exit.OK)


@command.command("sample")
@shared(target=False)
@click.option("--log", metavar="FILE", required=True, help="Queries, one a line: text, or JSON with `query`.")
@click.option("--corpus", metavar="FILE", required=True, help="The documents: corpus.jsonl.")
@click.option("--out", metavar="DIR", required=True, help="The new folder of the draft.")
@click.option(
    "--count",
    metavar="N",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="How many queries.",
)
@click.option("--seed", metavar="N", type=int, default=1, show_default=True, help="Seed of the choice.")
def sample_command(log: str, corpus: str, out: str, count: int, seed: int, **shared_options: Any) -> None:
    """Draft a gold set from a log of queries: half the most asked, half at random, with documents to judge.

    Judgements are drafted with grade 0: a person gives the grades and the paraphrases.
    """
    from lockgate.indexes.curate import sample, write_draft
    from lockgate.indexes.gold import read_documents

    session = Session(**shared_options)
    documents = read_documents(Path(corpus))
    sampled = sample(Path(log), documents, count, seed)
    write_draft(Path(out), Path(corpus), sampled)
    session.output.json(
        {
            "command": "gold sample",
            "folder": out,
            "queries": len(sampled.queries),
            "documents": len(documents),
        }
    )
    session.output.say(
        f"{out}: {counted(len(sampled.queries), 'query')}; grade them in qrels.tsv, add paraphrases in queries.jsonl, then lockgate gold lint {out}"
    )
