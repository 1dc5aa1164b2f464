"""What a statement costs: its locks, rewrites and scans, against the model of everything before it."""

from lockgate.policy.facts.fact import Course, Draft, Facts, Server
from lockgate.policy.facts.gather import facts_of

__all__ = ["Course", "Draft", "Facts", "Server", "facts_of"]
