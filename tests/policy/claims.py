"""What we claim of a statement, set against what was observed."""

from observation import Observed

from lockgate.policy.facts import Facts, Server, facts_of
from lockgate.policy.model.replay import replay
from lockgate.policy.model.schema import Schema
from lockgate.postgres.tree import statements_of
from lockgate.postgres.tree import words as w

# What the planner chooses to read is not claimed; emptied tables are read again only to build empty indexes.
_PLANNED = (w.Dml, w.CreateTableAs, w.Refresh, w.Truncate, w.Cluster, w.DoBlock, w.Call)


def model_of(*texts: str, version: int = 16) -> Schema:
    """The model after some files."""
    schema = Schema(version=version)
    for number, text in enumerate(texts):
        for item in statements_of(text):
            replay(schema, item.statement, number)
    return schema


def differences(word: w.Statement, facts: Facts, seen: Observed, *, outside: bool = False) -> list[str]:
    """Every claim that the server does not bear out, in words."""
    found = []
    for key in sorted({*facts.locks, *seen.locks}):
        claimed, observed = facts.locks.get(key), seen.locks.get(key)
        # Looking from outside may miss a lock that is held for a moment at the very end.
        missed = outside and (observed is None or (claimed is not None and observed < claimed))
        # A concurrent rebuild drops each old index in its last moment; a look that falls into it sees that lock.
        missed = missed or (outside and isinstance(word, w.Reindex) and claimed is not None)
        if claimed != observed and not missed:
            found.append(f"lock on {key}: claimed {_name(claimed)}, observed {_name(observed)}")
    if set(facts.rewrites) != seen.rewrites:
        found.append(f"rewrites: claimed {sorted(facts.rewrites)}, observed {sorted(seen.rewrites)}")
    if not outside and not isinstance(word, _PLANNED):
        claimed_scans, observed_scans = set(facts.scans), seen.scans
        # The query that proves a foreign key may use an index of an empty table.
        wrong = observed_scans - claimed_scans if _references(word) else claimed_scans ^ observed_scans
        if wrong:
            found.append(f"scans: claimed {sorted(claimed_scans)}, observed {sorted(observed_scans)}")
    return found


def more_than_seen(_word: w.Statement, facts: Facts, seen: Observed) -> list[str]:
    """Locks and rewrites that are claimed and not there, of a statement that may do more than is claimed."""
    found = [
        f"lock on {key}: claimed {mode.name}, observed {_name(seen.locks.get(key))}"
        for key, mode in facts.locks.items()
        if seen.locks.get(key, 0) < mode
    ]
    return found + [f"rewrites {key}" for key in set(facts.rewrites) - seen.rewrites]


def less_than_seen(_word: w.Statement, facts: Facts, seen: Observed) -> list[str]:
    """Locks and rewrites that are there and not claimed, of a statement that may do less than is claimed."""
    found = [
        f"lock on {key}: claimed {_name(facts.locks.get(key))}, observed {mode.name}"
        for key, mode in seen.locks.items()
        if facts.locks.get(key, 0) < mode
    ]
    return found + [f"does not rewrite {key}" for key in seen.rewrites - set(facts.rewrites)]


def _name(mode: w.LockMode | None) -> str:
    return mode.name if mode is not None else "nothing"


def _references(word: w.Statement) -> bool:
    return isinstance(word, w.AlterTable) and any(
        isinstance(
            action,
            w.ValidateConstraint | w.AlterType | w.AlterConstraint | w.AttachPartition | w.DetachPartition,
        )
        or (isinstance(action, w.AddConstraint) and action.constraint.kind == "foreign")
        or (isinstance(action, w.AddColumn) and bool(action.column.constraints))
        for action in word.actions
    )


def claim(sql: str, schema: Schema, version: int) -> tuple[w.Statement, Facts]:
    """The one statement in ``sql`` and its facts."""
    (item,) = statements_of(sql)
    return item.statement, facts_of(item.statement, schema, Server(version, "postgres"))
