"""``lockgate.toml`` → frozen settings. Every key has a default; an unknown key is an error, not a typo in waiting."""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from lockgate.config.bootstrap import BootstrapStep, bootstrap_problems
from lockgate.config.index import Index, index_problems
from lockgate.config.policy import Policy
from lockgate.config.policy import validate as validate_policy
from lockgate.config.release import (
    Approver,
    Backup,
    Environment,
    Job,
    Notify,
    Release,
    Smoke,
    Watch,
    Workers,
    problems,
)
from lockgate.errors import ConfigError

FILE_NAME = "lockgate.toml"
_DURATION = re.compile(r"\s*([0-9]{1,12}(?:\.[0-9]{1,12})?)\s*(ms|s|min|h|d)?\s*")
_UNITS = {"ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000, None: 1000}
_LONGEST = 2_147_483_647  # milliseconds; the server keeps a time limit in 32 bits
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


class Migrations(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[migrations]``: where the files are, and the limits of a run. Durations are texts such as ``3s``, ``15min``."""

    directory: str = "db/migrations"
    contract_directory: str = "db/contract"
    lock_timeout: str = "3s"
    lock_retries: int = 8
    statement_timeout: str = "15min"
    concurrent_timeout: str = "1h"
    file_timeout: str = "30min"
    run_timeout: str = "1h"
    max_lock_victims: int = 20
    max_file_bytes: int = 5_000_000
    max_statements: int = 20_000
    allow_functions: tuple[str, ...] = ()
    reconnect_seconds: int = 30


class Roles(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[roles]``: the names of the four roles of docs/roles.md."""

    owner: str = "app_owner"
    migrator: str = "app_migrator"
    app: str = "app"
    reader: str = "app_reader"
    schemas: tuple[str, ...] = ("public",)

    def with_schemas(self, more: Iterable[str]) -> str:
        """The setting, as ``lockgate.toml`` has it, that lists ``more`` schemas, too."""
        listed = dict.fromkeys((*self.schemas, *more))
        # A JSON string is a TOML string, too, but for DEL.
        quoted = (msgspec.json.encode(name).decode().replace("\x7f", "\\u007f") for name in listed)
        return f"[roles] schemas = [{', '.join(quoted)}]"


class EmbeddedServer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[embedded]``: the PostgreSQL from the wheel that is used when no URL is configured."""

    version: int = 18
    idle_seconds: int = 900


class Artifacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[artifacts]``: where a release leaves its evidence."""

    directory: str = ".artifacts"


RELEASE_PARTS = ("release", "job", "backup", "workers", "smoke", "watch", "notify")
"""The sections that an environment may say otherwise, as ``[env.NAME.smoke]`` and so on."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that ``lockgate.toml`` can say, with the folder that relative paths start from."""

    migrations: Migrations = Migrations()
    roles: Roles = Roles()
    embedded: EmbeddedServer = EmbeddedServer()
    env: Mapping[str, Environment] = {}
    artifacts: Artifacts = Artifacts()
    release: Release = Release()
    job: Job = Job()
    approvers: Mapping[str, Approver] = {}
    backup: Backup = Backup()
    workers: Workers = Workers()
    smoke: Smoke = Smoke()
    watch: Watch = Watch()
    notify: Notify = Notify()
    policy: Policy = Policy()
    bootstrap: Mapping[str, BootstrapStep] = {}
    index: Mapping[str, Index] = {}
    root: Path = Path()
    file: Path | None = None
    """The configuration file that was read; None where there is none."""

    def path(self, relative: str) -> Path:
        """A path of the configuration, read from the project's root."""
        return self.root / relative

    def of(self, environment: str) -> "Settings":
        """These settings with the parts that ``[env.NAME]`` says otherwise; a name that is not configured changes nothing."""
        one = self.env.get(environment)
        if one is None:
            return self
        own = {key: value for key in RELEASE_PARTS if (value := getattr(one, key)) is not None}
        return msgspec.structs.replace(self, **own) if own else self


def load(path: Path | None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings.

    ``path`` is that of ``--config``; without one, ``lockgate.toml`` in the working directory is read where it
    exists. ``MIGRATION_TIMEOUT_SECONDS`` overrides ``migrations.run_timeout``, ``MIGRATION_LOCK_TIMEOUT`` and
    ``MIGRATION_STATEMENT_TIMEOUT`` their settings. Raises ``ConfigError`` that names the key.
    """
    environ = os.environ if environ is None else environ
    if path is not None and not path.is_file():
        raise ConfigError(f"{path}: there is no such file")
    file = path or Path(FILE_NAME)
    data: dict[str, object] = {}
    if file.is_file():
        import tomllib

        try:
            data = tomllib.loads(file.read_text("utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{file}: {error}") from None
        except OSError as error:
            raise ConfigError(f"{file}: {error.strerror}") from None
    for own in ("root", "file"):
        if own in data:
            raise ConfigError(f"{file}: unknown key `{own}`")
    try:
        settings = msgspec.convert(data, Settings)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{file}: {error}") from None
    settings = msgspec.structs.replace(
        settings,
        root=file.parent,
        file=file if file.is_file() else None,
        migrations=_from_environment(settings.migrations, environ),
    )
    _validate(settings, str(file))
    return settings


def _milliseconds(text: str) -> int | None:
    """The time limit ``text`` in milliseconds; None when it is none, or longer than the server can count."""
    match = _DURATION.fullmatch(text)
    value = round(float(match[1]) * _UNITS[match[2]]) if match else _LONGEST + 1
    return value if value <= _LONGEST else None


def _from_environment(migrations: Migrations, environ: Mapping[str, str]) -> Migrations:
    changes: dict[str, str] = {}
    seconds = environ.get("MIGRATION_TIMEOUT_SECONDS")
    if seconds is not None:
        number = seconds.strip()
        if not re.fullmatch(r"[1-9][0-9]{0,6}", number) or int(number) * 1000 > _LONGEST:
            raise ConfigError(
                f"MIGRATION_TIMEOUT_SECONDS={seconds!r} is not a whole number of seconds from 1 to {_LONGEST // 1000}"
            )
        changes["run_timeout"] = f"{seconds.strip()}s"
    for variable, key in (
        ("MIGRATION_LOCK_TIMEOUT", "lock_timeout"),
        ("MIGRATION_STATEMENT_TIMEOUT", "statement_timeout"),
    ):
        value = environ.get(variable)
        if value is not None:
            if _milliseconds(value) is None:
                raise ConfigError(f"{variable}={value!r} is not a time limit such as 3s or 15min")
            changes[key] = value
    return msgspec.structs.replace(migrations, **changes) if changes else migrations


def _validate(settings: Settings, file: str) -> None:
    m = settings.migrations
    for key in ("lock_timeout", "statement_timeout", "concurrent_timeout", "file_timeout", "run_timeout"):
        value = getattr(m, key)
        if _milliseconds(value) is None:
            raise ConfigError(f"{file}: migrations.{key} = {value!r} is not a time limit such as 3s or 15min")
    for key in ("file_timeout", "run_timeout"):
        if not _milliseconds(getattr(m, key)):
            raise ConfigError(f"{file}: migrations.{key} must be above 0")
    for key, low, high in (
        ("lock_retries", 0, 1000),
        ("max_lock_victims", 1, 10_000),
        ("max_file_bytes", 1, 1 << 30),
        ("max_statements", 1, 1_000_000),
        ("reconnect_seconds", 0, 3600),
    ):
        if not low <= getattr(m, key) <= high:
            raise ConfigError(f"{file}: migrations.{key} must be between {low} and {high}")
    for name, directory in (
        ("migrations.directory", m.directory),
        ("migrations.contract_directory", m.contract_directory),
        ("artifacts.directory", settings.artifacts.directory),
    ):
        if not directory or "\0" in directory:
            raise ConfigError(f"{file}: {name} is empty or holds a NUL byte")
    for name in settings.env:
        if not _NAME.fullmatch(name):
            raise ConfigError(f"{file}: env.{name!s:.80}: a name is made of a-z, 0-9, - and _")
    if settings.embedded.version not in (16, 18):
        raise ConfigError(f"{file}: embedded.version is 16 or 18")
    validate_policy(settings.policy, file)
    found = problems({key: getattr(settings, key) for key in RELEASE_PARTS}, "", _is_duration)
    found += bootstrap_problems(settings.bootstrap)
    found += index_problems(settings.index, _is_duration)
    found += [
        f"bootstrap.{n}.deadline = {s.deadline!r} is not a time limit such as 10min"
        for n, s in settings.bootstrap.items()
        if not _milliseconds(s.deadline)
    ]
    for name, one in settings.env.items():
        found += problems({key: getattr(one, key) for key in RELEASE_PARTS}, f"env.{name}.", _is_duration)
        if not one.url_env and not one.regions:
            found.append(f"env.{name}.url_env is missing")
        if one.canary and one.canary not in one.regions:
            found.append(f"env.{name}.canary = {one.canary!r:.80} is none of its regions")
        if one.window_impact not in ("low", "medium", "high"):
            found.append(f"env.{name}.window_impact is 'low', 'medium' or 'high'")
        if not _is_duration(one.approvals.max_age):
            found.append(
                f"env.{name}.approvals.max_age = {one.approvals.max_age!r} is not a time limit such as 24h"
            )
        if one.approvals.count < 0 or one.approvals.high_impact_count < 0:
            found.append(f"env.{name}.approvals.count is 0 or more")
        if one.same_plan_on and one.same_plan_on not in settings.env:
            found.append(f"env.{name}.same_plan_on = {one.same_plan_on!r} is no environment of this file")
    if found:
        raise ConfigError(f"{file}: {found[0]}" + "".join(f"\n  {more}" for more in found[1:20]))


def _is_duration(text: str) -> bool:
    return _milliseconds(text) is not None


def seconds(text: str) -> float:
    """A validated time limit of the configuration in seconds; "" is 0."""
    return (_milliseconds(text) or 0) / 1000 if text else 0.0
