"""What in the history needs a person: the part of ``lockgate doctor`` that knows files and revisions. Reads only."""

from lockgate.errors import Refused
from lockgate.migrations.files import Migration
from lockgate.migrations.history import History, read_history
from lockgate.migrations.journal import StepRow, read_steps
from lockgate.migrations.plan import Plan, resolve
from lockgate.postgres import home
from lockgate.postgres.doctor import Finding
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.wire import Wire
from lockgate.record.reasons import reason
from lockgate.record.words import agree, counted


def examine(wire: Wire, migrations: tuple[Migration, ...] = ()) -> list[Finding]:
    """The findings over history, journal and ``migrations``, errors first; none where lockgate never ran. About four round trips.

    A history that cannot be read is a finding. Raises ``Cancelled`` and ``ConnectionLost``.
    """
    try:
        found = home.read_format(wire)
        if not found:
            return []
        home.refuse_newer(found)
        history = read_history(wire)
        found_so_far = judge(history, {revision: read_steps(wire, revision) for revision in history.partial})
        return found_so_far + (obstacles(resolve(migrations, history)) if migrations else [])
    except Refused as error:
        return [Finding("format-newer", "error", error.message, f"format {found}", error.next)]
    except ServerError as error:
        return [
            Finding(
                "history-unreadable",
                "error",
                f"the history cannot be read: {error.message}",
                error.sqlstate,
                "lockgate roles prints the SQL that grants it",
            )
        ]


def obstacles(plan: Plan) -> list[Finding]:
    """Why nothing would run, one finding each: edited files, files out of order, rows without a file."""
    return [
        Finding(
            "history-obstacle", "error", f"{one.code}: {one.message}", f"revision {one.revision}" if one.revision else "",
            reason(one.code).next,
        )
        for one in plan.obstacles
    ]  # fmt: skip


def judge(history: History, steps: dict[str, list[StepRow]]) -> list[Finding]:
    """The findings over a history and the journals of its half-done files (revision → steps)."""
    found = []
    if history.broken:
        found.append(
            Finding(
                "history-broken", "error", f"the hash chain of the history does not hold: {history.broken}", f"{counted(len(history.rows), 'row')}, head {history.head[:12] or 'none'}",
                "Compare with the newest migration.json; lockgate repair --accept-chain --reason TEXT --actor WHO takes the rows as they stand",
            )
        )  # fmt: skip
    for revision in history.partial:
        rows = steps.get(revision, [])
        done = sum(row.state == "done" for row in rows)
        stuck = next((row for row in rows if row.state != "done"), None)
        found.append(
            Finding(
                "partial-file", "error", f"revision {revision} stopped half way: {done} of its statements {'is' if done == 1 else 'are'} done, and it has no history row",
                f"statement {stuck.number}, tried {counted(stuck.attempts, 'time')}: {stuck.statement[:200]}" if stuck else f"{counted(len(rows), 'statement')} {agree(len(rows), 'is', 'are')} journalled",
                "lockgate up: it resumes at the right statement and clears what was left half done",
            )
        )  # fmt: skip
    if (
        history.rows
        and not history.broken
        and (not history.schema_digest or history.schema_head != history.head)
    ):
        found.append(
            Finding(
                "schema-digest-missing", "info", "no schema digest is recorded for the head of the history, so drift cannot be told", f"head {history.head[:12]}",
                "The next lockgate up that applies a file records it",
            )
        )  # fmt: skip
    return found
