"""What is looked at on the scratch database once the files are applied."""

from lockgate.config import Roles
from lockgate.migrations.history import read_history
from lockgate.migrations.plan import resolve
from lockgate.migrations.progress import Log
from lockgate.postgres.fingerprint import Fingerprint, difference, read_fingerprint
from lockgate.postgres.queries import query
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Wire
from lockgate.record.words import counted
from lockgate.rehearsal.replay import Stage, replay
from lockgate.rehearsal.verdict import Check, failed, passed

_MOST = 20
_HEAD = "SELECT head FROM lockgate.fence"


def second_apply(wire: Wire, target: Target, stage: Stage) -> tuple[Check, Fingerprint]:
    """Apply again, through the same engine: nothing may run, and neither history nor schema may move. With it, the schema as it stands then."""
    # The head stands for the whole chain; that the chain holds is looked at with the status.
    head, schema = wire.value(_HEAD), read_fingerprint(wire)
    log = Log()
    replay(target, stage, log)
    again, now = wire.value(_HEAD), read_fingerprint(wire)
    if log.applied:
        told = f"it ran {', '.join(f.revision for f in log.applied)} again"
    elif head != again or schema.digest != now.digest:
        told = "it changed history or schema"
    else:
        return passed("second-apply", "a second apply runs nothing and changes nothing"), now
    return failed("second-apply", told, "REHEARSAL_FAILED"), now


def status_clean(wire: Wire, stage: Stage) -> Check:
    """The history holds, and files and history agree."""
    history = read_history(wire)
    plan = resolve(stage.migrations, history)
    wrong = [f"{o.code} {o.revision}" for o in plan.obstacles]
    wrong += [f"pending {revision}" for revision, _ in plan.pending]
    wrong += [f"half done {revision}" for revision in history.partial]
    if wrong:
        return failed("status-clean", "; ".join(wrong[:_MOST]), "REHEARSAL_FAILED")
    return passed(
        "status-clean", f"{counted(len(history.rows), 'file')} applied, none pending, the chain holds"
    )


def no_invalid_index(wire: Wire) -> Check:
    """Every index answers."""
    invalid = [row[0] or "" for row in wire.one(query("rehearsal/invalid")).rows]
    if invalid:
        return failed("indexes-valid", f"invalid: {', '.join(invalid[:_MOST])}", "INVALID_INDEX")
    return passed("indexes-valid", "every index is valid")


def owners(wire: Wire, before: set[tuple[str, str, str]], roles: Roles) -> Check:
    """What the files made belongs to the role that ran them, or to the owner or migrator of lockgate.toml."""
    mine = wire.value("SELECT current_user::text") or ""
    right = {mine, roles.owner, roles.migrator}
    made = read_owners(wire) - before
    wrong = sorted(f"{kind} {name} belongs to {owner}" for kind, name, owner in made if owner not in right)
    if wrong:
        return failed("owners", "; ".join(wrong[:_MOST]), "REHEARSAL_FAILED")
    return passed("owners", f"{counted(len(made), 'new object')}, all with the owner that they should have")


def read_owners(wire: Wire) -> set[tuple[str, str, str]]:
    """Every user object with its owner: (kind, name, owner)."""
    return {(r[0] or "", r[1] or "", r[2] or "") for r in wire.one(query("rehearsal/owners")).rows}


def same_schema(after: Fingerprint, scratch_digest: str, scratch: Fingerprint | None) -> Check:
    """The schema that the pending files left is that of a replay from nothing."""
    if after.digest == scratch_digest:
        return passed(
            "schema-digest", f"{after.digest[:12]}, the same as after a replay of all files from nothing"
        )
    changes = difference(scratch.objects, after.objects) if scratch else ()
    named = ", ".join(map(str, changes[:_MOST])) or "the objects cannot be named"
    return failed(
        "schema-digest", f"it differs from a replay of all files from nothing: {named}", "REHEARSAL_FAILED"
    )
