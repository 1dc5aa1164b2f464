"""Write the pages that are made from the code: commands, configuration, hazards, reason codes, schemas.

``python tools/generate_docs.py`` writes them, ``--check`` exits 1 with a diff when one of them is not what the code says.
"""

import difflib
import inspect
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import click
import msgspec

from lockgate.cli.explain import severity_of
from lockgate.cli.main import COMMANDS, app
from lockgate.config import Artifacts, EmbeddedServer, Environment, Migrations, Roles, Settings
from lockgate.config import release as parts
from lockgate.config.bootstrap import BootstrapStep
from lockgate.config.index import Index
from lockgate.config.policy import Policy
from lockgate.policy.pages import every_hazard
from lockgate.record import schemas
from lockgate.record.reasons import REASONS, Exit

DOCS = Path(__file__).resolve().parent.parent / "docs"
_MADE = "<!-- Made by tools/generate_docs.py from the code. Change the code, then run `make docs`. -->\n"

EXITS: dict[Exit, str] = {
    Exit.OK: "done, nothing to do, or ready",
    Exit.FOUND: "the check found something: findings, pending files, drift",
    Exit.USAGE: "the call or the configuration is wrong",
    Exit.FAILED: "a step failed; the error tells what is applied and what is not",
    Exit.REFUSED: "refused before any change, or a contract-phase file is held",
    Exit.HOLD: "nobody can tell whether this is done or safe: a person has to look",
    Exit.UNREACHABLE: "the database cannot be reached",
    Exit.BUG: "a bug in lockgate",
    Exit.BUSY: "another runner holds the lock; trying again later is right",
    Exit.PRIVILEGE: "the role lacks a privilege",
    Exit.INTERRUPTED: "interrupted (SIGINT): cancelled, rolled back, recorded",
    Exit.TERMINATED: "terminated (SIGTERM): cancelled, rolled back, recorded",
}

SECTIONS: dict[str, type[msgspec.Struct]] = {
    "migrations": Migrations,
    "roles": Roles,
    "embedded": EmbeddedServer,
    "env.NAME": Environment,
    "env.NAME.approvals": parts.Approvals,
    "env.NAME.freezes": parts.Freeze,
    "artifacts": Artifacts,
    "policy": Policy,
    "release": parts.Release,
    "approvers.NAME": parts.Approver,
    "backup": parts.Backup,
    "workers": parts.Workers,
    "job": parts.Job,
    "smoke": parts.Smoke,
    "watch": parts.Watch,
    "watch.queries.NAME": parts.WatchQuery,
    "notify": parts.Notify,
    "bootstrap.NAME": BootstrapStep,
    "index.NAME": Index,
}
"""Table of ``lockgate.toml`` → the struct behind it."""

KEYS: dict[str, str] = {
    "migrations.directory": "Where the migration files and their ledger are, from the folder of `lockgate.toml`.",
    "migrations.contract_directory": "Where the contract files of recipes wait until `lockgate promote` dates them.",
    "migrations.lock_timeout": "How long one statement may wait for one lock before the file is rolled back and tried again. `0` waits without end.",
    "migrations.lock_retries": "How often a file is tried again after a lock time-out, a deadlock or a serialization failure; the pauses grow, with jitter.",
    "migrations.statement_timeout": "How long one statement may run.",
    "migrations.concurrent_timeout": "The same for a statement that no transaction can hold, such as a concurrent index build.",
    "migrations.file_timeout": "How long one file may run, all its statements together.",
    "migrations.run_timeout": "How long the whole run may take. `MIGRATION_TIMEOUT_SECONDS` goes before it.",
    "migrations.max_lock_victims": "How many sessions may queue behind our statement before it is cancelled.",
    "migrations.max_file_bytes": "The largest file that is read.",
    "migrations.max_statements": "The most statements that one file may hold.",
    "migrations.allow_functions": "Functions that reach outside the database or into the session, and are allowed all the same, by name.",
    "migrations.reconnect_seconds": "How long a run waits for the server after it lost the connection.",
    "roles.owner": "The role that owns the schemas; it cannot log in.",
    "roles.migrator": "The role that `lockgate up` logs in as.",
    "roles.app": "The role of the application: it reads and writes rows.",
    "roles.reader": "The role that only reads.",
    "roles.schemas": "The schemas that the grants are for.",
    "embedded.version": "PostgreSQL's major version, 16 or 18. Each has data of its own.",
    "embedded.idle_seconds": "After how many seconds without a client the server stops by itself.",
    "env.NAME.url_env": "The name of the variable that holds the URL of this environment. The URL never stands in the file.",
    "env.NAME.regions": "Region → name of the variable that holds its URL, for `parity` and `up --all-regions`.",
    "env.NAME.canary": "The region that `up --all-regions` takes first and alone; without one the first of the table.",
    "env.NAME.protected": "No `down`; `up` demands approvals; a URL that leaves the machine must say `sslmode=verify-full`.",
    "env.NAME.approvals": "How many people, in which roles, approve a plan: the table below.",
    "env.NAME.require_backup": "Whether a protected environment demands a verified backup. `false` is shouted in every artifact.",
    "env.NAME.require_rehearsal": "Whether `up` and `release` in a protected environment demand a rehearsal of this very plan that passed in the last seven days. `false` is shouted in every artifact.",
    "env.NAME.windows": "When a heavy plan may be released, such as `Mon-Fri 09:00-17:00 Europe/Berlin`; none: always.",
    "env.NAME.window_impact": "`low`, `medium` or `high`: plans of this impact and above wait for a window.",
    "env.NAME.freezes": "Times in which nothing is released: the table below.",
    "env.NAME.same_plan_on": "An environment that the very same plan has to have passed before.",
    "env.NAME.release": "`[env.NAME.release]` in place of `[release]`.",
    "env.NAME.job": "The same for `[job]`.",
    "env.NAME.backup": "The same for `[backup]`.",
    "env.NAME.workers": "The same for `[workers]`.",
    "env.NAME.smoke": "The same for `[smoke]`.",
    "env.NAME.watch": "The same for `[watch]`.",
    "env.NAME.notify": "The same for `[notify]`.",
    "env.NAME.approvals.count": "How many different people; the one who releases is never one of them.",
    "env.NAME.approvals.high_impact_count": "The same for a plan of high impact.",
    "env.NAME.approvals.roles": "Roles that have to be among them, each filled by another person.",
    "env.NAME.approvals.max_age": "The longest time that an approval holds, whatever it says itself.",
    "env.NAME.approvals.signed": "Whether only Ed25519-signed approvals count.",
    "env.NAME.freezes.start": "Its begin, with a zone: `2026-12-20T00:00Z`.",
    "env.NAME.freezes.end": "Its end, with a zone.",
    "env.NAME.freezes.reason": "Why; it is told to whoever is refused.",
    "release.step_timeout": "How long a step may take that has no limit of its own.",
    "release.verify_directory": "The folder of the assertions, `*.sql`, that have to hold after the migration.",
    "release.approvals_directory": "The folder of signed approvals.",
    "release.images": "Whether `--image` and `--rollback-image` have to be given.",
    "release.ci_results": "JSON files that CI has to have left, each with a `status` that passed; `{sha}` is filled in.",
    "release.rehearsal": "Whether `lockgate rehearse` has to have passed for this very plan, lately and on the same major version.",
    "release.min_free_connections": "Free connections without which a release does not begin.",
    "release.min_free_disk_percent": "Free share of the server's volume without which a release does not begin, where the volume can be seen.",
    "release.comment_merged": "In GitHub, on a push: comment on the pull request that brought the sha. On a pull request itself no setting is needed, only `GITHUB_TOKEN`.",
    "release.contract_after": "How long the release before has to be live before a contract-phase file runs; empty means 24h in protected environments, else no time.",
    "release.max_transaction_age": "The oldest open transaction that the verification lets pass.",
    "release.max_connections_percent": "How full the server may be after the migration.",
    "release.rollout": "The command that brings the new release live; `{sha}`, `{image}`, `{release}` and `{env}` are filled in. It has to be idempotent: after a death it may be given twice.",
    "release.rollout_timeout": "How long the rollout may take.",
    "release.hand_off": "Whether another deployer rolls out: the release stops before it, `lockgate release continue` goes on.",
    "release.wait_for_instances": "Whether heartbeats of the new release have to be seen, and those of others to end.",
    "release.drain_timeout": "How long old instances may live on once the new ones are seen.",
    "release.index_timeout": "How long all builds, validations and swaps of indexes of one release may take together.",
    "approvers.NAME.roles": "The roles that this person may approve in.",
    "approvers.NAME.key": "The public key of their signed approvals; `lockgate approve --new-key FILE` prints it.",
    "backup.provider": "`pg_dump`, `pg_basebackup`, `restore-point` or `command`; empty takes none.",
    "backup.directory": "Where backups lie. They hold all rows: their folders are for this user only.",
    "backup.jobs": "How many tables are dumped or restored at once.",
    "backup.max_age": "How old the backup may be that a migration rests on.",
    "backup.timeout": "How long taking, verifying or restoring may take.",
    "backup.command": "Takes a backup and prints one JSON object: `id`, `status`, and `lsn`, `size`, `sha256`, `systemIdentifier` where known.",
    "backup.verify_command": "Looks at such a backup, whose id is its last word; without it nothing of it counts as verified.",
    "backup.restore_command": "Restores such a backup; its last two words are the id and the new place.",
    "backup.digest_max_mb": "Tables above this size are counted and not compared row by row.",
    "backup.drill_max_age": "How long ago a restore drill may have passed; empty demands none.",
    "workers.provider": "`command`, `sql` or `lease`; empty: there are no workers to pause.",
    "workers.preset": "`kubectl`, `containerapp`, `systemctl` or `compose`: commands for `name`. They are not run against a platform in our tests.",
    "workers.name": "The deployment, app, unit or service of a preset.",
    "workers.namespace": "The namespace, resource group or project of a preset.",
    "workers.pause": "Stops the workers; may be given twice.",
    "workers.resume": "Starts them again; may be given twice.",
    "workers.resume_one": "Starts one of them, for the smoke job and the watch.",
    "workers.status": "Prints how many run: a number, nothing, or a word such as `inactive`.",
    "workers.pause_sql": "The same as a statement.",
    "workers.resume_sql": "The same as a statement.",
    "workers.status_sql": "Gives how many are at work.",
    "workers.timeout": "How long they may take to stop.",
    "workers.poll_interval": "How often they are counted meanwhile.",
    "workers.lease": "How long a pause holds after the last heartbeat of the release that asked for it.",
    "workers.canary": "With the lease: the worker that comes back first, by the name that it gives to `lockgate.workers_paused(name)`.",
    "job.provider": "`in-process`; `child`: in a process of its own; `command`: on a platform.",
    "job.name": "How the artifact calls the job.",
    "job.start": "Starts it and prints the name of the execution; of a `child`, the whole command (`lockgate up` of this very program unless set). `{execution}`, `{image}`, `{sha}` and `{env}` are filled in here and below.",
    "job.status": "Prints one word for its state.",
    "job.logs": "Prints its log.",
    "job.stop": "Ends it, when it outlives its time.",
    "job.set_image": "Sets its image to the candidate's.",
    "job.read_image": "Prints its image, which has to be the candidate's.",
    "job.inspect": 'Prints `{"parallelism": 1, "retries": 0}`; anything else is refused.',
    "job.poll_interval": "How often `status` is asked.",
    "job.timeout": "How long the job may take before it is stopped.",
    "job.call_timeout": "How long one of these commands may take.",
    "job.trust_history": "Whether a complete history passes although the job says otherwise.",
    "smoke.base_url": "The service, `https://...`; empty: no calls are made.",
    "smoke.health": "The path that has to answer 200.",
    "smoke.protected": "A path that has to answer 401 or 403 without a token and 200 with one.",
    "smoke.token_env": "The variable that holds the token.",
    "smoke.token_header": "The header that carries it.",
    "smoke.token_prefix": "What stands before it.",
    "smoke.release_header": "A header of every answer that has to name the release.",
    "smoke.expect_release": "`sha`, `image`, or a text of its own.",
    "smoke.retry_attempts": "How often a call is made at most.",
    "smoke.retry_delay": "The pause between two attempts.",
    "smoke.retry_on": "The statuses that are tried again; so are silence and the header of another release.",
    "smoke.timeout": "How long one answer may take.",
    "smoke.max_seconds": "An answer that took longer fails; empty: none does.",
    "smoke.health_contains": "A text that the health answer has to hold.",
    "smoke.authorized_contains": "A text that the authorized answer has to hold.",
    "smoke.job": "A smoke test of the workers: a command that has to end with 0.",
    "watch.prometheus_url": "The Prometheus that is asked; empty: nothing is watched.",
    "watch.token_env": "The variable that holds its bearer token.",
    "watch.window": "How long is watched. Empty: 30 minutes in a protected environment, 60 after a plan of high impact, nothing elsewhere.",
    "watch.baseline_window": "The time before the release whose values count: the baseline of a query is their median, read from Prometheus. Empty: one look right before the release.",
    "watch.interval": "How often every query is asked.",
    "watch.failure_limit": "How many failing looks of one query are forgiven.",
    "watch.error_limit": "How many looks in a row may fail to tell anything.",
    "watch.queries": "The queries: the table below.",
    "watch.queries.NAME.query": "PromQL; of a vector the largest value counts.",
    "watch.queries.NAME.max": "Its largest value.",
    "watch.queries.NAME.min": "Its smallest value.",
    "watch.queries.NAME.max_increase_percent": "How far it may be above what it said before the release.",
    "watch.queries.NAME.on_empty": "`hold`, `pass` or `fail`: what no data means.",
    "notify.webhook_env": "The variable that holds the URL of a webhook; it gets JSON by POST.",
    "notify.command": "A command that gets the same JSON on stdin.",
    "notify.timeout": "How long telling may take. It never fails a release.",
    "notify.owners": "Who owns what is released; they stand in every failure report.",
    "notify.pager": "Whom to call.",
    "notify.channel": "Where it is talked about.",
    "index.NAME.store": "The kind of store: `pgvector`, `fts`, `fts5`, `pointer`, `qdrant`, `lancedb`, `chroma`, `milvus`, `opensearch`, `elasticsearch`.",
    "index.NAME.place": "File, folder or URL of a store outside the database.",
    "index.NAME.table": "The table that records come from; this or `records`.",
    "index.NAME.records": "A file of records, JSON lines; this or `table`.",
    "index.NAME.id": "The table's column of ids.",
    "index.NAME.text": "The table's column of texts.",
    "index.NAME.vector": "The table's column of vectors, where they are ready.",
    "index.NAME.embedder": "`hashing[:DIMENSION[:SEED]]`, `minilm`, `http=URL=MODEL` or `st=MODEL`; empty: records bring their vectors.",
    "index.NAME.model": "The model's name, for ready vectors.",
    "index.NAME.metric": "`cosine`, `l2` or `ip`.",
    "index.NAME.dtype": "`float32` or `float16`: how vectors are stored.",
    "index.NAME.ann": "`flat`, or `hnsw:m=16,ef_construction=64`, or `ivfflat:lists=100`.",
    "index.NAME.raw_lengths": "Vectors are not of length 1, on purpose.",
    "index.NAME.analyzer": "Text search configuration or tokenizer of a text index.",
    "index.NAME.rate": "At most so many records a second; 0: no limit.",
    "index.NAME.batch": "Records in one piece.",
    "index.NAME.gold": "The gold set that validation and watch ask. Without one, a release builds a new generation and refuses to swap to it.",
    "index.NAME.query_vectors": "Lines `{_id, vector}` for the gold queries, for ready vectors.",
    "index.NAME.profile": "`like-for-like` or `model-change`: what may differ.",
    "index.NAME.limits": "Limits of [indexes.md](indexes.md#limits) by their names, such as `{ndcg-drop = 0.005}`.",
    "index.NAME.breadth": "`ef_search` of validation, shadow queries and watch; 0: at least 40.",
    "index.NAME.shadow": "Queries of a log, JSON lines `{_id, text}`, asked of both generations before the swap; empty: the gold queries.",
    "index.NAME.max_latency_increase_percent": "How much slower the p95 of the shadow queries may get.",
    "index.NAME.rebuild": "`changed`: a release builds anew when the specification is not what serves. `always`: each release does.",
    "index.NAME.two_step": "Accept a store whose swap a reader may see half done.",
    "index.NAME.rollback_window": "How long rolling back stays possible after a swap.",
    "index.NAME.watch": "How long is watched after a swap. Empty: 30 minutes in a protected environment, one look elsewhere.",
    "index.NAME.interval": "From look to look of the watch.",
    "bootstrap.NAME.kind": "`secrets`, `roles`, `extensions`, `migrations`, `indexes`, `probes`, `gate`, `parity` or `command`.",
    "bootstrap.NAME.needs": "The steps that have to be done before. A circle is refused.",
    "bootstrap.NAME.deadline": "How long the step may take, all its tries together; it holds while the step hangs.",
    "bootstrap.NAME.extensions": "For `extensions`: what to create where it is missing.",
    "bootstrap.NAME.secrets": "For `secrets`: texts such as `db=env:DB_PASSWORD`, `db=file:/run/secrets/db`, `db=command:vault read db`.",
    "bootstrap.NAME.indexes": "For `indexes`: the names of which a sealed, valid generation has to be live.",
    "bootstrap.NAME.probes": "For `probes`: tables such as those of a contract, `[[bootstrap.NAME.probes]]`; asked again until the deadline.",
    "bootstrap.NAME.contract": "For `gate`: the contract, from the folder of `lockgate.toml`.",
    "bootstrap.NAME.command": "For `command`: the words of a program that exits 0 when the condition holds.",
    "artifacts.directory": "Where a release leaves its artifacts, in `deploy/<sha>/`.",
    "policy.profile": "`default`, or `early-stage`: before anybody depends on the data, drops, renames and resets are warnings. Every report and artifact names it.",
    "policy.server_version": "PostgreSQL's major version, 14 to 18, that `check` judges for. A snapshot, and in `up` the server itself, say better.",
    "policy.judge_after": "A revision: it and those before it are only learnt from. For files that were merged before the policy judged them, and cannot be edited any more.",
    "policy.small_rows": "Tables with fewer rows, by a snapshot, are small: what only costs time on them is a note.",
    "policy.big_rows": "Tables with as many rows or more, by a snapshot, are large: reading one under a lock is an error of its own.",
    "policy.big_bytes": "The same by size, in bytes.",
    "policy.row_limit": "More rows than this, by a snapshot, may not change in one transaction.",
    "policy.forbidden_statements": "Statements that no file may hold, by the first words of their kind, such as `DROP TABLE`.",
    "policy.forbidden_types": "Types that no column may have, by PostgreSQL's internal names (`int4`, `varchar`, `timestamp` ...).",
    "policy.required_columns": "Columns that every new table must have.",
}
"""What each key means. A test fails when a key of the structs is missing here, or one here is gone there."""

VARIABLES: dict[str, str] = {
    "DATABASE_URL": "The target, where neither `--env` nor `--database-url` names one.",
    "MIGRATION_TIMEOUT_SECONDS": "The time limit of the whole run in seconds; goes before `migrations.run_timeout`.",
    "MIGRATION_LOCK_TIMEOUT": "Goes before `migrations.lock_timeout`.",
    "MIGRATION_STATEMENT_TIMEOUT": "Goes before `migrations.statement_timeout`.",
    "LOCKGATE_ROLE": "`app` says that this process is an application: every command that changes something refuses.",
    "LOCKGATE_ACTOR": "Who approves or releases, where the login does not say it.",
    "GITHUB_ACTIONS": "Set by GitHub: a failed release annotates the run, and `GITHUB_ACTOR` is who releases.",
    "GITHUB_ACTOR": "Who releases, in GitHub.",
    "GITHUB_API_URL": "Set by GitHub: where a release posts its comment on the pull request.",
    "GITHUB_EVENT_NAME": "Set by GitHub: `push` with `release.comment_merged` comments on the pull request that was merged.",
    "GITHUB_EVENT_PATH": "Set by GitHub: the event, which names the pull request.",
    "GITHUB_REF": "Set by GitHub: `refs/pull/N/merge` names the pull request too.",
    "GITHUB_REPOSITORY": "Set by GitHub: the repository of the pull request.",
    "GITLAB_CI": "Set by GitLab: `GITLAB_USER_LOGIN` is who releases.",
    "GITLAB_USER_LOGIN": "Who releases, in GitLab.",
    "GITHUB_TOKEN": "Handed to the step on purpose, with `pull-requests: write`: a release comments on its pull request, one comment an environment.",
    "GITHUB_STEP_SUMMARY": "Where GitHub wants the summary of a step; a release appends its own.",
    "LOCKGATE_CONTRACT": "The contract of the image: a path, or the JSON itself. For `gate`, `run` and `Contract.from_environment()`.",
    "LOCKGATE_SCHEMA_MIN": "The oldest revision that the image runs on, where there is no `LOCKGATE_CONTRACT`.",
    "LOCKGATE_SCHEMA_MAX": "The newest revision that the image was built for.",
    "LOCKGATE_SCHEMA_DIGEST": "The digest up to that revision.",
    "LOCKGATE_RELEASE_ID": "The release, where the contract names none.",
    "LOCKGATE_SERVICE": "The service, where the contract names none.",
    "LOCKGATE_SECRETS_REVISION": "The revision of the secrets that the process has; `lockgate gate secrets revision` makes it.",
    "LOCKGATE_INDEX_HASHES": "The index generations that the process has loaded, as `name=hash,name=hash`.",
    "PGDATABASE": "The database of `lockgate roles` where the URL names none, as for every client of libpq.",
    "LOCKGATE_HEALTH_TOKEN": "Who bears it may read the details of `/readyz` and `/startupz`.",
    "LOCKGATE_TEST_URL": "The server on which the pytest plugin makes its databases.",
    "LOCKGATE_STORE_KEY": "The key of an index store's server: a token of Qdrant, Chroma or Milvus; for OpenSearch and Elasticsearch `user:password`, or the whole value of `Authorization`. A place is recorded, so it holds no key.",
    "LOCKGATE_EMBEDDER_KEY": "The key of an embedding endpoint (`lockgate index build --embedder http=URL=MODEL`), sent as a bearer token.",
    "OTEL_TRACES_EXPORTER": "Switches OpenTelemetry spans on (extra `otel`): `otlp`, `console` (stderr) or `none`.",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "Switches them on too: the collector that takes them by OTLP over HTTP. The SDK reads its other variables, such as `OTEL_EXPORTER_OTLP_HEADERS`, itself.",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "The same for spans alone.",
    "OTEL_SDK_DISABLED": "`true` switches spans off.",
    "OTEL_SERVICE_NAME": "What the spans are of; `lockgate` unless set.",
    "LOCKGATE_LIFELINE": "Set by a release for its child: the inherited pipe by whose end `up` hears that the release is gone. Hand it and open descriptors on; never set it.",
    "LOCKGATE_RELEASE_SHA": "The sha of the release that an `up` belongs to; a release sets it for its child, a job on a platform may.",
    "TRACEPARENT": "The W3C parent of the spans, such as that of the CI job.",
    "NO_COLOR": "Any text switches colour off.",
    "TERM": "`dumb` switches control codes and the progress bar off.",
    "XDG_CACHE_HOME": "Where `check` keeps what it judged before: in `lockgate/check` there, else in `~/.cache`.",
    "HOME": "The user's folder, where `XDG_CACHE_HOME` is not set.",
    "SUDO_UID": "Set by sudo: whom the embedded server runs as, when lockgate runs as root.",
}
"""The environment variables that lockgate reads. libpq reads its own (PGPASSFILE, PGSSLROOTCERT ...) besides."""


def reasons_page() -> str:
    """docs/reasons.md, from record/reasons.py."""
    parts = [
        "# Reason codes\n",
        _MADE,
        "Every error carries one of these codes, in text and in JSON (`reasonCode`), with the state of the world and the next command.\n",
    ]
    for row in REASONS.values():
        parts.append(
            _safe(
                f"## `{row.code}`\n\n{row.meaning} Exit {int(row.exit)}.\n\n- State: {row.state}\n- Next: {row.next}\n"
            )
        )
    return "\n".join(parts)


def commands_page() -> str:
    """docs/commands.md, from click."""
    parts = [
        "# Commands\n",
        _MADE,
        "`lockgate COMMAND --help` prints the same. With `--format json` a command prints one document on stdout and nothing else;\n"
        "[schemas.md](schemas.md) lists their schemas. A document of a command has `command`, that of an error has `exitCode`.\n",
        "## Exit codes\n",
        _table(("code", "meaning"), ((str(int(code)), text) for code, text in EXITS.items())),
    ]
    context = click.Context(app, info_name="lockgate")
    for name in COMMANDS:
        command = app.get_command(context, name)
        assert command is not None
        parts += _command_parts(command, f"lockgate {name}")
        if isinstance(command, click.Group):
            inner = click.Context(command, info_name=name, parent=context)
            for child in command.list_commands(inner):
                found = command.get_command(inner, child)
                assert found is not None
                parts += _command_parts(found, f"lockgate {name} {child}")
    return "\n".join(parts)


def _command_parts(command: click.Command, words: str) -> Iterator[str]:
    usage = " ".join(command.collect_usage_pieces(click.Context(command)))
    yield f"## `{words}`\n"
    yield f"`{words} {usage}`\n"
    yield _safe(inspect.cleandoc(command.help or "")) + "\n"
    rows = [
        _option_row(parameter)
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.hidden
    ]
    yield _table(("option", "default", "meaning"), rows)


def _option_row(option: click.Option) -> tuple[str, str, str]:
    name = " ".join(option.opts)
    if isinstance(option.type, click.Choice):
        name += f" {'|'.join(option.type.choices)}"
    elif not option.is_flag:
        name += f" {option.metavar or option.type.name.upper()}"
    default: Any = option.default
    shown = (
        ""
        if option.is_flag or option.required or not isinstance(default, (str, int, float))
        else f"`{default}`"
    )
    return f"`{name}`".replace("|", "\\|"), "required" if option.required else shown, option.help or ""


def configuration_page() -> str:
    """docs/configuration.md, from config.py."""
    parts = [
        "# Configuration\n",
        _MADE,
        "`lockgate.toml` in the working directory, or the file of `--config`; relative paths start from its folder. Every key has a default,\n"
        "except where it says so; a key that is not listed here is an error. Without a file the defaults hold.\n",
        "A time limit is a text such as `250ms`, `3s`, `15min` or `1h`.\n",
    ]
    for section, struct in SECTIONS.items():
        doc = (struct.__doc__ or "").replace("``", "`")
        parts += [
            f"## `[{section}]`\n",
            doc.partition(": ")[2][:1].upper() + doc.partition(": ")[2][1:] + "\n",
        ]
        parts.append(_table(("key", "type", "default", "meaning"), _key_rows(section, struct)))
    parts += [
        "## Environment variables\n",
        _table(("variable", "meaning"), ((f"`{k}`", v) for k, v in VARIABLES.items())),
    ]
    parts.append("The variable that `url_env` names holds the URL of that environment.\n")
    return "\n".join(parts)


def _key_rows(section: str, struct: type[msgspec.Struct]) -> Iterator[tuple[str, ...]]:
    hints = get_type_hints(struct)
    for field in msgspec.structs.fields(struct):
        default = field.default
        if default is msgspec.NODEFAULT:
            # msgspec turns an empty table or list into a factory.
            default = None if field.required else field.default_factory()
        hint = hints[field.name]
        kind = {
            str: "text",
            int: "whole number",
            bool: "true or false",
            float: "number",
            float | None: "number",
        }.get(hint, "list of texts")
        if (
            "Mapping" in str(hint)
            or (isinstance(hint, type) and issubclass(hint, msgspec.Struct))
            or "release." in str(hint)
        ):
            kind = "table"
        if hint == tuple[int, ...]:
            kind = "list of whole numbers"
        if isinstance(default, str) and f".{field.name}".endswith(
            ("timeout", "max_age", "interval", "_age", "window", "delay", "max_seconds", ".lease")
        ):
            kind = "time limit"
        if isinstance(default, msgspec.Struct):
            default = {}
        shown = (
            "none: required" if field.required else "none" if default is None else f"`{json.dumps(default)}`"
        )
        yield f"`{field.name}`", kind, shown, KEYS.get(f"{section}.{field.name}", "")


def schemas_page() -> str:
    """docs/schemas.md, from the published schemas."""
    rows = []
    for name in schemas.names():
        schema = json.loads(schemas.text(name))
        rows.append(
            (
                f"[`{name}`](../src/lockgate/record/schemas/{name}.schema.json)",
                schema["title"],
                schema["description"],
            )
        )
    return "\n".join(
        [
            "# JSON Schemas\n",
            _MADE,
            "Everything that lockgate writes as JSON has a schema (draft 2020-12) in the package `lockgate.record.schemas`, and real output is\n"
            "validated against it by the tests. The schemas are closed, so that a test notices every new field; a reader should ignore fields that\n"
            "it does not know. A field that goes away or changes its meaning gets a new `schemaVersion`.\n",
            _table(("schema", "of", "what it holds"), rows),
        ]
    )


def hazards_page() -> str:
    """docs/hazards.md, from the records of the policy's rules."""
    rows = sorted(every_hazard().values(), key=lambda row: row.id)
    parts = [
        "# Hazards\n",
        _MADE,
        "What the policy looks for in a migration file, with the lock, the effect and the safe way. `lockgate explain ID` prints the same.\n"
        "The examples are run on PostgreSQL by the tests. [policy.md](policy.md) tells how files are judged and how to allow a finding.\n",
        _table(
            ("hazard", "severity", "what"),
            ((f"[`{row.id}`](#{row.id})", row.severity, _cell(row.name)) for row in rows),
        ),
    ]
    for row in rows:
        facts = [
            ("Looks for", row.detects),
            ("Lock", row.lock),
            ("Effect", row.effect),
            ("Instead", row.workaround),
            ("Severity", severity_of(row)),
            ("Source", row.source),
        ]
        lines = "".join(f"- {name}: {_safe(text)}\n" for name, text in facts if text)
        parts.append(f"## {row.id}\n\n{_safe(row.name)}.\n\n{lines}")
        for title, text in (("Before", row.setup), ("Bad", row.bad), ("Good", row.good)):
            if text:
                parts.append(f"{title}:\n\n```sql\n{text.rstrip()}\n```\n")
    return "\n".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _safe(text: str) -> str:
    """``text`` with every ``<`` outside of code shown as it is, not read as HTML."""
    return "".join(
        part if part.startswith("`") else part.replace("<", "&lt;") for part in re.split(r"(`[^`]*`)", text)
    )


def _table(head: tuple[str, ...], rows: Any) -> str:
    lines = [" | ".join(head), " | ".join("---" for _ in head), *(_safe(" | ".join(row)) for row in rows)]
    return "".join(f"| {line} |\n" for line in lines)


PAGES = {
    "reasons.md": reasons_page,
    "commands.md": commands_page,
    "configuration.md": configuration_page,
    "hazards.md": hazards_page,
    "schemas.md": schemas_page,
}
"""The generated pages of docs/."""


def stale() -> str:
    """A diff of every page that is not what the code says; "" when all are fresh."""
    diffs = []
    for name, make in PAGES.items():
        path = DOCS / name
        there = path.read_text("utf-8") if path.is_file() else ""
        diffs += difflib.unified_diff(
            there.splitlines(keepends=True),
            make().splitlines(keepends=True),
            f"docs/{name}",
            "what the code says",
        )
    return "".join(diffs)


def main() -> int:
    """Write or check the pages; the exit code."""
    if sys.argv[1:] == ["--check"]:
        diff = stale()
        if diff:
            sys.stdout.write(diff + "\nStale pages: run `make docs`.\n")
        return 1 if diff else 0
    for name, make in PAGES.items():
        (DOCS / name).write_text(make(), "utf-8")
        print(f"docs/{name}")
    return 0


if __name__ == "__main__":
    assert {name.partition(".")[0] for name in SECTIONS} <= {f.name for f in msgspec.structs.fields(Settings)}
    raise SystemExit(main())
