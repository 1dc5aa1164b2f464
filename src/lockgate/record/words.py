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
