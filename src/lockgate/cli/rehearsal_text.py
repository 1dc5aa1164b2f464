"""A rehearsal as text for people: who has to wait for what, which releases survive, what was proven, the verdict.

Most statements keep nobody waiting; they are counted, not listed (``--verbose`` lists them).
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from lockgate.cli.output import Output
from lockgate.record.reasons import reason
from lockgate.record.words import counted
from lockgate.rehearsal.waiting import (
    EVERYBODY,
    NOBODY,
    WRITERS,
    besides,
    locks_told,
    noteworthy,
    waiting_for,
)

if TYPE_CHECKING:
    from lockgate.rehearsal.compatibility import Compatibility
    from lockgate.rehearsal.impact import Range
    from lockgate.rehearsal.report import Rehearsal

_KIND = {
    "pass": "good", "fail": "bad", "hold": "warn", "compatible": "good", "reconnect": "warn", "breaks": "bad",
}  # fmt: skip
_WAITS = {EVERYBODY: "bad", WRITERS: "warn", NOBODY: "dim"}
_MOST = 40


def show(output: Output, rehearsal: "Rehearsal", pages: Iterable[str] = ()) -> None:
    """Print what was proven; ``pages`` are the files that were written."""
    count = len(rehearsal.migrations)
    output.say()
    output.say(
        f"rehearsed {count} file{'' if count == 1 else 's'} on PostgreSQL {rehearsal.server.version // 10000} ({rehearsal.server.where}) "
        f"on top of {rehearsal.base or 'an empty history'} in {rehearsal.elapsed_seconds:.1f} s"
    )
    output.say(f"plan      {rehearsal.plan_hash}")
    _statements(output, rehearsal)
    _claims(output, rehearsal)
    for name, found in rehearsal.compatibility.items():
        _release(output, name, found)
    _impact(output, rehearsal)
    _load(output, rehearsal)
    output.say()
    output.table(
        ("check", "answer", "evidence"),
        [(c.id, output.mark(str(c.answer), _KIND[str(c.answer)]), c.details) for c in rehearsal.checks],
    )
    for note in rehearsal.notes:
        output.say(f"note: {note}")
    output.say()
    for path in pages:
        output.say(f"wrote     {path}")
    told = output.mark(rehearsal.verdict, _KIND[rehearsal.verdict])
    output.say(f"verdict   {told}{' ' + rehearsal.reason_code if rehearsal.reason_code else ''}")
    if rehearsal.verdict == "hold":
        output.say(f"next      {reason(rehearsal.reason_code).next}")


# -- statements -------------------------------------------------------------------------------------


def _statements(output: Output, rehearsal: "Rehearsal") -> None:
    everything = [(m, s) for m in rehearsal.migrations for s in m.statements]
    if not everything:
        return
    shown = everything if output.verbose else [(m, s) for m, s in everything if noteworthy(s)]
    rows = []
    for m, s in shown if output.verbose else shown[:_MOST]:
        waits = waiting_for(s)
        rows.append(
            (
                f"{m.revision}_{m.name[:30]}:{s.line}", s.kind.lower(), output.mark(waits, _WAITS[waits]), locks_told(s) or "-",
                f"{s.seconds * 1000:.1f} ms", _size(s.evidence.wal_bytes), besides(s) or "-",
            )
        )  # fmt: skip
    output.say()
    if rows:
        output.table(("statement", "kind", "who waits", "for the lock on", "took", "WAL", "and it"), rows)
    quiet = len(everything) - len(shown)
    if len(shown) > len(rows):
        output.say(f"and {len(shown) - len(rows)} more; --verbose lists them all")
    if quiet:
        output.say(
            f"{quiet} of {counted(len(everything), 'statement')} keep nobody waiting, rewrite nothing and read no table that was there from end to end"
        )


def _claims(output: Output, rehearsal: "Rehearsal") -> None:
    c = rehearsal.claims
    if not any(c.values()):
        return
    output.say(
        f"what the policy claims of locks, rewrites and scans: {c['confirmed']} confirmed, {c['mismatch']} contradicted, "
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


# -- releases ---------------------------------------------------------------------------------------


def _release(output: Output, name: str, found: "Compatibility") -> None:
    output.say()
    output.say(
        f"release {name}: {output.mark(found.answer, _KIND.get(found.answer, 'warn'))}, {_meaning(found)}"
    )
    for broken in found.breaks:
        output.say(f"  {output.mark('breaks', 'bad')} at {broken.revision}: {_line(broken.query)}")
        output.say(f"    {broken.sqlstate}: {broken.message}")
    for proof in found.queries:
        if proof.base is None and proof.outcomes:
            output.say(f"  {output.mark('never worked', 'warn')}: {_line(proof.query)}")
            output.say(f"    {proof.outcomes[-1].sqlstate}: {proof.outcomes[-1].message}")
        doubts = [
            (o.revision, ": ".join(filter(None, [o.sqlstate, o.message])) if o.answer == "hold" else "")
            for o in proof.outcomes
        ]
        notes = [(o.revision, o.note) for o in proof.outcomes]
        for mark, told in (("in doubt", doubts), ("note", notes)):
            for where, text in _once(told):
                output.say(f"  {output.mark(mark, 'warn')} at {where}: {_line(proof.query)}")
                output.say(f"    {text}")
    stale: dict[str, list[str]] = {}
    for proof in found.queries:
        for outcome in proof.outcomes:
            if outcome.answer == "reconnect":
                stale.setdefault(outcome.revision, []).append(proof.query)
    for revision, queries in stale.items():
        more = f" and {len(queries) - 1} more" if len(queries) > 1 else ""
        output.say(
            f"  {output.mark('reconnect', 'warn')} after {revision}: cached plans of {_line(queries[0])}{more}"
        )


def _once(told: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """(where, text) of each text, once: the first revision, and how far it goes on. ``told`` is what was said at each revision, "" for nothing."""
    found = []
    for text in dict.fromkeys(text for _, text in told if text):
        said = [number for number, (_, other) in enumerate(told) if other == text]
        where = told[said[0]][0]
        if len(said) > 1:
            every = said == list(range(said[0], len(told)))
            where += " and at every later one" if every else f" and at {len(said) - 1} later"
        found.append((where, text))
    return found


def _meaning(found: "Compatibility") -> str:
    count = len(found.queries)
    queries = f"{count} quer{'y' if count == 1 else 'ies'}"
    broken, never = len({b.query for b in found.breaks}), sum(1 for q in found.queries if q.base is None)
    doubt = sum(1 for q in found.queries if any(o.answer == "hold" for o in q.outcomes))
    held = f"{doubt} of {queries} in doubt" if doubt else f"{queries}, not every file could be applied"
    return {
        "compatible": f"all {queries} work before, between and after",
        "reconnect": f"all {queries} work; connections that were open before have to be opened anew",
        "breaks": f"{broken} of {queries} worked and fail",
    }.get(
        found.answer,
        f"{never} of {queries} never worked" if never else held,
    )


def _line(query: str) -> str:
    flat = " ".join(query.split())
    return flat if len(flat) <= 160 else f"{flat[:157]}..."


# -- figures ----------------------------------------------------------------------------------------


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


def _load(output: Output, rehearsal: "Rehearsal") -> None:
    load = rehearsal.load
    if load is None:
        return
    output.say()
    output.say(
        f"under load of {counted(load.clients, 'client')}{' of pgbench' if load.by == 'pgbench' else ''}: {counted(load.transactions, 'transaction')} in {load.seconds:.1f} s, "
        f"{output.mark(f'{load.failed} failed', 'bad' if load.failed else 'good')}"
    )
    output.table(
        ("slowest", "before", "while the files ran"),
        [
            ("read", f"{load.calm_read_ms:.0f} ms", f"{load.slowest_read_ms:.0f} ms"),
            ("write", f"{load.calm_write_ms:.0f} ms", f"{load.slowest_write_ms:.0f} ms"),
        ],
    )
    for error in load.errors:
        output.say(f"  {error}")


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
