"""The same files on tables of two sizes: what is measured there is extrapolated to production's."""

from collections.abc import Callable, Mapping

import msgspec

from lockgate.errors import Interrupted, LockgateError, RunFailed
from lockgate.migrations.progress import AppliedFile, Event
from lockgate.policy.finding import StatementFacts
from lockgate.policy.model.snapshot import Snapshot
from lockgate.postgres.breaking import named_in, read_breakable, validates
from lockgate.postgres.observing import Observation
from lockgate.postgres.scratch import Ground
from lockgate.postgres.wire import Wire
from lockgate.record.words import counted
from lockgate.rehearsal.filling import Filling
from lockgate.rehearsal.impact import Impact, Scale, impact_of
from lockgate.rehearsal.likeness import Likenesses, likenesses_of, percent
from lockgate.rehearsal.replay import FileLog, Stage, observe, validates_next
from lockgate.rehearsal.trace import MigrationTrace

SMALLER = 10
"""How many times smaller the first scale is than the second."""
_NULL = "23502"


class Scaling(msgspec.Struct, frozen=True):
    """What is to be extrapolated: to which snapshot, from how many rows of the largest table, with which seed.

    ``promised`` are checks that the files bring and validate, which production's rows satisfy by then.
    """

    snapshot: Snapshot
    most: int
    seed: int
    promised: Mapping[str, tuple[str, ...]] = {}

    def wanted(self, most: int = 0) -> dict[str, int]:
        """Table → how many rows it gets, at most ``most`` (or the largest scale)."""
        return {
            key: max(1, min(most or self.most, rows)) for key, rows in production_rows(self.snapshot).items()
        }


def production_rows(snapshot: Snapshot) -> dict[str, int]:
    """Table → its rows in production, where the snapshot knows them."""
    return {
        key: relation.rows
        for key, relation in snapshot.schema.relations.items()
        if relation.kind in "rm" and relation.rows > 0
    }


def measure(
    ground: Ground,
    make_base: Callable[[], str],
    stage: Stage,
    pending: list[str],
    facts: dict[tuple[str, int], StatementFacts],
    scaling: Scaling,
    traces: Callable[
        [dict[tuple[str, int], Observation], dict[str, AppliedFile]], tuple[MigrationTrace, ...]
    ],
    tell: Callable[[Event], None],
) -> tuple[Impact | None, str, dict[str, str]]:
    """The impact, or None and why there is none; and revision → why it fails on rows that are NULL where production's are. Each scale is a fresh copy of the base."""
    production = production_rows(scaling.snapshot)
    if not production:
        return (
            None,
            "no impact: the snapshot knows no table with rows (run ANALYZE in production, then lockgate snapshot)",
            {},
        )
    scales = []
    refused: dict[str, str] = {}
    like = likenesses_of(scaling.snapshot)
    for most in (max(50, scaling.most // SMALLER), scaling.most):
        wanted = scaling.wanted(most)
        try:
            scales.append(
                _scale(
                    ground,
                    make_base(),
                    stage,
                    pending,
                    facts,
                    wanted,
                    most,
                    scaling,
                    like,
                    traces,
                    tell,
                    refused,
                )
            )
        except Interrupted:
            raise
        except LockgateError as error:
            revision = str(error.details.get("revision", ""))
            if isinstance(error, RunFailed) and error.details.get("sqlstate") == _NULL and revision:
                refused.setdefault(revision, error.message)
            return (
                None,
                f"no impact: the files do not apply to tables of {most} rows: {error.message}",
                refused,
            )
    said = {revision: stage.prepared[revision].directives for revision in pending}
    estimates = {revision: (d.estimate_rows, d.estimate_seconds) for revision, d in said.items()}
    return impact_of(scales, production, estimates, scaling.snapshot.taken_at), "", refused


def _scale(
    ground: Ground,
    name: str,
    stage: Stage,
    pending: list[str],
    facts: dict[tuple[str, int], StatementFacts],
    wanted: Mapping[str, int],
    most: int,
    scaling: Scaling,
    like: Likenesses,
    traces: Callable[
        [dict[tuple[str, int], Observation], dict[str, AppliedFile]], tuple[MigrationTrace, ...]
    ],
    tell: Callable[[Event], None],
    refused: dict[str, str],
) -> Scale:
    target = ground.at(name)
    wire = Wire(target, "filling")
    wire.patience = None
    observed: dict[tuple[str, int], Observation] = {}
    files: dict[str, AppliedFile] = {}
    place = {revision: number for number, revision in enumerate(pending)}
    try:
        tell(Event("", "filling", f"{counted(len(wanted), 'table')} with up to {most} rows"))
        filling = Filling(
            wire, rows=20, seed=scaling.seed, wanted=wanted, like=like, promised=scaling.promised
        )
        filling.fill()
        wire.one("ANALYZE")
        wire.one("CHECKPOINT") if ground.ours else None

        def after(file: AppliedFile) -> None:
            files[file.revision] = file
            tell(Event("", "applied", f"{file.revision}_{file.name} in {file.duration_ms} ms"))
            following = place[file.revision] + 1
            if following < len(pending) and stage.prepared[pending[following]].directives.after:
                filling.backfill()
            if validates_next(stage, pending, file.revision):
                refused.update(_of_nulls(wire, stage, pending[following], like, first=False))
                filling.satisfy()

        tell(Event("", "applying", f"{counted(len(pending), 'file')}"))
        if pending and stage.prepared[pending[0]].directives.after:
            filling.backfill()
        elif pending:
            refused.update(_of_nulls(wire, stage, pending[0], like, first=True))
        observe(target, stage, FileLog(after), lambda: facts, observed)
    finally:
        wire.close()
    rows = dict(filling.rows)
    ground.drop(name)
    return Scale(most, rows, traces(observed, files))


def _of_nulls(wire: Wire, stage: Stage, revision: str, like: Likenesses, *, first: bool) -> dict[str, str]:
    """Why the file cannot prove that nothing is NULL in columns of which the snapshot says that they hold NULLs, and that no file before it filled in.

    Before the ``first`` file the snapshot alone says it: rows that are made up meet a constraint that stands already.
    """
    text = "; ".join(s.text for s in stage.prepared[revision].statements)
    known = [one for one in read_breakable(wire) if one.of_null] if validates(text) else []
    for one in named_in(text, known):
        columns = like.get(one.table, {})
        names = msgspec.json.decode(one.columns, type=list[str])
        shares = [f"{percent(columns[n].null_share)} of the rows of {one.table} hold NULL in {n}" for n in names if n in columns and columns[n].null_share > 0]  # fmt: skip
        if shares and (first or int(wire.value(one.count) or 0)):
            return {revision: f"{', '.join(shares)}, and it validates {one.name}: {one.count}"}
    return {}
