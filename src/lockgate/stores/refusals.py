"""What every searched store refuses, in the same words."""

from collections.abc import Sequence

from lockgate.errors import Busy, LockgateError, Refused
from lockgate.stores.content import Record
from lockgate.stores.manifest import Manifest


def exists_already(physical: str, there: Manifest | None, wanted: Manifest) -> bool:
    """Whether a physical index is there with the specification that is wanted. Raises ``Refused`` for another one."""
    if there is not None and there.spec_hash != wanted.spec_hash:
        raise Refused(
            f"{physical} exists with another specification", "INDEX_EXISTS", details={"differences": there.differences(wanted)}
        )  # fmt: skip
    return there is not None


def refuse_form(manifest: Manifest, store: str, graphs: Sequence[str], *, halves: bool = False) -> None:
    """Raise ``Refused`` for a graph or a rounding that the store would leave out without a word."""
    kind = manifest.ann.get("type", "flat")
    if manifest.kind == "vector" and kind not in graphs:
        raise Refused(f"{store} has no graph of type {kind!r}", "INDEX_SPEC", next=f"--ann {' or '.join(graphs)}")  # fmt: skip
    if manifest.embedding is not None and manifest.embedding.dtype != "float32" and not halves:
        raise Refused(f"{store} keeps vectors as float32, not as {manifest.embedding.dtype}", "INDEX_SPEC", next="--dtype float32")  # fmt: skip


def refuse_stranger(physical: str) -> Refused:
    """Something of this name that lockgate did not make."""
    return Refused(f"{physical} exists and has no manifest of ours", "INDEX_EXISTS")


def last_of_each(records: Sequence[Record], dimension: int) -> list[Record]:
    """The last record of each id. Raises ``Refused`` for one whose vector does not fit; ``dimension`` is 0 in a text index."""
    if dimension:
        for r in records:
            if r.vector is None or len(r.vector) != dimension:
                raise Refused(f"record {r.id!r} has {len(r.vector or ())} components, not {dimension}", "INDEX_RECORD")  # fmt: skip
    return list({r.id: r for r in records}.values())


def refuse_question(question: Sequence[float], dimension: int, physical: str) -> None:
    """Raise ``Refused`` for a query vector of another dimension: stores answer that with errors of their own, or with nothing."""
    if len(question) != dimension:
        raise Refused(f"the query has {len(question)} components, {physical} has {dimension}", "INDEX_RECORD")


def must_move(alias: str, now: str | None, expect: str | None, to: str) -> bool:
    """Whether a swap has anything to do. Raises ``Busy`` where the alias does not point to what was expected."""
    if now == to:
        return False
    if now != expect:
        raise Busy(
            f"the alias {alias} points to {now or 'nothing'}, not to {expect or 'nothing'}: somebody else swapped it",
            "INDEX_MOVED", details={"expected": expect, "found": now},
        )  # fmt: skip
    return True


def refuse_drop(physical: str, aliases: "dict[str, str]") -> None:
    """Raise ``Refused`` for an alias, and for what an alias points to. ``aliases`` maps names to what they point to."""
    if physical in aliases:
        raise Refused(f"{physical} is an alias", "INDEX_ALIAS", next="Name a generation.")
    if physical in aliases.values():
        raise Refused(f"an alias points to {physical}", "INDEX_ALIAS")


def unknown(name: str) -> LockgateError:
    """There is no index of this name."""
    return LockgateError(f"there is no index {name}", "INDEX_UNKNOWN")


def not_installed(what: str, extra: str) -> Refused:
    """A driver that an extra of ours brings is missing."""
    return Refused(f"{what} is not installed", "INDEX_STORE", next=f"pip install 'lockgate[{extra}]'")
