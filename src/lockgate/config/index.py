"""What ``lockgate.toml`` may say about an index: ``[index.NAME]``, from what it is built, and what a release asks before and after its swap."""

import re
from collections.abc import Callable, Mapping

import msgspec

_NAME = re.compile(r"[a-z][a-z0-9_]{0,35}")


class Index(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[index.NAME]``: one vector or search index. A table or a file of records, where it lives, and its limits."""

    store: str = "pgvector"
    place: str = ""
    table: str = ""
    records: str = ""
    id: str = "id"
    text: str = "text"
    vector: str = ""
    embedder: str = ""
    model: str = "given"
    metric: str = "cosine"
    dtype: str = "float32"
    ann: str = "flat"
    raw_lengths: bool = False
    analyzer: str = ""
    rate: float = 0.0
    batch: int = 2_000
    gold: str = ""
    query_vectors: str = ""
    profile: str = "like-for-like"
    limits: Mapping[str, float] = {}
    breadth: int = 0
    shadow: str = ""
    max_latency_increase_percent: float = 15.0
    rebuild: str = "changed"
    two_step: bool = False
    rollback_window: str = "24h"
    watch: str = ""
    interval: str = "1min"


def index_problems(indexes: Mapping[str, Index], is_duration: Callable[[str], bool]) -> list[str]:
    """What is wrong with the sections, each with its key. Stores and limits are judged where they are known."""
    found = []
    for name, one in indexes.items():
        key = f"index.{name!s:.60}"
        if not _NAME.fullmatch(name):
            found.append(f"{key}: a name is made of a-z, 0-9 and _, at most 36, a letter first")
        if bool(one.table) == bool(one.records):
            found.append(f"{key} needs table or records, and not both")
        for field, allowed in (
            ("metric", ("cosine", "l2", "ip")),
            ("dtype", ("float32", "float16")),
            ("profile", ("like-for-like", "model-change")),
            ("rebuild", ("changed", "always")),
        ):
            if getattr(one, field) not in allowed:
                found.append(f"{key}.{field} = {getattr(one, field)!r:.60} is one of {', '.join(allowed)}")
        for field in ("rollback_window", "watch", "interval"):
            if not is_duration(getattr(one, field) or ("0" if field == "watch" else "")):
                found.append(f"{key}.{field} = {getattr(one, field)!r:.60} is not a time limit such as 30min")
        if is_duration(one.interval) and one.interval.strip().rstrip("msinhd ") in ("0", "0.0"):
            found.append(f"{key}.interval must be above 0")
        if not 1 <= one.batch <= 10_000:
            found.append(f"{key}.batch must be between 1 and 10000")
        if not 0 <= one.breadth <= 1000:
            found.append(f"{key}.breadth must be between 0 and 1000")
        if one.rate < 0 or one.max_latency_increase_percent < 0:
            found.append(f"{key}.rate and max_latency_increase_percent are 0 or more")
    return found
