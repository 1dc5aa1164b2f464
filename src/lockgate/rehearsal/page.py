"""``rehearsal.html``: the rehearsal as one page that needs nothing else: lock timeline, impact, queries, checks. Pure text."""

from collections.abc import Iterable
from html import escape
from pathlib import Path
from string import Template

from lockgate.record.redact import redact
from lockgate.record.words import counted
from lockgate.rehearsal.impact import Range
from lockgate.rehearsal.report import Rehearsal
from lockgate.rehearsal.timeline import Bar, timeline_of
from lockgate.rehearsal.trace import MigrationTrace, StatementTrace
from lockgate.rehearsal.waiting import besides, locks_told, noteworthy, waiting_for

_COLOURS = {
    "AccessShareLock": "#9ecae1", "RowShareLock": "#6baed6", "RowExclusiveLock": "#74c476", "ShareUpdateExclusiveLock": "#c7a008",
    "ShareLock": "#fd8d3c", "ShareRowExclusiveLock": "#f16913", "ExclusiveLock": "#d94801", "AccessExclusiveLock": "#cb181d",
}  # fmt: skip
"""From what lets everybody through to what lets nobody through."""
_WIDTH, _LEFT, _ROW = 1100, 220, 22
_LEAST = 0.0005


def page(rehearsal: Rehearsal) -> str:
    """The page. Every text of the rehearsal is redacted and escaped."""
    sections = [_checks(rehearsal), _locks(rehearsal), _statements(rehearsal), _queries(rehearsal)]
    sections += [_impact(rehearsal), _load(rehearsal), _notes(rehearsal)]
    template = Template((Path(__file__).parent / "page.html").read_text("utf-8"))
    return template.substitute(
        verdict=_e(rehearsal.verdict), reason_code=_e(rehearsal.reason_code), reason=_e(rehearsal.reason), plan_hash=_e(rehearsal.plan_hash),
        base=_e(rehearsal.base or "an empty history"), version=rehearsal.server.version // 10000, where=_e(rehearsal.server.where),
        generated_at=_e(rehearsal.generated_at), elapsed=rehearsal.elapsed_seconds, summary=_summary(rehearsal), sections="\n".join(filter(None, sections)),
    )  # fmt: skip


def _summary(rehearsal: Rehearsal) -> str:
    """The figures that a person looks for first."""
    statements = [s for m in rehearsal.migrations for s in m.statements]
    shut = max((m.lock_seconds for m in rehearsal.migrations), default=0.0)
    told = [
        (f"{counted(len(rehearsal.migrations), 'file')}", f"{counted(len(statements), 'statement')}"),
        (f"{shut * 1000:.1f} ms" if shut else "nobody", "readers shut out, longest file" if shut else "is shut out from reading"),
        (str(sum(1 for s in statements if s.rewrites)), "statements rewrite a relation"),
    ]  # fmt: skip
    parts = [f"<li><b>{_e(figure)}</b>{_e(word)}</li>" for figure, word in told]
    parts += [
        f'<li><b class="{found.answer}">{_e(found.answer)}</b>release {_e(name)}</li>'
        for name, found in rehearsal.compatibility.items()
    ]
    if rehearsal.impact is not None:
        total = rehearsal.impact.total
        parts.append(f"<li><b>{_e(_time(total.seconds.expected))}</b>expected at production size</li>")
    return f'<ul id="summary">{"".join(parts)}</ul>'


def _e(text: str) -> str:
    return escape(redact(text))


def _table(name: str, head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    body = "".join(f"<tr>{''.join(cells)}</tr>\n" for cells in rows)
    columns = "".join(f"<th>{_e(text)}</th>" for text in head)
    return f'<div class="wide"><table id="{name}"><thead><tr>{columns}</tr></thead><tbody>\n{body}</tbody></table></div>'


def _cell(text: str, kind: str = "") -> str:
    return f'<td class="{kind}">{_e(text)}</td>' if kind else f"<td>{_e(text)}</td>"


def _code(text: str) -> str:
    return f"<td><code>{_e(' '.join(text.split()))}</code></td>"


def _checks(rehearsal: Rehearsal) -> str:
    rows = [(_cell(c.id), _cell(str(c.answer), str(c.answer)), _cell(c.details)) for c in rehearsal.checks]
    return "<h2>Checks</h2>" + _table("checks", ("check", "answer", "evidence"), rows)


def _locks(rehearsal: Rehearsal) -> str:
    line = timeline_of(rehearsal.migrations, _LEAST)
    if not line.bars:
        return '<h2>Locks</h2><p id="no-locks">No statement locked a relation that was there before its file.</p>'
    scale = (_WIDTH - _LEFT - 10) / max(line.seconds, 1e-9)
    rows = {name: number for number, name in enumerate(line.relations)}
    height = _ROW * len(rows) + 30
    parts = [
        f'<div class="wide"><svg id="timeline" role="img" aria-label="lock timeline" viewBox="0 0 {_WIDTH} {height}" width="100%">'
    ]
    for name, number in rows.items():
        y = number * _ROW
        parts.append(f'<line class="grid" x1="0" x2="{_WIDTH}" y1="{y + _ROW}" y2="{y + _ROW}"/>')
        parts.append(f'<text x="4" y="{y + 15}">{_e(name[:34])}</text>')
    for name, at in line.files:
        x = _LEFT + at * scale
        told = f"<title>{_e(name)} begins</title>"
        parts.append(f'<line class="file" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height - 24}">{told}</line>')
    for bar in line.bars:
        parts.append(_bar(bar, rows[bar.relation] * _ROW, scale))
    for tenth in range(0, 11, 2):
        x = _LEFT + tenth / 10 * line.seconds * scale
        anchor = "end" if tenth == 10 else "middle"
        parts.append(
            f'<text x="{x:.1f}" y="{height - 8}" text-anchor="{anchor}">{tenth / 10 * line.seconds * 1000:.1f} ms</text>'
        )
    parts.append("</svg></div>")
    used = [mode for mode in _COLOURS if any(bar.mode == mode for bar in line.bars)]
    legend = " ".join(
        f'<span class="one"><span class="chip" style="background:{_COLOURS[mode]}"></span>{mode}</span>'
        for mode in used
    )
    return f'<h2>Locks over time</h2><div class="wide">{"".join(parts)}</div><p id="legend">{legend}</p>'


def _bar(bar: Bar, y: float, scale: float) -> str:
    x, width = _LEFT + bar.start * scale, max(1.5, (bar.end - bar.start) * scale)
    told = f"{bar.relation}: {bar.mode}, {(bar.end - bar.start) * 1000:.1f} ms, {bar.revision}:{bar.line}"
    return (
        f'<rect class="lock" data-relation="{_e(bar.relation)}" data-mode="{bar.mode}" x="{x:.1f}" y="{y + 4:.1f}" '
        f'width="{width:.1f}" height="{_ROW - 8}" fill="{_COLOURS[bar.mode]}"><title>{_e(told)}</title></rect>'
    )


def _statements(rehearsal: Rehearsal) -> str:
    """What keeps somebody waiting or grows with the rows; the others can be unfolded."""
    everything = [(m, s) for m in rehearsal.migrations for s in m.statements]
    if not everything:
        return ""
    head = ("statement", "kind", "who waits", "for the lock on", "took", "WAL", "and it")
    shown = [_statement(m, s) for m, s in everything if noteworthy(s) or _doubt(s.evidence.claims)]
    quiet = [_statement(m, s) for m, s in everything if not (noteworthy(s) or _doubt(s.evidence.claims))]
    told = "<h2>Statements</h2>" + (_table("statements", head, shown) if shown else "")
    if quiet:
        words = f"{len(quiet)} of {counted(len(everything), 'statement')} keep nobody waiting, rewrite nothing and read no table that was there from end to end"
        told += f"<details><summary>{words}</summary>{_table('quiet', head, quiet)}</details>"
    return told


def _statement(m: MigrationTrace, s: StatementTrace) -> list[str]:
    doubt = _doubt(s.evidence.claims)
    waits = waiting_for(s)
    every = ", ".join(f"{name} {mode}" for name, mode in sorted(s.locks.items()))
    where = f'<td title="{_e(m.revision)}_{_e(m.name)}.sql">{_e(m.revision)}:{s.line}</td>'
    told = f'<td title="{_e(every)}">{_e(locks_told(s)) or "-"}</td>'
    contradicted = f' <span class="mismatch">contradicts the policy: {_e(doubt)}</span>' if doubt else ""
    return [
        where, _cell(s.kind.lower(), "word"), _cell(waits, waits), told, _cell(f"{s.seconds * 1000:.1f} ms", "n"),
        _cell(_bytes(s.evidence.wal_bytes), "n"), f'<td>{_e(besides(s)) or "-"}{contradicted}</td>',
    ]  # fmt: skip


def _doubt(claims: Iterable[object]) -> str:
    return ", ".join(
        f"{getattr(c, 'what', '')} {getattr(c, 'relation', '')}: claimed {getattr(c, 'claimed', '') or 'nothing'}"
        for c in claims
        if getattr(c, "answer", "") == "mismatch"
    )


def _queries(rehearsal: Rehearsal) -> str:
    parts = []
    for name, found in rehearsal.compatibility.items():
        revisions = list(dict.fromkeys(o.revision for q in found.queries for o in q.outcomes))
        rows = []
        for proof in found.queries:
            at = {o.revision: o for o in proof.outcomes}
            cells = [_code(proof.query), _cell(proof.answer, proof.answer)]
            for revision in revisions:
                outcome = at.get(revision)
                answer = outcome.answer if outcome else ""
                why = f"{outcome.sqlstate} {outcome.message} {outcome.note}".strip() if outcome else ""
                mark = " *" if outcome and outcome.note else ""
                cells.append(f'<td class="{answer}" title="{_e(why)}">{_e(answer or "-")}{mark}</td>')
            rows.append(cells)
        title = f'<h2>Queries of {_e(name)}: <span class="{found.answer}">{found.answer}</span></h2>'
        parts.append(
            title
            + _table(f"queries-{_e(name)}", ("query", "answer", *(r or "base" for r in revisions)), rows)
        )
        parts += [
            f'<p class="breaks">breaks at {_e(b.revision)}: <code>{_e(b.query)}</code> {_e(b.sqlstate)} {_e(b.message)}</p>'
            for b in found.breaks
        ]
        parts += [
            f'<p class="plan">* at {_e(o.revision or "base")}: <code>{_e(q.query)}</code> {_e(o.note)}</p>'
            for q in found.queries
            for o in q.outcomes
            if o.note
        ]
    return "\n".join(parts)


def _impact(rehearsal: Rehearsal) -> str:
    impact = rehearsal.impact
    if impact is None:
        return ""
    rows = [
        (
            _cell(f"{s.revision}:{s.line}"), _cell(s.kind), _cell(f"{s.production_rows:,}", "n"), _cell(_range(s.seconds), "n"),
            _cell(_range(s.lock_seconds), "n"), _cell(_bytes(s.wal_bytes.expected), "n"), _cell(_bytes(s.disk_bytes.expected), "n"),
        )
        for s in impact.statements
    ]  # fmt: skip
    total = impact.total
    rows.append(
        (
            _cell("all"), _cell(""), _cell(""), _cell(_range(total.seconds), "n"), _cell(_range(total.lock_seconds), "n"),
            _cell(_bytes(total.wal_bytes.expected), "n"), _cell(_bytes(total.disk_bytes.expected), "n"),
        )
    )  # fmt: skip
    head = ("statement", "kind", "rows", "takes", "of it with readers shut out", "WAL", "disk")
    told = f'<p class="dim">From a snapshot of {_e(impact.taken_at)}, measured at up to {impact.scales[-1]:,} rows. {_e(impact.band)}.</p>'
    return "<h2>At production size</h2>" + _table("impact", head, rows) + told


def _load(rehearsal: Rehearsal) -> str:
    load = rehearsal.load
    if load is None:
        return ""
    rows = [
        (_cell("slowest read"), _cell(f"{load.calm_read_ms:.1f} ms", "n"), _cell(f"{load.slowest_read_ms:.1f} ms", "n")),
        (_cell("slowest write"), _cell(f"{load.calm_write_ms:.1f} ms", "n"), _cell(f"{load.slowest_write_ms:.1f} ms", "n")),
    ]  # fmt: skip
    told = f"<p>{counted(load.clients, 'client')}{' of pgbench' if load.by == 'pgbench' else ''}, {counted(load.transactions, 'transaction')} in {load.seconds:.1f} s, {load.failed} failed.</p>"
    errors = "".join(f"<p><code>{_e(error)}</code></p>" for error in load.errors)
    return "<h2>Under load</h2>" + told + _table("load", ("", "before", "while the files ran"), rows) + errors


def _notes(rehearsal: Rehearsal) -> str:
    listed = "".join(f"<li>{_e(note)}</li>" for note in rehearsal.notes)
    return f'<h2>Notes</h2><ul id="notes">{listed}</ul>' if listed else ""


def _range(r: Range) -> str:
    return "-" if not r.high else f"{_time(r.expected)} ({_time(r.low)} to {_time(r.high)})"


def _time(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB"):
        if abs(size) < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GB"
