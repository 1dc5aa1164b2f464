"""The application behind `lockgate serve`: a page, `/metrics` and health."""

from html import escape
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from lockgate.record.redact import redact
from lockgate.web.metrics import CONTENT_TYPE, Watched, exposition

if TYPE_CHECKING:
    from starlette.requests import Request

    from lockgate.web.watching import Environments

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#222}
table{border-collapse:collapse;width:100%;margin:.5rem 0 2rem}td,th{text-align:left;padding:.3rem .8rem .3rem 0;border-bottom:1px solid #ddd}
.good{color:#176b2c}.bad{color:#a51d1d}.warn{color:#8a5a00}code{font-size:13px}
@media (prefers-color-scheme:dark){body{background:#16181a;color:#ddd}td,th{border-color:#333}.good{color:#6fcf87}.bad{color:#ff8a8a}.warn{color:#e8b65a}}
"""
_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'",
    "x-content-type-options": "nosniff",
}


def make_app(environments: "Environments") -> Starlette:
    """The application over ``environments``. It only reads."""

    def metrics(request: "Request") -> Response:
        return Response(
            exposition(environments.look()),
            media_type=None,
            headers={"content-type": CONTENT_TYPE, "cache-control": "no-store"},
        )

    def health(request: "Request") -> Response:
        watched = environments.look()
        lost = [one.name for one in watched if not one.figures.reached]
        document = {
            "status": "warn" if lost else "pass",
            "checks": {
                f"{one.name}:reachable": [{"status": "pass" if one.figures.reached else "warn"}]
                for one in watched
            },
        }
        return JSONResponse(
            document, media_type="application/health+json", headers={"cache-control": "no-store"}
        )

    def livez(request: "Request") -> Response:
        return JSONResponse(
            {"status": "pass"}, media_type="application/health+json", headers={"cache-control": "no-store"}
        )

    def page(request: "Request") -> Response:
        return HTMLResponse(render(environments.look()), headers=_HEADERS)

    # Plain functions: Starlette runs them in threads, and looking at databases blocks.
    return Starlette(
        routes=[
            Route("/", page),
            Route("/metrics", metrics),
            Route("/healthz", health),
            Route("/readyz", livez),
            Route("/livez", livez),
        ]
    )


def render(watched: tuple[Watched, ...]) -> str:
    """The page: one section an environment, with its regions, services and runs."""
    parts = (
        "".join(_section(one) for one in watched) or "<p>No environment is configured in lockgate.toml.</p>"
    )
    return f"<!doctype html><html lang=en><meta charset=utf-8><meta http-equiv=refresh content=15><title>lockgate</title><style>{_STYLE}</style><h1>lockgate</h1>{parts}</html>"


def _section(one: Watched) -> str:
    head = f"<h2>{_text(one.name)}</h2>"
    if not one.figures.reached:
        return f"{head}<p class=bad>cannot be read: {_text(one.figures.why)}</p>"
    values = {figure.name: figure for figure in one.figures.rows}
    revision = values["revision"].labels["revision"] if "revision" in values else ""
    lines = [("revision", revision or "lockgate was never run here", "")]
    if one.pending is not None:
        lines.append(("pending files", str(one.pending), "warn" if one.pending else "good"))
    for name, word in (
        ("backup_age", "age of the newest backup"),
        ("drill_age", "age of the newest restore drill"),
    ):
        if name in values:
            lines.append((word, f"{values[name].value / 3600:.1f} h", ""))
    if "read_only" in values and values["read_only"].value:
        lines.append(("read-only mode", "on", "warn"))
    for figure in one.figures.rows:
        if figure.name == "runs":
            word = f"runs {figure.labels['outcome']} {figure.labels['reason']}".strip()
            lines.append(
                (
                    word,
                    f"{figure.value:.0f}",
                    "" if figure.labels["outcome"] in ("succeeded", "running") else "warn",
                )
            )
        elif figure.name == "instances":
            lines.append(
                (
                    f"live {figure.labels['service']} {figure.labels['release']}".strip(),
                    f"{figure.value:.0f}",
                    "",
                )
            )
        elif figure.name == "mismatch" and figure.value:
            lines.append(
                (
                    f"{figure.labels['service']} {figure.labels['kind'].replace('_', ' ')}",
                    f"{figure.value:.0f}",
                    "bad",
                )
            )
    table = "".join(
        f"<tr><td>{_text(word)}</td><td class='{kind}'>{_text(value)}</td></tr>"
        for word, value, kind in lines
    )
    return f"{head}<table>{table}</table>{_regions(one)}"


def _regions(one: Watched) -> str:
    if one.parity is None:
        return ""
    kinds = {"equal": "good", "differs": "bad"}
    rows = "".join(
        f"<tr><td>{_text(name)}</td><td class={kinds.get(r.answer, 'warn')}>{_text(r.answer)}</td><td><code>{_text(r.revision)}</code></td>"
        f"<td><code>{_text(r.schema_digest[:12])}</code></td><td>{_text(r.detail)}</td></tr>"
        for name, r in one.parity.regions.items()
    )
    return f"<table><tr><th>region</th><th>answer</th><th>revision</th><th>schema</th><th></th></tr>{rows}</table>"


def _text(text: str) -> str:
    return escape(redact(text))
