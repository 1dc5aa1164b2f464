"""The schema signature of a contract as a condition of starting. A process that serves has its write guard for it."""

from lockgate.errors import LockgateError, Unreachable
from lockgate.gate.contract import Contract
from lockgate.gate.report import Answer, Condition, Report
from lockgate.gate.signature import Signature, WriteVerdict, judge_schema
from lockgate.gate.writes import read_live_schema
from lockgate.postgres.target import Target
from lockgate.record.redact import redact

_CODES = {"pass": Answer.READY, "fail": Answer.CHECKSUM_MISMATCH, "unknown": Answer.UNKNOWN}


def with_signature(report: Report, contract: Contract, target: Target, *, timeout: float) -> Report:
    """``report`` with the condition ``schema:signature``. Raises ``ConfigError`` for a signature that cannot be read.

    One more connection, so it is only asked where nothing else is in the way.
    """
    signature = Signature.from_file(contract.signature)
    if not report.ready:
        return report
    unreachable = False
    try:
        verdict = judge_schema(read_live_schema(target, timeout=timeout), signature)
    except LockgateError as error:
        verdict = WriteVerdict("unknown", redact(error.message), next=error.next)
        unreachable = isinstance(error, Unreachable)
    condition = Condition(
        "schema:signature", verdict.answer, _CODES[verdict.answer], verdict.evidence, verdict.next,
        unreachable=unreachable,
    )  # fmt: skip
    return Report((*report.conditions, condition), warnings=report.warnings, observed=report.observed)
