"""The functions that PostgreSQL brings along, by name; those that run a query of the caller's are left out."""

from functools import cache
from importlib.resources import files


@cache
def built_in_functions() -> frozenset[str]:
    """Their names, of versions 16 to 18."""
    text = files("lockgate.policy.model").joinpath("built_in_functions.txt").read_text("utf-8")
    return frozenset([*text.split(), *_GRAMMAR])


_GRAMMAR = (
    "current_date", "current_time", "current_timestamp", "current_timestamp_n", "current_time_n", "localtime",
    "localtimestamp", "localtime_n", "localtimestamp_n", "current_role", "current_user", "user", "session_user",
    "current_catalog", "current_schema", "default",
)  # fmt: skip
