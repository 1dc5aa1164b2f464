"""The formats of `check` as pure functions: escaping, limits, fingerprints."""

import json
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.cli.reports import github, gitlab, junit, markdown, sarif
from lockgate.cli.reports.report import Report, repository_path, shown
from lockgate.cli.reports.text import render as render_text
from lockgate.policy.finding import Finding

NAME = "1700000000001_a.sql"
ANY = st.text(max_size=60)


def report(*findings: Finding, text: str = "SELECT 1;\n", strict: bool = False) -> Report:
    """A report over one file."""
    return Report(findings, (NAME,), 1, "db/migrations", {NAME: text}, "1", strict)


def finding(message: str = "m", fix: str = "f", *, line: int = 1, severity: str = "error") -> Finding:
    """A finding of a hazard that exists."""
    return Finding("idx-create-blocking", NAME, line, severity, "expand", message, fix, "read")


@given(ANY, ANY, ANY)
def test_no_text_breaks_a_format(message, fix, line):
    """Whatever message, fix and line hold: XML and JSON parse, commands and rows stay on their lines."""
    made = report(finding(message, fix), text=line)
    case = ElementTree.fromstring(junit.render(made)).find("testsuite/testcase")
    assert case is not None
    assert json.loads(gitlab.render(made))[0]["check_name"] == "idx-create-blocking"
    assert json.loads(sarif.render(made))["runs"][0]["results"][0]["message"]["text"].startswith(message)
    assert len(github.render(made).split("\n")) == 3
    assert len(github.render(made).splitlines()) >= 2
    assert sum(row.startswith("|") for row in markdown.render(made).split("\n")) == 3
    for row in render_text(made, lambda word, _: word):
        assert row.isprintable()


@pytest.mark.parametrize(
    ("raw", "data", "prop"),
    [("a%b", "a%25b", "a%25b"), ("a\r\nb", "a%0D%0Ab", "a%0D%0Ab"), ("a:b,c", "a:b,c", "a%3Ab%2Cc")],
)
def test_github_escaping(raw, data, prop):
    """Percent first, then line ends; colon and comma in properties only."""
    assert github._data(raw) == data
    assert github._property(raw) == prop


def test_github_plain_lines_cannot_be_commands():
    """A message that looks like a command is data in the log."""
    lines = github.render(report(*[finding("::set-output name=x::y\n##[error]z")] * 12)).splitlines()
    assert not [line for line in lines if "##[" in line and not line.startswith("::")]
    assert {line.split(" ")[0] for line in lines if line.startswith("::")} == {"::error"}


def test_xml_shows_what_xml_cannot_hold():
    """Control characters and lone surrogates are shown as escapes."""
    assert junit.xml("a\x00\x1b\ud800<&\"'") == "a\\x00\\x1b\\ud800&lt;&amp;&quot;&#x27;"


def test_markdown_cells():
    """Pipes, HTML, mentions and references are text; long ones are cut."""
    assert markdown.cell("a|b <i> #1 `x`") == "a\\|b &lt;i&gt; \\#1 \\`x\\`"
    assert "@" not in markdown.cell("@someone")
    assert len(markdown.cell("x" * 2000)) == 600


def test_markdown_is_bounded():
    """More findings than fit are counted, the worst are shown first."""
    many = [finding(severity="info")] * 300 + [finding("worst")]
    out = markdown.render(report(*many))
    assert "101 more are left out." in out
    assert "worst" in out.split("\n")[6]


def test_strict_makes_warnings_fail():
    """A warning is a failure of JUnit and of the report only when strict."""
    for strict, failures in ((False, "0"), (True, "1")):
        made = report(finding(severity="warning"), strict=strict)
        assert made.failed is strict
        assert ElementTree.fromstring(junit.render(made)).get("failures") == failures


def test_a_whole_file_stands_at_its_first_line():
    """A finding of line 0 points at the file: line 1 in SARIF and GitLab, no line for GitHub."""
    made = report(finding(line=0))
    place = json.loads(sarif.render(made))["runs"][0]["results"][0]["locations"][0]["physicalLocation"]
    assert place["region"] == {"startLine": 1}
    assert json.loads(gitlab.render(made))[0]["location"]["lines"]["begin"] == 1
    assert ",line=" not in github.render(made)


def test_fingerprints():
    """Equal lines are told apart by their number, blanks do not count, another file is another print."""
    two = report(finding(line=1), finding(line=2), text="CREATE  INDEX i;\nCREATE INDEX i;\n").fingerprints()
    assert len(set(two)) == 2
    moved = report(finding(line=3), text="\n\n  CREATE INDEX i;\n").fingerprints()
    assert moved == two[:1]


def test_text_marks_the_line_and_hides_notes():
    """The mark is as long as the line's words; notes are counted, and shown when asked for."""
    made = report(finding(line=2), finding("note", severity="info"), text="--\n\tSELECT é;\n")
    lines = list(render_text(made, lambda word, _: word))
    assert lines[1:3] == ["  2 |  SELECT é;", "    |  ^^^^^^^^^"]
    assert "1 error, 1 note (--verbose shows notes) in 1 file, 1 statement" in lines[-1]
    assert any("note idx-create-blocking" in line for line in render_text(made, lambda w, _: w, notes=True))


def test_control_characters_are_shown():
    """No terminal takes orders from a file."""
    assert shown("a\x1b[31m\tb\u202e") == "a\\x1b[31m b\\u202e"


def test_redaction_reaches_message_fix_and_line():
    """Everything that came out of a file passes the redaction."""
    made = report(finding("s", "s"), text="s\n").redacted(lambda text: text.replace("s", "*"))
    assert (made.findings[0].message, made.findings[0].fix, made.line(made.findings[0])) == ("*", "*", "*")


def test_a_secret_of_several_lines_hides_the_text():
    """Where a redacted text has lost lines, no line of it is shown: it would be the wrong one."""
    made = report(finding(line=3), text="a\nb\nc\n").redacted(lambda text: text.replace("a\nb", "*"))
    assert made.line(made.findings[0]) == ""


def test_repository_path(tmp_path):
    """A folder is told from the root of its repository."""
    folder = tmp_path / "a" / "db"
    folder.mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    assert repository_path(folder) == "a/db"
