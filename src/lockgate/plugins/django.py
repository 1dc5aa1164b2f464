"""A Django system check: `manage.py check --database default` tells whether this code may run on that schema.

In an app's ``ready``: ``register(Contract.from_file("lockgate.contract.json"))``. The URL is that of ``database_url``, else
``DATABASE_URL``.
"""

import os
from collections.abc import Sequence
from typing import Any

from lockgate.gate.contract import Contract


def register(contract: Contract, *, database_url: str = "", timeout: float = 5.0) -> None:
    """Register the check under the tag ``database``: it runs where Django is told to look at databases, never at start."""
    from django.core.checks import Tags, register

    def lockgate_gate(
        app_configs: object = None, databases: "Sequence[str] | None" = None, **options: Any
    ) -> list[Any]:
        return (
            messages(contract, database_url or os.environ.get("DATABASE_URL", ""), timeout)
            if databases
            else []
        )

    register(lockgate_gate, Tags.database)


def messages(contract: Contract, database_url: str, timeout: float) -> list[Any]:
    """One message a condition that does not pass: an error for a definite no, a warning for what cannot be told."""
    from django.core import checks

    from lockgate.errors import LockgateError
    from lockgate.gate.checking import check

    try:
        report = check(contract, database_url, timeout=timeout)
    except LockgateError as error:
        return [checks.Error(error.message, hint=error.next, id="lockgate.E002")]
    return [
        checks.Error(f"{c.code}: {c.evidence}", hint=c.next or None, obj=c.id, id="lockgate.E001")
        if c.answer == "fail"
        else checks.Warning(f"{c.code}: {c.evidence}", hint=c.next or None, obj=c.id, id="lockgate.W001")
        for c in report.conditions
        if c.answer != "pass"
    ]
