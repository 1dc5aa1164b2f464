"""Which account runs the server. PostgreSQL refuses root, so root hands it to an account that exists already."""

import os
import pwd
from typing import NamedTuple

from lockgate.postgres.embedded.failure import LaunchError

_UNPRIVILEGED = ("postgres", "nobody")
_YES, _NO, _CANNOT_BECOME = 0, 1, 2
_ADVICE = "Run lockgate as an ordinary user, or give --database-url."


class Account(NamedTuple):
    """An unprivileged account, by numbers and name."""

    uid: int
    gid: int
    name: str


def choose(owners: list[int], sudo_uid: str) -> Account:
    """The account for the server when we are root: never made, only found.

    ``owners`` are the user ids of what is there already (base, home, project), the nearest first: a server whose
    files exist keeps its account, and a project that belongs to a person is served as that person. Then comes
    the person behind ``sudo`` (``sudo_uid``, the text of SUDO_UID), then ``postgres``, then ``nobody``.
    Raises LaunchError when there is none of them.
    """
    candidates = [*owners, int(sudo_uid) if sudo_uid.isdigit() else 0]
    for known in (*map(_by_uid, candidates), *map(_by_name, _UNPRIVILEGED)):
        if known and known.uid != 0:
            return known
    raise LaunchError(
        "PostgreSQL refuses to run as root, and there is no account 'postgres' or 'nobody' to run it as.",
        advice=_ADVICE,
    )


def become(account: Account) -> None:
    """Give up root for good: no supplementary groups, then group, then user. Raises LaunchError if forbidden."""
    try:
        os.setgroups([])
        os.setgid(account.gid)
        os.setuid(account.uid)
    except OSError as error:  # no capability for it, or a user namespace that does not know the account
        raise LaunchError(
            f"PostgreSQL refuses to run as root, and this root may not become {account.name!r}: {error.strerror}.",
            advice=_ADVICE,
        ) from error


def can(account: Account, path: str, mode: int) -> bool:
    """Whether ``account`` really has ``path`` with the rights ``mode`` (as of ``os.access``).

    Asked by becoming the account in a child process, so that access lists, mounts and security modules have
    their say. Only for a process with one thread. Raises LaunchError when we may not become it.
    """
    child = os.fork()
    if child == 0:
        answer = _NO
        try:
            become(account)
            answer = _YES if os.access(path, mode) else _NO
        except LaunchError:
            answer = _CANNOT_BECOME
        finally:
            os._exit(answer)
    answer = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if answer == _CANNOT_BECOME:
        become(account)  # fails here too, and says why
    return answer == _YES


def _by_uid(uid: int) -> Account | None:
    try:
        known = pwd.getpwuid(uid)
    except KeyError:  # initdb refuses a user id without a name, as many containers have
        return None
    return Account(known.pw_uid, known.pw_gid, known.pw_name)


def _by_name(name: str) -> Account | None:
    try:
        known = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(known.pw_uid, known.pw_gid, known.pw_name)
