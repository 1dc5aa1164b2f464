"""Who runs this, and under which id."""

import getpass
import os
import secrets

from lockgate.postgres.guard import RunIdentity


def new_identity(kind: str, release_id: str | None = None) -> RunIdentity:
    """The identity of a new run by the current user."""
    return RunIdentity(secrets.token_hex(8), kind, operator_name(), release_id)


def operator_name() -> str:
    """Who runs this: the login name, or the number of a user that has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without an entry in the password file
        return f"uid {os.getuid()}"
