"""Triggers, rules, policies, sequences, types, domains, comments, grants and the rest."""

from lockgate.policy.facts.fact import Draft
from lockgate.policy.facts.lookups import worked_out
from lockgate.policy.facts.queries import parsed
from lockgate.policy.model.schema import schema_of
from lockgate.postgres.tree import words as w
from lockgate.postgres.tree.words import LockMode


def nothing(draft: Draft, word: w.Statement) -> None:
    """No relation lock that another session could meet."""


def create_trigger(draft: Draft, word: w.CreateTrigger) -> None:
    """ShareRowExclusiveLock: writes wait. A row trigger of a partitioned table goes to every partition."""
    key, state = draft.known(word.table)
    draft.lock(key, LockMode.ShareRowExclusiveLock)
    if word.from_table is not None:
        draft.lock(draft.known(word.from_table)[0], LockMode.AccessShareLock)
    if state is not None and state.kind == "p" and word.row:
        draft.lock_all(draft.schema.descendants(key), LockMode.ShareRowExclusiveLock)
    draft.see(f"writes to {key} run trigger {word.name}")


def create_rule(draft: Draft, word: w.CreateRule) -> None:
    """AccessExclusiveLock on the table; what the rule's actions name is parsed."""
    others = tuple([access for access in word.accesses if access.name.name not in ("old", "new")])
    parsed(draft, others)
    draft.lock(draft.known(word.table)[0], LockMode.AccessExclusiveLock)


def policy(draft: Draft, word: w.Policy) -> None:
    """CREATE and ALTER POLICY: AccessExclusiveLock."""
    draft.facts.kind = "CREATE POLICY" if word.create else "ALTER POLICY"
    parsed(draft, word.accesses)
    draft.lock(draft.known(word.table)[0], LockMode.AccessExclusiveLock)


def create_sequence(draft: Draft, word: w.CreateSequence) -> None:
    """A new sequence locks only the table that is to own it."""
    if word.owned_by is not None:
        draft.lock(draft.known(word.owned_by[0])[0], LockMode.AccessShareLock)


def alter_sequence(draft: Draft, word: w.AlterSequence) -> None:
    """ShareRowExclusiveLock; any option but the owner writes the sequence anew."""
    if word.if_exists and draft.absent(word.name):
        return
    key, _ = draft.known(word.name)
    draft.lock(key, LockMode.ShareRowExclusiveLock)
    if set(word.options) - {"owned_by"}:
        draft.rewrite(key)
    if word.owned_by is not None:
        draft.lock(draft.known(word.owned_by[0])[0], LockMode.AccessShareLock)


def alter_enum(draft: Draft, word: w.AlterEnum) -> None:
    """A new label locks no table; it may not be used before the transaction ends."""
    draft.facts.reversible = bool(word.renamed_from)
    draft.see(f"enum label {word.value}")


def alter_domain(draft: Draft, word: w.AlterDomain) -> None:
    """ShareLock and a scan on every table with a column of the domain, when values are checked."""
    checks = word.what in ("set_not_null", "validate") or (
        word.what == "add" and word.constraint is not None and not word.constraint.not_valid
    )
    domain = draft.schema.types.get(draft.schema.type_key(word.name.schema, word.name.name))
    if not checks or (word.what == "set_not_null" and domain is not None and domain.not_null):
        return
    for table, _ in draft.schema.columns_of_type(draft.schema.type_key(word.name.schema, word.name.name)):
        if draft.schema.relations[table].kind not in "rm":
            continue
        draft.lock(table, LockMode.ShareLock)
        draft.scan(table)
        if word.constraint is not None:
            worked_out(draft, [table], word.constraint.expression)


def create_schema(draft: Draft, word: w.CreateSchema) -> None:
    """The statements inside a CREATE SCHEMA lock what they lock alone."""
    from lockgate.policy.facts.gather import facts_of  # the one circle: statements inside a statement

    path = draft.schema.search_path
    draft.schema.search_path = [word.name, *path]
    try:
        for element in word.elements:
            inner = facts_of(element, draft.schema, draft.server)
            for key, mode in inner.locks.items():
                # What an element before it made is new, like the schema itself.
                if key in draft.schema.relations or schema_of(key) != word.name:
                    draft.lock(key, mode)
            draft.facts.understood = draft.facts.understood and inner.understood
    finally:
        draft.schema.search_path = path


def create_statistics(draft: Draft, word: w.CreateStatistics) -> None:
    """ShareUpdateExclusiveLock: reads and writes go on."""
    if word.table is not None:
        draft.lock(draft.known(word.table)[0], LockMode.ShareUpdateExclusiveLock)


def reassign_owned(draft: Draft, word: w.ReassignOwned) -> None:
    """AccessExclusiveLock on every relation of the roles, and on the indexes and sequences that go with them."""
    draft.facts.reversible = None
    for key, state in draft.schema.relations.items():
        if state.owner in word.roles:
            draft.lock(key, LockMode.AccessExclusiveLock)
            draft.indexes(key, LockMode.AccessExclusiveLock)
            draft.lock_all(state.owned_sequences, LockMode.AccessExclusiveLock)
    draft.see(f"what {', '.join(word.roles)} owned belongs to {word.new}")


_COMMENT_RELATIONS = {"table", "view", "matview", "index", "sequence", "foreign_table", "column"}


def comment(draft: Draft, word: w.Comment) -> None:
    """COMMENT ON and SECURITY LABEL ON."""
    if word.name is None:
        return
    if word.kind in _COMMENT_RELATIONS:
        draft.lock(draft.known(word.name)[0], LockMode.ShareUpdateExclusiveLock)
    elif word.kind in ("tabconstraint", "trigger", "rule", "policy"):
        draft.lock(draft.known(word.name)[0], LockMode.AccessShareLock)


def grant(draft: Draft, word: w.Grant) -> None:
    """Rights are rows of catalogues; tables are not locked."""
    draft.facts.kind = "GRANT" if word.grant else "REVOKE"
    draft.see("privileges")
    if draft.server.version >= 18 and word.kind in _COMMENT_RELATIONS and not word.in_schema:
        for name in word.names:
            draft.lock(draft.known(name)[0], LockMode.AccessShareLock)


def publication(draft: Draft, word: w.Publication) -> None:
    """ShareUpdateExclusiveLock on the tables named."""
    draft.facts.kind = "CREATE PUBLICATION" if word.create else "ALTER PUBLICATION"
    before = draft.schema.publications.get(word.name) if word.what == "set" else None
    named = [draft.known(name)[0] for name in word.tables]
    alone = {key for key, only in zip(named, word.only, strict=False) if only}
    # SET takes the others out, and locks them for it.
    for key in (*named, *(before.tables if before is not None else ())):
        state = draft.schema.relations.get(key)
        draft.lock(key, LockMode.ShareUpdateExclusiveLock)
        if state is not None and state.kind != "p" and key not in alone:
            draft.lock_all(draft.schema.descendants(key), LockMode.ShareUpdateExclusiveLock)


def transaction_control(draft: Draft, word: w.TransactionControl) -> None:
    """Understood, and refused by a rule."""
    draft.facts.kind = word.kind
    draft.facts.transactional = False


def utility(draft: Draft, word: w.Utility) -> None:
    """Known and harmless to tables."""
    draft.facts.kind = word.kind
    draft.facts.transactional = word.transactional


def conversion(draft: Draft, word: w.CreateConversion) -> None:
    """An operator or a cast: nothing is locked by it."""
    draft.facts.kind = "CREATE OPERATOR" if word.operator else "CREATE CAST"


def not_understood(draft: Draft, word: w.NotUnderstood) -> None:
    """Nothing is known, so nothing may be assumed."""
    draft.facts.understood = False
    draft.facts.reversible = None
