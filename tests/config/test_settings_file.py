"""``lockgate.toml`` and the environment: right settings load, wrong ones are named and start nothing."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lockgate.config import Settings, load
from lockgate.errors import ConfigError
from lockgate.record.redact import redact


def read(folder: Path, text: str | bytes, **environ: str) -> Settings:
    """The settings of a file with this content."""
    path = folder / "lockgate.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load(path, environ)


def refusal(folder: Path, text: str | bytes, **environ: str) -> str:
    """The message with which this content is refused; it exits with 2."""
    with pytest.raises(ConfigError) as caught:
        read(folder, text, **environ)
    assert (caught.value.code, int(caught.value.exit)) == ("CONFIG", 2)
    return caught.value.message


def test_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Without a file everything has its default and paths start from the working directory."""
    monkeypatch.chdir(tmp_path)
    found = load(None, {})
    assert found == Settings(root=Path())
    assert found.path(found.migrations.directory) == Path("db/migrations")


def test_everything_can_be_said(tmp_path: Path):
    """A file with every table; relative paths start from the file's folder."""
    found = read(
        tmp_path,
        """
        [migrations]
        directory = "sql"
        lock_timeout = "1s"
        allow_functions = ["dblink"]
        [env.production]
        url_env = "PROD_URL"
        protected = true
        [embedded]
        version = 16
        [artifacts]
        directory = "out"
        """,
    )
    assert found.path(found.migrations.directory) == tmp_path / "sql"
    assert found.migrations.allow_functions == ("dblink",)
    assert (found.env["production"].url_env, found.env["production"].protected) == ("PROD_URL", True)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nonsense", "lockgate.toml"),
        (b"\xff\xfe", "lockgate.toml"),
        ("root = '/'", "unknown key `root`"),
        ("colour = 'red'", "colour"),
        ("[migrations]\nlock_timeoutt = '3s'", "lock_timeoutt"),
        ("[migrations]\nlock_retries = 'many'", "migrations.lock_retries"),
        ("[migrations]\nlock_retries = -1", "migrations.lock_retries"),
        ("[migrations]\nlock_timeout = 3", "migrations.lock_timeout"),
        ("[migrations]\nlock_timeout = 'soon'", "migrations.lock_timeout"),
        ("[migrations]\nlock_timeout = '-3s'", "migrations.lock_timeout"),
        ("[migrations]\nstatement_timeout = '25d'", "migrations.statement_timeout"),
        ("[migrations]\nrun_timeout = '0'", "migrations.run_timeout must be above 0"),
        ("[migrations]\nfile_timeout = '0.0001ms'", "migrations.file_timeout must be above 0"),
        ("[migrations]\nmax_file_bytes = 0", "migrations.max_file_bytes"),
        ("[migrations]\nmax_statements = 10000000", "migrations.max_statements"),
        ("[migrations]\ndirectory = ''", "migrations.directory"),
        ('[migrations]\ndirectory = "a\\u0000b"', "migrations.directory"),
        ("[artifacts]\ndirectory = ''", "artifacts.directory"),
        ("[embedded]\nversion = 12", "embedded.version is 16 or 18"),
        ("[env.prod]\nprotected = true", "url_env"),
        ("[env.prod]\nurl_env = 'X'\nprotected = 'yes'", "env"),
        ("[env.prod]\nurl = 'postgresql://u:s3cret@h/d'", "url"),
        ('[env."prod\'; DROP TABLE x"]\nurl_env = "X"', "a name is made of"),
        ('[env."prod\\n"]\nurl_env = "X"', "a name is made of"),
        ('[env."../x"]\nurl_env = "X"', "a name is made of"),
        ('[env.""]\nurl_env = "X"', "a name is made of"),
        ('[env.Prod]\nurl_env = "X"', "a name is made of"),
    ],
)
def test_refused(tmp_path: Path, text: str | bytes, says: str):
    """What is wrong is named by its key, and a secret in the file is not repeated."""
    message = refusal(tmp_path, text)
    assert says in message
    assert "s3cret" not in redact(message)


@pytest.mark.parametrize("value", ["", "0", "-1", "1.5", "1s", "abc", "99999999", "2147484", " ", "\u0663"])
def test_a_wrong_run_time(tmp_path: Path, value: str):
    """MIGRATION_TIMEOUT_SECONDS is a whole number of seconds that the server can count, or the run does not start."""
    assert "MIGRATION_TIMEOUT_SECONDS" in refusal(tmp_path, "", MIGRATION_TIMEOUT_SECONDS=value)


def test_the_environment_wins(tmp_path: Path):
    """The three variables override the file, and a wrong one is named."""
    found = read(
        tmp_path,
        "[migrations]\nrun_timeout = '9s'",
        MIGRATION_TIMEOUT_SECONDS="2147483",
        MIGRATION_LOCK_TIMEOUT="1s",
        MIGRATION_STATEMENT_TIMEOUT="2min",
    )
    m = found.migrations
    assert (m.run_timeout, m.lock_timeout, m.statement_timeout) == ("2147483s", "1s", "2min")
    for name in ("MIGRATION_LOCK_TIMEOUT", "MIGRATION_STATEMENT_TIMEOUT"):
        assert name in refusal(tmp_path, "", **{name: "soon"})


def test_a_named_file_has_to_be_there(tmp_path: Path):
    """--config with a path that is no file is an error, never the defaults."""
    for path in (tmp_path / "missing.toml", tmp_path):
        with pytest.raises(ConfigError, match="there is no such file"):
            load(path, {})


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=60), st.text(max_size=60).map(str.encode), st.lists(st.sampled_from(["[migrations]\n", "[env.a]\n", "url_env='X'\n", "lock_timeout=", "'3s'\n", "1\n", "[", "]", "=", "\n", "roles", ".app='x'\n"]), max_size=8).map("".join).map(str.encode)))  # fmt: skip
def test_any_file_loads_or_is_refused(tmp_path: Path, raw: bytes):
    """Arbitrary bytes give settings or a ConfigError that names the file."""
    try:
        assert isinstance(read(tmp_path, raw), Settings)
    except ConfigError as error:
        message = error.message
    else:
        message = "lockgate.toml"
    assert "lockgate.toml" in message
