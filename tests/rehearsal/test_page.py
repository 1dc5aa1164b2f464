"""rehearsal.html: what stands in it, and how it looks in a real browser."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from lockgate.policy.model.schema import Relation, Schema
from lockgate.policy.model.snapshot import Snapshot
from lockgate.rehearsal.page import page
from lockgate.rehearsal.report import Rehearsal
from lockgate.rehearsal.scaling import Scaling
from lockgate.rehearsal.timeline import timeline_of

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
BASE = "create table users (id bigint primary key, email text); create table orders (id bigint primary key, user_id bigint references users, total numeric(10,2)); create index orders_user on orders (user_id);"
CHANGE = "alter table orders alter column total type numeric(14,4); update users set email = upper(email);"
INDEX = "-- lockgate: transaction=off\ncreate index concurrently users_email on users (email);"
_ASK = """<script>
const box = e => { const r = e.getBoundingClientRect(); return {x: r.x, y: r.y, w: r.width, h: r.height}; };
const bars = [...document.querySelectorAll('rect.lock')].map(e => {
  const r = e.getBoundingClientRect(), top = document.elementFromPoint(r.x + r.width / 2, r.y + r.height / 2);
  return {...box(e), relation: e.dataset.relation, mode: e.dataset.mode, fill: getComputedStyle(e).fill, top: top && top.dataset ? top.dataset.mode : ''};
});
const labels = [...document.querySelectorAll('#timeline text')].map(e => ({...box(e), text: e.textContent}));
const answer = {
  title: document.title, verdict: document.querySelector('#verdict').innerText, bars, labels, svg: box(document.querySelector('#timeline')),
  legend: document.querySelector('#legend').innerText, wide: document.documentElement.scrollWidth > innerWidth,
  rows: Object.fromEntries([...document.querySelectorAll('table')].map(t => [t.id, t.tBodies[0].rows.length])),
  broken: [...document.querySelectorAll('#queries-old td.breaks')].map(e => [e.innerText, getComputedStyle(e).color]),
  impact: document.querySelector('#impact') ? document.querySelector('#impact').innerText : '',
  requests: performance.getEntriesByType('resource').length,
};
const out = document.createElement('pre'); out.id = 'answer'; out.textContent = JSON.stringify(answer); document.body.append(out);
</script>"""


@pytest.fixture
def found(rehearse: Callable[..., Rehearsal]) -> Rehearsal:
    """A rehearsal with everything in it: a break, a rewrite, a concurrent build, an impact and a load."""
    relations = {name: Relation(name, "r", rows=50_000) for name in ("users", "orders")}
    snapshot = Snapshot("1", 18, "2026-01-01T00:00:00Z", Schema(relations=relations), schema_rev="elsewhere")
    return rehearse(
        BASE, INDEX, CHANGE, "alter table users rename column email to mail;", base=1,
        queries="select email from users where id = $1; select '<b>' from orders where id = $1;",
        scaling=Scaling(snapshot, 1000, 1), clients=2,
    )  # fmt: skip


@pytest.mark.postgres("18")
@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
def test_what_a_person_looks_for(found: Rehearsal, tmp_path: Path) -> None:
    """In a browser: the verdict on top, a red bar over the rewritten table for as long as it is shut, names beside the bars, the broken query in red, nothing loaded from elsewhere."""
    file = tmp_path / "rehearsal.html"
    file.write_text(page(found).replace("</body>", _ASK + "</body>"), "utf-8")
    command = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1280,3000", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", file.as_uri()]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    match = re.search(r'<pre id="answer">(.*?)</pre>', done.stdout, re.DOTALL)
    assert match, done.stderr[-2000:]
    seen = json.loads(match[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    assert seen["title"] == "Rehearsal: fail"
    assert seen["verdict"].startswith("Rehearsal: fail")
    assert not seen["wide"], "the page fits its window"
    assert seen["requests"] == 0
    red = [b for b in seen["bars"] if b["mode"] == "AccessExclusiveLock" and b["relation"] == "orders"]
    assert red
    assert all(b["fill"] == "rgb(203, 24, 29)" for b in red)
    assert all(b["w"] >= 1 and b["h"] >= 8 for b in seen["bars"])
    assert all(b["top"] == b["mode"] for b in seen["bars"] if b["mode"] == "AccessExclusiveLock"), (
        "nothing hides a red bar"
    )
    svg = seen["svg"]
    assert all(svg["x"] <= b["x"] and b["x"] + b["w"] <= svg["x"] + svg["w"] + 1 for b in seen["bars"])
    names = {label["text"]: label for label in seen["labels"]}
    for bar in seen["bars"]:
        label = names[bar["relation"]]
        assert label["x"] + label["w"] < bar["x"], "a name stands left of its bars"
        assert abs((label["y"] + label["h"] / 2) - (bar["y"] + bar["h"] / 2)) < 8, "on the same line"
    assert {"AccessExclusiveLock", "ShareUpdateExclusiveLock"} <= set(re.findall(r"\w+Lock", seen["legend"]))
    assert seen["rows"]["checks"] == len(found.checks)
    assert seen["rows"]["statements"] == 4
    assert [text for text, _ in seen["broken"]] == ["breaks", "breaks"]
    assert {colour for _, colour in seen["broken"]} == {"rgb(207, 34, 46)"}
    assert "50,000" in seen["impact"] or "100,000" in seen["impact"]


@pytest.mark.postgres("18")
def test_what_stands_in_it(found: Rehearsal) -> None:
    """Texts are escaped, nothing is loaded from elsewhere, every part has its heading, and impact and load are filled in."""
    text = page(found)
    assert "<script" not in text
    assert not re.search(r"(src|href)=|url\(|@import", text)
    assert "&lt;b&gt;" in text
    assert "select '<b>'" not in text
    for heading in (
        "Checks",
        "Locks over time",
        "Statements",
        "Queries of old",
        "At production size",
        "Under load",
    ):
        assert f"<h2>{heading}" in text, heading
    impact, load = found.impact, found.load
    assert impact is not None
    assert load is not None
    rewrite = next(s for s in impact.statements if s.kind == "ALTER TABLE")
    assert rewrite.production_rows == 50_000
    assert [m.rows for m in rewrite.measured] == [100, 1000]
    assert 0 < rewrite.seconds.low < rewrite.seconds.expected < rewrite.seconds.high
    assert rewrite.lock_seconds == rewrite.seconds
    assert rewrite.disk_bytes.expected > 40_000
    assert rewrite.wal_bytes.expected > rewrite.measured[-1].wal_bytes
    assert load.clients == 2
    assert load.transactions > 50
    assert any("42703" in error or "email" in error for error in load.errors) == (load.failed > 0)


@pytest.mark.postgres("18")
def test_a_plan_that_got_worse(rehearse: Callable[..., Rehearsal]) -> None:
    """A query whose index is gone is marked in its matrix, and what became of its plan stands below it."""
    queries = "select id from orders where user_id = $1; select id from users;"
    text = page(rehearse(BASE, "drop index orders_user;", base=1, queries=queries))
    assert text.count("compatible *</td>") == 1
    assert re.search(
        r'<p class="plan">\* at \d{13}: <code>select id from orders[^<]*</code> reads orders from end to end',
        text,
    )


@pytest.mark.postgres("18")
def test_timeline(found: Rehearsal) -> None:
    """A lock lasts to the end of its transaction, that of a statement that runs alone to its own end; the strongest comes last."""
    line = timeline_of(found.migrations, 0.001)
    by = {(b.revision[-1], b.relation, b.mode): b for b in line.bars}
    rewrite, update = by["2", "orders", "AccessExclusiveLock"], by["2", "users", "RowExclusiveLock"]
    assert rewrite.end == update.end > update.start > rewrite.start
    build = by["1", "users", "ShareUpdateExclusiveLock"]
    assert build.start == 0
    assert build.end <= rewrite.start + 1e-9
    assert line.bars[-1].mode == "AccessExclusiveLock"
    assert line.seconds == pytest.approx(max(b.end for b in line.bars))
    empty = timeline_of(())
    assert msgspec.to_builtins(empty) == {"bars": (), "relations": (), "seconds": 0.0, "files": ()}
