"""What the answers of a service amount to: assertions over responses that were already taken. No network here."""

from collections.abc import Mapping

import msgspec

from lockgate.config.release import Smoke

REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Response(msgspec.Struct, frozen=True):
    """One answer: ``status`` 0 means that none came, and ``error`` says why. ``text`` is the begin of the body."""

    requested_at: str
    url: str
    status: int
    text: str = ""
    headers: Mapping[str, str] = {}
    seconds: float = 0.0
    error: str = ""

    @property
    def html(self) -> bool:
        """Whether the answer is a page for people: what a proxy says when the service behind it is not there."""
        kind = self.headers.get("content-type", "").lower()
        start = self.text.lstrip()[:200].lower()
        return "text/html" in kind or start.startswith(("<!doctype html", "<html"))


class Assertion(msgspec.Struct, frozen=True):
    """One assertion as ``api-smoke.json`` has it: ``pass_`` is written as ``pass``."""

    id: str
    pass_: bool = msgspec.field(name="pass")
    details: str = ""


def judge_smoke(
    responses: Mapping[str, Response], smoke: Smoke, release: str, max_seconds: float = 0.0
) -> list[Assertion]:
    """Every assertion over what was answered; a response that is not there is asserted about only where it had to be."""
    found: list[Assertion] = []
    health = responses.get("health")
    if health is not None:
        found.append(_status("health-200", health, {200}))
        found.append(_not_html("health-not-html", health))
        if smoke.health_contains:
            found.append(_contains("health-contains", health, smoke.health_contains))
    unauthorized = responses.get("unauthorized")
    if unauthorized is not None:
        found.append(_status("protected-unauthorized-without-token", unauthorized, {401, 403}))
    authorized = responses.get("authorized")
    if authorized is not None:
        found.append(_status("protected-authorized-status", authorized, {200}))
        found.append(_not_html("authorized-not-html", authorized))
        if smoke.authorized_contains:
            found.append(_contains("authorized-contains", authorized, smoke.authorized_contains))
    if smoke.release_header:
        found.append(_release(responses, smoke.release_header, release))
    if max_seconds:
        slow = [f"{n} took {r.seconds:.2f} s" for n, r in responses.items() if r.seconds > max_seconds]
        found.append(
            Assertion("response-time", not slow, "; ".join(slow) or f"every answer within {max_seconds:g} s")
        )
    return found


def release_matches(seen: str, wanted: str) -> bool:
    """Whether a header names the release: the same text, or a git sha cut to at least 7 digits."""
    seen, wanted = seen.strip(), wanted.strip()
    short = min(len(seen), len(wanted))
    return bool(seen) and (seen == wanted or (short >= 7 and seen[:short] == wanted[:short]))


def settled(response: Response, smoke: Smoke, release: str, good: frozenset[int]) -> bool:
    """Whether trying again is of no use: a right answer, or a wrong one that is not among those that pass by."""
    if response.status == 0 or response.status in smoke.retry_on:
        return False
    if response.status in good and smoke.release_header:
        return release_matches(response.headers.get(smoke.release_header.lower(), ""), release)
    return True


def _status(name: str, response: Response, wanted: set[int]) -> Assertion:
    words = " or ".join(map(str, sorted(wanted)))
    if response.status == 0:
        return Assertion(name, False, f"no answer: {response.error}")
    if response.status in REDIRECTS:
        where = response.headers.get("location", "")[:200]
        return Assertion(name, False, f"redirected ({response.status}) to {where}, expected {words}")
    bypass = (
        ": whoever has no token is let in"
        if name.startswith("protected-unauthorized") and 200 <= response.status < 300
        else ""
    )
    return Assertion(name, response.status in wanted, f"status {response.status}, expected {words}{bypass}")


def _not_html(name: str, response: Response) -> Assertion:
    told = "an HTML page, as proxies and error handlers send it" if response.html else "not an HTML page"
    return Assertion(name, not response.html, told)


def _contains(name: str, response: Response, wanted: str) -> Assertion:
    there = wanted in response.text
    return Assertion(name, there, f"{wanted!r} is {'there' if there else 'missing'}")


def _release(responses: Mapping[str, Response], header: str, release: str) -> Assertion:
    seen = {
        name: r.headers.get(header.lower(), "")
        for name, r in responses.items()
        # A gateway may answer a call without a token itself, before the service that knows its release.
        if r.status and not (name == "unauthorized" and header.lower() not in r.headers)
    }
    wrong = [
        f"{name} says {value or 'nothing'}"
        for name, value in seen.items()
        if not release_matches(value, release)
    ]
    good = bool(seen) and not wrong
    return Assertion(
        "release-sha-header", good, "; ".join(wrong) or (f"{header}: {release}" if seen else "no answer")
    )
