"""The functions that PostgreSQL and its extensions bring along, by name; those that run a query of the caller's are left out."""

from functools import cache
from importlib.resources import files


@cache
def built_in_functions() -> frozenset[str]:
    """Their names, of versions 16 to 18."""
    text = files("lockgate.policy.model").joinpath("built_in_functions.txt").read_text("utf-8")
    return frozenset([*text.split(), *_GRAMMAR])


@cache
def extension_functions() -> dict[str, frozenset[str]]:
    """The functions of common extensions that work on their arguments alone: name → the extensions that have one."""
    text = files("lockgate.policy.model").joinpath("extension_functions.txt").read_text("utf-8")
    found: dict[str, set[str]] = {}
    for line in text.replace("\n  ", " ").splitlines():
        extension, _, names = line.partition(": ")
        for name in names.split():
            found.setdefault(name, set()).add(extension)
    return {name: frozenset(extensions) for name, extensions in found.items()}


_GRAMMAR = (
    "current_date", "current_time", "current_timestamp", "current_timestamp_n", "current_time_n", "localtime",
    "localtimestamp", "localtime_n", "localtimestamp_n", "current_role", "current_user", "user", "session_user",
    "current_catalog", "current_schema", "default",
)  # fmt: skip
