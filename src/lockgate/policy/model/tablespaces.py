"""What lies in a tablespace."""

from lockgate.policy.model.schema import Schema
from lockgate.postgres.tree.words import MoveAll


def moved(schema: Schema, word: MoveAll) -> list[str]:
    """What ALTER … ALL IN TABLESPACE moves; nothing where source and target are one."""
    source, target = ("" if name == "pg_default" else name for name in (word.source, word.target))
    if source == target:
        return []
    if word.kind == "index":
        owners = {key: state.owner for key, state in schema.relations.items()}
        found = [(key, at.tablespace, owners.get(at.table, "")) for key, at in schema.indexes.items()]
    else:
        kinds = "m" if word.kind == "matview" else "rp"
        found = [(key, at.tablespace, at.owner) for key, at in schema.relations.items() if at.kind in kinds]
    return [
        key for key, space, owner in found if space == source and (not word.owners or owner in word.owners)
    ]
