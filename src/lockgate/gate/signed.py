"""The schema signature of a contract as a condition of starting. A process that serves has its write guard for it."""

from lockgate.gate.contract import Contract
from lockgate.gate.report import Answer, Condition, Report
from lockgate.gate.signature import Signature
from lockgate.gate.writes import WriteGuard
from lockgate.postgres.target import Target

_CODES = {"pass": Answer.READY, "fail": Answer.CHECKSUM_MISMATCH, "unknown": Answer.UNKNOWN}


def with_signature(report: Report, contract: Contract, target: Target, *, timeout: float) -> Report:
    """``report`` with the condition ``schema:signature``. Raises ``ConfigError`` for a signature that cannot be read.

    One more connection, so it is only asked where nothing else is in the way.
    """
    guard = WriteGuard(Signature.from_file(contract.signature))
    if not report.ready:
        return report
    verdict = guard.look(target, timeout=timeout)
    condition = Condition(
        "schema:signature", verdict.answer, _CODES[verdict.answer], verdict.evidence, verdict.next
    )
    return Report((*report.conditions, condition), warnings=report.warnings, observed=report.observed)
