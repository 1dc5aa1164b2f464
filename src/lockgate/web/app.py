"""The application behind `lockgate serve`: a page, `/metrics` and health."""

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from lockgate.web.metrics import CONTENT_TYPE, exposition
from lockgate.web.page import render

if TYPE_CHECKING:
    from starlette.requests import Request

    from lockgate.web.watching import Environments

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
        return HTMLResponse(render(environments.look(), environments.view()), headers=_HEADERS)

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
