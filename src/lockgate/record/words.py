"""Words for people: how many of what, so that one is never told as several."""


def counted(number: float, noun: str) -> str:
    """``1 file``, ``2 files``, ``0 queries``: the number with its ``noun``, which is given in the singular."""
    return f"{number:g} {noun}" if number == 1 else f"{number} {several(noun)}"


def several(noun: str) -> str:
    """The plural of ``noun``, by its last letters."""
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(("s", "x", "sh", "ch")) else f"{noun}s"


def agree(number: float, one: str, many: str) -> str:
    """``one`` where there is just one, else ``many``: the verb beside a count."""
    return one if number == 1 else many


def some(*counts: tuple[float, str, str]) -> list[str]:
    """``2 changes drained`` for each (number, noun, what became of them); what there was none of is left out."""
    return [f"{counted(number, noun)} {done}" for number, noun, done in counts if number]


def lasting(seconds: float) -> str:
    """A length of time in the largest unit of which it has at least two: ``23 min``, ``2 d``, ``4.2 s``."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s" if seconds >= 10 else f"{max(0.0, seconds):.1f} s"
