"""The candidate of a release: images by digest, not older than what is live, and schema windows that fit the plan."""

import json
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from lockgate.errors import ConfigError, Refused
from lockgate.postgres.releases import ReleaseRow

PINNED = re.compile(r"[a-z0-9][a-z0-9._/:-]{0,250}@sha256:[0-9a-f]{64}\Z")
_REVISION = re.compile(r"[0-9]{13}\Z")


class Options(msgspec.Struct, frozen=True, rename="camel"):
    """What the call of a release says beyond its sha; it is kept, so that a resume means the same."""

    image: str = ""
    rollback_image: str = ""
    contract: str = ""
    rollback_contract: str = ""
    migrations: bool = True
    break_glass: str = ""
    replay_reason: str = ""


class Window(msgspec.Struct, frozen=True):
    """The schema window that an image was built for."""

    release_id: str
    least: str
    most: str


class Standing(msgspec.Struct, frozen=True):
    """What a sha is among the releases before it: ``again`` when it is the newest one that succeeded."""

    again: bool = False
    stale: str = ""
    note: str = ""


def check_images(options: Options, demanded: bool) -> None:
    """Refuse a tag: what it names may be another image a minute later. Raises ``Refused`` (``CANDIDATE_IMAGE``)."""
    for name, image in (("--image", options.image), ("--rollback-image", options.rollback_image)):
        if image and not PINNED.match(image):
            raise Refused(
                f"{name} {image[:200]!r} is not pinned by @sha256:<64 hex digits>", "CANDIDATE_IMAGE"
            )
        if demanded and not image:
            raise Refused(f"release.images is set, and {name} is not given", "CANDIDATE_IMAGE")


def standing_of(
    sha: str, environment: str, releases: Sequence[ReleaseRow], is_ancestor: Callable[[str, str], bool | None]
) -> Standing:
    """How ``sha`` stands to what succeeded before (newest first, by sequence). ``is_ancestor`` is None where git cannot tell."""
    done = [r for r in releases if r.state == "succeeded" and r.environment == environment]
    if not done:
        return Standing()
    newest = done[0]
    if newest.sha == sha:
        return Standing(again=True)
    if any(r.sha == sha for r in done):
        return Standing(stale=f"{sha[:12]} was released before {newest.sha[:12]}, which is live since")
    older = is_ancestor(sha, newest.sha)
    if older:
        return Standing(stale=f"{sha[:12]} is an ancestor of {newest.sha[:12]}, which is live")
    if older is None:
        return Standing(note=f"git cannot tell here whether {sha[:12]} is newer than {newest.sha[:12]}")
    return Standing()


def git_ancestor(folder: Path) -> Callable[[str, str], bool | None]:
    """A question to git in ``folder``: is the first commit an ancestor of the second? None when it does not know both."""

    def ask(older: str, newer: str) -> bool | None:
        try:
            done = subprocess.run(
                ["git", "merge-base", "--is-ancestor", older, newer], cwd=folder, capture_output=True, check=False, timeout=30
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired):
            return None
        return {0: True, 1: False}.get(done.returncode)

    return ask


def git_knows(folder: Path, sha: str) -> bool | None:
    """True when git in ``folder`` has the commit ``sha``. None where that cannot be told: no git, or a clone without its past."""
    looks = (
        ["git", "rev-parse", "--is-shallow-repository"],
        ["git", "cat-file", "-e", f"{sha}^{{commit}}"],
    )
    try:
        whole, found = (
            subprocess.run(
                look, cwd=folder, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=30
            )
            for look in looks
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    if found.returncode == 0:
        return True
    return False if whole.stdout.strip() == "false" else None


def read_window(path: Path) -> Window:
    """The window in an image's ``lockgate.contract.json``. Raises ``ConfigError``."""
    try:
        content: Any = json.loads(path.read_text("utf-8"))
        schema: Mapping[str, Any] = content["schema"]
        window = Window(str(content.get("release_id", "")), str(schema["min"]), str(schema["max"]))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f"{path} is no contract of an image: it needs schema.min and schema.max") from None
    for value in (window.least, window.most):
        if value and not _REVISION.match(value):
            raise ConfigError(f"{path}: {value[:40]!r} is not a revision of 13 digits")
    return window


def read_specs(path: Path) -> dict[str, str]:
    """The specification of each index that an image's ``lockgate.contract.json`` asks for. Raises ``ConfigError``."""
    try:
        given: Any = json.loads(path.read_text("utf-8")).get("indexes", {})
        return {str(name): str(spec["spec_hash"]) for name, spec in given.items()}
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ConfigError(f"{path}: indexes maps names to {{spec_hash}}") from None


def fit(window: Window, goal: str, floor: str, name: str) -> str:
    """Why an image of ``window`` cannot run on the schema ``goal`` with compatibility floor ``floor``; "" when it can."""
    who = f"{name} {window.release_id or ''}".strip()
    if goal < window.least:
        return f"{who} needs at least {window.least}, and the schema will be at {goal or 'nothing'}"
    if goal > window.most and floor > window.most:
        return f"{who} knows the schema up to {window.most}, and {floor} takes away what it needs"
    return ""
