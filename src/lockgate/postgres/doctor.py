"""What in a live database needs a person: findings as data, each with the next command. Reads only.

Each kind of finding stands once, in ``KINDS``; the queries under ``sql/doctor`` find, name and quote. A check that
cannot be made is a finding itself, never silence.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

import msgspec

from lockgate.config import Roles
from lockgate.postgres.guard import GUARD_KEY, WORK_KEY, key_halves
from lockgate.postgres.queries import query
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.wire import Call, Cancelled, Wire

Severity = Literal["error", "warning", "info"]
Row = Sequence[str]

SILENT = 60
"""Seconds without a heartbeat (one comes every 5) after which a run that holds its locks counts as silent."""


class Finding(msgspec.Struct, frozen=True):
    """One thing found: what it is, how bad, what was seen, and the command or SQL that comes next."""

    id: str
    severity: Severity
    message: str
    evidence: str = ""
    next: str = ""


class Kind(NamedTuple):
    """One kind of finding. ``{0}``, ``{1}`` ... in the texts are the columns of the query's row after the id."""

    severity: Severity
    message: str
    evidence: str = ""
    next: str = ""

    def finding(self, id: str, parts: Row) -> Finding:
        """The finding for one row."""
        return Finding(
            id,
            self.severity,
            self.message.format(*parts),
            self.evidence.format(*parts),
            self.next.format(*parts),
        )


KINDS: dict[str, Kind] = {
    # -- indexes and tables
    "index-invalid": Kind("error", "index {0} on {1} is invalid: it costs every write and answers nothing", "{4}; {3}", "lockgate up when a migration builds it; else DROP INDEX CONCURRENTLY {0}; or, to keep it, REINDEX INDEX CONCURRENTLY {0};"),
    "index-building": Kind("info", "index {0} on {1} is being built right now by pid {2}", "{4}", "Wait for that build, then lockgate doctor"),
    "index-incomplete": Kind("warning", "partitioned index {0} on {1} is invalid: a partition lacks its index", "{4}", "CREATE INDEX CONCURRENTLY on each partition, then ALTER INDEX {0} ATTACH PARTITION ...;"),
    "index-leftover-new": Kind("warning", "index {0} on {1} is what a broken REINDEX CONCURRENTLY left of its new index", "{4}; {3}", "DROP INDEX CONCURRENTLY {0}; then repeat the REINDEX"),
    "index-leftover-old": Kind("warning", "index {0} on {1} is the old index of a REINDEX CONCURRENTLY that had succeeded", "{4}; {3}", "DROP INDEX CONCURRENTLY {0};"),
    "detach-pending": Kind("error", "partition {0} is half detached from {1}: queries on {1} skip it", "pg_inherits.inhdetachpending", "ALTER TABLE {1} DETACH PARTITION {0} FINALIZE;"),
    "constraint-not-valid": Kind("warning", "constraint {0} of {1} was never validated: rows from before it may break it", "{2}", "ALTER {3} {1} VALIDATE CONSTRAINT {0};"),
    "trigger-disabled": Kind("warning", "trigger {0} on {1} is disabled", "pg_trigger.tgenabled = D", "ALTER TABLE {1} ENABLE TRIGGER {0};"),
    "foreign-key-disabled": Kind("error", "constraint {0} is not enforced on {1}: the server's own triggers are disabled", "pg_trigger.tgenabled = D", "As a superuser: ALTER TABLE {1} ENABLE TRIGGER ALL; rows written meanwhile were not checked"),
    "sequence-filling": Kind("info", "sequence {0} for {1} has used {4} % of its values", "{2} of {3}", "Plan a bigint column in good time."),
    "sequence-nearly-exhausted": Kind("warning", "sequence {0} for {1} has used {4} % of its values: inserts fail at the end", "{2} of {3}", "Move {1} to bigint now; where it is one already: ALTER SEQUENCE {0} AS bigint;"),
    "prepared-transaction": Kind("warning", "prepared transaction {0} of {1} is open for {2} s: it keeps its locks and holds back vacuum", "pg_prepared_xacts", "ROLLBACK PREPARED {0}; or COMMIT PREPARED {0}; whichever its coordinator decided"),
    # -- runs and locks
    "lock-without-run": Kind("warning", "pid {0} holds lockgate's {1} lock, and no run that is under way is its", "{2}, {3} from {4}, connected for {5} s, {6}", "Look again in 5 s (a run that starts or ends looks so); else SELECT pg_terminate_backend({0});"),
    "run-abandoned": Kind("warning", "run {0} ({1} by {2} on {3}) is shown as running, but its locks are free: it died", "started {7} s ago, last heartbeat {6} s ago", "lockgate up: it marks the run and goes on where it stopped"),
    "run-silent": Kind("warning", "run {0} ({1} by {2} on {3}) holds its locks and gave no sign of life for {6} s", "sessions {4} and {5}, started {7} s ago", "Look at its process on {3}; when it is gone: SELECT pg_terminate_backend({4}), pg_terminate_backend({5});"),
    "run-live": Kind("info", "run {0} ({1} by {2} on {3}) is under way", "sessions {4} and {5}, started {7} s ago, last heartbeat {6} s ago"),
    # -- data moves
    "move-paused": Kind("warning", "the move {0} is paused since {1}: {2}", "lockgate.move", "lockgate move status {0} names the command that brings it on"),
    "move-quarantine": Kind("warning", "the target of the move {0} refused {1}: before they are in it the move cannot end", "lockgate.move_quarantine: {2}", "Mend the rows or the target, then lockgate move backfill {0} --retry"),
    # -- roles
    "roles-absent": Kind("info", "none of the four roles of [roles] exists: whoever connects does everything", "{0}", "lockgate roles --database {1} | psql -v ON_ERROR_STOP=1 {2}"),
    "roles-equal": Kind("error", "{0} and {1} are one role ({2}): the application could change the schema", "[roles] in lockgate.toml", "Give each its own name in lockgate.toml, then lockgate roles"),
    "role-missing": Kind("warning", "the {0} role {1} does not exist", "pg_roles", "lockgate roles prints the SQL that makes it"),
    "role-too-strong": Kind("error", "the {0} role {1} is {2}", "pg_roles", "{3}"),
    "owner-can-log-in": Kind("warning", "the owner role {1} can log in", "pg_roles.rolcanlogin", "{3}"),
    "role-member": Kind("error", "the {0} role {1} is a {2}, and so has all its rights", "pg_auth_members", "{3}"),
    "public-creates": Kind("warning", "everybody may create objects: {2}", "pg_namespace.nspacl", "{3}"),
    "role-creates": Kind("error", "the {0} role {1} may create objects: {2}", "has_schema_privilege, has_database_privilege", "{3}"),
    "privilege-excess": Kind("error", "the {0} role {1} may do more than it should: {2}", "has_table_privilege", "{3}"),
    "privilege-missing": Kind("warning", "the {0} role {1} lacks {2}", "has_*_privilege", "{3}"),
    "default-privileges-missing": Kind("warning", "the {0} role {1} will have no right on {2}", "pg_default_acl", "{3}"),
    "migrator-lacks": Kind("error", "the migrator {1} lacks {2}", "has_*_privilege, pg_has_role", "{3}"),
    "migrator-blind": Kind("warning", "the migrator {1} cannot see other sessions' states, so it cannot name blockers or count who waits behind it", "{2}", "{3}"),
    "schema-missing": Kind("info", "the schema {1} of [roles] does not exist yet, so no grants stand on it", "pg_namespace", "lockgate roles again, once a migration has made it"),
    "schema-unlisted": Kind("warning", "tables stand in schemas that are not in [roles] schemas, so lockgate roles grants nothing there: {0}", "pg_class, [roles] in lockgate.toml", "{1} in lockgate.toml, then {2}"),
    "schema-unreachable": Kind("error", "tables stand in schemas that are not in [roles] schemas, and the migrator may not use or change what is there: {0}", "has_schema_privilege, pg_has_role", "{1} in lockgate.toml, then {2}"),
    "home-owner-wrong": Kind("error", "objects of the schema lockgate ({1}) belong to {0}, not to the migrator: its lockgate up cannot write or change them", "{2}", "{3}"),
    "owner-forbidden": Kind("error", "{0} owns objects ({1}) and can change them", "{2}", "{3}"),
    "owner-wrong": Kind("warning", "objects ({1}) belong to {0}, neither owner nor migrator: migrations cannot alter them", "{2}", "{3}"),
    # -- the connection and what it begins with
    "pooler": Kind("error", "two statements on one connection ran in the sessions {0} and {1}: a transaction pooler stands between", "pg_backend_pid()", "Point the URL at PostgreSQL itself."),
    "proxy": Kind("warning", "a proxy stands between lockgate and PostgreSQL: the driver knows pid {0}, the server {1}", "pg_backend_pid()", "Point the URL at PostgreSQL itself, or make sure that the proxy pools by session."),
    "role-setting": Kind("warning", "{2} begins each session{3} with {0} = {1}: {4}", "pg_db_role_setting", "ALTER {2}{3} RESET {0};"),
    "role-setting-forbidden": Kind("error", "{2} begins each session{3} with {0} = {1}: {4}", "pg_db_role_setting", "ALTER {2}{3} RESET {0};"),
    "client-check-unavailable": Kind("warning", "the server cannot notice that a client has vanished, so the statement of a killed run goes on until it ends", "client_connection_check_interval: {0}", "After a killed run look for its session in pg_stat_activity before the next lockgate up."),
    "check-impossible": Kind("warning", "the check {0} could not be made, so nothing is known of what it looks for", "{1}", "Run lockgate doctor as the migrator or as an administrator."),
}  # fmt: skip
"""Every kind of finding that this room knows."""

_SETTINGS: dict[str, tuple[str, Callable[[str], bool], str]] = {
    "session_replication_role": ("role-setting-forbidden", lambda v: v != "origin", "triggers and foreign keys do not fire"),
    "default_transaction_read_only": ("role-setting-forbidden", lambda v: v in ("on", "true", "yes", "1"), "it can write nothing"),
    "role": ("role-setting", lambda v: v not in ("", "none"), "what it makes belongs to another role"),
    "transaction_timeout": ("role-setting", lambda v: v.strip("smhdinu ") not in ("", "0"), "it ends a long migration, whatever its own limit says"),
    "idle_session_timeout": ("role-setting", lambda v: v.strip("smhdinu ") not in ("", "0"), "it ends a run that waits"),
    "allow_system_table_mods": ("role-setting", lambda v: v in ("on", "true", "yes", "1"), "system catalogues can be changed by mistake"),
    "zero_damaged_pages": ("role-setting", lambda v: v in ("on", "true", "yes", "1"), "damaged pages are lost silently"),
    "ignore_checksum_failure": ("role-setting", lambda v: v in ("on", "true", "yes", "1"), "damaged pages are read as if they were right"),
}  # fmt: skip
"""Settings that defeat a run: the finding, when it is one, and why. Time-outs that lockgate sets itself are fine."""


class Holder(NamedTuple):
    """A session that holds one of lockgate's locks, as ``holders.sql`` gives it."""

    pid: str
    side: str
    application: str
    user: str
    address: str
    age: str
    state: str


class LiveRun(NamedTuple):
    """A run shown as under way, as ``runs.sql`` gives it. Ages are in seconds."""

    run_id: str
    kind: str
    operator: str
    host: str
    guard_pid: str
    work_pid: str
    heartbeat: str
    age: str


def examine(wire: Wire, roles: Roles, address: str = "") -> list[Finding]:
    """Everything that is found in the database behind ``wire``, errors first. Reads only, about fifteen round trips.

    ``roles`` are the names to check against, ``address`` is what ``psql`` takes to come here (default: by the name of the
    database, on the server that it takes by itself). A check that the server refuses becomes the finding
    ``check-impossible``. Raises ``ConnectionLost``, ``Cancelled``.
    """
    first = wire.value("SELECT pg_catalog.pg_backend_pid()::text") or ""
    found = [*_connection(wire, first)]
    for check in ("indexes", "partitions", "constraints", "triggers", "sequences", "prepared"):
        found += _rows_to_findings(wire, check)
    found += _runs(wire)
    if _is_there(wire, "move"):
        found += _rows_to_findings(wire, "moves")
    found += _roles(wire, roles, address)
    last = wire.value("SELECT pg_catalog.pg_backend_pid()::text") or ""
    if last != first:
        found.append(KINDS["pooler"].finding("pooler", (first, last)))
    order = ("error", "warning", "info")
    return sorted(found, key=lambda finding: order.index(finding.severity))


class _Impossible(Exception):
    """A check that the server refused, as a finding."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding


def _ask(wire: Wire, check: str, *parameters: str) -> list[list[str]]:
    """The rows of one check, read in a transaction that changes nothing and waits for nobody for long."""
    settings = "SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true), pg_catalog.set_config('lock_timeout', '2s', true), pg_catalog.set_config('statement_timeout', '30s', true), pg_catalog.set_config('jit', 'off', true)"
    calls = [
        Call("BEGIN READ ONLY"),
        Call(settings),
        Call(query(f"doctor/{check}"), parameters),
        Call("ROLLBACK"),
    ]
    try:
        return [[cell or "" for cell in row] for row in wire.batch(calls, label=f"doctor {check}")[2].rows]
    except (ServerError, Cancelled) as error:
        if wire.alive and wire.in_transaction:
            wire.batch([Call("ROLLBACK")], uncancellable=True, label="rollback")
        if isinstance(error, Cancelled):
            raise
        raise _Impossible(
            KINDS["check-impossible"].finding(
                "check-impossible", (check, f"{error.sqlstate} {error.message}")
            )
        ) from None


def _rows_to_findings(wire: Wire, check: str, *parameters: str) -> list[Finding]:
    """The findings of a check whose rows begin with the id of their kind."""
    try:
        return [KINDS[row[0]].finding(row[0], row[1:]) for row in _ask(wire, check, *parameters)]
    except _Impossible as impossible:
        return [impossible.finding]


# -- the connection ---------------------------------------------------------------------------------


def _connection(wire: Wire, backend_pid: str) -> Iterator[Finding]:
    if backend_pid != str(wire.libpq_pid):
        yield KINDS["proxy"].finding("proxy", (str(wire.libpq_pid), backend_pid))
    try:
        wire.batch(
            [
                Call("BEGIN READ ONLY"),
                Call("SELECT pg_catalog.set_config('client_connection_check_interval', '1s', true)"),
                Call("ROLLBACK"),
            ],
            label="doctor client check",
        )
    except ServerError as error:
        if wire.in_transaction:
            wire.batch([Call("ROLLBACK")], uncancellable=True, label="rollback")
        yield KINDS["client-check-unavailable"].finding("client-check-unavailable", (error.message,))


# -- runs and locks ---------------------------------------------------------------------------------


def _runs(wire: Wire) -> list[Finding]:
    try:
        holders = [
            Holder(*row) for row in _ask(wire, "holders", *key_halves(GUARD_KEY), *key_halves(WORK_KEY))
        ]
        runs = [LiveRun(*row) for row in _ask(wire, "runs")] if _is_there(wire, "run") else []
    except _Impossible as impossible:
        return [impossible.finding]
    return judge_runs(holders, runs)


def _is_there(wire: Wire, table: str) -> bool:
    """Whether the schema ``lockgate`` has this table; ``to_regclass`` would fail for a role that may not use the schema."""
    return bool(wire.value("SELECT 1 FROM pg_catalog.pg_tables WHERE schemaname = 'lockgate' AND tablename = $1", table))  # fmt: skip


def judge_runs(holders: Sequence[Holder], runs: Sequence[LiveRun]) -> list[Finding]:
    """Who holds lockgate's locks against what is shown as running."""
    pids = {holder.pid for holder in holders}
    found = []
    for run in runs:
        if not pids & {run.guard_pid, run.work_pid}:
            kind = "run-abandoned"
        elif float(run.heartbeat) > SILENT:
            kind = "run-silent"
        else:
            kind = "run-live"
        found.append(KINDS[kind].finding(kind, run))
    known = {pid for run in runs for pid in (run.guard_pid, run.work_pid)}
    return found + [
        KINDS["lock-without-run"].finding("lock-without-run", holder)
        for holder in holders
        if holder.pid not in known
    ]


# -- roles ------------------------------------------------------------------------------------------


def _roles(wire: Wire, roles: Roles, address: str) -> list[Finding]:
    names = {"owner": roles.owner, "migrator": roles.migrator, "app": roles.app, "reader": roles.reader}
    found = list(_equal(names))
    schemas = _json(roles.schemas)
    try:
        rows = _ask(wire, "roles", *names.values(), schemas)
    except _Impossible as impossible:
        return [*found, impossible.finding, *_settings(wire, list(names.values()))]
    missing = {row[1] for row in rows if row[0] == "role-missing"}
    if missing == names.keys():
        database = _database(wire)
        absent = KINDS["roles-absent"].finding(
            "roles-absent", (", ".join(names.values()), database, address or database)
        )
        return [*found, absent, *_settings(wire, [])]
    found += [KINDS[row[0]].finding(row[0], row[1:]) for row in rows]
    if not missing & {"owner", "migrator"}:
        nobodies = _json((roles.app, roles.reader))
        # The script of the roles hands over lockgate's own tables, and with --adopt all others: one command, however many.
        script = f"lockgate roles --database {_database(wire)}{{0}} | psql -v ON_ERROR_STOP=1 {address or _database(wire)}"
        for finding in _rows_to_findings(wire, "owners", roles.owner, roles.migrator, schemas, nobodies):
            adopt = "" if finding.id == "home-owner-wrong" else " --adopt"
            whole = finding.next if finding.next and adopt else script.format(adopt)
            found.append(msgspec.structs.replace(finding, next=whole))
    found += _unlisted(wire, roles, address)
    return found + _settings(wire, list(names.values()))


def _unlisted(wire: Wire, roles: Roles, address: str) -> Iterator[Finding]:
    """The schemas with tables that the script of the roles passes over, one finding for those that stop a migration."""
    try:
        rows = _ask(wire, "unlisted", roles.migrator, _json(roles.schemas))
    except _Impossible as impossible:
        yield impossible.finding
        return
    setting = roles.with_schemas(name for _, name in rows)
    script = (
        f"lockgate roles --database {_database(wire)} | psql -v ON_ERROR_STOP=1 {address or _database(wire)}"
    )
    for kind in sorted({kind for kind, _ in rows}):
        names = ", ".join(name for found, name in rows if found == kind)
        yield KINDS[kind].finding(kind, (names, setting, script))


def _database(wire: Wire) -> str:
    return wire.value("SELECT pg_catalog.quote_ident(pg_catalog.current_database())") or ""


def _equal(names: dict[str, str]) -> Iterator[Finding]:
    parts = list(names)
    for number, one in enumerate(parts):
        for other in parts[number + 1 :]:
            if names[one] == names[other]:
                yield KINDS["roles-equal"].finding("roles-equal", (one, other, names[one]))


def _settings(wire: Wire, names: list[str]) -> list[Finding]:
    try:
        rows = _ask(wire, "settings", _json(names))
    except _Impossible as impossible:
        return [impossible.finding]
    found = []
    for name, value, *rest in rows:
        if name in _SETTINGS:
            kind, defeats, why = _SETTINGS[name]
            if defeats(value):
                found.append(KINDS[kind].finding(kind, (name, value, *rest, why)))
    return found


def _json(values: Sequence[str]) -> str:
    return msgspec.json.encode(list(values)).decode()
