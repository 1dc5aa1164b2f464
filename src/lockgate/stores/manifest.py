"""The manifest: everything that decides what an index answers, except its documents. ``spec_hash`` is its digest.

Times, hosts, physical names, build threads and the bytes of a graph are left out: two builds of one specification are equal.
"""

import json
from typing import Any

import msgspec

from lockgate.errors import ConfigError
from lockgate.stores.canonical import digest_of

METRICS = ("cosine", "l2", "ip")


class Embedding(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """The model behind the vectors. ``provider`` and ``model`` name it; ``given`` says that vectors come ready-made."""

    provider: str
    model: str
    dimension: int
    revision: str = ""
    dtype: str = "float32"
    normalised: bool = True
    pooling: str = ""
    query_prefix: str = ""
    document_prefix: str = ""
    truncation: int = 0


class Manifest(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """One index specification. ``kind`` is vector or text; ``ann`` maps the graph's parameters to texts."""

    kind: str
    embedding: Embedding | None = None
    metric: str = ""
    analyzer: str = ""
    analyzer_fingerprint: str = ""
    chunker: str = ""
    id_scheme: str = "as-is"
    payload_schema: str = ""
    ann: dict[str, str] = {}
    format_version: int = 1

    @property
    def takes_zero(self) -> bool:
        """Whether a vector of length 0 can be compared: not by a cosine, nor where lengths are said to be 1."""
        return self.metric != "cosine" and not (self.embedding is not None and self.embedding.normalised)

    @property
    def spec_hash(self) -> str:
        """The digest of all fields, in canonical form."""
        return digest_of("lockgate:spec:1", msgspec.to_builtins(self))

    @property
    def dimension(self) -> int:
        """The number of components of a vector; 0 in a text index."""
        return self.embedding.dimension if self.embedding else 0

    def as_json(self) -> str:
        """The manifest as JSON text, keys sorted."""
        return json.dumps(msgspec.to_builtins(self), sort_keys=True)

    def without_names(self) -> "Manifest":
        """The manifest without the names of the model, which a gateway may change without changing the model."""
        if self.embedding is None:
            return self
        bare = msgspec.structs.replace(self.embedding, provider="", model="", revision="")
        return msgspec.structs.replace(self, embedding=bare)

    def differences(self, other: "Manifest") -> list[str]:
        """The fields that differ, with both values."""
        mine, theirs = _flat(msgspec.to_builtins(self)), _flat(msgspec.to_builtins(other))
        return [
            f"{name}: {mine.get(name)!r} / {theirs.get(name)!r}"
            for name in sorted(mine.keys() | theirs.keys())
            if mine.get(name) != theirs.get(name)
        ]


def _flat(tree: dict[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{before}{name}.")
        else:
            flat[before + name] = value
    return flat


def read_manifest(text: str) -> Manifest:
    """Read a manifest back. Raises ``ConfigError`` for what is none."""
    try:
        return check(msgspec.json.decode(text, type=Manifest))
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise ConfigError(f"not a manifest of an index: {error}", "INDEX_SPEC") from None


def check(manifest: Manifest) -> Manifest:
    """Refuse a specification that contradicts itself. Raises ``ConfigError`` that names the field."""
    wrong = ""
    if manifest.kind not in ("vector", "text"):
        wrong = f"kind {manifest.kind!r} is vector or text"
    elif manifest.kind == "vector" and (manifest.embedding is None or manifest.metric not in METRICS):
        wrong = f"a vector index has an embedding and a metric of {', '.join(METRICS)}"
    elif manifest.embedding and not 1 <= manifest.embedding.dimension <= 16_000:
        wrong = f"embedding.dimension {manifest.embedding.dimension} is not between 1 and 16000"
    elif manifest.embedding and manifest.embedding.dtype not in ("float32", "float16"):
        wrong = f"embedding.dtype {manifest.embedding.dtype!r} is float32 or float16"
    elif manifest.kind == "text" and (manifest.embedding is not None or not manifest.analyzer):
        wrong = "a text index has an analyzer and no embedding"
    if wrong:
        raise ConfigError(wrong, "INDEX_SPEC")
    return manifest
