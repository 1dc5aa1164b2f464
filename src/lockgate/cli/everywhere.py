"""``lockgate up --all-regions`` and ``lockgate up --tenants``: one run a database, the canary first."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from lockgate.cli.options import Session, leave, usage
from lockgate.errors import ConfigError
from lockgate.record.reasons import Exit

if TYPE_CHECKING:
    from lockgate.migrations.progress import Event
    from lockgate.postgres.target import Target


def up_everywhere(
    session: Session,
    *,
    environment: str | None,
    regions: bool,
    tenants: str | None,
    query: str | None,
    concurrency: int,
    lock_wait: float,
) -> None:
    """Apply what is pending in every region or tenant database, print a line for each, and leave with the first failure's code."""
    import signal

    import msgspec

    from lockgate.release.fan import FAILED, SKIPPED, FanOut
    from lockgate.release.project import read_files

    if sum((regions, tenants is not None, query is not None)) > 1:
        raise usage(
            "--all-regions, --tenants and --tenants-query name the databases twice", "Give one of them."
        )
    files = read_files(session.settings)
    targets = _targets(session, environment, regions, tenants, query)
    output = session.output

    def listener(name: str, event: "Event") -> None:
        if session.output.verbose or event.status not in ("applied", "applying", "up to date"):
            output.note(f"{name}: {event.status} {event.detail}")

    fan = FanOut(
        targets, files, session.settings, concurrency=concurrency, lock_wait=lock_wait, listener=listener
    )
    before = {
        n: signal.signal(n, lambda number, _: fan.stop(number))
        for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        found = fan.up()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    counts: dict[str, int] = {}
    for place in found.places.values():
        counts[place.outcome] = counts.get(place.outcome, 0) + 1
    output.json({"command": "up", "counts": counts, **msgspec.to_builtins(found)})
    shown = [
        (name, place)
        for name, place in found.places.items()
        if len(targets) <= 60 or place.outcome in (FAILED,)
    ]
    kinds = {FAILED: "bad", SKIPPED: "warn"}
    if shown:
        output.table(
            ("database", "outcome", "now at", "took"),
            [
                (name, output.mark(p.outcome, kinds.get(p.outcome, "good")), p.after, f"{p.seconds:.2f} s")
                for name, p in shown
            ],
        )
    output.say(", ".join(f"{count} {outcome}" for outcome, count in counts.items()) or "no database")
    for name, place in found.places.items():
        if place.outcome == FAILED:
            output.note(f"{name}: {place.reason_code}: {place.message}")
            output.note(f"  next:  {place.next}")
    if found.stopped_by:
        output.note(f"stopped by {found.stopped_by}; the same call goes on where it stopped")
    code = found.exit_code
    if code in {int(known) for known in Exit}:
        leave(Exit(code))
    raise SystemExit(code)


def _targets(
    session: Session, environment: str | None, regions: bool, tenants: str | None, query: str | None
) -> "dict[str, Target]":
    from lockgate.cli.regions import region_targets
    from lockgate.postgres.tenants import other_database, tenant_names

    if regions:
        found = region_targets(session.settings, environment)
        _refuse_twins(found)
        return found
    base = session.target()
    if tenants is not None:
        try:
            lines = Path(tenants).read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise usage(
                f"--tenants {tenants}: {error}", "Give a file with one database name a line."
            ) from None
        names = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    else:
        names = list(tenant_names(base, query or ""))
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        told = ", ".join(twice[:5]) + (f" and {len(twice) - 5} more" if len(twice) > 5 else "")
        raise usage(f"named twice: {told}", "Name every tenant once.")
    if not names:
        raise usage("no database is named", "Give a list or a query that names some.")
    return {name: other_database(base, name) for name in names}


def _refuse_twins(targets: "dict[str, Target]") -> None:
    """A URL that was copied into two variables leaves a region out, and nothing would show it."""
    from lockgate.gate.regions import one_database

    same = one_database(targets)
    for name, twin in same.items():
        raise ConfigError(
            f"{name} is the database of {twin}: the URLs of both regions lead to one place, and nothing was applied",
            next=f"Give the variable of {name} the URL of its own database; lockgate parity shows what every region is.",
        )
