"""The comment on a pull request, against a double of GitHub's API on loopback that checks what it is asked."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lockgate.release.pull_request import comment, mark_of, place_of
from release.conftest import SHA
from support.calls import Project

TOKEN = "ghs_0Canary-77"
ENV = '[env.production]\nurl_env = "PRODUCTION_URL"\n[backup]\nprovider = "pg_dump"\n'


class GitHub:
    """Comments by number of their pull request; what was asked; ``refuse`` answers everything with that status."""

    def __init__(self) -> None:
        self.comments: dict[int, list[dict]] = {}
        self.merged: dict[str, int] = {}
        self.asked: list[str] = []
        self.refuse = 0
        self.url = ""
        self.next_id = 1000

    def answer(self, method: str, path: str, body: dict) -> tuple[int, object]:
        self.asked.append(f"{method} {path}")
        if self.refuse:
            return self.refuse, {"message": "Resource not accessible by integration"}
        head, _, query = path.partition("?")
        parts = head.split("/")[1:]
        if parts[:3] != ["repos", "octo", "shop"]:
            return 404, {}
        match method, parts[3:]:
            case "GET", ["commits", sha, "pulls"]:
                return 200, [{"number": self.merged[sha]}] if sha in self.merged else []
            case "GET", ["issues", number, "comments"]:
                page = int(query.rpartition("page=")[2])
                return 200, self.comments.get(int(number), [])[(page - 1) * 100 : page * 100]
            case "POST", ["issues", number, "comments"]:
                self.next_id += 1
                self.comments.setdefault(int(number), []).append({"id": self.next_id, "body": body["body"]})
                return 201, {"html_url": f"{self.url}/octo/shop/pull/{number}#{self.next_id}"}
            case "PATCH", ["issues", "comments", number]:
                for one in (c for many in self.comments.values() for c in many if c["id"] == int(number)):
                    one["body"] = body["body"]
                return 200, {"html_url": "edited"}
        return 404, {}


@pytest.fixture
def github() -> Iterator[GitHub]:
    """A running double."""
    made = GitHub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else {}
            known = self.headers.get("Authorization") == f"Bearer {TOKEN}" and self.headers.get("User-Agent")
            status, said = made.answer(self.command, self.path, body) if known else (401, {})
            data = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_POST(self) -> None:
            self.do_GET()

        def do_PATCH(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield made
        server.shutdown()
        thread.join(5)


def environment(github: GitHub, event: Path | None = None, **more: str) -> dict[str, str]:
    """What GitHub sets for a step that was handed the token."""
    found = {
        "GITHUB_ACTIONS": "true", "GITHUB_API_URL": github.url, "GITHUB_REPOSITORY": "octo/shop", "GITHUB_TOKEN": TOKEN,
        "GITHUB_EVENT_PATH": str(event) if event else "", "GITHUB_EVENT_NAME": "pull_request" if event else "push", "GITHUB_REF": "refs/heads/main",
    }  # fmt: skip
    return {**found, **more}


@pytest.mark.postgres("18")
def test_a_release_comments_on_its_pull_request(make: Callable[..., Project], github: GitHub, tmp_path: Path):
    """One comment an environment with backup, run, verification and checklist; the next release writes it anew; the token is never shown."""
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"pull_request": {"number": 7}}))
    project = make(ENV)
    github.comments[7] = [{"id": n, "body": "looks good"} for n in range(100)]
    answer = project.json("release", "--sha", SHA, "--env", "production", **environment(github, event))
    assert answer.code == 0, answer
    assert f"told at {github.url}/octo/shop/pull/7#1001" in answer.err
    body = github.comments[7][-1]["body"]
    left = project.root / ".artifacts" / "deploy" / SHA
    release = json.loads((left / "release.json").read_text())
    assert body.startswith(mark_of("production"))
    assert body.endswith((left / "comment.md").read_text())
    for part in (release["backup"]["backupId"], release["runId"], "| backfills | none |", "history-equals-plan", "- [x] The migrations are applied"):  # fmt: skip
        assert part in body
    project.write("broken", "SELECT 1/0;\n")
    failed = project.json("release", "--sha", "b" * 40, "--env", "production", **environment(github, event))
    failed.error("MIGRATION_EXECUTION_FAILED")
    assert len(github.comments[7]) == 101
    assert "MIGRATION_EXECUTION_FAILED" in github.comments[7][-1]["body"]
    assert TOKEN not in answer.out + answer.err + failed.out + failed.err
    assert not any(TOKEN in path.read_text() for path in left.iterdir())
    github.refuse = 403
    project.write("broken", "SELECT 1;\n", revision=1_700_000_000_003)
    told = project.json("release", "--sha", "c" * 40, "--env", "production", **environment(github, event))
    assert told.code == 0
    assert "no comment on the pull request: GET issues/7/comments answered 403" in told.err


def test_off_a_pull_request_nothing_is_asked(github: GitHub, monkeypatch: pytest.MonkeyPatch):
    """A push, a run that is not GitHub's, one without the token: no call is made; with release.comment_merged a push asks for its pull request."""
    for environ in (
        environment(github),
        environment(github, GITHUB_TOKEN=""),
        environment(github, GITHUB_API_URL=""),
    ):
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        told = comment("text", "production", SHA, merged=False)
        assert (told.url, told.problem) == ("", "")
    assert github.asked == []
    for name, value in environment(github).items():
        monkeypatch.setenv(name, value)
    assert comment("text", "production", SHA, merged=True).url == ""
    assert github.asked == [f"GET /repos/octo/shop/commits/{SHA}/pulls"]
    github.merged[SHA] = 9
    assert comment("text", "production", SHA, merged=True).url
    assert comment("x" * 70_000, "production", SHA, merged=True).url == "edited"
    assert comment("text", "staging", SHA, merged=True).url != "edited"
    assert [len(c["body"]) <= 65_000 for c in github.comments[9]] == [True, True]


def test_a_token_goes_over_tls_only(github: GitHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """The number comes from the event or the ref; a plain http address that is not this machine gets no token."""
    event = tmp_path / "event.json"
    event.write_text("not json")
    environ = environment(
        github, event, GITHUB_REF="refs/pull/12/merge", GITHUB_API_URL="http://192.0.2.1/api"
    )
    place = place_of(environ, {}, merged=False)
    assert place is not None
    assert place.number == 12
    assert place_of({**environ, "GITHUB_REPOSITORY": "a/b/../c"}, {}, merged=False) is None
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert "not an https URL" in comment("text", "", SHA, merged=False).problem
