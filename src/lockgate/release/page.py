"""``report.html``: one file that needs nothing else, to be opened from an artifact store at three in the morning."""

from html import escape
from typing import Any

from lockgate.record.redact import redact

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:64rem;padding:0 1rem;color:#1b1f24;background:#fff}"
    "h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse;width:100%}"
    "td,th{border-bottom:1px solid #d0d7de;padding:.35rem .6rem;text-align:left;vertical-align:top;overflow-wrap:anywhere}code{background:#f2f4f6;padding:0 .25rem}"
    ".pass,.done{color:#116329}.fail,.failed{color:#a40e26}.hold,.held,.running{color:#7d4e00}.skipped{color:#57606a}"
    ".shout{background:#a40e26;color:#fff;padding:.5rem .8rem;font-weight:600}"
    "@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}td,th{border-color:#30363d}code{background:#161b22}.pass,.done{color:#4ac26b}"
    ".fail,.failed{color:#ff7b72}.hold,.held,.running{color:#d4a72c}.skipped{color:#8b949e}}"
    # A phone shows each row as a card of its own, every cell beside its column's name.
    "@media(max-width:640px){body{margin:0 auto;padding:.6rem}table,tbody,tr,td{display:block;width:100%}tr.head{display:none}"
    "tr{border-bottom:1px solid #d0d7de;padding:.4rem 0}td{border:0;padding:.1rem 0}td[data-l]{display:grid;grid-template-columns:6rem 1fr;gap:.5rem}"
    "td[data-l]::before{content:attr(data-l);color:#57606a}td:empty{display:none}}"
)


def page(release: dict[str, Any], migration: dict[str, Any], smoked: bool) -> str:
    """The page of a release, from the contents of ``release.json`` and ``migration.json``. Everything in it is escaped."""
    status = release["status"]
    where = f" to {_t(release['environment'])}" if release["environment"] else ""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>Release {_t(release['headSha'][:12])}: {_t(status)}</title><style>{_STYLE}</style>",
        f"<h1>Release <code>{_t(release['headSha'][:12])}</code>{where}: <span class={_t(status)}>{_t(status)}</span></h1>",
    ]
    parts += [f"<p class=shout>{_t(warning)}</p>" for warning in release["warnings"]]
    if release["reasonCode"]:
        parts.append(
            f"<p><code>{_t(release['reasonCode'])}</code> {_t(release['reason'])}</p><p>State: {_t(release['state'])}</p><p>Next: <code>{_t(release['next'])}</code></p>"
        )
    approvers = ", ".join(f"{a['approver']} as {a['role']}" for a in release["approvals"])
    facts = [
        ("Operator", release["operator"]), ("Release", release["releaseKey"]), ("Run", release["runId"]), ("Plan", release["planHash"]),
        ("Impact", f"{release['impact']}: {release['impactReason']}"), ("Schema", f"{release['before'] or 'empty'} → {release['after'] or 'the same'}"),
        ("Backup", release["backup"].get("backupId", "none")), ("Approved by", approvers or "nobody was asked"),
        ("Image", release["imageDigest"] or "none named"), ("Rollback image", release["rollbackDigest"] or "none named"),
        ("Owners", ", ".join(release["owners"])), ("Pager", release["pager"]), ("Channel", release["channel"]), ("Took", f"{release['elapsedSeconds']} s"), ("Written", release["generatedAt"]),
    ]  # fmt: skip
    parts.append(_table(("", ""), [(name, str(value)) for name, value in facts if value]))
    parts.append("<h2>Steps</h2>")
    rows = "".join(
        f"<tr><td data-l=step>{_t(s['name'])}<td data-l=state class={_t(s['state'])}>{_t(s['state'])}<td data-l=took>{s['seconds']:.1f} s<td data-l=evidence>{_t((s['reasonCode'] + ' ' + s['message']).strip())}"
        for s in release["steps"]
    )
    parts.append(f"<table><tr class=head><th>step<th>state<th>took<th>evidence{rows}</table>")
    if migration["migrations"]:
        parts.append("<h2>Migrations</h2>")
        parts.append(
            _table(
                ("revision", "name", "state", "took"),
                [
                    (m["revision"], m["name"], m["state"], f"{m['durationMs']} ms")
                    for m in migration["migrations"]
                ],
            )
        )
    if migration["checks"]:
        parts.append("<h2>Checks</h2>")
        parts.append(
            _table(
                ("check", "answer", "evidence"),
                [(c["id"], c["answer"], c["details"]) for c in migration["checks"]],
            )
        )
    parts.append("<h2>Checklist</h2>")
    parts.append(
        _table(
            ("item", "state", "evidence"),
            [(i["item"], i["state"], i["evidence"]) for i in release["checklist"]],
        )
    )
    parts.append("<h2>Timeline</h2>")
    parts.append(
        _table(("at", "status", "detail"), [(e["at"], e["status"], e["detail"]) for e in release["timeline"]])
    )
    if release["notes"]:
        parts.append("<h2>Notes</h2><ul>" + "".join(f"<li>{_t(n)}" for n in release["notes"]) + "</ul>")
    others = "migration.json, verification.json" + (", api-smoke.json" if smoked else "") + ", release.json"
    parts.append(f"<p>Beside this page: {others}.</p></html>\n")
    return "\n".join(parts)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    top = "<tr class=head>" + "".join(f"<th>{_t(h)}" for h in head) if any(head) else ""
    names = [f" data-l={_t(h)}" if h else "" for h in head]
    body = "".join(
        "<tr>" + "".join(f"<td{name}>{_t(str(cell))}" for name, cell in zip(names, row, strict=True))
        for row in rows
    )
    return f"<table>{top}{body}</table>"


def _t(text: str) -> str:
    return escape(redact(str(text)), quote=True)
