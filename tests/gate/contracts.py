"""Contracts and states for tests of the gate."""

import json
from pathlib import Path
from typing import Any

import psycopg

from lockgate.gate import Contract
from support.calls import FIRST

R = [str(FIRST + n) for n in range(10)]
"""R[1] is the revision of a project's first file."""


def contract(low: int = 1, high: int = 3, **more: Any) -> Contract:
    """The contract of an image that runs on files ``low`` to ``high``."""
    return Contract(min=R[low], max=R[high], **more)


def write_contract(root: Path, low: int = 1, high: int = 3, **more: Any) -> str:
    """The same as a file; its path."""
    path = root / "lockgate.contract.json"
    document = {
        "schemaVersion": "1",
        "release_id": "r1",
        "git_sha": "abc",
        "schema": {"min": R[low], "max": R[high]},
        "indexes": {},
        "moves": {},
    }
    schema = more.pop("schema", {})
    document["schema"] |= schema  # type: ignore[operator]
    path.write_text(json.dumps(document | more))
    return str(path)


def ask(url: str, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
    """Rows of one statement on a connection of its own."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement, parameters or None)  # type: ignore[arg-type]
        return cursor.fetchall() if cursor.description else []


def state(**changes: Any) -> dict[str, Any]:
    """What lockgate.gate_v1 gives of a database at R[3] where nothing is special."""
    return {
        "format": 2,
        "revision": R[3],
        "compat_floor": "",
        "head": "h",
        "epoch": 1,
        "running": None,
        "partial": [],
        "announced_floor": "",
        "secrets": [],
        "indexes": {},
        "moves": {},
        "read_only": None,
        "standby": False,
        "digest": None,
    } | changes


def configure_django() -> None:
    """Set Django up, once a process: its settings are global."""
    import django
    from django.conf import settings

    if not settings.configured:
        settings.configure(ROOT_URLCONF="gate.django_urls", ALLOWED_HOSTS=["*"], SECRET_KEY="x", DATABASES={})
        django.setup()
