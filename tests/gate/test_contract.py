"""Contracts: from a file, from Python, from the environment, and every wrong one named."""

import json
import subprocess
import sys

import pytest

from gate.contracts import R
from lockgate.errors import ConfigError
from lockgate.gate import Contract, Probe

GOOD = {
    "schemaVersion": "1",
    "release_id": "r1",
    "git_sha": "abc",
    "schema": {"min": R[1], "max": R[3]},
    "indexes": {"docs": {"spec_hash": "s"}},
    "moves": {"m": "finished"},
}


def test_three_ways_give_one_contract(tmp_path):
    """The same contract from a file, from Python, from a path or JSON in the environment, and from single variables."""
    path = tmp_path / "c.json"
    path.write_text(json.dumps(GOOD))
    first = Contract.from_file(path)
    second = Contract(
        min=R[1],
        max=R[3],
        release_id="r1",
        git_sha="abc",
        indexes={"docs": {"spec_hash": "s"}},
        moves={"m": "finished"},
    )
    third = Contract.from_environment({"LOCKGATE_CONTRACT": str(path)})
    fourth = Contract.from_environment({"LOCKGATE_CONTRACT": json.dumps(GOOD)})
    assert first.document() == second.document() == third.document() == fourth.document()
    small = Contract.from_environment(
        {
            "LOCKGATE_SCHEMA_MIN": R[1],
            "LOCKGATE_SCHEMA_MAX": R[3],
            "LOCKGATE_RELEASE_ID": "r9",
            "LOCKGATE_SERVICE": "shop",
        }
    )
    assert (small.min, small.max, small.release_id, small.service) == (R[1], R[3], "r9", "shop")


def test_a_document_comes_back_as_it_was():
    """What a heartbeat carries is a contract that reads back equal."""
    again = Contract.from_document(Contract.from_document(GOOD).document())
    assert again.document() == Contract.from_document(GOOD).document()


def test_unknown_keys_warn():
    """Keys of a newer version are a warning each and nothing else."""
    contract = Contract.from_document({**GOOD, "later": 1, "schema": {**GOOD["schema"], "beyond": 2}})
    assert len(contract.warnings) == 2
    assert "later" in contract.warnings[0]
    assert "schema.beyond" in contract.warnings[1]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"schemaVersion": "2"}, "schemaVersion"),
        ({"schemaVersion": 1}, "schemaVersion"),
        ({"schema": None}, "schema"),
        ({"schema": {"min": R[1]}}, "schema.max"),
        ({"schema": {"min": R[3], "max": R[1]}}, "schema.min"),
        ({"schema": {"min": "1", "max": R[1]}}, "schema.min"),
        ({"schema": {"min": 1700000000001, "max": R[1]}}, "schema.min"),
        ({"schema": {"min": R[1], "max": "١٢٣٤٥٦٧٨٩٠١٢٣"}}, "schema.max"),
        ({"schema": {"min": R[1], "max": R[3], "digest": "xyz"}}, "schema.digest"),
        ({"schema": {"min": R[1], "max": R[3], "digests": {R[2]: "xyz"}}}, f"schema.digests.{R[2]}"),
        ({"schema": {"min": R[1], "max": R[3], "digests": {"r2": "a" * 64}}}, "schema.digests"),
        ({"schema": {"min": R[1], "max": R[3], "digests": [R[2]]}}, "schema.digests"),
        ({"indexes": []}, "indexes"),
        ({"indexes": {"docs": {}}}, "indexes.docs"),
        ({"indexes": {"docs": "s"}}, "indexes.docs"),
        ({"moves": {"m": 1}}, "moves"),
        ({"release_id": 7}, "release_id"),
        ({"queries": ["a"]}, "queries"),
        ({"probes": {}}, "probes"),
        ({"probes": [{"name": "a"}]}, "probes[0].kind"),
        ({"probes": [{"name": "a", "kind": "smoke"}]}, "smoke"),
        ({"probes": [{"name": "a", "kind": "tcp", "address": "nowhere"}]}, "address"),
        ({"probes": [{"name": "a", "kind": "tcp", "address": "h:1", "timeout": 0}]}, "timeout"),
        ({"probes": [{"name": "a", "kind": "tcp", "address": "h:1", "timeout": "2"}]}, "timeout"),
        ({"probes": [{"name": "a", "kind": "tcp", "address": "h:1", "always": 1}]}, "always"),
        ({"probes": [{"name": "a", "kind": "http", "url": "http://h", "statsu": 200}]}, "statsu"),
        ({"probes": [{"name": "a", "kind": "command", "command": "true"}]}, "command"),
        ({"probes": [{"name": "a", "kind": "sql"}]}, "sql"),
        ({"probes": [{"name": "a", "kind": "tcp", "address": "h:1"}] * 2}, "share a name"),
    ],
)
def test_a_wrong_contract_names_its_field(change, named):
    """Every wrong field is named, with a next step, and nothing else is raised."""
    with pytest.raises(ConfigError) as caught:
        Contract.from_document({**GOOD, **change}, source="c.json")
    assert caught.value.code == "CONTRACT"
    assert named in caught.value.message
    assert caught.value.next


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "\ufeff{}", "[" * 100_000])
def test_a_file_that_is_no_contract(tmp_path, text):
    """A file that is empty, no JSON, no object, or nested without end is a wrong contract."""
    path = tmp_path / "c.json"
    path.write_text(text)
    with pytest.raises(ConfigError):
        Contract.from_file(path)
    with pytest.raises(ConfigError):
        Contract.from_file(tmp_path / "missing.json")
    with pytest.raises(ConfigError):
        Contract.from_file(tmp_path)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"LOCKGATE_SCHEMA_MIN": R[1]},
        {"LOCKGATE_SCHEMA_MIN": "", "LOCKGATE_SCHEMA_MAX": R[1]},
        {"LOCKGATE_CONTRACT": "{"},
    ],
)
def test_an_environment_without_a_contract(environ):
    """No contract, half a window, an empty variable, broken JSON: refused, never a default."""
    with pytest.raises(ConfigError):
        Contract.from_environment(environ)


def test_python_probes():
    """A probe in Python takes a callable; a call that is none is refused."""
    assert Probe.python("x", lambda: True).kind == "python"
    with pytest.raises(ConfigError):
        Probe("x", "python", call=7)


def test_the_face_is_light():
    """Importing lockgate.gate loads no third-party module, nothing of typing, dataclasses, enum, json or re; naming check does."""
    code = (
        "import sys; before = set(sys.modules); import lockgate.gate as g; g.Contract(min='1'*13, max='2'*13, probes=[g.Probe('p','tcp',address='h:1')])\n"
        "print(sorted(set(sys.modules) - before)); g.check; g.GateASGI; print('psycopg' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded, later = done.stdout.splitlines()
    assert (
        loaded
        == "['lockgate', 'lockgate.gate', 'lockgate.gate.contract', 'lockgate.gate.probe', 'lockgate.gate.report']"
    )
    assert later == "True"


def test_the_face_gives_functions_whatever_was_imported_before():
    """`check` and `wait` of the face are callables, also after every module behind it was imported."""
    code = "import lockgate.gate.service, lockgate.gate.checking, lockgate.gate as g; print(all(callable(getattr(g, n)) for n in g.__all__))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
