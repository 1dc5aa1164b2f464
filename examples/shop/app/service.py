"""The shop's web service: health, a list of orders behind a token, and the release that it is, in a header of every answer."""

import hmac
import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg

RELEASE = os.environ.get("RELEASE_SHA", "")
TOKEN = os.environ["SMOKE_TOKEN"]
URL = os.environ["SHOP_DATABASE_URL"]
ORDERS = "SELECT order_id, total_cents FROM shop.order_totals ORDER BY placed_at DESC LIMIT 20"


class Handler(BaseHTTPRequestHandler):
    """Answers GET /health and GET /orders."""

    def do_GET(self) -> None:
        """Answer; what goes wrong with the database is a 503, never a page."""
        try:
            status, body = self.answer()
        except psycopg.Error as error:
            status, body = 503, {"status": "fail", "output": type(error).__name__}
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Release-Sha", RELEASE)
        self.end_headers()
        self.wfile.write(data)

    def answer(self) -> tuple[int, dict[str, object]]:
        """The status and the body for this path."""
        if self.path == "/health":
            with psycopg.connect(URL, connect_timeout=3) as connection:
                row = connection.execute("SELECT max(revision_id) FROM lockgate.migration_history").fetchone()
            return 200, {"status": "pass", "releaseId": RELEASE, "revision": row[0] if row else ""}
        if self.path == "/orders":
            given = self.headers.get("Authorization", "")
            if not hmac.compare_digest(given.encode(), f"Bearer {TOKEN}".encode()):
                return 401, {"error": "a token is needed"}
            with psycopg.connect(URL, connect_timeout=3) as connection:
                rows = connection.execute(ORDERS).fetchall()
            return 200, {"orders": [{"id": order, "totalCents": total} for order, total in rows]}
        return 404, {"error": "there is no such path"}

    def log_message(self, *_: object) -> None:
        """Quiet: the demo has its own output."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["SHOP_PORT"])), Handler).serve_forever()
