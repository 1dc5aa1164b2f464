"""What of a declaration stands in its hash: a move that runs knows its file again after every release of lockgate."""

import msgspec
import pytest

from lockgate.moves import declaration
from lockgate.moves.declaration import (
    IN_PLACE,
    Declaration,
    Gates,
    LimitsPart,
    Reference,
    Source,
    Sync,
    TargetSide,
)
from lockgate.moves.dual import declaration as dual
from lockgate.moves.dual.declaration import DualDeclaration, Place
from lockgate.moves.dual.into import INDEX_HOLDS, IndexMove, Into
from lockgate.moves.transforms import Transform

COPY = Declaration(
    Source("orders", "READ"), TargetSide("orders_v2", create=True), name="orders", key=("a", "b"), columns={"cents": "amount * 100"},
    reverse={"amount": "cents / 100.0"}, accept=("indexes", "references"), references=(Reference(("c",), "p"),),
)  # fmt: skip
FILLED = Declaration(
    Source("item"), TargetSide("item"), name="remark", kind=IN_PLACE, sync=Sync(("t",), ("c",)), not_null=("remark",),
    columns={"remark": "note"}, reverse={"note": "remark"},
)  # fmt: skip
WRITTEN = DualDeclaration(
    "dual-write", Place("t", "ONE", replica_env="R"), Place("t", "OTHER", True), name="things", key=("id",),
    columns={"cents": Transform("shop:cents", "2", ("amount",))}, reverse={"amount": "cents"}, references=(Reference(("a",), "p", ("k",)),),
)  # fmt: skip
INDEXED = IndexMove(
    kind="index", source=Place("articles", "APP"), target=Place("help", ""), name="help", columns={"text": "body"},
    index=Into("help", embedder="hashing"), root="/x",
)  # fmt: skip
PINNED = {
    "copy": (COPY, "80a97483fcfc02a0ed5dea010efaba0a86aed1dce981763fc088497d21e66ba3"),
    "in place": (FILLED, "002ed1317c72c25834fbd391919112435f1956e5e0ab7d567f78bcfaee7cc4f5"),
    "dual-write": (WRITTEN, "c51f30ef84d19b579d706b617b692a9209522a7b53d1859bba87b34d5c697986"),
    "index": (INDEXED, "f9d4ca449b4381a5858e734e76b475ff5746296d62d5dafb7979d6bfe5f2903e"),
}
FREE = {"limits", "gates", "references", "rollback_hours"}
"""What may change while a move runs, of every kind."""


@pytest.mark.parametrize("kind", PINNED)
def test_the_hash_of_a_declaration_that_runs(kind: str):
    """The hashes that earlier versions wrote into ledgers are the ones that are made now, whatever the limits, gates and references say."""
    declared, hash_ = PINNED[kind]
    assert declared.hash == hash_
    more = {
        "limits": LimitsPart(batch_rows=7, workers=1, max_wait_seconds=9, max_commit_ms=1, windows=("daily 22:00-05:00 UTC",)),
        "gates": Gates(shadow_reads=3, on_divergence="abort"), "rollback_hours": 5.0, "references": (),
    }  # fmt: skip
    assert msgspec.structs.replace(declared, **more).hash == hash_
    assert msgspec.structs.replace(declared, name="other").hash != hash_


def test_every_key_is_held_or_free():
    """Each key that a file may say either stands in the hash or is named here as one that may change while the move runs: a new one has to be decided."""
    assert {f.name for f in msgspec.structs.fields(Declaration)} == {*declaration.HOLDS, *FREE, "blocking"}
    assert {f.name for f in msgspec.structs.fields(DualDeclaration)} == {
        *dual.HOLDS,
        *FREE,
        "writers",
        "accept",
    }  # rows are asked for before it begins
    assert {f.name for f in msgspec.structs.fields(IndexMove)} == {*dual.HOLDS, *FREE, "writers", "accept", "index", "root"}  # fmt: skip
    free = {"gold", "query_vectors", "profile", "limits", "breadth", "two_step"}
    assert {f.name for f in msgspec.structs.fields(Into)} == {*INDEX_HOLDS, *free}
    for side in (Source, TargetSide, Place):
        assert {f.name for f in msgspec.structs.fields(side)} <= {*declaration.SIDE, "replica_env", "lag_env"}


@pytest.mark.parametrize("kind", PINNED)
def test_limits_of_every_kind_are_looked_at(kind: str):
    """A limit that is out of range and a window that is none are named, whichever kind of move the file declares."""
    declared = msgspec.structs.replace(
        PINNED[kind][0], limits=LimitsPart(max_lock_waiters=-1, windows=("whenever",))
    )
    found = declaration.problems(declared) if isinstance(declared, Declaration) else dual.problems(declared, kind=declared.kind)  # fmt: skip
    assert [p for p in found if p.startswith("limits.max_lock_waiters")]
    assert [p for p in found if "whenever" in p]
