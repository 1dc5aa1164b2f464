"""``drift.html``: one page without scripts or anything from elsewhere. Verdict, causes, checks, distributions, worst queries."""

from collections.abc import Sequence
from html import escape

from lockgate.indexes.drift import Drift, Shown, Worst
from lockgate.record.redact import redact

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}
.pass{color:#116329}.fail{color:#b3141d}.hold{color:#8a5a00}
.verdict{font-size:1.3rem;font-weight:700;border-left:.4rem solid;padding-left:.8rem}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.25rem .8rem .25rem 0;border-bottom:1px solid #d8dee4;vertical-align:top}
td.n{text-align:right;font-variant-numeric:tabular-nums}
.charts{display:flex;flex-wrap:wrap;gap:1.5rem}figure{margin:0}figcaption{font-size:.9rem}
.lists{display:grid;grid-template-columns:1fr 1fr;gap:1rem}.lists ol{margin:.3rem 0;padding-left:1.6rem}
.gone{background:#ffebe9}.new{background:#dafbe1}code{font-size:.9em}
@media(prefers-color-scheme:dark){body{background:#14181d;color:#dde3ea}th,td{border-color:#394049}.gone{background:#5c1a1f}.new{background:#12421f}
.pass{color:#57c16c}.fail{color:#ff7b72}.hold{color:#e3b341}}
"""


def page(drift: Drift, title: str) -> str:
    """The whole page. What comes from files is escaped, secrets are redacted."""
    m = drift.measured
    seen = f"{m.queries} queries ({m.judged} judged), {m.documents} documents, k = {m.k}, {m.seeds} seed(s), {m.paraphrases} paraphrase(s), gold set {m.gold_digest[:12]}, reference embedder {m.reference}"
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'><title>{_text(f'Drift: {title}')}</title><style>{_STYLE}</style>",
        f"<h1>Retrieval drift: {_text(title)}</h1>",
        f"<p class='verdict {drift.verdict}' id=verdict>{drift.verdict}</p><p>{_text(drift.profile)}; {_text(seen)}</p>",
        _causes(drift),
        "<h2>Checks</h2><table id=checks><tr><th>check<th>value<th>limit<th>answer<th>evidence</tr>",
        *(
            f"<tr><td><code>{_text(c.id)}</code><td class=n>{_number(c.value)}<td class=n>{_number(c.limit)}<td class={c.answer}>{c.answer}<td>{_text(c.details)}</tr>"
            for c in drift.checks
        ),
        "</table><h2>Distributions</h2><div class=charts>",
        _histogram("change of delta-S per query", drift.spread.delta_s),
        _histogram("settled overlap@k per query", drift.spread.overlap),
        _histogram("change of nDCG@k per query", drift.spread.ndcg),
        _bars("states", drift.spread.states),
        "</div><h2>Worst queries</h2>",
        *map(_worst, drift.worst),
        "" if drift.worst else "<p>No query changed.</p>",
        "</html>",
    ]
    return "\n".join(parts)


def _text(text: str) -> str:
    return escape(redact(text))


def _number(value: float | None) -> str:
    return "&ndash;" if value is None else f"{value:.4g}"


def _causes(drift: Drift) -> str:
    if not drift.causes:
        return ""
    rows = "".join(
        f"<li><b>{_text(c.cause)}</b>{'' if c.sure else ' (possible)'}: {_text(c.evidence)}</li>"
        for c in drift.causes
    )
    return f"<h2>Causes</h2><ul id=causes>{rows}</ul>"


def _histogram(title: str, values: Sequence[float], bins: int = 20) -> str:
    if not values:
        return ""
    low, high = min(values), max(values)
    width = (high - low) / bins or 1.0
    counts = [0] * bins
    for value in values:
        counts[min(bins - 1, int((value - low) / width))] += 1
    top = max(counts)
    bars = "".join(
        f"<rect x={n * 15} y={110 - count / top * 100:.1f} width=13 height={count / top * 100:.1f} fill=#2f81f7><title>{low + n * width:.4g}: {count}</title></rect>"
        for n, count in enumerate(counts)
        if count
    )
    return (
        f"<figure><figcaption>{_text(title)}</figcaption><svg width=300 height=130 role=img aria-label='{_text(title)}'>{bars}"
        f"<line x1=0 x2=300 y1=110 y2=110 stroke=currentColor /><text x=0 y=126 font-size=12 fill=currentColor>{low:.3g}</text>"
        f"<text x=300 y=126 font-size=12 text-anchor=end fill=currentColor>{high:.3g}</text></svg></figure>"
    )


def _bars(title: str, counts: dict[str, int]) -> str:
    top = max([*counts.values(), 1])
    rows = "".join(
        f"<rect x=90 y={n * 26 + 4} width={count / top * 180:.1f} height=18 fill=#2f81f7 /><text x=0 y={n * 26 + 18} font-size=13 fill=currentColor>{_text(name)}</text>"
        f"<text x={96 + count / top * 180:.1f} y={n * 26 + 18} font-size=13 fill=currentColor>{count}</text>"
        for n, (name, count) in enumerate(counts.items())
    )
    return f"<figure><figcaption>lambda: {_text(title)}</figcaption><svg width=310 height=110 role=img aria-label='lambda states'>{rows}</svg></figure>"


def _worst(w: Worst) -> str:
    before, after = {h.id for h in w.baseline}, {h.id for h in w.candidate}
    quality = (
        ""
        if w.ndcg_before is None or w.ndcg_after is None
        else f", nDCG {w.ndcg_before:.3f} &rarr; {w.ndcg_after:.3f}"
    )
    return (
        f"<section class=worst><h3><code>{_text(w.qid)}</code> {_text(w.text)}</h3><p>overlap {w.overlap:.2f}, delta-S {w.delta_s:+.4f}{quality}, {_text(w.state)}</p>"
        f"<div class=lists><div>before<ol>{_items(w.baseline, after, 'gone')}</ol></div><div>after<ol>{_items(w.candidate, before, 'new')}</ol></div></div></section>"
    )


def _items(hits: Sequence[Shown], others: set[str], mark: str) -> str:
    return "".join(
        f"<li{'' if h.id in others else f' class={mark}'}><code>{_text(h.id)}</code> {_number(h.score)}</li>"
        for h in hits
    )
