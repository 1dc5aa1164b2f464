"""What the policy says of the files that are rehearsed: findings, and the facts that are set against the measured ones."""

from collections.abc import Iterable
from datetime import date

import msgspec

from lockgate.migrations.contract import Prepared
from lockgate.migrations.files import Migration
from lockgate.policy.finding import Finding, StatementFacts
from lockgate.policy.judge import Judge, Source
from lockgate.policy.model.schema import Schema
from lockgate.policy.subject import Options


class Claims(msgspec.Struct, frozen=True):
    """Findings over the pending files, and (revision, number from 1) → the facts of a statement."""

    findings: tuple[Finding, ...]
    facts: dict[tuple[str, int], StatementFacts]


def claims_of(
    base: Iterable[Migration],
    pending: Iterable[Prepared],
    options: Options,
    *,
    today: date,
    schema: Schema | None = None,
) -> Claims:
    """Judge ``pending`` against ``schema``, else against the model of ``base``; ``options`` name the server that it is rehearsed on."""
    judge = Judge(options, today=today, schema=schema)
    for migration in () if schema is not None else base:
        judge.replay(migration.up)
    findings: list[Finding] = []
    facts: dict[tuple[str, int], StatementFacts] = {}
    for item in pending:
        m, directives = item.migration, item.directives
        judgement = judge.judge(
            Source(
                m.file, m.up, directives.phase if directives.phase_given else "", directives.transaction,
                down=m.down or "", after=directives.after,
            )
        )  # fmt: skip
        findings += judgement.findings
        facts |= {(item.revision, number): stated for number, stated in enumerate(judgement.statements, 1)}
    findings += judge.finish()
    return Claims(tuple(findings), facts)
