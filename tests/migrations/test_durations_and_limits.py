"""Time limits: one text, one number of milliseconds, and types that cannot be swapped."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockgate import config
from lockgate.config import Migrations
from lockgate.errors import ConfigError
from lockgate.migrations.limits import Limits
from lockgate.postgres.durations import FileTimeout, Limit, LockTimeout, RunTimeout, StatementTimeout
from lockgate.postgres.settings import in_milliseconds

MANY = settings(deadline=None, max_examples=200)
LARGEST = 2_147_483_647
UNITS = {"ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000, "": 1000}


@MANY
@given(st.integers(0, 100_000), st.sampled_from(sorted(UNITS)), st.sampled_from(["", " "]))
def test_texts_are_read(number: int, unit: str, blank: str):
    """A number and a unit give their milliseconds; beyond what the server can count they are refused."""
    wanted = number * UNITS[unit]
    if wanted > LARGEST:
        with pytest.raises(ValueError, match="between 0 and"):
            Limit.parse(f"{number}{blank}{unit}")
        return
    limit = LockTimeout.parse(f"{number}{blank}{unit}")
    assert limit.milliseconds == wanted
    assert limit.seconds == wanted / 1000


@MANY
@given(st.integers(0, LARGEST))
def test_limits_round_trip(milliseconds: int):
    """What is printed is read back as the same limit, and what is sent is what the server shows, in any unit."""
    limit = StatementTimeout(milliseconds)
    assert StatementTimeout.parse(str(limit)) == limit
    assert in_milliseconds(limit.setting()) == milliseconds
    assert in_milliseconds(str(limit)) == milliseconds


@MANY
@given(st.text(max_size=12))
def test_any_text_is_a_limit_or_refused(text: str):
    """Nothing but a number with a unit is a limit; configuration and runner agree on which texts are."""
    try:
        limit = Limit.parse(text)
    except ValueError:
        limit = None
    assert (limit is not None) == (config._milliseconds(text) is not None)
    if limit is not None:
        assert limit.milliseconds == config._milliseconds(text)


def test_limits_of_two_kinds_differ():
    """A lock time-out is never equal to a statement time-out of the same length."""
    kinds = (Limit, LockTimeout, StatementTimeout, FileTimeout, RunTimeout)
    assert len({kind(5) for kind in kinds}) == len(kinds)
    assert all(a(5) != b(5) for a in kinds for b in kinds if a is not b)


@MANY
@given(st.fixed_dictionaries({key: st.text(max_size=6) | st.sampled_from(["3s", "0", "1h", "25d", "99999999999d", "0.0001ms", "\u0663s"]) for key in ("lock_timeout", "statement_timeout", "concurrent_timeout", "file_timeout", "run_timeout")}))  # fmt: skip
def test_settings_that_load_can_run(values: dict[str, str]):
    """Configuration that is accepted always makes limits: no run ends in a bug because of a number in a file."""
    settings_ = config.Settings(migrations=Migrations(**values))
    try:
        config._validate(settings_, "lockgate.toml")
    except ConfigError as error:
        refused = error.message
    else:
        refused = ""
        limits = Limits.of(settings_.migrations)
        assert limits.run_timeout.milliseconds > 0
        assert limits.file_timeout.milliseconds > 0
    assert not refused or "migrations." in refused
