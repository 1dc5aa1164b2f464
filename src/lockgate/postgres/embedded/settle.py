"""Before the launch: the home, the launch lock, the account, the base, programs within reach."""

# Plain os calls: descriptors, lstat, O_NOFOLLOW, and microseconds that count.
# ruff: noqa: PTH102, PTH112, PTH116, PTH120, PTH123

import os
from typing import Any, NamedTuple

from lockgate.postgres.embedded import account as accounts
from lockgate.postgres.embedded import locks, shelter
from lockgate.postgres.embedded.account import Account
from lockgate.postgres.embedded.failure import LaunchError
from lockgate.postgres.embedded.place import (
    Identity,
    Place,
    identify,
    is_private,
    locate,
    read_json,
    write_json,
)

LOCK_SECONDS = 60.0


class Settled(NamedTuple):
    """Everything is in its place: the launch lock is held, and we are the account that runs the server.

    ``lock`` and ``pointer`` are open descriptors of the launch lock and of the file in the home that points to a
    base elsewhere (-1: none). When such a file has no name any more, somebody deleted it.
    """

    place: Place
    identity: Identity
    bindir: str
    lock: int
    pointer: int


def settle(order: dict[str, Any]) -> Settled:
    """Make what is missing, take the launch lock and give up root. Raises LaunchError."""
    home, version, bindir, sudo_uid = order["home"], order["version"], order["bindir"], order["sudo_uid"]
    root = os.geteuid() == 0
    try:
        _make_home(home, sudo_uid if root else None)
        place = locate(home, version)
        if not root:
            _check_ours(place)
        lock = locks.open_lock(place.lock)
        if not locks.acquire(lock, LOCK_SECONDS):
            raise LaunchError(
                f"Another process has been starting or stopping the server of {home} for {LOCK_SECONDS:.0f} s.",
                advice="Try again; a server that recovers from a crash may need minutes.",
            )
        place, identity = locate(home, version), identify(home)
        if root:
            place, account = _settle_as_root(place, identity, sudo_uid, order["shelters"])
            if not all(accounts.can(account, f"{bindir}/{name}", os.X_OK) for name in ("postgres", "initdb")):
                bindir = shelter.copy_programs(bindir, order["shelters"])
            _give(lock, home, account)
        pointer = _open_pointer(place)
        if root:
            accounts.become(account)
        elif not os.path.isdir(place.base):
            os.mkdir(place.base, 0o700)
    except OSError as error:
        raise LaunchError(
            f"{error.filename or home}: {error.strerror}.", advice=f"ls -ld {home}; or give --database-url."
        ) from error
    os.umask(0o077)
    return Settled(place, identity, bindir, lock, pointer)


def _make_home(home: str, sudo_uid: str | None) -> None:
    """Make the home, and keep it out of version control: it holds data. ``sudo_uid`` is None unless we are root."""
    try:
        os.mkdir(home, 0o755)
    except FileExistsError:
        return
    with open(f"{home}/.gitignore", "x", encoding="utf-8") as file:
        file.write("*\n")
    if sudo_uid is not None:
        owner = os.stat(os.path.dirname(home)).st_uid
        account = accounts.choose([owner], sudo_uid)
        if account.uid == owner or str(account.uid) == sudo_uid:  # a person's project: the person's folder
            for path in (f"{home}/.gitignore", home):
                os.chown(path, account.uid, account.gid, follow_symlinks=False)


def _check_ours(place: Place) -> None:
    """Raise LaunchError when the base exists and is not for us alone."""
    if os.path.lexists(place.base) and not is_private(place.base):
        raise LaunchError(
            f"{place.base} is not a directory for this account alone: another account, root perhaps, started the server.",
            advice=f"Run as that account; or, if it is yours: chmod 700 {place.base}",
        )


def _settle_as_root(
    place: Place, identity: Identity, sudo_uid: str, shelters: list[str]
) -> tuple[Place, Account]:
    """The base, made when missing, and the account that owns it and will run the server."""
    pointed = place.base != place.inside
    if pointed and os.path.lexists(place.base):
        if not is_private(place.base):
            raise LaunchError(
                f"{place.pointer} points to {place.base}, which is not a directory for one account alone.",
                advice=f"Look at both; without the pointer a new server is made: rm {place.pointer}",
            )
        if identity.is_same(read_json(place.record)):
            return place, _owner_of(place.base)
        # The home was copied together with its pointer: the data there is the other's, so make our own.
    elif not pointed and os.path.lexists(place.base):
        return place, _owner_of(place.base)
    account = accounts.choose(
        [os.stat(place.home).st_uid, os.stat(os.path.dirname(place.home)).st_uid], sudo_uid
    )
    if not pointed and accounts.can(account, f"{place.home}/.", os.X_OK):
        shelter.make_private(place.base, account)
        return place, account
    place = place._replace(base=shelter.make_base(account, shelters))
    write_json(place.pointer, {"schemaVersion": "1", "base": place.base})
    return place, account


def _owner_of(base: str) -> Account:
    """The account that owns the existing ``base``; raises LaunchError when it cannot be used as it is."""
    owner = os.lstat(base).st_uid
    account = accounts.choose([owner], "")
    if owner != account.uid or not is_private(base):
        raise LaunchError(
            f"{base} is not a directory for one unprivileged account alone; perhaps root copied it.",
            advice=f"chown -R {account.name} {base} && chmod 700 {base}; or start anew: rm -r {base}",
        )
    if not accounts.can(account, f"{base}/.", os.R_OK | os.W_OK | os.X_OK):
        raise LaunchError(
            f"The account {account.name!r}, which owns {base}, cannot enter it any more.",
            advice=f"Let it pass through the folders above; or start anew, elsewhere: rm -r {base}",
        )
    return account


def _give(lock: int, home: str, account: Account) -> None:
    """In a home of the account's own the lock is the account's too. A file that is something else stays as it is."""
    seen = os.fstat(lock)
    if os.stat(home).st_uid == account.uid and (seen.st_uid, seen.st_nlink, seen.st_size) == (0, 1, 0):
        os.fchown(lock, account.uid, account.gid)


def _open_pointer(place: Place) -> int:
    if place.base == place.inside:
        return -1
    return os.open(place.pointer, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
