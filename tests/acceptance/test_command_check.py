"""``lockgate check``: the policy beside the file contract, git revisions, snapshots, and every format."""

import json
import re
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from lockgate.policy.model.replay import replay
from lockgate.policy.model.schema import Schema
from lockgate.policy.model.snapshot import Snapshot, write
from lockgate.postgres.tree import statements_of
from support.calls import CONTROL, Answer, Project

TABLE = "CREATE TABLE orders (id bigint PRIMARY KEY, customer_id bigint);\n"
INDEX = "-- why\n\nCREATE INDEX orders_customer ON orders (customer_id);\n"
HOSTILE = (
    "CREATE TABLE \"a\nb\" (id bigint PRIMARY KEY, note text DEFAULT '%::]]><b>|`@x');\n"
    "CREATE TABLE keep (id bigint PRIMARY KEY, x int);\n"
)
HOSTILE_LATER = 'CREATE INDEX "i\n::error::x]]>&<|" ON "a\nb" (note);\n'
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def orders(tmp_path) -> Project:
    """Two files: a table, and an index on it that is built while writes wait."""
    made = Project(tmp_path)
    made.write("orders", TABLE)
    made.write("orders_customer", INDEX)
    return made


@pytest.fixture
def hostile(tmp_path) -> Project:
    """Names and texts that every format has to escape."""
    made = Project(tmp_path)
    made.write("first", HOSTILE)
    made.write("second", HOSTILE_LATER)
    return made


def commit(project: Project) -> None:
    """Commit everything there is."""
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org"]
    for call in (["init", "-q"], ["add", "."], ["commit", "-qm", "base"]):
        subprocess.run([*git, *call], cwd=project.root, check=True)


def errors(answer: Answer) -> list[tuple[str, str, int]]:
    """(id, file's name, line) of each error."""
    return [
        (f["id"], f["file"].split("_", 1)[1], f["line"])
        for f in answer.document("check")["findings"]
        if f["severity"] == "error"
    ]


def test_policy_judges_against_earlier_files(orders: Project):
    """A plain index on a table of an earlier file is an error at the statement's own line, with fix, phase and evidence."""
    answer = orders.json("check")
    assert answer.code == 1
    assert errors(answer) == [("idx-create-blocking", "orders_customer.sql", 3)]
    (found,) = (f for f in answer.document("check")["findings"] if f["id"] == "idx-create-blocking")
    assert "CONCURRENTLY" in found["fix"]
    assert found["phase"] == "expand"
    assert "orders ShareLock" in found["evidence"]


def test_statements_carry_their_facts(orders: Project):
    """Each statement is told with its locks, rewrites and scans; relations in public are unqualified."""
    orders.write(
        "wider", "-- lockgate: phase=contract\nALTER TABLE public.orders ALTER customer_id TYPE numeric;\n"
    )
    statement = orders.json("check").document("check")["statements"][-1]
    assert (statement["line"], statement["kind"], statement["understood"]) == (2, "ALTER TABLE", True)
    assert statement["locks"]["orders"] == "AccessExclusiveLock"
    assert "orders" in statement["rewrites"]


def test_text_shows_the_line(orders: Project):
    """People see the place, the hazard, the line with a mark under it, the fix and a summary, without control codes."""
    answer = orders.text("check")
    assert answer.code == 1
    assert re.search(r"^db/migrations/\d{13}_orders_customer\.sql:3: idx-create-blocking: ", answer.out, re.M)
    assert "  3 | CREATE INDEX orders_customer ON orders (customer_id);\n    | ^^^^" in answer.out
    assert "    fix: " in answer.out
    assert re.search(r"^failed: 1 error.* in 2 files, 2 statements; ", answer.out, re.M)


def test_warnings_fail_only_when_strict(tmp_path):
    """A warning exits 0, and 1 with --strict, in text and in JSON."""
    project = Project(tmp_path)
    project.write("orders", TABLE)
    allow = '-- lockgate: allow=idx-create-blocking until=2999-01-01 reason="none"\n'
    project.write("useless", f"{allow}COMMENT ON TABLE orders IS 'orders';\n")
    answer = project.json("check")
    assert answer.code == 0
    assert "suppression-useless" in {f["id"] for f in answer.document("check")["findings"]}
    assert project.json("check", "--strict").code == 1
    assert "warning suppression-useless" in project.text("check").out


def test_suppression_hides_one_finding(orders: Project):
    """An allowance with reason and end date above the statement lets the file pass."""
    orders.write(
        "orders_id",
        '-- lockgate: allow=idx-create-blocking until=2999-01-01 reason="a \\"quoted\\" word"\n'
        "CREATE INDEX orders_id ON orders (id);\n",
    )
    assert [line for _, _, line in errors(orders.json("check"))] == [3]


def test_down_sections_are_not_judged(tmp_path):
    """What only `down` runs is no finding of the policy; the contract still reads it."""
    project = Project(tmp_path)
    project.write("orders", TABLE)
    project.write(
        "more",
        "CREATE TABLE more (id bigint PRIMARY KEY);\n-- lockgate: down\nDROP TABLE more;\nDROP TABLE orders;\n",
    )
    assert project.json("check").code == 0
    project.write("worse", "CREATE TABLE worse (id bigint PRIMARY KEY);\n-- lockgate: down\nCOMMIT;\n")
    assert [found for found, _, _ in errors(project.json("check"))] == ["FILE_TRANSACTION_CONTROL"]


def test_one_word_for_what_both_refuse(orders: Project):
    """What contract and policy both refuse is told once, by the contract; other statements are judged all the same."""
    orders.write("broken", "BEGIN;\nCREATE INDEX b ON orders (id);\nCOMMIT;\n")
    found = [e for e in errors(orders.json("check")) if e[1] == "broken.sql"]
    assert sorted(found) == [
        ("FILE_TRANSACTION_CONTROL", "broken.sql", 1),
        ("FILE_TRANSACTION_CONTROL", "broken.sql", 3),
        ("idx-create-blocking", "broken.sql", 2),
    ]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("SELEC 1;\n", "FILE_SYNTAX"),
        ("-- lockgate: trasaction=off\nCREATE INDEX CONCURRENTLY i ON orders (id);\n", "FILE_DIRECTIVE"),
        ("\\restrict x\n", "FILE_META_COMMAND"),
        ("SELECT " + "1+" * 30_000 + "1;\n", "FILE_SIZE"),
    ],
    ids=["syntax", "directive", "meta", "chain"],
)
def test_what_cannot_be_read_is_told_once(orders: Project, text, code):
    """A file that cannot be read at all gives the contract's one error, and the others are judged."""
    orders.write("broken", text)
    found = errors(orders.json("check"))
    assert [name for name, file, _ in found if file == "broken.sql"] == [code]
    assert ("idx-create-blocking", "orders_customer.sql", 3) in found


def test_since_judges_what_is_new(orders: Project):
    """--since learns from the files of the revision without judging them, and judges the new ones against them."""
    commit(orders)
    answer = orders.json("check", "--since", "HEAD")
    assert (answer.code, errors(answer)) == (0, [])
    assert answer.document("check")["statements"] == []
    orders.write("orders_id", "CREATE INDEX orders_id ON orders (id);\n")
    answer = orders.json("check", "--since", "HEAD")
    assert errors(answer) == [("idx-create-blocking", "orders_id.sql", 1)]
    assert [s["line"] for s in answer.document("check")["statements"]] == [1]


def test_since_still_refuses_what_was_edited(orders: Project):
    """Edited, deleted and re-locked files of the revision are refused, and an edited one keeps the contract too."""
    commit(orders)
    first, second = sorted(orders.directory.glob("*.sql"))
    first.write_text(TABLE + "COMMIT;\n")
    second.unlink()
    orders.lock()
    assert sorted(found for found, _, _ in errors(orders.json("check", "--since", "HEAD"))) == [
        "FILE_TRANSACTION_CONTROL",
        "IMMUTABLE_EDITED",
        "IMMUTABLE_EDITED",
    ]


def test_snapshot(orders: Project):
    """--snapshot starts from its schema: files up to its revision are not judged, and small tables lower a finding."""
    schema = Schema(version=16)
    for item in statements_of(TABLE):
        replay(schema, item.statement, -1)
    schema.relations["orders"].rows = 12
    first = sorted(orders.directory.glob("*.sql"))[0].name[:13]
    file = orders.root / "snapshot.json"
    file.write_bytes(write(Snapshot("1", 16, "2030-01-01T00:00:00Z", schema, first)))
    document = orders.ok("check", "check", "--snapshot", "snapshot.json")
    assert {s["file"].split("_", 1)[1] for s in document["statements"]} == {"orders_customer.sql"}
    (found,) = (f for f in document["findings"] if f["id"] == "idx-create-blocking")
    assert found["severity"] == "info"
    file.write_text("{}")
    assert orders.json("check", "--snapshot", "snapshot.json").code == 2
    assert orders.json("check", "--snapshot", "missing.json").code == 2


def test_secrets_are_redacted(orders: Project):
    """A secret in a file reaches no format."""
    orders.write(
        "role",
        "CREATE ROLE app PASSWORD 'hunter2-secret';CREATE INDEX j ON orders (id); -- password=hunter2-secret\n",
    )
    for kind in ("text", "json", "sarif", "github", "gitlab", "junit", "markdown"):
        assert "hunter2" not in orders.run("check", "--format", kind).out, kind


# -- formats ----------------------------------------------------------------------------------------


def test_formats_are_offered_by_check_alone(orders: Project):
    """The formats of CI are a choice of check, and a usage error elsewhere."""
    assert "sarif|github|gitlab|junit|markdown" in orders.text("check", "--help").out
    assert orders.run("status", "--format", "sarif").code == 2


def test_sarif(hostile: Project):
    """SARIF 2.1.0: every result names a listed rule, a repo-relative place from line 1, and a fingerprint of its own."""
    commit(hostile)
    answer = hostile.run("check", "--format", "sarif")
    assert answer.code == 1
    document = json.loads(answer.out)
    assert document["version"] == "2.1.0"
    assert "sarif-2.1.0" in document["$schema"]
    (run,) = document["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert all(r["shortDescription"]["text"] and r["help"]["text"] for r in rules)
    assert run["results"]
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in ("error", "warning", "note")
        place = result["locations"][0]["physicalLocation"]
        assert re.fullmatch(r"db/migrations/\d{13}_\w+\.sql", place["artifactLocation"]["uri"])
        assert place["region"]["startLine"] >= 1
    prints = [r["partialFingerprints"]["primaryLocationLineHash"] for r in run["results"]]
    assert len(set(prints)) == len(prints)


@pytest.mark.parametrize("format", ["sarif", "gitlab"])
def test_fingerprints_survive_moved_lines(orders: Project, format):
    """Lines added above a statement leave its fingerprint as it was."""

    def prints() -> set[str]:
        return set(
            re.findall(
                r'"(?:primaryLocationLineHash|fingerprint)": "(\w+)"',
                orders.run("check", "--format", format).out,
            )
        )

    before = prints()
    path = sorted(orders.directory.glob("*.sql"))[1]
    path.write_text("-- more\n-- and more\n" + path.read_text())
    orders.lock()
    assert before
    assert prints() == before


def test_paths_start_at_the_repository(tmp_path):
    """In a project below the root of a repository the places are told from that root."""
    project = Project(tmp_path / "services" / "shop")
    project.write("orders", TABLE)
    project.write("orders_customer", INDEX)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    for kind in ("sarif", "github", "gitlab", "junit", "markdown"):
        out = project.run("check", "--format", kind).out.replace("\\_", "_")
        assert "services/shop/db/migrations/" in out, kind


def test_github(hostile: Project):
    """Each annotation is one line whatever the names hold, and nothing in a message can become a command."""
    answer = hostile.run("check", "--format", "github")
    assert answer.code == 1
    lines = answer.out.splitlines()
    commands = [line for line in lines if line.startswith("::")]
    pattern = (
        r"::(error|warning|notice) file=db/migrations/\d{13}_\w+\.sql,line=\d+,title=lockgate [\w-]+::.+"
    )
    assert all(re.fullmatch(pattern, line) for line in commands), commands
    assert any("%0A" in line for line in commands)
    assert lines[-1].startswith("lockgate: ")


def test_github_limit(tmp_path):
    """No more than ten annotations of a kind: the last says how many more there are, and those are in the log."""
    project = Project(tmp_path)
    project.write("orders", TABLE)
    project.write("many", "".join(f"CREATE INDEX i{n} ON orders (id);\n" for n in range(25)))
    lines = project.run("check", "--format", "github").out.splitlines()
    shown = [line for line in lines if line.startswith("::error ")]
    assert len(shown) == 10
    more = re.search(r"::(\d+) more of this kind", shown[-1])
    assert more
    assert sum(line.startswith("- ") and ": idx-create-blocking: " in line for line in lines) == int(more[1])


def test_gitlab(hostile: Project):
    """GitLab's list: description, check, unique fingerprint, a severity it knows, and a place from line 1."""
    answer = hostile.run("check", "--format", "gitlab")
    assert answer.code == 1
    entries = json.loads(answer.out)
    assert entries
    for entry in entries:
        assert entry["description"]
        assert entry["check_name"]
        assert entry["severity"] in ("info", "minor", "major", "critical", "blocker")
        assert entry["location"]["lines"]["begin"] >= 1
        assert entry["location"]["path"].startswith("db/migrations/")
    assert len({entry["fingerprint"] for entry in entries}) == len(entries)


def test_junit(hostile: Project):
    """JUnit is well-formed for hostile names; its counts are those of its cases, and errors are failures."""
    answer = hostile.run("check", "--format", "junit")
    assert answer.code == 1
    root = ElementTree.fromstring(answer.out)
    (suite,) = root
    cases = suite.findall("testcase")
    failures = [case for case in cases if case.find("failure") is not None]
    assert int(suite.get("tests")) == int(root.get("tests")) == len(cases)
    assert int(suite.get("failures")) == len(failures) >= 1
    assert any("]]>&<|" in (case.find("failure").text or "") for case in failures)


def test_markdown(hostile: Project):
    """The summary is a headline and a table whose rows have four cells, with no HTML of the file's own."""
    out = hostile.run("check", "--format", "markdown").out
    assert out.startswith("## lockgate check failed\n")
    rows = [line for line in out.splitlines() if line.startswith("|")]
    assert len(rows) > 2
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 5 for row in rows)
    assert "<b>" not in out


@pytest.mark.parametrize("format", ["text", "sarif", "github", "gitlab", "junit", "markdown"])
def test_clean_projects_and_empty_ones(tmp_path, format):
    """Every format can say that all is well (exit 0) and that there is nothing to read (exit 1)."""
    project = Project(tmp_path)
    empty = project.run("check", "--format", format)
    assert empty.code == 1
    assert "migration" in empty.out
    project.write("orders", TABLE)
    answer = project.run("check", "--format", format)
    assert (answer.code, answer.err) == (0, "")
    assert not CONTROL.search(answer.out)


def test_the_shop_is_clean():
    """The example shop has no error."""
    answer = Project(ROOT / "examples" / "shop").json("check")
    assert answer.code == 0, errors(answer)


# -- explain ----------------------------------------------------------------------------------------


def test_explain_a_hazard(tmp_path):
    """explain prints the page of a hazard: effect, way out and both examples; the case of the id does not matter."""
    project = Project(tmp_path)
    answer = project.text("explain", "IDX-create-blocking")
    assert answer.code == 0
    for word in ("ShareLock", "CONCURRENTLY", "Bad", "Good", "Severity"):
        assert word in answer.out
    document = project.ok("explain", "explain", "idx-create-blocking")
    assert [h["id"] for h in document["hazards"]] == ["idx-create-blocking"]
    assert document["reasons"] == []


def test_explain_a_reason_code(tmp_path):
    """explain prints a reason code with state, next command and exit code."""
    project = Project(tmp_path)
    assert "Next" in project.text("explain", "LOCK_BUSY").out
    document = project.ok("explain", "explain", "lock_busy")
    assert [(r["code"], r["exit"]) for r in document["reasons"]] == [("LOCK_BUSY", 75)]


def test_explain_lists_all(tmp_path):
    """Without an id every hazard and every reason code is listed."""
    project = Project(tmp_path)
    document = project.ok("explain", "explain")
    out = project.text("explain").out
    assert len(document["hazards"]) > 50
    assert all(h["id"] in out for h in document["hazards"])
    assert all(r["code"] in out for r in document["reasons"])


def test_explain_unknown(tmp_path):
    """An unknown id exits 2 and names those near it."""
    answer = Project(tmp_path).json("explain", "idx-creat-blocking")
    assert answer.code == 2
    assert "idx-create-blocking" in answer.error("USAGE")["message"]
