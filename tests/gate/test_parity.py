"""Parity over regions: pure comparison, the command on real databases, and its speed."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.contracts import ask
from lockgate.cli.parity import WORDS, Told, differences, shortener
from lockgate.gate.parity import _FIELDS, compare
from lockgate.postgres.parity import Sight
from support.calls import Answer, Project

SEEN = Sight("seen", revision="1", history_digest="h", schema_digest="s", basis="1/18")


def change(**fields):
    import msgspec

    return msgspec.structs.replace(SEEN, **fields)


def test_equal_and_not():
    """Equal regions are equal; the odd one is named with its fields; in a tie every one differs."""
    assert compare({"a": SEEN, "b": SEEN}).exit_code == 0
    odd = compare({"a": SEEN, "b": change(revision="2", schema_digest="t"), "c": SEEN})
    assert [r.answer for r in odd.regions.values()] == ["equal", "differs", "equal"]
    assert [(d.field, d.common) for d in odd.differences] == [("revision", "1"), ("schemaDigest", "s")]
    assert odd.exit_code == 1
    tie = compare({"a": SEEN, "b": change(compat_floor="2")})
    assert [r.answer for r in tie.regions.values()] == ["differs", "differs"]


def test_two_names_of_one_database():
    """A region whose URL leads to the database of another is not equal: nobody looked at its own."""
    one, other = change(identity="1 5"), change(identity="1 6")
    found = compare({"a": one, "b": other, "c": one})
    assert [r.answer for r in found.regions.values()] == ["equal", "equal", "unknown"]
    assert "the database of a" in found.regions["c"].detail
    assert (found.equal, found.exit_code) == (False, 5)


def test_unreachable_and_unknown():
    """An unreachable region is never equal: 69 alone, 1 beside a difference, 5 beside another doubt; no region at all is 5."""
    gone, doubt = Sight("unreachable", "refused"), Sight("doubt", "no grant")
    for sights, code in (
        ({"a": SEEN, "b": gone}, 69),
        ({"a": gone, "b": gone}, 69),
        ({"a": SEEN, "b": SEEN, "c": change(revision="2"), "d": gone}, 1),
        ({"a": SEEN, "b": doubt}, 5),
        ({"a": gone, "b": doubt}, 5),
        ({}, 5),
    ):
        found = compare(sights)
        assert (found.equal, found.exit_code) == (False, code), sights


def test_schemas_of_different_server_versions():
    """Digests of different major versions cannot be compared: unknown, not different; other fields still are."""
    other = change(schema_digest="t", basis="1/16")
    assert compare({"a": SEEN, "b": other}).exit_code == 5
    assert (
        compare({"a": SEEN, "b": SEEN, "c": change(schema_digest="t", basis="1/16", revision="2")}).exit_code
        == 1
    )


def test_the_text_says_what_most_have_and_what_comes_next():
    """Each difference is told in words, with every value, who has it and which is common, and a command for the odd region."""
    seen = {"a": SEEN, "b": change(schema_digest="", index_counts={"docs": "3"}), "c": SEEN}
    assert told(seen)[0] == Told(
        (
            "the live schema differs",
            "    s  a, c  (most)",
            "    none  b",
            '  next:  DATABASE_URL="$B" lockgate verify  # b: names the objects that are not as recorded',
        ),
        ('DATABASE_URL="$B" lockgate verify',),
    )
    assert WORDS.keys() == _FIELDS.keys()
    other = change(schema_digest="t", basis="1/16")
    assert told({"a": SEEN, "b": SEEN, "c": other}) == [Told()]


def test_secrets_are_accepted_where_they_are_not():
    """A region that was rotated is not asked again: those that lack its revision get the command that accepts it there."""
    seen = {"a": change(secrets=("old", "new")), "b": change(secrets=("old",)), "c": change(secrets=("old",))}
    (one,) = told(seen)
    assert one.lines[0] == "the set of accepted secrets differs"
    assert one.commands == (
        "DATABASE_URL=\"$B\" lockgate gate secrets accept new --reason 'as in a'",
        "DATABASE_URL=\"$C\" lockgate gate secrets accept new --reason 'as in a'",
    )
    three = told({"a": change(secrets=("x", "y")), "b": change(secrets=("z",))})
    assert all("secrets list" in call for call in three[0].commands), "a third one would be refused"


def test_of_two_regions_none_is_most():
    """Two regions with a digest and none: no value is said to be what most have, and both get their command."""
    (one,) = told({"a": change(schema_digest=""), "b": SEEN})
    assert not any("most" in line for line in one.lines)
    assert one.commands == ('DATABASE_URL="$A" lockgate verify', 'DATABASE_URL="$B" lockgate verify')


def test_digests_are_cut_where_they_can_still_be_told_apart():
    """Digests that agree in their first signs are shown with as many as differ, in every place; of indexes only unequal ones."""
    near = ["ab" * 10 + end * 44 for end in "cd"]
    sides = [change(index_hashes={"docs": digest, "same": "ef" * 32}) for digest in near]
    (one,) = told({"a": sides[0], "b": sides[1], "c": sides[1]})
    assert one.lines[1:3] == (f"    docs {'ab' * 10}c  a", f"    docs {'ab' * 10}d  b, c  (most)")
    assert shortener(["ab" * 32], 8)("invalid " + "ab" * 32) == "invalid abababab"
    assert shortener(["2" * 12], 8)("2" * 12) == "2" * 12, "a revision is no digest"


def test_what_is_typed_for_many_regions():
    """An environment has one command that mends all; else the first three odd regions get theirs, the others are named once."""
    sights = dict.fromkeys("abcdef", SEEN) | {name: change(revision="2") for name in "vwxyz"}
    assert told(sights, "live now")[0].commands == ("lockgate up --env 'live now' --all-regions",)
    (one,) = told(sights)
    assert one.commands == tuple(f'DATABASE_URL="${name}" lockgate status' for name in "VWX")
    assert one.lines[-1] == "         and so for y, z"


def told(sights, environment=""):
    calls = {name: lambda command, name=name: f'DATABASE_URL="${name.upper()}" {command}' for name in sights}
    return differences(compare(sights), calls, environment)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["seen", "unreachable", "doubt"]),
            st.sampled_from("12"),
            st.sampled_from(["x", "y"]),
        ),
        max_size=6,
    )
)
def test_equal_means_all_seen_and_all_the_same(rows):
    """Whatever the regions show: equal exactly when there is one, all were read, and all show the same."""
    found = compare(
        {str(i): Sight(k, revision=r, schema_digest=d, basis="1/18") for i, (k, r, d) in enumerate(rows)}
    )
    assert found.equal == (
        bool(rows) and all(k == "seen" for k, _, _ in rows) and len({(r, d) for _, r, d in rows}) == 1
    )
    assert (found.exit_code == 0) == found.equal


@pytest.fixture
def regions(tmp_path, databases):
    """A project with two migrated regions, eu and us, and their variables."""
    project = Project(tmp_path)
    project.write("a", "CREATE TABLE a (id bigint PRIMARY KEY, x text);\n")
    project.configure('[env.live]\nurl_env = "EU"\n[env.live.regions]\neu = "EU"\nus = "US"\n')
    project.environ = {"EU": databases(), "US": databases()}
    for variable in ("EU", "US"):
        assert project.run("up", DATABASE_URL=project.environ[variable]).code == 0
    return project


@pytest.fixture
def bash(tmp_path):
    """``bash(line, environ)`` runs the line in the project's folder as a person would paste it."""

    def run(line, environ):
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(["bash", "-c", line], cwd=tmp_path, env={**os.environ, **environ, "PATH": path}, capture_output=True, text=True, check=False)  # fmt: skip
        return Answer(done.returncode, done.stdout, done.stderr)

    return run


@pytest.mark.parametrize(
    ("specs", "contents", "counts", "fields"),
    [
        ({"i": "s2"}, {"i": "c"}, {"i": "9"}, ["indexSpecs"]),
        ({"i": "s"}, {"i": "c2"}, {"i": "9"}, ["indexContents"]),
        ({"i": "s"}, {"i": "c2"}, {"i": "8"}, ["indexContents", "indexCounts"]),
        (None, None, None, []),
    ],
)
def test_what_differs_of_an_index_is_told(specs, contents, counts, fields):
    """Specification, content and count are compared each for itself; where a role may not read them, the hash alone speaks."""
    one = SEEN.__class__(
        "seen",
        basis="1/18",
        index_hashes={"i": "h"},
        index_specs={"i": "s"},
        index_contents={"i": "c"},
        index_counts={"i": "9"},
    )
    other = SEEN.__class__(
        "seen",
        basis="1/18",
        index_hashes={"i": "h2"},
        index_specs=specs,
        index_contents=contents,
        index_counts=counts,
    )
    found = compare({"eu": one, "us": other})
    assert [d.field for d in found.differences] == ["indexHashes", *fields]
    assert not found.equal


@pytest.mark.postgres("18")
def test_the_command(regions):
    """Equal regions: 0. A column by hand, an index generation, a newer revision in one: 1, named. Unreachable: 69. JSON always."""
    assert regions.ok("parity", "parity", "--env", "live")["equal"]
    us = regions.environ["US"]
    ask(us, "ALTER TABLE a ADD COLUMN by_hand int")
    answer = regions.json("parity", "--env", "live")
    assert (answer.code, [d["field"] for d in answer.document("parity")["differences"]]) == (
        1,
        ["schemaDigest"],
    )
    ask(us, "ALTER TABLE a DROP COLUMN by_hand")
    ask(
        us,
        "INSERT INTO lockgate.live_index (name, generation, spec_hash, index_hash) VALUES ('docs', 'g', 's', 'h')",
    )
    answer = regions.json("parity", "--env", "live")
    found = [d["field"] for d in answer.document("parity")["differences"]]
    assert found[-4:] == ["indexHashes", "indexSpecs", "indexContents", "indexCounts"]
    gone = regions.json("parity", "--env", "live", US="postgresql://u@127.0.0.1:1/none")
    assert (gone.code, gone.document("parity")["regions"]["us"]["answer"]) == (69, "unreachable")
    assert not gone.document("parity")["equal"]
    assert (
        "us: unreachable" in regions.text("parity", "--env", "live", US="postgresql://u@127.0.0.1:1/none").out
    )


@pytest.mark.postgres("18")
def test_what_comes_next_can_be_pasted(regions, bash):
    """Each next command of a difference, pasted into a shell, speaks to the region that differs, with and without an environment."""
    us = regions.environ["US"]
    ask(us, "ALTER TABLE a ADD COLUMN by_hand int")
    odd = ("--region", "eu=EU", "--region", f"us={us}")
    for arguments in (("--env", "live"), odd):
        (difference,) = regions.json("parity", *arguments).document("parity")["differences"]
        answers = {call: bash(call, regions.environ) for call in difference["next"]}
        assert len(answers) == 2, "two regions: none of them is the odd one"
        assert sorted("by_hand" in answer.out for answer in answers.values()) == [False, True], answers
        found = regions.text("parity", *arguments).out
        assert all(f"next:  {call}  #" in found for call in answers), found
    ask(us, "ALTER TABLE a DROP COLUMN by_hand")
    regions.write("b", "CREATE TABLE b (id bigint PRIMARY KEY);\n")
    assert regions.run("up", DATABASE_URL=us).code == 0
    found = regions.json("parity", "--env", "live").document("parity")["differences"]
    calls = {call for difference in found if difference["field"] == "revision" for call in difference["next"]}
    assert calls == {"lockgate up --env live --all-regions"}
    assert bash(calls.pop(), regions.environ).code == 0
    assert regions.ok("parity", "parity", "--env", "live")["equal"]


@pytest.mark.postgres("18")
def test_an_invalid_index_is_a_difference(regions):
    """Two regions with the same index, one of them invalid, are not equal: validity is part of the digest."""
    for variable in ("EU", "US"):
        ask(regions.environ[variable], "CREATE INDEX a_x ON a (x)")
    ask(regions.environ["US"], "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'a_x'::regclass")
    assert regions.json("parity", "--env", "live").code == 1


@pytest.mark.postgres("18")
def test_wrong_calls(regions):
    """No environment, one without regions, a variable that is not set, both ways at once: exit 2, and no region is left out."""
    assert regions.ok("parity", "parity")["environment"] == "live", "the only one that has regions"
    assert regions.json("parity", "--env", "nowhere").code == 2
    assert (
        regions.json("parity", "--env", "live", US="")
        .error("CONFIG")["message"]
        .startswith("env.live.regions.us")
    )
    assert regions.json("parity", "--env", "live", "--region", "a=EU").code == 2
    assert regions.json("parity", "--region", "eu").code == 2
    assert regions.ok("parity", "parity", "--region", "a=EU", "--region", "b=US")["equal"]


@pytest.mark.postgres("18")
def test_regions_as_tables_and_alone(regions):
    """A region may be a table with url_env, and an environment may have regions only; other commands then say so."""
    regions.configure('[env.live.regions.eu]\nurl_env = "EU"\n[env.live.regions.us]\nurl_env = "US"\n')
    assert list(regions.ok("parity", "parity", "--env", "live")["regions"]) == ["eu", "us"]
    assert "no database of its own" in regions.json("status", "--env", "live").error("CONFIG")["message"]
    regions.configure("")
    assert regions.json("parity").code == 2
    regions.configure("[env.live]\nprotected = false\n")
    assert "env.live.url_env" in regions.json("status").error("CONFIG")["message"]
    regions.configure('[env.live]\nurl_env = "EU"\ncanary = "mars"\n')
    assert "canary" in regions.json("status").error("CONFIG")["message"]


@pytest.mark.postgres("18")
def test_fifty_regions(regions, databases):
    """Fifty regions are read and compared by one command; the odd one among them is named."""
    urls = {"R0": regions.environ["EU"]} | {f"R{n}": databases() for n in range(1, 50)}
    arguments = [word for name in urls for word in ("--region", f"{name.lower()}={name}")]
    begun = time.monotonic()
    answer = regions.json("parity", *arguments, **urls)
    elapsed = time.monotonic() - begun
    document = answer.document("parity")
    assert answer.code == 1
    assert [name for name, r in document["regions"].items() if r["answer"] == "differs"] == ["r0"], (
        "49 empty ones are alike"
    )
    assert elapsed < 60, "a hang, not a measure; the figure stands in docs/gate.md"
