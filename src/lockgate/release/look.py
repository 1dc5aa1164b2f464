"""One look at a database: its facts and its history, on one connection and without a lock."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import msgspec

from lockgate.errors import Refused, Unreachable
from lockgate.migrations.history import History, read_history
from lockgate.migrations.limits import Limits
from lockgate.postgres import home
from lockgate.postgres.alarm import Alarm
from lockgate.postgres.guard import First, refuse_read_only
from lockgate.postgres.settings import FACTS, Facts, fit_facts, read_facts
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Wire

if TYPE_CHECKING:
    from lockgate.migrations.journal import StepRow

T = TypeVar("T")


class Looked(msgspec.Struct, frozen=True):
    """One look at a database on one connection: its facts and its history (empty where lockgate was never run)."""

    facts: Facts
    history: History
    format: int


def look(target: Target, limits: Limits, *, alarm: Alarm | None = None) -> Looked:
    """Read facts and history on one connection. Raises ``Unreachable``, ``Refused``."""
    wire = connect_patiently(target, "look", limits, alarm)
    try:
        return _see(wire, lambda: read_facts(wire.one(FACTS, deadline=limits.clock() + 30)))
    finally:
        wire.close()


def look_first(target: Target, limits: Limits, alarm: Alarm) -> tuple[Looked, First]:
    """The same for a run: what is seen, and the session, which may go on as the work session and has no settings yet. Refuses a standby too."""
    wire = connect_patiently(target, "look", limits, alarm)
    try:
        looked = _see(wire, lambda: fit_facts(wire), target)
        return looked, First(wire, looked.facts)
    except BaseException:
        wire.close()
        raise


def _see(wire: Wire, ask: Callable[[], Facts], writable: Target | None = None) -> Looked:
    """The facts that ``ask`` gives, and the history. Where ``writable`` is named, a standby is refused."""
    try:
        facts = ask()
        if writable is not None:
            refuse_read_only(facts, writable)
        if not facts.home:
            return Looked(facts, History(), 0)
        found = home.known_format(wire)
        home.refuse_newer(found)
        return Looked(facts, read_history(wire), found)
    except ServerError as error:
        if error.sqlstate == "42501":
            role = wire.value("SELECT current_user")
            raise Refused(f"the role {role} may not read the history: {error.message}", "PRIVILEGE") from None
        raise


def read_journals(target: Target, looked: Looked, limits: Limits) -> "dict[str, list[StepRow]]":
    """The journals of the files that stopped half way, by revision."""
    from lockgate.migrations.journal import read_steps

    if not looked.history.partial:
        return {}
    wire = connect_patiently(target, "look", limits, None)
    try:
        return {revision: read_steps(wire, revision) for revision in looked.history.partial}
    finally:
        wire.close()


def connect_patiently(
    target: Target, name: str, limits: Limits, alarm: Alarm | None, seconds: float = 5.0
) -> Wire:
    """Connect, with bounded backoff while the server has no free connection or is starting."""
    return patiently(lambda: Wire(target, name, alarm=alarm, clock=limits.clock), limits, alarm, seconds)


def patiently(connect: Callable[[], T], limits: Limits, alarm: Alarm | None, seconds: float = 5.0) -> T:
    """Call ``connect``, and again with growing pauses for ``seconds`` while the server has no room for it."""
    deadline, pause = limits.clock() + seconds, 0.1
    while True:
        try:
            return connect()
        except Unreachable as error:
            if error.code != "TOO_MANY_CONNECTIONS" or limits.clock() >= deadline:
                raise
        (alarm.sleep if alarm is not None else time.sleep)(pause)
        pause = min(pause * 2, 1.0)
