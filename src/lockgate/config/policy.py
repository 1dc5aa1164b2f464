"""What ``lockgate.toml`` may say about the policy: the profile, what it takes for granted, and the house's own rules."""

import re

import msgspec

from lockgate.errors import ConfigError

PROFILES = ("default", "early-stage")
"""What ``policy.profile`` may be."""
_SIZES = ("small_rows", "big_rows", "big_bytes", "row_limit")
_LISTS = ("forbidden_statements", "forbidden_types", "required_columns")


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[policy]``: what the policy takes for granted, and where it is stricter or milder than by default."""

    profile: str = "default"
    server_version: int = 16
    judge_after: str = ""
    small_rows: int = 1000
    big_rows: int = 1_000_000
    big_bytes: int = 1 << 30
    row_limit: int = 100_000
    forbidden_statements: tuple[str, ...] = ("ALTER SYSTEM",)
    forbidden_types: tuple[str, ...] = ("char", "name", "oid", "xid", "cid", "tid")
    required_columns: tuple[str, ...] = ()


def validate(policy: Policy, file: str) -> None:
    """Raise ``ConfigError`` that names the key of ``file`` whose value makes no sense."""
    if policy.profile not in PROFILES:
        raise ConfigError(f"{file}: policy.profile = {policy.profile!r:.80} is none of {', '.join(PROFILES)}")
    if not 14 <= policy.server_version <= 18:
        raise ConfigError(f"{file}: policy.server_version must be a major version from 14 to 18")
    if policy.judge_after and not re.fullmatch(r"[0-9]{13}", policy.judge_after):
        raise ConfigError(
            f"{file}: policy.judge_after = {policy.judge_after!r:.80} is not the 13 digits of a revision"
        )
    for key in _SIZES:
        if not 0 <= getattr(policy, key) <= 1 << 62:
            raise ConfigError(f"{file}: policy.{key} must be 0 or more")
    if policy.small_rows > policy.big_rows:
        raise ConfigError(f"{file}: policy.small_rows is above policy.big_rows")
    for key in _LISTS:
        for item in getattr(policy, key):
            if not item.strip() or "\0" in item or len(item) > 200:
                raise ConfigError(f"{file}: policy.{key} holds an empty, a NUL or an overlong entry")
