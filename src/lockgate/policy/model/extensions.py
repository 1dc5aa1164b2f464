"""What well-known extensions bring that tables and indexes stand on, and so goes with them."""

from collections.abc import Iterable

from msgspec import Struct

from lockgate.policy.model.built_in import built_in_functions, extension_functions
from lockgate.postgres.tree.words import TypeName

_TYPES = {
    "vector": ("vector", "halfvec", "sparsevec"), "citext": ("citext",), "hstore": ("hstore",),
    "ltree": ("ltree", "lquery", "ltxtquery"), "cube": ("cube",), "seg": ("seg",),
    "postgis": ("geometry", "geography", "box2d", "box3d"), "intarray": ("query_int",),
    "isn": ("ean13", "isbn13", "ismn13", "issn13", "isbn", "ismn", "issn", "upc"),
}  # fmt: skip
"""The types that columns have."""
_METHODS = {"vector": ("hnsw", "ivfflat"), "bloom": ("bloom",), "rum": ("rum",)}
"""Kinds of index of their own."""
_CLASSES = {
    "pg_trgm": ("gin_trgm_ops", "gist_trgm_ops"), "intarray": ("gin__int_ops", "gist__int_ops", "gist__intbig_ops"),
    "citext": ("citext_ops", "citext_pattern_ops"),
}  # fmt: skip
"""Operator classes that an index names."""
_USUAL = {"btree_gist": "gist", "btree_gin": "gin"}
"""Extensions that give a kind of index its usual operator classes for plain values: nobody names them."""
_PLAIN = frozenset({
    "int2", "int4", "int8", "float4", "float8", "numeric", "timestamp", "timestamptz", "time", "timetz", "date", "interval",
    "money", "oid", "text", "varchar", "bpchar", "char", "bytea", "bit", "varbit", "macaddr", "uuid", "bool", "name",
})  # fmt: skip


class Objects(Struct, frozen=True):
    """What one extension brings: types, kinds of index, operator classes and functions by name."""

    types: tuple[str, ...]
    methods: tuple[str, ...]
    classes: tuple[str, ...]
    functions: frozenset[str]
    usual: str

    def serves(self, method: str, opclasses: Iterable[str], types: Iterable[TypeName]) -> bool:
        """Whether an index of ``method`` over columns of ``types`` stands on the extension."""
        if method in self.methods or any(name.split(".")[-1] in self.classes for name in opclasses):
            return True
        return method == self.usual and any(at.name in _PLAIN and not at.array for at in types)


def objects_of(extension: str) -> Objects:
    """What the extension called ``extension`` brings; of one that is not known, nothing."""
    functions = {name for name, owners in extension_functions().items() if extension in owners}
    return Objects(
        _TYPES.get(extension, ()),
        _METHODS.get(extension, ()),
        _CLASSES.get(extension, ()),
        frozenset(functions - built_in_functions()),
        _USUAL.get(extension, ""),
    )
