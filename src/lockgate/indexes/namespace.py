"""Cache namespaces: what a cache of answers is keyed by. A swap makes a new one; the old one is left to its time-outs.

Scanning for old keys and deleting them takes as long as the cache is large, and a reader that is a moment late writes one anew.
With the hash of the generation in the key, an answer of an old generation is simply never asked for again.
"""


def cache_namespace(name: str, index_hash: str) -> str:
    """The namespace of the answers of one sealed generation; "" for one that is not sealed."""
    return f"{name}:{index_hash[:16]}" if index_hash else ""


def cache_key(name: str, index_hash: str, *parts: str) -> str:
    """A key in that namespace. Parts are framed by their lengths, so that no two lists of parts make one key.

    Raises ``ValueError`` for a generation that is not sealed: its answers have no identity to be cached under.
    """
    if not index_hash:
        raise ValueError(f"the generation of {name} is not sealed")
    return ":".join([cache_namespace(name, index_hash), *(f"{len(part)}={part}" for part in parts)])
