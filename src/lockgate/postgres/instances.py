"""The instances that gates have registered, as plain values, and which of them see something else than their like."""

from collections.abc import Mapping, Sequence

import msgspec

from lockgate.postgres import home
from lockgate.postgres.queries import query
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Wire


class Instance(msgspec.Struct, frozen=True, rename="camel"):
    """One registered process. ``age_seconds`` is the age of its heartbeat; ``in_window`` whether the floor allows it."""

    instance_id: str
    service: str
    release_id: str
    schema_min: str
    schema_max: str
    started_at: str
    heartbeat_at: str
    age_seconds: int
    ttl_seconds: int
    live: bool
    in_window: bool
    observed: Mapping[str, object] = {}


def read_instances(target: Target, *, live_only: bool = False) -> tuple[Instance, ...]:
    """All instances, live ones first. Raises ``Unreachable``, ``Refused``, ``ServerError``."""
    wire = Wire(target, "instances")
    try:
        if not home.exists(wire):
            return ()
        rows = wire.one(query("instances"), "t" if live_only else "f").rows
    finally:
        wire.close()
    return tuple(
        Instance(
            r[0] or "", r[1] or "", r[2] or "", r[3] or "", r[4] or "", r[5] or "", r[6] or "", int(r[7] or 0), int(r[8] or 0),
            r[9] == "true", (r[4] or "") >= (r[11] or ""), msgspec.json.decode(r[10] or "{}", type=dict[str, object]),
        )
        for r in rows
    )  # fmt: skip


def unequal(instances: Sequence[Instance]) -> tuple[str, ...]:
    """Sentences about live instances of one service and release that do not see the same secrets or indexes."""
    groups: dict[tuple[str, str], dict[str, list[str]]] = {}
    for one in instances:
        if one.live:
            seen = {
                key: one.observed.get(key)
                for key in ("secrets_revision", "index_hashes")
                if one.observed.get(key)
            }
            text = msgspec.json.encode(seen, order="sorted").decode()
            groups.setdefault((one.service, one.release_id), {}).setdefault(text, []).append(one.instance_id)
    return tuple(
        f"{service} {release or '(no release)'}: "
        + "; ".join(f"{', '.join(ids)} see {text}" for text, ids in sorted(kinds.items()))
        for (service, release), kinds in sorted(groups.items())
        if len(kinds) > 1
    )
