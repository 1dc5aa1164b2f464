"""Which database a URL means, whether it is near or far, and that its secrets stay inside."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockgate.errors import ConfigError
from lockgate.postgres.target import Target


def target(url: str) -> Target:
    """The target of ``url``."""
    return Target(url, source="DATABASE_URL")


@pytest.mark.parametrize(
    ("url", "near"),
    [
        ("postgresql://u@localhost/d", True),
        ("postgresql://u@127.0.0.1:6000/d", True),
        ("postgresql://u@[::1]/d", True),
        ("postgresql://u@%2Ftmp/d", True),
        ("host=/tmp dbname=d", True),
        ("host=@abstract dbname=d", True),
        ("dbname=d", True),
        ("host=localhost,/tmp dbname=d", True),
        ("postgresql://u@db.example.org/d", False),
        ("postgresql://u@127.0.0.1.example.org/d", False),
        ("host=localhost,db.example.org dbname=d", False),
        ("host=/tmp,db.example.org dbname=d", False),
        ("host=localhost hostaddr=203.0.113.7 dbname=d", False),
        ("hostaddr=203.0.113.7 dbname=d", False),
        ("service=production", False),
    ],
)
def test_near_and_far(url: str, near: bool):
    """Near is only what cannot leave this machine: every one of several hosts, and the address before the name."""
    assert target(url).local == near


@pytest.mark.parametrize("variable", ["PGHOST", "PGHOSTADDR", "PGSERVICE"])
def test_what_the_url_leaves_out(monkeypatch: pytest.MonkeyPatch, variable: str):
    """A URL without a host is as far as the environment that libpq fills it from."""
    assert target("postgresql:///d").local
    monkeypatch.setenv(variable, "203.0.113.7")
    assert not target("postgresql:///d").local


@pytest.mark.parametrize(
    "url",
    [
        "",
        "  ",
        "mysql://u:s3cret@h/d",
        "postgresql://u:%zz-s3cret@h/d",
        "password=s3cret nonsense",
        "s3cret",
        "postgresql://u:s3cret@h/d?colour=red",
        "http://u:s3cret@h",
    ],
)
def test_what_is_no_url(url: str):
    """Text that names no database is refused by its source, without repeating it; an empty one never falls back."""
    with pytest.raises(ConfigError) as caught:
        target(url)
    assert int(caught.value.exit) == 2
    assert "DATABASE_URL" in caught.value.message
    assert "s3cret" not in caught.value.message + caught.value.next


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=40))
def test_any_text(text: str):
    """Arbitrary text gives a target or a ConfigError."""
    try:
        assert str(target(text))
    except ConfigError as error:
        code = error.code
    else:
        code = "CONFIG"
    assert code == "CONFIG"


def test_sslmode_is_that_of_the_url(monkeypatch: pytest.MonkeyPatch):
    """Silence about TLS is `prefer`, which can be downgraded; what the environment says does not make the URL safe."""
    assert target("postgresql://u@h/d").sslmode == "prefer"
    assert target("postgresql://u@h/d?sslmode=verify-full").sslmode == "verify-full"
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    assert target("postgresql://u@h/d").sslmode == "prefer"
