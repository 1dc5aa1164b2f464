"""Secrets and read-only mode: what people change, and what never shows."""

import json
import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.contracts import ask, write_contract
from lockgate.errors import ConfigError
from lockgate.gate.secrets_revision import Secret, parse, read, revision_of
from support.processes import lives, until

CANARY = "c4n4ry-s3cret"


def test_the_revision_tells_sets_apart():
    """Same set and salt: same revision, whatever the order; another value, name or salt: another one."""
    first = revision_of({"a": "1", "b": "2"}, "live")
    assert first == revision_of({"b": "2", "a": "1"}, "live")
    assert (
        len(
            {
                first,
                revision_of({"a": "1", "b": "3"}, "live"),
                revision_of({"a": "12"}, "live"),
                revision_of({"a": "1", "b": "2"}, "test"),
            }
        )
        == 4
    )


@settings(max_examples=20, deadline=None)
@given(
    st.dictionaries(st.text(min_size=1, max_size=4), st.text(min_size=3, max_size=8), min_size=2, max_size=3)
)
def test_no_concatenation_collides(values):
    """Moving a character from one secret to its neighbour changes the revision: fields cannot run into each other."""
    names = sorted(values)
    moved = dict(values)
    moved[names[0]], moved[names[1]] = values[names[0]] + values[names[1]][0], values[names[1]][1:]
    assert revision_of(values, "s") != revision_of(moved, "s")


def test_sources(tmp_path):
    """A variable, a file and a command are read; a trailing newline is no part of a secret."""
    path = tmp_path / "secret"
    path.write_text("from file\n")
    found = read(
        (parse("a=env:A"), parse(f"b=file:{path}"), parse("c=command:echo from command")),
        {"A": "x y", "PATH": "/usr/bin:/bin"},
    )
    assert found == {"a": "x y", "b": "from file", "c": "from command"}


@pytest.mark.parametrize("value", ["{{ db.password }}", "${DB_PASSWORD}", "x }} y", "", "\n"])
def test_unresolved_marks_and_nothing(value):
    """An unresolved template mark and an empty value are refused, and the value is not shown."""
    with pytest.raises(ConfigError) as caught:
        read((Secret("db", "env", "A"),), {"A": value and f"{CANARY}{value}" if value.strip() else value})
    assert caught.value.code == "SECRETS"
    assert CANARY not in str(caught.value)


def test_what_cannot_be_read(tmp_path):
    """A variable that is not set, a file that is not there, not text, or never answers, a command that fails or hangs: named, bounded."""
    import os

    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    os.mkfifo(tmp_path / "fifo")
    for text in (
        "a=env:NOWHERE",
        f"a=file:{tmp_path}/none",
        f"a=file:{tmp_path}/binary",
        f"a=file:{tmp_path}/fifo",
        "a=command:false",
        "a=command:sleep 60",
        "a=command:no-such-program",
        "a=command:'",
    ):
        with pytest.raises(ConfigError) as caught:
            read((parse(text, timeout=0.3),), {"PATH": "/usr/bin:/bin"})
        assert "secret a" in caught.value.message
    for text in ("a", "=env:A", "a=vault:x", "a=env:"):
        with pytest.raises(ConfigError):
            parse(text)
    with pytest.raises(ConfigError):
        read((parse("a=env:A"), parse("a=env:A")), {"A": "1"})
    writer = os.open(tmp_path / "fifo", os.O_WRONLY)  # lets the thread that waits for it end
    os.close(writer)


def test_a_late_command_is_ended_with_what_it_started(tmp_path):
    """A script that asks a vault and hangs leaves nothing behind, neither itself nor the client that it started."""
    script = f"sleep 600 & echo $! > {tmp_path}/pid; wait"
    with pytest.raises(ConfigError, match="did not end within"):
        read((parse(f"a=command:sh -c {shlex.quote(script)}", timeout=5),), {"PATH": "/usr/bin:/bin"})
    text = (tmp_path / "pid").read_text().strip() if (tmp_path / "pid").exists() else ""
    assert text, "it hung after it had started its client"
    until(lambda: not lives(int(text)))


pg = pytest.mark.postgres("18")


@pg
def test_a_rotation(applied, database):
    """Accept the next, serve with both, retire the old; never a third, never none; secrets are in no output."""
    environ = {"DB": CANARY, "NEXT": CANARY + "2"}
    first = applied.ok(
        "gate-secrets", "gate", "secrets", "revision", "--secret", "db=env:DB", "--salt", "live", **environ
    )["revision"]
    second = applied.ok(
        "gate-secrets", "gate", "secrets", "revision", "--secret", "db=env:NEXT", "--salt", "live", **environ
    )["revision"]
    why = ("--reason", "rotation", "--actor", "me")
    applied.ok("gate-secrets", "gate", "secrets", "accept", first, *why)
    path = write_contract(applied.root)

    def gate(revision):
        return applied.run("gate", "--contract", path, LOCKGATE_SECRETS_REVISION=revision).code

    assert (gate(first), gate(second), gate("")) == (0, 1, 1)
    listed = applied.ok("gate-secrets", "gate", "secrets", "accept", second, *why)
    assert [one["current"] for one in listed["accepted"]] == [True, True]
    assert [one["epoch"] for one in listed["accepted"]] == [1, 2]
    assert (gate(first), gate(second)) == (0, 0)
    third = applied.json("gate", "secrets", "accept", "third", *why)
    assert third.error("SECRETS_ROTATION")["exitCode"] == 4
    assert "may not be a secret itself" in third.err
    refused = applied.json("gate", "--contract", path, LOCKGATE_SECRETS_REVISION="s" + "0" * 32).document(
        "gate"
    )
    (condition,) = [c for c in refused["conditions"] if c["id"] == "secrets:revision"]
    assert f"accept s{'0' * 32} --reason" in condition["next"]
    applied.ok("gate-secrets", "gate", "secrets", "retire", first, *why)
    assert (gate(first), gate(second)) == (1, 0)
    assert applied.json("gate", "secrets", "retire", second, *why).error("SECRETS_ROTATION")["exitCode"] == 4
    assert applied.json("gate", "secrets", "retire", first, *why).code == 4
    assert applied.json("gate", "secrets", "accept", first, *why, LOCKGATE_ROLE="app").code == 4
    assert (
        "short form" in applied.json("gate", "secrets", "accept", first[:16], *why).error("USAGE")["message"]
    )
    again = applied.ok("gate-secrets", "gate", "secrets", "accept", first, *why)["accepted"][0]
    assert (again["revision"], again["current"], again["epoch"]) == (first, True, 1)
    assert "(before: accepted 20" in again["reason"]
    assert "retired by me: rotation)" in again["reason"]
    everything = applied.run("gate", "secrets", "list").out + json.dumps(listed)
    assert CANARY not in everything
    assert CANARY not in str(ask(database, "SELECT * FROM lockgate.accepted_secrets"))


@pg
def test_read_only_mode(applied):
    """on needs a reason, status tells it, off ends it; an application may not switch it; before the first up it is refused."""
    assert applied.json("readonly", "on").code == 2
    on = applied.ok(
        "readonly", "readonly", "on", "--reason", "cutover", "--actor", "me", "--retry-after", "7"
    )
    assert (on["on"], on["reason"], on["retryAfterSeconds"]) == (True, "cutover", 7)
    assert applied.ok("readonly", "readonly", "status") == on
    assert applied.json("readonly", "off", LOCKGATE_ROLE="app").code == 4
    assert applied.ok("readonly", "readonly", "off")["on"] is False


@pg
def test_without_the_tables(project):
    """A database that lockgate was never run in: refused with the next command, nothing is made."""
    assert project.json("readonly", "on", "--reason", "x").error("HOME_OLDER")["next"] == "lockgate up"
