"""Hazards of family F: triggers and row-security policies on live tables."""

from collections.abc import Iterator

from lockgate.policy.hazard import INFO, WARNING, Hazard
from lockgate.policy.model.environment import Environment, Life
from lockgate.policy.model.spelling import quote
from lockgate.policy.registry import rule
from lockgate.policy.subject import Hit, Subject
from lockgate.postgres.tree import words as w

_SETUP = """CREATE TABLE orders (id bigint PRIMARY KEY, tenant text);
CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TRIGGER orders_noted AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION noted();
CREATE POLICY own_rows ON orders USING (tenant = current_user);"""
_AX = "AccessExclusiveLock"
# Writes a second from which on a table counts as busy.
_HOT = 100


@rule(
    Hazard(
        id="trigger-drop",
        name="Trigger dropped from a live table",
        detects="DROP TRIGGER on a table that an earlier file created.",
        effect="All access to the table waits for it; then writes no longer do what the trigger did.",
        lock=_AX,
        severity=WARNING,
        contract_severity=INFO,
        workaround="A file of its own, so that the lock is held for a moment only; CREATE OR REPLACE TRIGGER to change one.",
        source="observed",
        setup=_SETUP,
        bad="DROP TRIGGER orders_noted ON orders;",
        good="CREATE OR REPLACE TRIGGER orders_noted BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION noted();",
    ),
    on=w.Drop,
)
def trigger_drop(subject: Subject) -> Iterator[Hit]:
    """Stronger than creating one."""
    for key, name in _dropped(subject, "trigger"):
        yield Hit(f"all access to {key} waits for it, and no write runs trigger {name} any more")


def _dropped(subject: Subject, kind: str) -> Iterator[tuple[str, str]]:
    """(table, object) of a DROP on tables that older files made."""
    word = subject.statement
    assert isinstance(word, w.Drop)
    if word.kind == kind:
        for name, sub in zip(word.names, word.subs, strict=True):
            key = subject.schema.resolve(name)
            if not subject.is_new(key) and key in subject.facts.locks:
                yield key, sub


@rule(
    Hazard(
        id="trigger-toggle",
        name="Trigger switched on or off",
        detects="ENABLE or DISABLE TRIGGER or RULE on a table that an earlier file created.",
        effect="Writes wait for it. While a trigger is off it is off for every session; ALL takes foreign keys along, and nothing checks the rows afterwards.",
        lock="ShareRowExclusiveLock",
        severity=WARNING,
        workaround="Let the trigger's function look at a setting that the one session sets.",
        source="PostgreSQL documentation, ALTER TABLE, DISABLE TRIGGER; observed",
        setup=_SETUP,
        bad="ALTER TABLE orders DISABLE TRIGGER orders_noted;",
        good="SET LOCAL orders.quiet = 'on';",
    ),
    on=(w.ToggleTrigger, w.ToggleRule),
)
def trigger_toggle(subject: Subject) -> Iterator[Hit]:
    """Off is worse than on."""
    action = subject.action
    assert isinstance(action, w.ToggleTrigger | w.ToggleRule)
    if subject.new:
        return
    if isinstance(action, w.ToggleRule):
        how = "is rewritten" if action.enable else "is not rewritten"
        yield Hit(f"what any session does with {subject.key} {how} by rule {action.name} from now on")
        return
    back = f"ALTER TABLE {subject.sql} ENABLE TRIGGER {quote(action.name) if action.name else 'USER' if action.user else 'ALL'};"
    if action.enable:
        yield Hit(
            f"writes to {subject.key} wait for it; rows written while it was off stay as they are",
            severity=INFO,
        )
    elif action.name or action.user:
        what = f"trigger {action.name}" if action.name else "a trigger"
        yield Hit(
            f"no session's writes to {subject.key} run {what} from now on", f"-- in the same file:\n{back}"
        )
    else:
        yield Hit(
            f"foreign keys and deferred keys of {subject.key} are not checked for any session from now on, and "
            "switching them on again does not look at the rows",
            f"-- only the file's own triggers:\nALTER TABLE {subject.sql} DISABLE TRIGGER USER;",
        )


@rule(
    Hazard(
        id="trigger-row-on-hot",
        name="Row trigger on a busy table",
        detects=f"CREATE TRIGGER … FOR EACH ROW on a table that a snapshot shows with {_HOT} writes a second or more.",
        effect="Every row written calls the function, inside the writer's transaction: writes get slower at once.",
        lock="ShareRowExclusiveLock",
        severity=WARNING,
        workaround="FOR EACH STATEMENT with REFERENCING transition tables, or a WHEN condition that is rarely true.",
        source="PostgreSQL documentation, CREATE TRIGGER",
        setup=_SETUP,
        bad="CREATE TRIGGER orders_seen AFTER UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION noted();",
        good="CREATE TRIGGER orders_seen AFTER UPDATE ON orders FOR EACH STATEMENT EXECUTE FUNCTION noted();",
        environment=Environment(tables={"orders": Life(writes_per_second=500)}),
    ),
    on=w.CreateTrigger,
)
def row_on_hot(subject: Subject) -> Iterator[Hit]:
    """The snapshot has to say how busy the table is; nothing else can."""
    word = subject.statement
    assert isinstance(word, w.CreateTrigger)
    writes = subject.options.environment.life(subject.key).writes_per_second
    if word.row and writes >= _HOT and not subject.new:
        function = word.function.name if word.function is not None else "the function"
        yield Hit(f"{function}() runs for each of about {writes:.0f} writes a second on {subject.key}")


@rule(
    Hazard(
        id="policy-change",
        name="Row-security policy changed on a live table",
        detects="CREATE, ALTER or DROP POLICY on a table that an earlier file created.",
        effect="All access to the table waits for it; then other rows are seen and may be written, by the old release too.",
        lock=_AX,
        severity=WARNING,
        workaround="A file of its own, so that the lock is held for a moment only; add the new policy before the old one goes.",
        source="observed",
        setup=_SETUP,
        bad="DROP POLICY own_rows ON orders;",
        good="COMMENT ON POLICY own_rows ON orders IS 'a tenant sees its own rows';",
    ),
    on=(w.Policy, w.Drop),
)
def policy_change(subject: Subject) -> Iterator[Hit]:
    """A new permissive policy only adds rows; all else may take some away."""
    word = subject.statement
    if isinstance(word, w.Policy):
        key = subject.schema.resolve(word.table)
        if subject.is_new(key):
            return
        state = subject.schema.relations.get(key)
        if not word.create:
            yield Hit(f"other rows of {key} are seen as soon as policy {word.name} is changed")
        elif state is not None and not state.row_security:
            yield Hit(f"all access to {key} waits for it", severity=INFO)
        elif word.permissive:
            yield Hit(f"all access to {key} waits for it, then more of its rows are seen", severity=INFO)
        else:
            yield Hit(f"fewer rows of {key} are seen as soon as restrictive policy {word.name} is there")
        return
    for key, name in _dropped(subject, "policy"):
        yield Hit(f"rows of {key} that only policy {name} allowed are no longer seen")
