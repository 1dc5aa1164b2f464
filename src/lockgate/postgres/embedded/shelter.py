"""A place for data and programs when the server's account cannot enter the project's folder or the environment's.

Only root ever needs it. The directories are root's own and nobody else may write in them; permissions of what
exists already are never changed. The project then holds ``pg18.json``, which points to the data.
"""

# Plain os calls: descriptors, lstat, O_NOFOLLOW, and microseconds that count.
# ruff: noqa: PTH101, PTH102, PTH116

import os
import shutil
import stat
from pathlib import Path

from lockgate.postgres.embedded.account import Account
from lockgate.postgres.embedded.failure import LaunchError

_SERVER_PROGRAMS = ("postgres", "initdb")
_NOT_NEEDED = shutil.ignore_patterns("*.a", "pgxs", "pkgconfig")


def make_base(account: Account, shelters: list[str]) -> str:
    """Make a new empty directory for ``account`` alone in a shelter and return its path."""
    root = _shelter(shelters)
    make_private(f"{root}/{account.uid}", account)
    base = f"{root}/{account.uid}/{os.urandom(8).hex()}"
    make_private(base, account)
    return base


def make_private(path: str, account: Account) -> None:
    """Make the directory ``path`` for ``account`` alone (0700); raises LaunchError for anything else that is there."""
    try:
        os.mkdir(path, 0o700)
        made = True
    except FileExistsError:
        made = False
    try:
        # Everything after mkdir goes through the descriptor: nobody can slip another directory or a link in.
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        raise _not_private(path, account) from None
    try:
        seen = os.fstat(fd)
        if made and seen.st_uid == os.geteuid():
            os.fchown(fd, account.uid, account.gid)
        elif seen.st_uid != account.uid or seen.st_mode & 0o077:
            raise _not_private(path, account)
    finally:
        os.close(fd)


def copy_programs(bindir: str, shelters: list[str]) -> str:
    """Copy the server programs of ``bindir`` to where every account reaches them; returns the copy's bindir.

    One copy for each build of PostgreSQL, owned by root, made aside and renamed in. Client programs stay out.
    """
    tree = Path(bindir).parent
    build = os.stat(f"{bindir}/postgres")
    target = Path(f"{_shelter(shelters)}/programs-{build.st_size:x}-{build.st_mtime_ns:x}")
    # PostgreSQL finds its libraries and files relative to its programs, so the shape of the tree is kept.
    inner = Path(tree.parent.name, tree.name)
    if not target.is_dir():
        fresh = Path(f"{target}.{os.urandom(4).hex()}")
        (fresh / inner / "bin").mkdir(parents=True)
        for program in _SERVER_PROGRAMS:
            shutil.copy2(tree / "bin" / program, fresh / inner / "bin" / program)
        for part in ("lib", "share"):
            if (tree / part).is_dir():
                shutil.copytree(tree / part, fresh / inner / part, ignore=_NOT_NEEDED)
        libraries = tree.parent.parent / f"{tree.parent.name}.libs"  # where a wheel keeps shared libraries
        if libraries.is_dir():
            shutil.copytree(libraries, fresh / libraries.name)
        _let_read(fresh)
        try:
            fresh.rename(target)
        except OSError:  # another launch was quicker
            shutil.rmtree(fresh, ignore_errors=True)
    return str(target / inner / "bin")


def _shelter(shelters: list[str]) -> str:
    """The first of ``shelters`` that is or can be made root's own, and can hold programs."""
    for path in shelters:
        try:
            os.mkdir(path, 0o755)
            os.chmod(path, 0o755)  # noqa: S103 - just made by us; whatever the umask is, accounts pass through
        except FileExistsError:
            pass
        except OSError:
            continue
        seen = os.lstat(path)
        ours = stat.S_ISDIR(seen.st_mode) and seen.st_uid == os.geteuid() and not seen.st_mode & 0o022
        if ours and not os.statvfs(path).f_flag & getattr(os, "ST_NOEXEC", 0):
            return path
    raise LaunchError(
        "The server's account cannot enter the folder of this project or of its Python, and none of "
        f"{', '.join(shelters)} can be used instead (not writable, not root's own, or mounted noexec).",
        advice="Make one of them as root with mode 0755, run as an ordinary user, or give --database-url.",
    )


def _let_read(tree: Path) -> None:
    """Let everybody read the copy ``tree``, which we just made, whatever the umask was."""
    for folder, _, files in os.walk(tree):
        os.chmod(folder, 0o755)  # noqa: S103 - programs are no secret
        for name in files:
            path = Path(folder, name)
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)


def _not_private(path: str, account: Account) -> LaunchError:
    return LaunchError(
        f"{path} exists and is not a directory for {account.name!r} alone.",
        advice=f"See whose it is, then move it away or delete it: ls -ld {path}",
    )
