"""Who runs this, and under which id."""

import getpass
import os
import secrets

from lockgate.postgres.guard import RunIdentity


def new_identity(kind: str, release_id: str | None = None) -> RunIdentity:
    """The identity of a new run by the current user."""
    return RunIdentity(secrets.token_hex(8), kind, operator_name(), release_id)


def operator_name() -> str:
    """Who runs this: the person that ``LOCKGATE_ACTOR`` or the CI system names, else the login name or number.

    A CI runner's login is the same for everybody; approvals have to know the person.
    """
    named = os.environ.get("LOCKGATE_ACTOR", "")
    if not named and os.environ.get("GITHUB_ACTIONS"):
        named = os.environ.get("GITHUB_ACTOR", "")
    if not named and os.environ.get("GITLAB_CI"):
        named = os.environ.get("GITLAB_USER_LOGIN", "")
    if named.strip():
        return named.strip()[:200]
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without an entry in the password file
        return f"uid {os.getuid()}"
