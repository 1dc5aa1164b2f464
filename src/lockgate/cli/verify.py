"""``lockgate verify``."""

from typing import Any

import click

from lockgate.cli.options import Session, leave, shared
from lockgate.record.reasons import Exit
from lockgate.record.verdict import Verdict


@click.command("verify")
@shared()
def command(**shared_options: Any) -> None:
    """Compare the live database with the history and the files: chain, checksums, invalid indexes, schema drift.

    Exits 1 on a difference, 5 when it cannot be told.
    """
    import msgspec

    from lockgate.migrations.limits import Limits
    from lockgate.release.project import read_files
    from lockgate.release.verify import verify

    session = Session(**shared_options)
    output = session.output
    target = session.target()
    checks = verify(target, read_files(session.settings).migrations, Limits.of(session.settings.migrations))
    answer = Verdict.all_of([c.answer for c in checks])
    code = (
        ""
        if answer is Verdict.PASS
        else "SCHEMA_DRIFT"
        if [c.id for c in checks if c.answer is Verdict.FAIL] == ["schema-drift"]
        else "VERIFY_FAILED"
    )
    output.json(
        {
            "command": "verify",
            "target": str(target),
            "verdict": str(answer),
            "reasonCode": code,
            "checks": [msgspec.to_builtins(c) for c in checks],
        }
    )
    output.table(
        ("check", "answer", "evidence"),
        [(c.id, output.mark(str(c.answer), "good" if c.passed else "bad"), c.details) for c in checks],
    )
    output.say(f"verdict: {answer}{' ' + code if code else ''}")
    leave({Verdict.PASS: Exit.OK, Verdict.FAIL: Exit.FOUND, Verdict.HOLD: Exit.HOLD}[answer])
