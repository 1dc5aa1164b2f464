"""What a way back would lose: writes that the generation that serves got after its seal, and the one before it did not.

A move that feeds both generations knows this of its outbox. Without one nobody tells us who wrote where, so the records are
looked at: a generation that holds what it was sealed with was not written to; of another one every document has to stand in
the generation before as well.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

from lockgate.errors import LockgateError, Refused
from lockgate.indexes.register import Generation, find_generation, read_alias
from lockgate.postgres.link import Link
from lockgate.postgres.sqlstate import ServerError
from lockgate.record.words import agree, counted
from lockgate.stores.searching import SearchStore

SHOWN = 20
"""So many ids are named."""


class Behind(NamedTuple):
    """Ids of documents. ``written`` stand in the generation that serves and are not the same in the one before, ``deleted`` only in the one before."""

    written: tuple[str, ...]
    deleted: tuple[str, ...]


def behind(link: Link, opened: Callable[[Generation], SearchStore], name: str) -> Behind:
    """What a way back would lose; nothing where the generation that serves holds what it was sealed with.

    Documents are compared by id, text and payload: vectors may be another model's. What the two held otherwise from the
    beginning cannot be told from a write, so it counts, too.
    """
    alias = read_alias(link, name)
    if alias is None or not alias.generation or not alias.previous:
        return Behind((), ())
    serving, older = (find_generation(link, name, g) for g in (alias.generation, alias.previous))
    store = opened(serving)
    now = store.content(serving.physical)
    if (now.records, now.root) == (serving.records, serving.content_root):
        return Behind((), ())
    held = {r.id: _document(r.text, r.payload) for r, _ in store.scan(serving.physical)}
    deleted = []
    for record, _ in opened(older).scan(older.physical):
        if record.id not in held:
            deleted.append(record.id)
        elif held[record.id] == _document(record.text, record.payload):
            del held[record.id]
    return Behind(tuple(sorted(held)), tuple(sorted(deleted)))


def keeps_up(link: Link, opened: Callable[[Generation], SearchStore], name: str) -> bool:
    """Whether somebody writes to what serves and the generation before has all of it: then it is no longer what was sealed, and is right all the same."""
    alias = read_alias(link, name)
    if alias is None or not alias.previous:
        return False
    serving, older = (find_generation(link, name, g) for g in (alias.generation, alias.previous))
    try:
        if opened(older).describe(older.physical).wrong_rows:
            return False  # vectors that no writer of ours wrote: documents do not tell
        now = opened(serving).content(serving.physical)
        written = (now.records, now.root) != (serving.records, serving.content_root)
        return written and not behind(link, opened, name).written
    except (LockgateError, ServerError):
        if not link.alive:
            raise
        return False


def refuse_behind(link: Link, opened: Callable[[Generation], SearchStore], name: str) -> None:
    """Raise ``Refused`` (``INDEX_NOT_READY``) where a way back would lose writes, or nobody can tell that it does not."""
    alias = read_alias(link, name)
    give_up = f"lockgate index rollback {name} --lose-writes"
    try:
        found = behind(link, opened, name)
    except (LockgateError, ServerError) as error:
        raise Refused(
            f"whether the way back loses writes cannot be told: {error.message}", "INDEX_NOT_READY", state="Nothing was changed.", next=f"Go back all the same: {give_up}"
        ) from error  # fmt: skip
    if alias is None or not any(found):
        return
    raise Refused(
        f"{alias.generation} was written to since it was sealed: {in_words(found, alias.previous)}",
        "INDEX_NOT_READY", state="Nothing was changed.",
        next=f"Bring {alias.previous} up to date, or give those writes up: {give_up}",
        details={"written": len(found.written), "deleted": len(found.deleted), "ids": list((*found.written, *found.deleted)[:SHOWN])},
    )  # fmt: skip


def in_words(found: Behind, older: str) -> str:
    """What a way back to ``older`` would lose, for people."""
    told = []
    if found.written:
        told.append(f"{counted(len(found.written), 'document')} of it {agree(len(found.written), 'is', 'are')} not the same in {older} ({_some(found.written)})")  # fmt: skip
    if found.deleted:
        told.append(f"{counted(len(found.deleted), 'document')} that it no longer has {agree(len(found.deleted), 'stands', 'stand')} in {older} ({_some(found.deleted)})")  # fmt: skip
    return "; ".join(told)


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids[:3]) + (", ..." if len(ids) > 3 else "")


def _document(text: str, payload: str) -> bytes:
    return hashlib.sha256(len(text).to_bytes(8, "big") + f"{text}{payload}".encode("utf-8", "surrogatepass")).digest()  # fmt: skip
