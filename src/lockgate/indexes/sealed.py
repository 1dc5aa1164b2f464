"""Is a generation still what was sealed? The count everywhere, and the content where the digests are made beside the rows.

A seal says what was compared and found good. A generation that lost records since is not that any more, so neither a swap nor
a way back leads to it without a word. Generations that a move feeds are another matter: they go on changing, and the move proves them.
"""

from typing import NamedTuple

from lockgate.errors import LockgateError, Refused
from lockgate.indexes.register import Generation, fed_by
from lockgate.postgres.link import Link
from lockgate.stores.open_search import IN_DATABASE
from lockgate.stores.searching import SearchStore


class Standing(NamedTuple):
    """What a store holds of a generation now. None: it has none of it at all; ``root`` is "" where nobody looked."""

    records: int | None
    root: str = ""


def standing(row: Generation, store: SearchStore, *, whole: bool) -> Standing:
    """Look. ``whole`` asks for the content in every store; else only where the records need not travel here for it."""
    try:
        if whole or row.store in IN_DATABASE:
            content = store.content(row.physical)
            return Standing(content.records, content.root)
        return Standing(store.count(row.physical))
    except LockgateError as error:
        if error.code != "INDEX_UNKNOWN":
            raise
        return Standing(None)


def differs(row: Generation, now: Standing) -> str:
    """How a sealed generation differs from its seal, in words; "" where it does not."""
    if now.records is None:
        return f"its store has no {row.physical} any more"
    if now.records != row.records:
        return f"it holds {now.records} records, and was sealed with {row.records}"
    if now.root and now.root != row.content_root:
        return f"it holds {now.records} records as it was sealed, but not the same ones: content root {now.root[:12]}, sealed {row.content_root[:12]}"
    return ""


def unlike_seal(link: Link, row: Generation, store: SearchStore, *, whole: bool = False) -> str:
    """``differs`` of what the store holds now; "" too where a move feeds the generation."""
    if row.generation in fed_by(link, row.name):
        return ""
    return differs(row, standing(row, store, whole=whole))


def refuse_changed(row: Generation, told: str, *, back: bool) -> None:
    """Raise ``Refused`` (``INDEX_CHANGED``) for a generation that ``told`` says is not what was sealed. ``back``: a rollback wanted it."""
    if not told:
        return
    raise Refused(
        f"generation {row.generation} of {row.name} is not what was sealed: {told}", "INDEX_CHANGED",
        next=(
            f"lockgate index rollback {row.name} --changed goes back all the same, and it is recorded."
            if back
            else f"Build it anew: lockgate index list {row.name} shows what each generation holds."
        ),
        details={"index": row.name, "generation": row.generation, "sealed": row.records, "differs": told},
    )  # fmt: skip
