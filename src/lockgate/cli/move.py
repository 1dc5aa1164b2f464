"""``lockgate move``."""

import os
from typing import TYPE_CHECKING, Any

import click

from lockgate.cli.options import Session, leave, shared, usage
from lockgate.record.reasons import Exit
from lockgate.record.words import agree, counted

if TYPE_CHECKING:
    from lockgate.moves.verify import Verified


@click.group("move")
def command() -> None:
    """Data moves: from one place to another while it is written to, nothing lost, and a way back."""


def _address(value: str, option: str, session: Session) -> str:
    """The URL of an option; ``env:NAME`` reads it from a variable, which no process list shows."""
    if value.startswith("env:"):
        name = value.removeprefix("env:")
        if not os.environ.get(name):
            raise usage(
                f"{option}: the variable {name} is {'empty' if name in os.environ else 'not set'}",
                f"export {name}=postgresql://...",
            )
        return os.environ[name]
    if "@" in value and ":" in value.partition("//")[2].rpartition("@")[0]:
        session.output.note(
            f"lockgate: the password in {option} stands in the process list; {option} env:NAME reads it from a variable"
        )
    return value


@command.command("verify")
@shared()
@click.argument("name", required=False)
@click.option(
    "--source",
    metavar="URL",
    help="Where the rows come from; env:NAME reads the URL from a variable.",
)
@click.option(
    "--target",
    metavar="URL",
    help="Where the rows went; env:NAME reads the URL from a variable.",
)
@click.option(
    "--table",
    metavar="SRC[=DST]",
    help="The table, and its name in the target where it differs.",
)
@click.option(
    "--key", metavar="A,B", default="", help="Columns that identify a row (default: the primary key)."
)
@click.option("--columns", metavar="A,B", default="", help="Columns to compare (default: all).")
@click.option("--limit", metavar="N", type=click.IntRange(min=1), default=100_000, show_default=True, help="List so many differences at most.")  # fmt: skip
@click.option(
    "--repair",
    is_flag=True,
    help="With NAME: copy again what differs, through the outbox, from the side that serves over the other; after the cutover that is the target's row into the source (an index: the table's rows into both generations).",
)
def verify_command(
    name: str | None,
    source: str | None,
    target: str | None,
    table: str | None,
    key: str,
    columns: str,
    limit: int,
    repair: bool,
    **shared_options: Any,
) -> None:
    """Compare two tables exactly and list the rows that differ, on any two tables; with NAME, the tables of that move.

    Exits 1 on any difference. A move whose sides are equal, writes in flight apart, becomes reconciled.
    """
    if name is not None:
        if source or target or table or key or columns:
            raise usage(
                "move verify takes either NAME or --source, --target and --table",
                "lockgate move verify --help",
            )
        from lockgate.cli.moving import reconcile_command

        reconcile_command(name, repair, Session(**shared_options))
        return
    if source is None or target is None or table is None or repair:
        raise usage(
            "move verify needs NAME, or --source, --target and --table",
            "lockgate move verify --source URL --target URL --table SRC[=DST]",
        )
    from lockgate.cli.waiting import Waiting, stoppable
    from lockgate.moves.verify import verify
    from lockgate.stores.open import open_pair
    from lockgate.stores.table import split_names, split_pair

    session = Session(**shared_options)
    names = split_pair(table)
    wanted_key = split_names(key, "--key") if key else ()
    wanted_columns = split_names(columns, "--columns") if columns else ()
    urls = _address(source, "--source", session), _address(target, "--target", session)
    with stoppable("move verify"), Waiting(session.output) as waiting, open_pair(*urls) as (left, right):
        tables = left.describe(names[0]), right.describe(names[1])
        found = verify(
            left, right, tables, wanted_key, wanted_columns, limit=limit, progress=lambda p: waiting.show(p.doing, p.done)
        )  # fmt: skip
    _show_verified(session, found, (tables[0].name, tables[1].name))
    leave(Exit.OK if found.equal else Exit.FOUND)


def _differing(number: int, *, more: bool) -> str:
    if more:
        return f"{number}+ rows differ"
    return f"{counted(number, 'row')} {agree(number, 'differs', 'differ')}"


def _show_verified(session: Session, found: "Verified", names: tuple[str, str]) -> None:
    output = session.output
    keys = [k.name for k in found.comparison.key]
    differing = [
        {"key": d.key[0] if len(d.key) == 1 else list(d.key), "kind": d.kind} for d in found.differing
    ]
    output.json(
        {
            "command": "move verify", "equal": found.equal, "reasonCode": "" if found.equal else "ROWS_DIFFER",
            "rows": {"source": found.source_rows, "target": found.target_rows},
            "differing": differing, "truncated": found.truncated, "lane": found.comparison.lane, "seconds": round(found.seconds, 3),
            "table": {"source": names[0], "target": names[1]}, "key": keys,
            "columns": [c.name for c in found.comparison.columns], "algorithm": found.comparison.algorithm,
            "profile": [{"column": c, "normalisation": n} for c, n in found.comparison.profile],
        }
    )  # fmt: skip
    output.table(
        (", ".join(keys), "difference"),
        [(", ".join(map(str, d.key)), output.mark(d.kind, "bad")) for d in found.differing[:50]],
    ) if found.differing else None
    if len(found.differing) > 50:
        output.say(
            f"and {len(found.differing) - 50} more{' at least' if found.truncated else ''}; --format json lists them"
        )
    for column, how in found.comparison.profile:
        output.say(f"{column}: {how}")
    answer = (
        output.mark("equal", "good")
        if found.equal
        else output.mark(_differing(len(found.differing), more=found.truncated), "bad")
    )
    output.say(
        f"{answer}: {names[0]} {counted(found.source_rows, 'row')}, {names[1]} {counted(found.target_rows, 'row')}, {found.comparison.lane} lane, {found.seconds:.2f} s"
    )


def _add_commands() -> None:
    from lockgate.cli.dual import either
    from lockgate.cli.moving import COMMANDS

    for one in (*COMMANDS, verify_command):
        assert one.name is not None
        assert one.callback is not None
        if one.name != "status":  # which tells of every move
            one.callback = either(one.name, one.callback)
        command.add_command(one)


_add_commands()
