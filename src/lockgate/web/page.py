"""The page of `lockgate serve`: what an operator asks first of every environment, on a desk and on a phone. It only shows."""

import shlex
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from lockgate.postgres.overview import Overview
from lockgate.record.redact import redact
from lockgate.record.words import counted, lasting
from lockgate.web.metrics import Watched

_STYLE = """
:root{--ink:#1b1f24;--dim:#59636e;--line:#d8dee4;--card:#fff;--back:#f6f8fa;--good:#116329;--bad:#a40e26;--warn:#7d4e00}
@media (prefers-color-scheme:dark){:root{--ink:#e6edf3;--dim:#9198a1;--line:#30363d;--card:#161b22;--back:#0d1117;--good:#4ac26b;--bad:#ff7b72;--warn:#d4a72c}}
*{box-sizing:border-box}body{font:15px/1.5 system-ui,sans-serif;margin:0 auto;max-width:76rem;padding:1rem;color:var(--ink);background:var(--back)}
h1{font-size:1.25rem;margin:.2rem 0 1rem}h2{font-size:1.15rem;margin:0;overflow-wrap:anywhere}h3{font-size:.95rem;margin:1.2rem 0 .3rem;color:var(--dim)}
section{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:1rem 1.2rem;margin:0 0 1.2rem}
header{display:flex;gap:.8rem;align-items:baseline;flex-wrap:wrap}nav{margin-left:auto;font-size:.9rem}nav a{color:inherit;margin-left:.8rem}
.state{font-weight:600}.good{color:var(--good)}.bad{color:var(--bad)}.warn{color:var(--warn)}.dim{color:var(--dim)}
ul.todo{margin:.6rem 0 0;padding:.6rem .8rem .6rem 1.6rem;border-left:4px solid var(--warn);background:var(--back)}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(15rem,1fr));gap:.5rem 1.5rem;margin:1rem 0 0}dt{color:var(--dim);font-size:.85rem}dd{margin:0;overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.3rem .8rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top;overflow-wrap:anywhere}
th{font-weight:600;font-size:.85rem;color:var(--dim)}code{font-size:13px}
@media (max-width:640px){body{padding:.6rem}section{padding:.8rem}nav{margin-left:0}nav a:first-child{margin-left:0}
table,tbody,tr,td{display:block;width:100%}tr.head{display:none}tr{border-bottom:1px solid var(--line);padding:.4rem 0}
td{border:0;padding:.1rem 0;display:grid;grid-template-columns:7rem 1fr;gap:.5rem}td::before{content:attr(data-l);color:var(--dim);font-size:.85rem}td:empty{display:none}}
"""
_GOOD = frozenset({"succeeded", "verified", "equal", "pass", "live", "finished", "reconciled"})
_BAD = frozenset({"failed", "held", "abandoned", "aborted", "differs", "fail"})


def render(watched: Sequence[Watched], views: Mapping[str, Overview] | None = None) -> str:
    """The page: one section an environment, with what is wrong and the command for it on top. Everything in it is escaped."""
    parts = (
        "".join(_section(one, (views or {}).get(one.name, Overview())) for one in watched)
        or "<p>No environment is configured in lockgate.toml, or none of their variables is set.</p>"
    )
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width,initial-scale=1'>"
        f"<meta http-equiv=refresh content=15><title>lockgate</title><style>{_STYLE}</style>"
        f"<header><h1>lockgate</h1><nav><a href=metrics>metrics</a><a href=healthz>health</a></nav></header>{parts}</html>"
    )


def _section(one: Watched, view: Overview) -> str:
    name = f"<h2>{_text(one.name)}</h2>"
    if not one.figures.reached:
        return f"<section><header>{name}<span class='state bad'>unreachable</span></header><p class=bad>cannot be read: {_text(one.figures.why)}</p></section>"
    todo = _todo(one, view)
    word, kind = _state(one, view, todo)
    listed = "".join(f"<li>{_text(what)}: <code>{_text(command)}</code>" for what, command in todo)
    tables = [
        _rows("Runs", ("run", "ended", "by", "begun", "took", "why"), [_run(r) for r in view.all("run")]),
        _rows("Releases", ("sha", "state", "last step", "by", "begun", "why"), [_release(r) for r in view.all("release")]),
        _rows("Instances", ("service", "release", "window", "live", "last seen"), [_instance(i) for i in view.all("instance")]),
        _rows("Moves", ("move", "stage", "copied", "since", "note"), [_move(m) for m in view.all("move")]),
        _rows("Indexes", ("index", "generation", "store", "state", "records", "since"), [_index(i) for i in view.all("index")]),
        _regions(one),
    ]  # fmt: skip
    lost = f"<p class=warn>not all could be read: {_text(view.why)}</p>" if view.why else ""
    return (
        f"<section><header>{name}<span class='state {kind}'>{_text(word)}</span></header>"
        f"{f'<ul class=todo>{listed}</ul>' if listed else ''}{lost}{_facts(one, view)}{''.join(tables)}</section>"
    )


def _todo(one: Watched, view: Overview) -> list[tuple[str, str]]:
    """(what is wrong, the command that tells more), the worst first."""
    env = f" --env {shlex.quote(one.name)}" if one.name != "default" else ""
    run, release, workers = view.first("run"), view.first("release"), view.first("workers")
    found = []
    if workers and (workers["state"] == "held" or workers["overdue"]):
        late = ", overdue" if workers["overdue"] else ""
        found.append(
            (
                f"workers are {workers['state']}{late}: {workers['reason'] or 'no reason given'}",
                f"lockgate release workers status{env}",
            )
        )
    if release and release["state"] in ("failed", "held"):
        found.append(
            (
                f"release {release['sha'][:12]} {release['state']}: {release['reason']}",
                f"lockgate release recover{env}",
            )
        )
    if run and run["state"] == "running" and not run["live"]:
        found.append(("a run ended without a word", f"lockgate status{env}"))
    elif run and run["state"] in ("failed", "held", "abandoned"):
        found.append((f"the last run {run['state']}: {run['reason']}", f"lockgate status{env}"))
    if mode := view.first("readonly"):
        found.append(
            (f"read-only mode by {mode['actor']}: {mode['reason']}", f"lockgate readonly status{env}")
        )
    mismatched = sum(f.value for f in one.figures.rows if f.name == "mismatch")
    if mismatched:
        found.append(
            (
                f"{counted(int(mismatched), 'instance')} outside the window of the schema",
                f"lockgate instances{env}",
            )
        )
    if one.parity is not None and not one.parity.equal:
        found.append(("regions are not equal", f"lockgate parity{env}"))
    if one.pending:
        found.append((f"{counted(one.pending, 'file')} pending", f"lockgate plan{env}"))
    return found


def _state(one: Watched, view: Overview, todo: Sequence[object]) -> tuple[str, str]:
    """(one word for all, its colour)."""
    run = view.first("run")
    if run and run["live"]:
        return "a run is under way", "warn"
    if todo:
        return counted(len(todo), "matter") + " to look at", "warn"
    if not any(f.name == "revision" for f in one.figures.rows):
        return "lockgate was never run here", "dim"
    return "in order", "good"


def _facts(one: Watched, view: Overview) -> str:
    state, lease, backup = view.first("state"), view.first("lease"), view.first("backup")
    values = {figure.name: figure for figure in one.figures.rows}
    revision = values["revision"].labels["revision"] if "revision" in values else ""
    told: list[tuple[str, str, str]] = [
        ("revision", f"{revision} {state['name'] if state else ''}".strip() or "none", "")
    ]
    if state:
        told.append(("applied", f"{counted(state['files'], 'file')}, the last one {_ago(state['age'])}", ""))
        told.append(("floor", state["floor"] or "none announced", ""))
    if one.pending is not None:
        told.append(("pending files", str(one.pending), "warn" if one.pending else "good"))
    if lease and lease["left"] > 0:
        told.append(
            (
                "lease",
                f"{lease['holder']} releases {lease['sha'][:12]} since {lasting(lease['age'])}, {lasting(lease['left'])} left",
                "warn",
            )
        )
    elif view.things:
        told.append(("lease", "free: nobody releases", ""))
    if workers := view.first("workers"):
        told.append(("workers", f"{workers['state']} since {lasting(workers['age'])}", "warn"))
    if backup:
        age = f"{backup['provider']} {backup['state']} {_ago(backup['age'])}"
        told.append(("newest backup", age, "" if backup["state"] in ("verified", "taken") else "bad"))
        drilled = (
            "never" if backup["drilled"] is None else f"{'equal' if backup['equal'] else 'failed'} {_ago(backup['drilled'])}"
        )  # fmt: skip
        told.append(
            ("newest drill", drilled, "warn" if backup["drilled"] is None or not backup["equal"] else "")
        )
    if brought := view.first("environment"):
        told.append(
            ("environment revision", f"{brought['digest'][:12]} at {brought['schema']}, {_ago(brought['age'])}", "")
        )  # fmt: skip
    return (
        "<dl>"
        + "".join(
            f"<div><dt>{_text(word)}<dd class='{kind}'>{_text(value)}</dd></div>"
            for word, value, kind in told
        )
        + "</dl>"
    )


def _run(r: Mapping[str, Any]) -> list[tuple[str, str]]:
    state = "under way" if r["live"] else "no word" if r["state"] == "running" else r["state"]
    took = "" if r["seconds"] is None else lasting(r["seconds"])
    why = f"{r['reason']} {r['message'][:160]}".strip()
    return [(r["kind"], ""), (state, _kind(state)), (r["operator"], ""), (_ago(r["age"]), ""), (took, ""), (why, "dim")]  # fmt: skip


def _release(r: Mapping[str, Any]) -> list[tuple[str, str]]:
    why = f"{r['reason']} {r['message'][:160]}".strip()
    return [(r["sha"][:12], "code"), (r["state"], _kind(r["state"])), (r["step"] or "", ""), (r["operator"], ""), (_ago(r["age"]), ""), (why, "dim")]  # fmt: skip


def _instance(i: Mapping[str, Any]) -> list[tuple[str, str]]:
    lost = f", {i['lost']} lost within the hour" if i["lost"] else ""
    window = f"{i['min']} to {i['max']}" if i["min"] or i["max"] else "none told"
    return [(i["service"], ""), (i["release"], ""), (window, ""), (f"{i['live']}{lost}", "warn" if i["lost"] else "good"), (_ago(i["age"]), "")]  # fmt: skip


def _move(m: Mapping[str, Any]) -> list[tuple[str, str]]:
    share = "" if m["progress"] is None else f", {m['progress']:.0%}"
    eta = "" if m["eta"] is None else f", {lasting(m['eta'])} left"
    note = m["reason"] or (f"{counted(m['quarantined'], 'row')} in quarantine" if m["quarantined"] else "")
    return [(m["name"], ""), (m["stage"], _kind(m["stage"])), (f"{counted(m['rows'] or 0, 'row')}{share}{eta}", ""), (lasting(m["age"]), ""), (note, "warn")]  # fmt: skip


def _index(i: Mapping[str, Any]) -> list[tuple[str, str]]:
    state = "live" if i["live"] else i["state"]
    kind = "warn" if i["pending"] else _kind(state)
    told = f"{state}{', ' + i['verdict'] if i['verdict'] else ''}{', a swap is half done' if i['pending'] else ''}"
    return [(i["name"], ""), (i["generation"], "code"), (i["store"], ""), (told, kind), (str(i["records"]), ""), (lasting(i["age"]), "")]  # fmt: skip


def _regions(one: Watched) -> str:
    if one.parity is None:
        return ""
    rows = [
        [(name, ""), (r.answer, _kind(r.answer) or "warn"), (r.revision, "code"), (r.schema_digest[:12], "code"), (r.detail, "")]
        for name, r in one.parity.regions.items()
    ]  # fmt: skip
    return _rows("Regions", ("region", "answer", "revision", "schema", "note"), rows)


def _rows(title: str, head: Sequence[str], rows: Sequence[Sequence[tuple[str, str]]]) -> str:
    """A table with its title, nothing where it has no rows; each cell is (text, class)."""
    if not rows:
        return ""
    lines = "".join(
        f"<tr>{''.join(_cell(label, *cell) for label, cell in zip(head, row, strict=True))}</tr>"
        for row in rows
    )
    return f"<h3>{title}</h3><table><tr class=head>{''.join(f'<th>{word}</th>' for word in head)}</tr>{lines}</table>"


def _cell(label: str, text: str, kind: str) -> str:
    shown = f"<code>{_text(text)}</code>" if kind == "code" and text else _text(text)
    return f"<td data-l='{label}' class='{'' if kind == 'code' else kind}'>{shown}</td>"


def _kind(word: str) -> str:
    return "good" if word in _GOOD else "bad" if word in _BAD or word == "no word" else "warn" if word in ("under way", "running", "building") else ""  # fmt: skip


def _ago(seconds: float) -> str:
    return f"{lasting(seconds)} ago"


def _text(text: str) -> str:
    return escape(redact(text))
