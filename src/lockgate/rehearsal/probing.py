"""Runs the queries of the releases that stay alive, at every revision: really, with parameters, and rolled back.

A fresh connection says what a process sees that starts now; a warm one, whose plans were cached before the migration, what
a process sees that goes on. Both run in transactions that are rolled back, with constraints checked at once.
"""

import re
from collections.abc import Iterable

import msgspec

from lockgate.postgres.normalised import typed
from lockgate.postgres.placeholders import Query
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.tables import HAS_COLUMNS, Table, read_tables
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Call, Wire
from lockgate.record.words import agree, counted
from lockgate.rehearsal.choices import Choices
from lockgate.rehearsal.compatibility import (
    BREAKS,
    COMPATIBLE,
    HOLD,
    RECONNECT,
    Compatibility,
    Outcome,
    answer_of,
    proof_of,
    worst,
)
from lockgate.rehearsal.likeness import Likenesses
from lockgate.rehearsal.load import Work
from lockgate.rehearsal.nulls import refusal, sendable
from lockgate.rehearsal.older import OlderRows, Refusal
from lockgate.rehearsal.parameters import absent_of, sets_of
from lockgate.rehearsal.planning import Planned, plan
from lockgate.rehearsal.queries import QuerySet
from lockgate.rehearsal.references import known_of, same_moment, unknowable
from lockgate.rehearsal.refusing import Edges
from lockgate.rehearsal.results import (
    changed,
    coarser,
    read_columns,
    read_results,
    said,
    written_to,
)
from lockgate.rehearsal.rules import read_rules
from lockgate.rehearsal.standing import read_grantees, run_as
from lockgate.rehearsal.subject import Subject
from lockgate.rehearsal.trials import Trial, rolled_back

_STALE = "0A000"
"""cached plan must not change result type"""
_NO_REFERENCE = "23503"
_TWICE = "23505"
_OWN = 16_384
"""From this number on types are not the server's own."""
_LATE = "57014"
_LONGEST = "5s"
_LIMITS = f"SET statement_timeout = '{_LONGEST}'; SET lock_timeout = '5s'; SET jit = off"
_INSERTS = re.compile(r"\s*insert\b(?!.*\bon\s+conflict\b.*\bnothing\b)", re.IGNORECASE | re.DOTALL)


class Probe:
    """The queries of every release on one scratch database. Call ``look`` once for the base and after each migration."""

    def __init__(
        self, target: Target, releases: Iterable[QuerySet], *, seed: int, like: Likenesses | None = None
    ) -> None:
        self._target = target
        self._seed = seed
        self._releases = tuple(releases)
        self._subjects = [
            Subject(number, release.name, query)
            for number, (release, query) in enumerate(
                (release, query) for release in self._releases for query in release.queries
            )
        ]
        self._version = 0
        self._warm: Wire | None = None
        self._roles: list[str] = []
        self._choices = Choices(seed)
        self._types: dict[int, tuple[str, str]] = {}
        self.older = OlderRows(like or {})

    def look(self, revision: str) -> None:
        """Run every query at ``revision`` ("" is an empty history)."""
        if not self._subjects:
            return
        fresh = self._open("probe")
        tables: list[Table] | None = None
        try:
            self._version = self._version or int(fresh.value("SHOW server_version_num") or 0)
            self._roles = read_grantees(fresh)
            for subject in self._subjects:
                if not subject.sets and tables is None:
                    tables = self._tables(fresh)
                subject.outcomes.append(self._one(fresh, subject, revision, tables or []))
            self._look_at_written(fresh)
            self._look_at_older(fresh, tables or [])
            self._look_at_nulls(fresh, tables or [])
            self._look_at_rules(fresh)
        finally:
            fresh.close()

    def close(self) -> None:
        """Close the warm connection."""
        if self._warm is not None:
            self._warm.close()

    def answers(self, *, whole: bool) -> dict[str, Compatibility]:
        """The answer of each release. ``whole`` says that every file could be applied."""
        return {
            release.name: answer_of(
                proof_of(s.shown, s.query.line, s.query.kind, s.outcomes, whole=whole)
                for s in self._subjects
                if s.release == release.name
            )
            for release in self._releases
        }

    def work(self) -> list[Work]:
        """What the queries that work now do, for clients that repeat it."""
        return [
            Work(s.query.kind, s.prepare, s.execute(s.sets[0])[0], s.name)
            for s in self._subjects
            if s.sets and not s.before
        ]

    def _look_at_written(self, fresh: Wire) -> None:
        """What is written may be taken and rounded, which no error tells."""
        now = read_columns(fresh, (key for subject in self._subjects for key in subject.takes))
        for subject in self._subjects:
            last = subject.outcomes[-1]
            lost = [
                f"{now[key].name} is {said(now[key])} and was {said(before)}"
                for key, before in subject.takes.items()
                if key in now and coarser(before, now[key])
            ]
            if lost and last.answer in (COMPATIBLE, RECONNECT, HOLD):
                told = f"the server drops a part of what it writes, without an error: {', '.join(lost)}"
                subject.outcomes[-1] = _with(last, Refusal(HOLD, "", told))

    def _look_at_older(self, fresh: Wire, tables: list[Table]) -> None:
        """What works on new rows may fail on those that a new constraint spares."""
        self.older.begin(tables)
        for constraint in self.older.new(fresh):
            for subject in self._subjects:
                last = subject.outcomes[-1]
                if subject.query.kind != "write" or last.answer not in (COMPATIBLE, RECONNECT):
                    continue
                refused = self.older.refusal(
                    fresh, constraint, subject.query.text, map(subject.execute, subject.sets)
                )
                if refused is not None:
                    subject.outcomes[-1] = msgspec.structs.replace(
                        last, answer=refused.answer, sqlstate=refused.sqlstate, message=refused.message
                    )

    def _look_at_nulls(self, fresh: Wire, tables: list[Table]) -> None:
        """What works with the values that were made may fail with the NULL that the release could send so far."""
        for subject in self._subjects:
            last = subject.outcomes[-1]
            if subject.query.kind != "write" or last.answer not in (COMPATIBLE, RECONNECT, HOLD):
                continue
            if subject.nulls is None:
                subject.nulls = sendable(
                    fresh, subject.query, subject.types or [], subject.sets, subject.execute, tables, self.older.share,
                )  # fmt: skip
                continue
            refused = refusal(fresh, subject.nulls)
            if refused is not None:
                subject.outcomes[-1] = _with(last, refused)

    def _look_at_rules(self, fresh: Wire) -> None:
        """What works with the values that were made may fail with others that checks and unique indexes accepted so far."""
        writing = [s for s in self._subjects if s.query.kind == "write" and s.sets]
        rules = read_rules(fresh) if writing else {}
        for subject in writing:
            last = subject.outcomes[-1]
            if subject.edges is None:
                subject.edges = Edges(rules, subject.known)
            elif last.answer in (COMPATIBLE, RECONNECT, HOLD):
                refused = subject.edges.refusal(fresh, subject.sending, rules, lambda: self._tables(fresh))
                if refused is not None:
                    subject.outcomes[-1] = _with(last, refused)

    # -- one query ----------------------------------------------------------------------------------

    def _one(self, fresh: Wire, subject: Subject, revision: str, tables: list[Table]) -> Outcome:
        notes, lost = [], ""
        if subject.slow is not None:
            return Outcome(revision, "", subject.slow.sqlstate, subject.slow.message)
        try:
            if not subject.sets:
                notes.append(self._begin(fresh, subject, tables))
            else:
                if subject.sent:
                    # A driver that sends no types has the server infer them, and a new overload may leave it no answer.
                    untyped = f"PREPARE {subject.name} AS {subject.query.text}"
                    fresh.batch([Call(untyped), Call(f"DEALLOCATE {subject.name}")])
                fresh.one(subject.prepare)
                told, lost = self._again(fresh, subject)
                notes.append(told)
            notes.append(self._as_roles(fresh, subject))
            doubt, other = self._result(fresh, subject)
        except ServerError as error:
            answer = BREAKS if subject.sets else ""
            return Outcome(revision, answer, error.sqlstate, error.message)
        stale = self._run_warm(subject)
        planned, told = self._plan(fresh, subject)
        note = "; ".join(filter(None, [*notes, other, told]))
        how = {"note": note, "planned": planned.way, "planned_why": planned.why}
        if lost or doubt:
            return Outcome(revision, HOLD, "", lost or doubt, **how)
        if stale is not None:
            return Outcome(revision, RECONNECT, stale.sqlstate, stale.message, **how)
        return Outcome(revision, COMPATIBLE, **how)

    def _result(self, fresh: Wire, subject: Subject) -> tuple[str, str]:
        """What is in doubt of its result, and a word about it; "" mostly."""
        try:
            now = read_results(fresh, subject.execute(subject.sets[0]), self._types)
        except ServerError:
            return "", ""  # it fails for rows of the new release only, which is told
        if subject.gives is None:
            subject.gives = now
        return changed(subject.gives, now)

    def _again(self, fresh: Wire, subject: Subject) -> tuple[str, str]:
        """Run it with the parameters that worked before. A word about what nearly failed, and about an INSERT that is lost in silence.

        Raises ``ServerError`` with the first that does not any more.
        """
        note, lost, rows = "", "", 0
        for trial in subject.sets:
            try:
                rows += rolled_back(fresh, subject.execute(trial))
            except ServerError as error:
                if (
                    error.sqlstate == _TWICE
                    and len(trial) > 1
                    and same_moment(error.detail, subject.query, self._tables(fresh))
                ):
                    continue
                if error.sqlstate != _NO_REFERENCE:
                    raise
                note = self._referring(fresh, subject, trial, error)
                if not note:
                    return "", ""
        if subject.rows and not rows and not note and self._any_row(fresh):
            verb = "gives" if subject.query.kind == "read" else "writes"
            told = f"{verb} no row any more with what met {counted(subject.rows, 'row')} before: look at its triggers, rules, views and policies"
            # What an UPDATE or a SELECT meets is a matter of rows; a row that is given and not written is lost.
            note, lost = ("", told) if _INSERTS.match(subject.query.text) else (told, "")
        subject.rows = rows or subject.rows
        return note, lost

    def _any_row(self, fresh: Wire) -> bool:
        """Whether any table holds rows: where they were taken out, a query finds none and nothing is wrong with it."""
        tables = [t for t in self._tables(fresh) if t.kind == "r"]
        return any(fresh.value(f"SELECT EXISTS (SELECT FROM {t.quoted})") == "t" for t in tables)  # noqa: S608 - quoted by Table

    def _referring(self, fresh: Wire, subject: Subject, trial: Trial, error: ServerError) -> str:
        """What became of a query that a foreign key refused: "" when it works with other rows, a word when only rows of
        the new release stand against it. Raises ``error`` when neither is so."""
        tables = self._tables(fresh)
        if unknowable(subject.query, tables, subject.known):
            raise error
        found, _ = self._working(fresh, subject, tables) if _writes_values(subject.query) else ([], None)
        if found:
            subject.sets = found
            return ""
        new = [t for t in tables if t.oid not in subject.known.tables and t.kind == "r"]
        emptied = [f"DELETE FROM {table.quoted}" for table in reversed(new)]  # noqa: S608 - quoted by Table
        try:
            rolled_back(fresh, [*emptied, *subject.execute(trial)])
        except ServerError:
            raise error from None
        return f"fails for rows to which the new release refers from {', '.join(t.key for t in new)}"

    def _tables(self, fresh: Wire) -> list[Table]:
        return self._choices.settle(fresh, read_tables(fresh, kinds=HAS_COLUMNS))

    def _as_roles(self, fresh: Wire, subject: Subject) -> str:
        """Run it as each role that may use the tables. Raises ``ServerError`` when one under which it worked cannot any more."""
        note = ""
        for role in dict.fromkeys([*subject.roles, *self._roles]):
            try:
                rows = run_as(fresh, role, subject.execute(subject.sets[0]))
            except ServerError as error:
                if role in subject.roles:
                    raise ServerError(error.sqlstate, f"as role {role}: {error.message}") from None
                continue
            if subject.roles.get(role, 0) > rows == 0:
                note = f"gives no rows to role {role} any more"
            subject.roles[role] = max(rows, subject.roles.get(role, 0))
        return note

    def _begin(self, fresh: Wire, subject: Subject, tables: list[Table]) -> str:
        """Find parameters with which the query works now; they and their types are kept. A word about how, "" mostly. Raises ``ServerError``."""
        note = ""
        self._prepare(fresh, subject)
        rows = fresh.one(
            "SELECT t::text, t::oid::text FROM pg_catalog.pg_prepared_statements, pg_catalog.unnest(parameter_types) WITH ORDINALITY p (t, n) WHERE name = $1 ORDER BY n",
            subject.name,
        ).rows
        subject.types = [row[0] or "text" for row in rows]
        subject.sent = [row[0] if row[0] and int(row[1] or 0) < _OWN else "unknown" for row in rows]
        working, refused = self._working(fresh, subject, tables)
        if not working and refused is not None and refused.sqlstate == _NO_REFERENCE:
            # Every made-up row is referred to: what such a DELETE does where it meets no row is still known.
            calls = absent_of(subject.query, subject.types, tables, self._seed)
            working, _ = self._trying(fresh, subject, [calls])
            note = "other rows refer to every row that it could meet here, so it was run where it meets none"
        if not working and refused is not None and refused.sqlstate == _TWICE and subject.query.copied:
            # Made-up rows have the same keys in every table, so those that it copies are there already.
            subject.before = tuple(
                f"DELETE FROM {table.quoted}"  # noqa: S608 - quoted by Table
                for table in tables
                if table.kind == "r"
                and re.search(
                    rf"\binto\s+({re.escape(table.schema)}\.)?\"?{re.escape(table.name)}\b",
                    subject.query.text,
                    re.I,
                )
            )
            working, _ = self._working(fresh, subject, tables) if subject.before else ([], None)
        if not working:
            subject.types, subject.sent, subject.before = None, [], ()
            fresh.one(f"DEALLOCATE {subject.name}")
            raise refused or ServerError("XX000", "no parameters could be made")
        subject.sets = working
        subject.known = known_of(tables)
        subject.takes = read_columns(fresh, written_to(subject.query, tables))
        return note

    def _prepare(self, fresh: Wire, subject: Subject) -> None:
        """Prepare it; parameters whose type the text does not show get one. Raises ``ServerError``."""
        while True:
            try:
                fresh.one(subject.prepare)
                return
            except ServerError as error:
                text = typed(subject.query.text, error.message)
                if text is None:
                    raise
                subject.query = subject.query._replace(text=text)

    def _working(
        self, fresh: Wire, subject: Subject, tables: list[Table]
    ) -> tuple[list[Trial], ServerError | None]:
        """The sets of parameters with which the prepared query works, and the first error of the others."""
        return self._trying(fresh, subject, sets_of(subject.query, subject.types or [], tables, self._seed))

    def _trying(
        self, fresh: Wire, subject: Subject, sets: Iterable[list[list[str]]]
    ) -> tuple[list[Trial], ServerError | None]:
        refused: ServerError | None = None
        working: list[Trial] = []
        subject.rows = 0
        for calls in sets:
            trial = [[_evaluated(fresh, text) for text in expressions] for expressions in calls]
            try:
                subject.rows += rolled_back(fresh, subject.execute(trial))
            except ServerError as error:
                if error.sqlstate == _LATE and not working:
                    told = f"it was not over within {_LONGEST} with made-up values, and was not tried again"
                    subject.slow = ServerError(_LATE, told)
                    return [], subject.slow
                refused = refused or error
                if error.sqlstate == _LATE:
                    break  # what worked is enough
            else:
                working.append(trial)
        return working, refused

    def _run_warm(self, subject: Subject) -> ServerError | None:
        """Run it where its plan was cached earlier; the error when only that fails. Then it is warm for what comes next."""
        if self._warm is None:
            self._warm = self._open("warm", "SET plan_cache_mode = force_generic_plan")
        warm, stale = self._warm, None
        if subject.warm:
            try:
                rolled_back(warm, subject.execute(subject.sets[0]))
                return None
            except ServerError as error:
                stale = error
                warm.one(f"DEALLOCATE {subject.name}")
                subject.warm = False
        try:
            warm.one(subject.prepare)
            rolled_back(warm, subject.execute(subject.sets[0]))
            subject.warm = True
        except ServerError as error:
            # The same again after preparing it anew: the plan was not what is wrong.
            return None if stale is not None and stale.sqlstate == error.sqlstate else stale or error
        return stale

    def _plan(self, fresh: Wire, subject: Subject) -> tuple[Planned, str]:
        """Its generic plan, and a word about tables that had an index for this query and have none any more; "" mostly."""
        planned = plan(
            fresh, self._version, subject.query.text, subject.sent, subject.execute(subject.sets[0])[-1]
        )
        if planned.scans is None:
            return planned, ""
        worked = bool(subject.outcomes) and bool(subject.outcomes[-1].answer)
        # By number: a table that was renamed is the same table.
        more = worked and len(planned.scans) > len(subject.scans)
        lost = planned.scans - subject.scans if more else frozenset()
        if lost:
            lost -= self._new_to(fresh, subject)
        subject.scans = planned.scans
        told = f"reads {', '.join(sorted(lost))} from end to end: no index serves it any more" if lost else ""
        return planned, told

    def _new_to(self, fresh: Wire, subject: Subject) -> frozenset[str]:
        """The names of tables that came since the query first worked, such as partitions: they never had an index for it."""
        known = subject.known
        return frozenset(
            t.name for t in self._tables(fresh) if t.oid not in known.tables and t.name not in known.names
        )

    def _open(self, name: str, *more: str) -> Wire:
        wire = Wire(self._target, name)
        try:
            wire.batch([Call(text) for text in (*_LIMITS.split("; "), *more)])
        except BaseException:
            wire.close()
            raise
        return wire


def _with(last: Outcome, refused: Refusal) -> Outcome:
    """The outcome, with what a NULL adds to it: a note, or a worse answer; of two that are as bad both are told."""
    if refused.answer == COMPATIBLE:
        note = "; ".join(filter(None, [last.note, refused.message]))
        return msgspec.structs.replace(last, note=note)
    if last.answer == refused.answer:
        return msgspec.structs.replace(last, message=f"{last.message}; {refused.message}")
    if worst([last.answer, refused.answer]) == last.answer:
        return last
    return msgspec.structs.replace(
        last, answer=refused.answer, sqlstate=refused.sqlstate, message=refused.message
    )


def _writes_values(query: Query) -> bool:
    return any(one.role in ("insert", "set") for use in query.uses for one in use.every)


def _evaluated(wire: Wire, expression: str) -> str | None:
    if expression == "(NULL)::text":
        return None  # a type of which nothing can be made
    try:
        return wire.value(f"SELECT {expression}") or "1"
    except ServerError:
        return "1"


def unnamed(releases: Iterable[QuerySet]) -> list[str]:
    """Notes on what an export held besides queries."""
    return [
        f"--queries {r.name}: {counted(r.skipped, 'statement')} {agree(r.skipped, 'is no query and was', 'are no queries and were')} left out"
        for r in releases
        if r.skipped
    ]
