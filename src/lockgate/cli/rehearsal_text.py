"""A rehearsal as text for people."""

from typing import TYPE_CHECKING

from lockgate.cli.output import Output

if TYPE_CHECKING:
    from lockgate.rehearsal.impact import Range
    from lockgate.rehearsal.report import Rehearsal
    from lockgate.rehearsal.trace import StatementTrace

_KIND = {
    "pass": "good", "fail": "bad", "hold": "warn", "compatible": "good", "reconnect": "warn", "breaks": "bad",
}  # fmt: skip
_MOST = 40


def show(output: Output, rehearsal: "Rehearsal") -> None:
    """Print what was proven: statements, claims that do not hold, queries, checks, the verdict."""
    server = f"PostgreSQL {rehearsal.server.version // 10000} ({rehearsal.server.where})"
    output.say(f"server    {server}")
    output.say(f"plan      {rehearsal.plan_hash}")
    output.say(f"base      {rehearsal.base or 'an empty history'}")
    rows = [
        (
            f"{m.revision}:{s.line}",
            s.kind.lower(),
            _locks(s),
            ", ".join(s.rewrites) or "-",
            ", ".join(s.scans) or "-",
            f"{s.seconds * 1000:.1f} ms",
            _size(s.evidence.wal_bytes),
        )
        for m in rehearsal.migrations
        for s in m.statements
    ]
    if rows:
        output.say()
        output.table(("statement", "kind", "locks", "rewrites", "scans", "took", "WAL"), rows[:_MOST])
        if len(rows) > _MOST:
            output.say(f"and {len(rows) - _MOST} more; --format json and rehearsal.json have them all")
    _claims(output, rehearsal)
    for name, found in rehearsal.compatibility.items():
        output.say()
        output.say(f"release {name}: {output.mark(found.answer, _KIND.get(found.answer, 'warn'))}")
        for broken in found.breaks:
            output.say(
                f"  {output.mark('breaks', 'bad')} at {broken.revision}: {' '.join(broken.query.split())}"
            )
            output.say(f"    {broken.sqlstate}: {broken.message}")
        for proof in found.queries:
            if proof.base is None and proof.outcomes:
                output.say(f"  never worked: {' '.join(proof.query.split())}")
                output.say(f"    {proof.outcomes[-1].sqlstate}: {proof.outcomes[-1].message}")
            for outcome in proof.outcomes:
                if outcome.answer == "reconnect":
                    output.say(
                        f"  reconnect after {outcome.revision}: {' '.join(proof.query.split())} ({outcome.message})"
                    )
                if outcome.note:
                    output.say(f"  {outcome.revision}: {' '.join(proof.query.split())} {outcome.note}")
    _impact(output, rehearsal)
    load = rehearsal.load
    if load is not None:
        output.say()
        output.say(
            f"under load: {load.clients} clients, {load.transactions} transactions in {load.seconds:.1f} s, {load.failed} failed; slowest read "
            f"{load.slowest_read_ms:.0f} ms (before: {load.calm_read_ms:.0f}), slowest write {load.slowest_write_ms:.0f} ms (before: {load.calm_write_ms:.0f})"
        )
        for error in load.errors:
            output.say(f"  {error}")
    output.say()
    output.table(
        ("check", "answer", "evidence"),
        [(c.id, output.mark(str(c.answer), _KIND[str(c.answer)]), c.details) for c in rehearsal.checks],
    )
    for note in rehearsal.notes:
        output.say(f"note: {note}")
    told = output.mark(rehearsal.verdict, _KIND[rehearsal.verdict])
    output.say(f"verdict: {told}{' ' + rehearsal.reason_code if rehearsal.reason_code else ''}")


def _locks(statement: "StatementTrace") -> str:
    return (
        ", ".join(f"{name} {mode.removesuffix('Lock')}" for name, mode in sorted(statement.locks.items()))
        or "-"
    )


def _claims(output: Output, rehearsal: "Rehearsal") -> None:
    c = rehearsal.claims
    if not any(c.values()):
        return
    output.say()
    output.say(
        f"claims of the policy: {c['confirmed']} confirmed, {c['mismatch']} mismatch, "
        f"{c['only measured']} only measured, {c['only claimed']} only claimed"
    )
    for m in rehearsal.migrations:
        for s in m.statements:
            for claim in s.evidence.claims:
                if claim.answer == "mismatch":
                    output.say(
                        f"  {output.mark('mismatch', 'bad')} {m.revision}:{s.line}: {claim.what} on {claim.relation}: "
                        f"claimed {claim.claimed or 'nothing'}, measured {claim.measured or 'nothing'}"
                    )


def _impact(output: Output, rehearsal: "Rehearsal") -> None:
    impact = rehearsal.impact
    if impact is None:
        return
    output.say()
    output.say(f"at production size (snapshot of {impact.taken_at}):")
    output.table(
        ("statement", "kind", "rows", "takes", "of it shut", "WAL", "disk"),
        [
            (
                f"{s.revision}:{s.line}",
                s.kind.lower(),
                f"{s.production_rows:,}",
                _seconds(s.seconds),
                _seconds(s.lock_seconds),
                _size(round(s.wal_bytes.expected)),
                _size(round(s.disk_bytes.expected)),
            )
            for s in impact.statements[:_MOST]
        ],
    )
    total = impact.total
    output.say(
        f"all: {_seconds(total.seconds)}, {_seconds(total.lock_seconds)} of it with readers shut out, "
        f"{_size(round(total.wal_bytes.expected))} WAL, {_size(round(total.disk_bytes.expected))} disk"
    )
    output.say(f"     {impact.band}")


def _seconds(r: "Range") -> str:
    return "-" if not r.high else f"{_time(r.expected)} ({_time(r.low)} to {_time(r.high)})"


def _time(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _size(size: int) -> str:
    for unit in ("B", "kB", "MB"):
        if abs(size) < 1024:
            return f"{size:.0f} {unit}"
        size = round(size / 1024)
    return f"{size} GB"
