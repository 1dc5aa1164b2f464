"""``lockgate gate signature``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lockgate.cli.options import Session, leave, shared, usage
from lockgate.record.reasons import Exit

if TYPE_CHECKING:
    from lockgate.gate.signature import LiveSchema, WriteVerdict


@click.command("signature")
@shared()
@click.option(
    "--output", metavar="FILE", default="", help="Write the schema there, as it is in this database."
)
@click.option(
    "--against", metavar="FILE", default="", help="Compare this database with such a file, object by object."
)
def command(output: str, against: str, **shared_options: Any) -> None:
    """The schema that an image is built for, object by object: what the write guard of a service compares with.

    With --output it is read from a database on which the release's files were applied, such as that of a test run. Without
    either option this database is compared with what lockgate recorded. Exits 1 when they differ, 5 when nobody can tell.
    """
    import msgspec

    from lockgate.gate.signature import Signature, judge_schema
    from lockgate.gate.writes import read_live_schema
    from lockgate.record.artifact import write_atomically

    if output and against:
        raise usage("--output and --against are two things to do", "Give one of them.")
    session = Session(**shared_options)
    signature = Signature.from_file(against) if against else None
    target = session.target()
    live = read_live_schema(target, timeout=10.0)
    verdict = judge_schema(live, signature)
    if output and verdict.answer == "pass":
        made = Signature(live.revision, live.basis, live.objects)
        document = msgspec.json.format(msgspec.json.encode(made, order="sorted"), indent=1)
        try:
            write_atomically(Path(output), document + b"\n")
        except OSError as error:
            raise usage(
                f"--output {output}: {error.strerror}", "Give a file in a folder that can be written."
            ) from None
    _show(session, target, live, verdict, output)
    leave({"pass": Exit.OK, "fail": Exit.FOUND}.get(verdict.answer, Exit.HOLD))


def _show(session: Session, target: object, live: "LiveSchema", verdict: "WriteVerdict", output: str) -> None:
    import msgspec

    session.output.json(
        {
            "command": "gate signature", "target": str(target), "revision": live.revision, "basis": live.basis,
            "objects": len(live.objects), "file": output if verdict.answer == "pass" else "", **msgspec.to_builtins(verdict),
        }
    )  # fmt: skip
    kinds = {"pass": "good", "fail": "bad", "unknown": "warn"}
    if verdict.departures:
        session.output.table(
            ("change", "object", "expected", "live"),
            [(d.kind, d.object, d.expected[:60], d.live[:60]) for d in verdict.departures],
        )
    session.output.say(f"{session.output.mark(verdict.answer, kinds[verdict.answer])}: {verdict.evidence}")
    if verdict.answer != "pass":
        session.output.say(f"  next: {verdict.next}")
    elif output:
        session.output.say(f"wrote {output}")
