"""ALTER TABLE: the statement's own lock is the strongest of its actions', and each action adds its own."""

from collections.abc import Callable
from typing import Any

from lockgate.policy.facts.alter_columns import (
    add_column,
    alter_type,
    check_recursion,
    drop_column,
    drop_expression,
    keys_made_again,
    set_not_null,
)
from lockgate.policy.facts.alter_constraints import (
    add_constraint,
    alter_constraint,
    constraint_level,
    drop_constraint,
    validate,
)
from lockgate.policy.facts.alter_partitions import attach, detach, inherit
from lockgate.policy.facts.fact import Draft
from lockgate.policy.model.names import bare
from lockgate.policy.model.replay_alter import SELF
from lockgate.policy.model.schema import Relation, key_of, schema_of
from lockgate.postgres.tree import words as w
from lockgate.postgres.tree.words import LockMode

_AX = LockMode.AccessExclusiveLock
_SUX = LockMode.ShareUpdateExclusiveLock
_SRX = LockMode.ShareRowExclusiveLock

# Actions whose own lock is less than AccessExclusiveLock.
_LEVELS: dict[type, LockMode] = {
    w.SetStatistics: _SUX,
    w.SetColumnOptions: _SUX,
    w.ClusterOn: _SUX,
    w.ValidateConstraint: _SUX,
    w.AttachPartition: _SUX,
    w.ToggleTrigger: _SRX,
}

# Storage parameters that do change how rows are read, and so need the strongest lock.
_STRONG_OPTIONS = {
    "user_catalog_table",
    "security_barrier",
    "security_invoker",
    "check_option",
    "fastupdate",
    "buffering",
}


def alter_table(draft: Draft, word: w.AlterTable) -> None:
    """ALTER TABLE and its kin."""
    if word.kind != "table":
        draft.facts.kind = f"ALTER {word.kind.upper().replace('_', ' ')}"
    if word.kind == "type":
        _composite(draft, word)
        return
    if word.kind == "trigger":
        # DEPENDS ON EXTENSION is a row of pg_depend.
        draft.lock(draft.known(word.name)[0], LockMode.AccessShareLock)
        return
    key, state = draft.known(word.name)
    if word.if_exists and key in draft.facts.unknown:
        # As far as the files tell it is not there, and what is not there is not locked.
        return
    mode = max([_level(draft, action, state) for action in word.actions], default=_AX)
    draft.lock(key, mode)
    for action in word.actions:
        if not word.only:
            draft.lock_all(check_recursion(draft, state, action), mode)
        elif state is not None and isinstance(action, w.DropNotNull) and draft.server.version >= 18:
            # The children stay NOT NULL, but learn that it is their own.
            draft.lock_all(state.children if _is_not_null(state, action.column) else [], mode)
        handler = _HANDLERS.get(type(action))
        if handler is not None:
            handler(draft, key, state, action, word.only)
    if state is not None and state.kind != "c":
        keys_made_again(draft, state, word.actions, only=word.only)
    if len(word.actions) > 1:
        _drops_own_proof(draft, key, word)
        if state is not None:
            _makes_again(draft, state, word)
            _same_sequence(draft, state, word)


def _drops_own_proof(draft: Draft, key: str, word: w.AlterTable) -> None:
    """Drops come first whatever the text says, so a proof that goes proves nothing to the same statement."""
    dropped = [action.name for action in word.actions if isinstance(action, w.DropConstraint)]
    freed = {action.column for action in word.actions if isinstance(action, w.DropNotNull)}
    columns: list[str] = []
    for action in word.actions if dropped or freed else ():
        if isinstance(action, w.SetNotNull):
            columns.append(action.column)
        elif isinstance(action, w.AddConstraint) and action.constraint.kind == "primary":
            columns += action.constraint.columns
    if columns:
        for name in [key] if word.only else [key, *draft.schema.descendants(key)]:
            relation = draft.schema.relations.get(name)
            if relation is not None and not all(
                draft.schema.proves_not_null(
                    relation, column, [*dropped, "NOT NULL"] if column in freed else dropped
                )
                for column in columns
            ):
                draft.scan(name)


def _makes_again(draft: Draft, state: Relation, word: w.AlterTable) -> None:
    """An index that goes with its constraint and comes back under its name has other storage."""
    for action in word.actions:
        if isinstance(action, w.DropConstraint) and action.name in state.constraints:
            index = state.constraints[action.name].index
            for other in word.actions if index else ():
                made = other.constraint if isinstance(other, w.AddConstraint) else None
                if made is not None and made.kind in ("primary", "unique") and not made.using_index:
                    name = made.name or (f"{bare(state.key)}_pkey" if made.kind == "primary" else "")
                    if name == bare(index):
                        draft.rewrite(index)


def _same_sequence(draft: Draft, state: Relation, word: w.AlterTable) -> None:
    """DROP IDENTITY and ADD GENERATED in one statement: another sequence under the same name."""
    kinds = {(action.column, action.what) for action in word.actions if isinstance(action, w.AlterIdentity)}
    for column, what in kinds:
        own = state.columns.get(column)
        if what == "drop" and (column, "add") in kinds and own is not None and own.identity and own.sequence:
            draft.rewrite(own.sequence)


def _is_not_null(state: Relation, name: str) -> bool:
    column = state.columns.get(name)
    return column is None or column.not_null


def _level(draft: Draft, action: w.Action, state: Relation | None) -> LockMode:
    if isinstance(action, w.AddConstraint):
        return constraint_level(action.constraint)
    if isinstance(action, w.DetachPartition):
        return _AX if action.how == "plain" else _SUX
    if isinstance(action, w.SetOptions):
        strong = _STRONG_OPTIONS & set(action.options) or (state is not None and state.kind == "v")
        return _AX if strong else _SUX
    return _LEVELS.get(type(action), _AX)


def _composite(draft: Draft, word: w.AlterTable) -> None:
    """ALTER TYPE of a composite: its own relation, and every table made OF it with CASCADE."""
    key = draft.schema.type_key(word.name.schema, word.name.name)
    for action in word.actions:
        if isinstance(action, w.OwnerTo):
            # Only a composite type is a relation; to the tables made OF it the owner is nothing.
            state = draft.schema.types.get(key)
            if key in draft.schema.relations and (
                state is None or not _same_role(draft, state.owner, action.role)
            ):
                draft.lock(key, _AX)
            return
    draft.lock(key, _AX)
    draft.lock_all(draft.schema.tables_of_type(key), _AX)


def _same_role(draft: Draft, one: str, other: str) -> bool:
    own = (*SELF, draft.server.role)
    return one == other or (one in own and other in own)


def _owner(draft: Draft, key: str, state: Relation | None, action: w.OwnerTo, only: bool) -> None:
    """The owner of a table owns its indexes and sequences."""
    if state is None or _same_role(draft, state.owner, action.role):
        return
    draft.indexes(key, _AX)
    draft.lock_all(state.owned_sequences, _AX)


def _tablespace(draft: Draft, key: str, state: Relation | None, action: w.SetTablespace, only: bool) -> None:
    """Only the heap moves; indexes stay where they are. Where it is already, nothing moves."""
    target = "" if action.tablespace == "pg_default" else action.tablespace
    index = draft.schema.indexes.get(key)
    if index is not None:
        if target != index.tablespace and not index.children:
            draft.rewrite(key)
        return
    if target == (state.tablespace if state is not None else "") or (state is not None and state.kind == "p"):
        return
    draft.rewrite(key)


def _access_method(
    draft: Draft, key: str, state: Relation | None, action: w.SetAccessMethod, only: bool
) -> None:
    """Another access method means another heap. The one that every server starts with changes nothing."""
    if action.method not in ("heap", "") and (state is None or state.kind != "p"):
        draft.storage(key)
        draft.scan(key)


def _logged(draft: Draft, key: str, state: Relation | None, action: w.SetLogged, only: bool) -> None:
    """The table is written anew, its sequences too; nothing happens when it is so already."""
    if state is None:
        draft.rewrite(key)
        return
    if (state.persistence == "p") == action.logged:
        return
    if state.kind == "p":
        return
    draft.storage(key)
    draft.scan(key)
    for sequence in state.owned_sequences:
        draft.lock(sequence, _AX)
        draft.rewrite(sequence)


def _identity(draft: Draft, key: str, state: Relation | None, action: w.AlterIdentity, only: bool) -> None:
    """The sequence behind an identity column goes with it, or is altered."""
    column = state.columns.get(action.column) if state is not None else None
    if column is not None and column.identity and column.sequence and action.what != "add":
        draft.lock(column.sequence, _AX if action.what == "drop" else _SRX)
        if action.sequence:
            draft.rewrite(column.sequence)


def _replica(draft: Draft, key: str, state: Relation | None, action: w.ReplicaIdentity, only: bool) -> None:
    if action.index:
        draft.lock(_index_key(draft, key, action.index), LockMode.ShareLock)


def _cluster_on(draft: Draft, key: str, state: Relation | None, action: w.ClusterOn, only: bool) -> None:
    if action.index:
        draft.lock(_index_key(draft, key, action.index), _SUX)


def _index_key(draft: Draft, table: str, index: str) -> str:
    return key_of(schema_of(table), index)


def _inherit(draft: Draft, key: str, state: Relation | None, action: w.Inherit, only: bool) -> None:
    inherit(draft, key, action)


def _of_type(draft: Draft, key: str, state: Relation | None, action: w.OfType, only: bool) -> None:
    if action.type is not None:
        draft.lock(draft.schema.type_key(action.type.schema, action.type.name), LockMode.AccessShareLock)


_HANDLERS: dict[type, Callable[[Draft, str, Relation | None, Any, bool], None]] = {
    w.AddColumn: add_column,
    w.DropColumn: drop_column,
    w.AlterType: alter_type,
    w.SetNotNull: set_not_null,
    w.SetExpression: drop_expression,
    w.AddConstraint: add_constraint,
    w.DropConstraint: drop_constraint,
    w.ValidateConstraint: validate,
    w.AlterConstraint: alter_constraint,
    w.AttachPartition: attach,
    w.DetachPartition: detach,
    w.Inherit: _inherit,
    w.OwnerTo: _owner,
    w.AlterIdentity: _identity,
    w.SetTablespace: _tablespace,
    w.SetAccessMethod: _access_method,
    w.SetLogged: _logged,
    w.ReplicaIdentity: _replica,
    w.ClusterOn: _cluster_on,
    w.OfType: _of_type,
}
