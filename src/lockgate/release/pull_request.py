"""The comment on the pull request that a release belongs to, in GitHub: one comment an environment, written anew by each release.

It speaks to the API that ``GITHUB_API_URL`` names, with ``GITHUB_TOKEN``, and only where that token was handed to the step. Off a
pull request it does nothing. Telling never fails a release: what went wrong is returned.
"""

import http.client
import json
import os
import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from lockgate.record.redact import remember

MOST = 65_000
"""Characters of a comment; the API takes 65,536."""
PAGES = 20
"""Pages of 100 comments that are looked through for our own."""
LIMIT = 10.0
"""Seconds that one call may take."""
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Place(msgspec.Struct, frozen=True):
    """Where the comment goes: the API, the repository, and the number of the pull request (0: it has to be asked for, by the sha)."""

    api: str
    repository: str
    number: int


class Told(msgspec.Struct, frozen=True):
    """What became of it: the address of the comment, or the problem; both empty where there was nothing to do."""

    url: str = ""
    problem: str = ""


def place_of(environ: Mapping[str, str], event: Mapping[str, Any], *, merged: bool) -> Place | None:
    """Where a run of GitHub with this environment and event comments; None off a pull request. ``merged`` asks for that of a push."""
    api, repository = environ.get("GITHUB_API_URL", ""), environ.get("GITHUB_REPOSITORY", "")
    if not (environ.get("GITHUB_TOKEN") and api and re.fullmatch(r"[\w.-]+/[\w.-]+", repository)):
        return None
    seen = event.get("pull_request")
    number = seen.get("number") if isinstance(seen, dict) else None
    if not isinstance(number, int):
        found = re.fullmatch(r"refs/pull/(\d+)/(?:merge|head)", environ.get("GITHUB_REF", ""))
        number = int(found[1]) if found else 0
    if not number and not (merged and environ.get("GITHUB_EVENT_NAME") == "push"):
        return None
    return Place(api.rstrip("/"), repository, number)


def mark_of(environment: str) -> str:
    """The line by which our comment of an environment is found again; nobody sees it."""
    return f"<!-- lockgate release {quote(environment, safe='')} -->"


def comment(body: str, environment: str, sha: str, *, merged: bool) -> Told:
    """Post ``body``, or write our comment anew; a run that is not GitHub's, or off a pull request, does nothing."""
    place = place_of(os.environ, _event(os.environ.get("GITHUB_EVENT_PATH", "")), merged=merged)
    if place is None:
        return Told()
    token = os.environ["GITHUB_TOKEN"]
    remember(token)
    mark = mark_of(environment)
    text = f"{mark}\n{body}"[:MOST]
    try:
        api = _Api(place, token)
        number = place.number or api.of_commit(sha)
        if not number:
            return Told()
        ours = api.find(number, mark)
        said = api.write(number, ours, text)
    except _NotSaid as error:
        return Told(problem=f"no comment on the pull request: {error}")
    return Told(url=str(said.get("html_url", "")))


class _NotSaid(Exception):
    """A call that did not do."""


class _Api:
    """The few calls, each a connection of its own."""

    def __init__(self, place: Place, token: str) -> None:
        self._place = place
        self._token = token
        self._parts = urlsplit(place.api)
        # A token goes over TLS, or to this machine.
        if self._parts.scheme != "https" and self._parts.hostname not in _LOOPBACK:
            raise _NotSaid("GITHUB_API_URL is not an https URL")

    def of_commit(self, sha: str) -> int:
        """The pull request that brought ``sha``; 0 when none did."""
        found = self._call("GET", f"commits/{sha}/pulls")
        numbers = (
            [one.get("number") for one in found if isinstance(one, dict)] if isinstance(found, list) else []
        )
        return next((number for number in numbers if isinstance(number, int)), 0)

    def find(self, number: int, mark: str) -> int:
        """The id of the comment that begins with ``mark``; 0 when there is none."""
        for page in range(1, PAGES + 1):
            found = self._call("GET", f"issues/{number}/comments?per_page=100&page={page}")
            if not isinstance(found, list):
                raise _NotSaid("the list of comments is no list")
            for one in found:
                if isinstance(one, dict) and str(one.get("body", "")).startswith(mark):
                    return int(one["id"])
            if len(found) < 100:
                break
        return 0

    def write(self, number: int, ours: int, text: str) -> dict[str, Any]:
        """Write a new comment, or ours anew."""
        path = f"issues/comments/{ours}" if ours else f"issues/{number}/comments"
        said = self._call("PATCH" if ours else "POST", path, {"body": text})
        return said if isinstance(said, dict) else {}

    def _call(self, method: str, path: str, content: object = None) -> object:
        p = self._parts
        connection: http.client.HTTPConnection = (
            http.client.HTTPSConnection(
                p.hostname or "", p.port, timeout=LIMIT, context=ssl.create_default_context()
            )
            if p.scheme == "https"
            else http.client.HTTPConnection(p.hostname or "", p.port, timeout=LIMIT)
        )
        headers = {
            "Authorization": f"Bearer {self._token}",
            "Accept": "application/vnd.github+json",
            "Content-Type": "application/json",
            "User-Agent": "lockgate",
            "X-GitHub-Api-Version": "2022-11-28",
        }
        try:
            body = None if content is None else json.dumps(content).encode()
            connection.request(method, f"{p.path}/repos/{self._place.repository}/{path}", body, headers)
            answer = connection.getresponse()
            said = answer.read(8_000_000)
            if not 200 <= answer.status < 300:
                raise _NotSaid(f"{method} {path.partition('?')[0]} answered {answer.status}")
            return json.loads(said or b"null")
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise _NotSaid(f"{method} {path.partition('?')[0]}: {type(error).__name__}") from None
        finally:
            connection.close()


def _event(path: str) -> dict[str, Any]:
    try:
        content = json.loads(Path(path).read_text("utf-8")) if path else {}
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
