"""Makes sure that the tables of the release pipeline exist, under the guard like every change of the schema ``lockgate``."""

from lockgate.config import Settings
from lockgate.migrations.limits import Limits
from lockgate.postgres import home
from lockgate.postgres.alarm import Alarm
from lockgate.postgres.guard import Guard
from lockgate.postgres.target import Target
from lockgate.release.look import connect_patiently, patiently
from lockgate.release.operator import new_identity
from lockgate.release.roles import home_grants

_END = "UPDATE lockgate.run SET state = 'succeeded', finished_at = clock_timestamp(), message = 'made the tables of lockgate' WHERE run_id = $1"


def ensure_home(
    target: Target, settings: Settings, limits: Limits, alarm: Alarm, *, lock_wait: float = 60.0
) -> None:
    """Bring the schema ``lockgate`` to this lockgate's format where it is older or missing.

    Raises ``Busy`` while a migration runs, ``Refused`` for a newer format, a standby, or a role that may not.
    """
    wire = connect_patiently(target, "look", limits, alarm)
    try:
        found = home.read_format(wire)
    finally:
        wire.close()
    home.refuse_newer(found)
    if found >= home.FORMAT:
        return
    identity = new_identity("setup")
    with patiently(
        lambda: Guard(target, identity, limits.session(), alarm=alarm, clock=limits.clock, rng=limits.rng),
        limits,
        alarm,
    ) as guard:
        guard.acquire(lock_wait, grants=lambda: home_grants(settings.roles))
        guard.guard.one(_END, identity.run_id)
