"""What ``lockgate.toml`` may say about a release: who approves, what is backed up, paused, rolled out, smoked and watched.

Every part is off until it is configured; a step without its part is skipped, and the record says so.
"""

from collections.abc import Mapping

import msgspec


class Release(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[release]``: the pipeline itself."""

    step_timeout: str = "15min"
    verify_directory: str = "verify"
    approvals_directory: str = "db/approvals"
    images: bool = False
    ci_results: tuple[str, ...] = ()
    rehearsal: bool = False
    min_free_connections: int = 5
    min_free_disk_percent: int = 5
    contract_after: str = ""
    comment_merged: bool = False
    max_transaction_age: str = "1h"
    max_connections_percent: int = 90
    rollout: tuple[str, ...] = ()
    rollout_timeout: str = "20min"
    hand_off: bool = False
    wait_for_instances: bool = False
    drain_timeout: str = "5min"
    index_timeout: str = "4h"


class Job(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[job]``: where the migration runs. In this process, in a child of it, or on a platform through its own commands."""

    provider: str = "in-process"
    name: str = "lockgate up"
    start: tuple[str, ...] = ()
    status: tuple[str, ...] = ()
    logs: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()
    set_image: tuple[str, ...] = ()
    read_image: tuple[str, ...] = ()
    inspect: tuple[str, ...] = ()
    poll_interval: str = "5s"
    timeout: str = "15min"
    call_timeout: str = "60s"
    trust_history: bool = False


class Approver(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[approvers.NAME]``: a person who may approve, in which roles, and the public key of signed approvals."""

    roles: tuple[str, ...] = ()
    key: str = ""


class Backup(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[backup]``: what is taken before anything is applied, and how old one may be."""

    provider: str = ""
    directory: str = ".lockgate/backups"
    jobs: int = 2
    max_age: str = "1h"
    timeout: str = "2h"
    command: tuple[str, ...] = ()
    verify_command: tuple[str, ...] = ()
    restore_command: tuple[str, ...] = ()
    digest_max_mb: int = 1024
    drill_max_age: str = ""


class Workers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[workers]``: how background workers are paused, shown to have stopped, and resumed."""

    provider: str = ""
    preset: str = ""
    name: str = ""
    namespace: str = ""
    pause: tuple[str, ...] = ()
    resume: tuple[str, ...] = ()
    resume_one: tuple[str, ...] = ()
    status: tuple[str, ...] = ()
    pause_sql: str = ""
    resume_sql: str = ""
    status_sql: str = ""
    timeout: str = "2min"
    poll_interval: str = "1s"
    lease: str = "5min"
    canary: str = ""


class Smoke(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[smoke]``: the calls that a released service has to answer rightly."""

    base_url: str = ""
    health: str = "/health"
    protected: str = ""
    token_env: str = "SMOKE_TOKEN"  # noqa: S105 - the name of a variable
    token_header: str = "Authorization"  # noqa: S105
    token_prefix: str = "Bearer "  # noqa: S105
    release_header: str = ""
    expect_release: str = "sha"
    retry_attempts: int = 3
    retry_delay: str = "5s"
    retry_on: tuple[int, ...] = (401, 502, 503, 504)
    timeout: str = "10s"
    max_seconds: str = ""
    health_contains: str = ""
    authorized_contains: str = ""
    job: tuple[str, ...] = ()


class WatchQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[watch.queries.NAME]``: a PromQL query, and what its value may be."""

    query: str
    max: float | None = None
    min: float | None = None
    max_increase_percent: float | None = None
    on_empty: str = "hold"


class Watch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[watch]``: Prometheus queries that are looked at for a while after the rollout, against what they said before it."""

    prometheus_url: str = ""
    token_env: str = ""
    window: str = ""
    baseline_window: str = "1h"
    interval: str = "30s"
    failure_limit: int = 1
    error_limit: int = 4
    queries: Mapping[str, WatchQuery] = {}


class Notify(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[notify]``: who is told at the start, the end, a failure and a restore, and who owns what is released."""

    webhook_env: str = ""
    command: tuple[str, ...] = ()
    timeout: str = "10s"
    owners: tuple[str, ...] = ()
    pager: str = ""
    channel: str = ""


class Freeze(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[[env.NAME.freezes]]``: a time in which nothing is released. Both ends are RFC 3339 with a zone."""

    start: str
    end: str
    reason: str = ""


class Approvals(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[env.NAME.approvals]``: how many people, in which roles, have to approve a plan."""

    count: int = 1
    high_impact_count: int = 2
    roles: tuple[str, ...] = ()
    max_age: str = "7d"
    signed: bool = False


class Region(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[env.NAME.regions.REGION]``: one region, where a table says more than the variable's name."""

    url_env: str


class Environment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[env.NAME]``: one place to release to. The URL comes from the variable ``url_env``, never from the file."""

    url_env: str = ""
    protected: bool = False
    regions: Mapping[str, str | Region] = {}
    canary: str = ""
    approvals: Approvals = Approvals()
    require_backup: bool = True
    require_rehearsal: bool = True
    require_queries: tuple[str, ...] = ()
    windows: tuple[str, ...] = ()
    window_impact: str = "high"
    freezes: tuple[Freeze, ...] = ()
    same_plan_on: str = ""
    release: Release | None = None
    job: Job | None = None
    backup: Backup | None = None
    workers: Workers | None = None
    smoke: Smoke | None = None
    watch: Watch | None = None
    notify: Notify | None = None

    def region_variables(self) -> dict[str, str]:
        """Region → name of the variable that holds its URL."""
        return {name: one if isinstance(one, str) else one.url_env for name, one in self.regions.items()}


_DURATIONS = (
    ("release", "step_timeout", False), ("release", "rollout_timeout", False), ("release", "drain_timeout", False), ("release", "contract_after", True),
    ("release", "max_transaction_age", False), ("job", "poll_interval", False), ("job", "timeout", False),
    ("job", "call_timeout", False), ("backup", "max_age", False), ("backup", "timeout", False),
    ("backup", "drill_max_age", True), ("workers", "timeout", False), ("workers", "poll_interval", False),
    ("workers", "lease", False), ("smoke", "retry_delay", False), ("smoke", "timeout", False), ("smoke", "max_seconds", True),
    ("watch", "window", True), ("watch", "baseline_window", True), ("watch", "interval", False), ("notify", "timeout", False),
)  # fmt: skip
"""(section, key, may be empty) of every setting that is a time limit."""
_WORDS = {
    ("job", "provider"): ("in-process", "child", "command"),
    ("backup", "provider"): ("", "pg_dump", "pg_basebackup", "restore-point", "command"),
    ("workers", "provider"): ("", "command", "sql", "lease"),
    ("workers", "preset"): ("", "kubectl", "containerapp", "systemctl", "compose"),
}
"""(section, key) → what it may say."""


def problems(sections: Mapping[str, msgspec.Struct | None], prefix: str, is_duration: object) -> list[str]:
    """What is wrong in the parts of a release, each named by its key. ``is_duration`` tells whether a text is a time limit."""
    assert callable(is_duration)
    found: list[str] = []
    for section, key, empty in _DURATIONS:
        part = sections.get(section)
        value = getattr(part, key) if part is not None else ""
        if part is not None and not (empty and not value) and not is_duration(value):
            found.append(f"{prefix}{section}.{key} = {value!r} is not a time limit such as 3s or 15min")
    for (section, key), words in _WORDS.items():
        part = sections.get(section)
        if part is not None and getattr(part, key) not in words:
            known = ", ".join(repr(w) for w in words)
            found.append(f"{prefix}{section}.{key} = {getattr(part, key)!r}: it is one of {known}")
    return found + _incomplete(sections, prefix) + _out_of_range(sections, prefix)


def _incomplete(sections: Mapping[str, msgspec.Struct | None], prefix: str) -> list[str]:
    found = []
    job, workers, backup = sections.get("job"), sections.get("workers"), sections.get("backup")
    if isinstance(job, Job) and job.provider == "command" and not (job.start and job.status):
        found.append(f"{prefix}job.provider = 'command' needs job.start and job.status")
    if isinstance(workers, Workers):
        if workers.preset and not workers.name:
            found.append(f"{prefix}workers.preset needs workers.name")
        if (
            workers.provider == "command"
            and not workers.preset
            and not (workers.pause and workers.resume and workers.status)
        ):
            found.append(
                f"{prefix}workers.provider = 'command' needs pause, resume and status: without status nothing shows that they stopped"
            )
        if workers.provider == "sql" and not (
            workers.pause_sql and workers.resume_sql and workers.status_sql
        ):
            found.append(
                f"{prefix}workers.provider = 'sql' needs pause_sql, resume_sql and status_sql: without status_sql nothing shows that they stopped"
            )
        if workers.provider == "lease" and not workers.status_sql:
            found.append(
                f"{prefix}workers.provider = 'lease' needs status_sql: without it nothing shows that they stopped"
            )
    if isinstance(backup, Backup) and backup.provider == "command" and not backup.command:
        found.append(f"{prefix}backup.provider = 'command' needs backup.command")
    return found


def _out_of_range(sections: Mapping[str, msgspec.Struct | None], prefix: str) -> list[str]:
    found = []
    for section, key, low, high in (
        ("release", "min_free_connections", 0, 10_000),
        ("release", "min_free_disk_percent", 0, 100),
        ("release", "max_connections_percent", 1, 100),
        ("backup", "jobs", 1, 64),
        ("backup", "digest_max_mb", 0, 1 << 30),
        ("smoke", "retry_attempts", 1, 100),
        ("watch", "failure_limit", 0, 10_000),
        ("watch", "error_limit", 0, 10_000),
    ):
        part = sections.get(section)
        if part is not None and not low <= getattr(part, key) <= high:
            found.append(f"{prefix}{section}.{key} must be between {low} and {high}")
    watch = sections.get("watch")
    if isinstance(watch, Watch):
        for name, one in watch.queries.items():
            if one.on_empty not in ("hold", "pass", "fail"):
                found.append(f"{prefix}watch.queries.{name}.on_empty is 'hold', 'pass' or 'fail'")
            if one.max is None and one.min is None and one.max_increase_percent is None:
                found.append(f"{prefix}watch.queries.{name} needs max, min or max_increase_percent")
    return found
