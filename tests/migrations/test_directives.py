"""Directives say what they say, once, in their place; anything else is refused by line."""

import datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lockgate.migrations.directives import DirectiveError, Directives, parse
from lockgate.migrations.files import Migration

MANY = settings(deadline=None, max_examples=200)
ends = st.sampled_from(["\n", "\r\n"])
limits = st.sampled_from(["3s", "250ms", "15min", "1h", "0", "1.5s", "2d"])
moves = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,10}", fullmatch=True).map(lambda name: f"move:{name}")
hazards = st.from_regex(r"[a-z0-9]+(-[a-z0-9]+){0,2}", fullmatch=True)
reasons = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=20
).filter(str.strip)
headers = st.fixed_dictionaries(
    {},
    optional={
        "phase": st.sampled_from(["expand", "contract"]),
        "transaction": st.sampled_from(["on", "off"]),
        "lock_timeout": limits,
        "statement_timeout": limits,
        "after": moves,
    },
)
allows = st.lists(
    st.tuples(hazards, st.dates(datetime.date(2020, 1, 1), datetime.date(2099, 12, 31)), reasons), max_size=3
)


def quoted(text: str) -> str:
    """``text`` as a directive's value in quotes."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@MANY
@given(headers, st.integers(0, 10**6), allows, ends, st.data())
def test_round_trip(header: dict[str, str], rows: int, covered: list, end: str, data: st.DataObject):
    """What is written as directives is read as the same values, on one line or several, with either line end."""
    lines = [f"{key}={value}" for key, value in data.draw(st.permutations(sorted(header.items())))]
    if data.draw(st.booleans()):
        lines = [" ".join(lines)] if lines else []
    text = "".join(f"-- lockgate: {line}{end}" for line in ["estimate rows=" + str(rows), *lines])
    for hazard, until, reason in covered:
        text += f"{end}-- lockgate: allow={hazard} until={until} reason={quoted(reason)}{end}SELECT 1;"
    found = parse(text)
    assert found.phase == header.get("phase", "expand")
    assert found.phase_given == ("phase" in header)
    assert found.transaction == (header.get("transaction", "on") == "on")
    assert (found.lock_timeout, found.statement_timeout) == (
        header.get("lock_timeout", ""),
        header.get("statement_timeout", ""),
    )
    assert found.after == ((header["after"],) if "after" in header else ())
    assert (found.estimate_rows, found.estimate_seconds) == (rows, None)
    assert [(a.hazard, a.until, a.reason) for a in found.allows] == covered
    assert [text.split("\n")[a.line - 1].strip()[:18] for a in found.allows] == ["-- lockgate: allow"] * len(
        covered
    )


@MANY
@given(st.text(max_size=60))
@example("lock_timeout=99999999999d")
@example('allow=x until=2030-01-01 reason="never closed')
def test_any_words_are_read_or_refused(words: str):
    """Arbitrary words behind the mark, and arbitrary texts, give directives or a DirectiveError with a line."""
    for text in (
        f"-- lockgate: {words}\nSELECT 1;",
        words,
        f"-- lockgate:{words}",
        f"SELECT 1;\n-- lockgate: {words}",
    ):
        try:
            assert isinstance(parse(text), Directives)
        except DirectiveError as error:
            line = error.line
        else:
            line = 1
        assert 1 <= line <= text.count("\n") + 1


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("-- lockgate:", 1, "empty"),
        ("-- lockgate: speed=fast", 1, "unknown directive `speed`"),
        ("--\n-- lockgate: phase=expand colour=red", 2, "unknown directive `colour`"),
        ("-- lockgate: phase=expand phase=contract", 1, "given twice"),
        ("-- lockgate: phase=expand\n-- lockgate: phase=expand", 2, "given twice"),
        ("-- lockgate: phase", 1, "needs a value"),
        ("-- lockgate: phase=", 1, "cannot read"),
        ("-- lockgate: phase=late", 1, "expand or contract"),
        ("-- lockgate: transaction=no", 1, "on or off"),
        ("-- lockgate: lock_timeout=soon", 1, "not a time limit"),
        ("-- lockgate: lock_timeout=-1s", 1, "not a time limit"),
        ("-- lockgate: statement_timeout=30d", 1, "between 0 and"),
        ("-- lockgate: after=yesterday", 1, "move:<name>"),
        ("-- lockgate: estimate", 1, "estimate rows=N"),
        ("-- lockgate: estimate=5", 1, "estimate rows=N"),
        ("-- lockgate: estimate rows=many", 1, "rows=N"),
        ("-- lockgate: estimate rows=1\n-- lockgate: estimate rows=2", 2, "given twice"),
        ("SELECT 1;\n-- lockgate: phase=contract", 2, "top of the file"),
        ("-- lockgate: allow=x", 1, "until=YYYY-MM-DD"),
        ("-- lockgate: allow=x until=2030-01-01", 1, "reason"),
        ('-- lockgate: allow=x until=2030-01-01 reason=" "', 1, "reason"),
        ('-- lockgate: allow=x until=2030-02-30 reason="r"', 1, "YYYY-MM-DD"),
        ('-- lockgate: allow=x until=20300101 reason="r"', 1, "YYYY-MM-DD"),
        ('-- lockgate: allow=X_Y until=2030-01-01 reason="r"', 1, "not the name of a hazard"),
        ('-- lockgate: allow=x until=2030-01-01 reason="r" phase=expand', 1, "beside allow"),
        ('-- lockgate: allow=x until=2030-01-01 reason="r', 1, "cannot read"),
        ("-- Lockgate: phase=contract", 1, "looks like a directive"),
        ("-- lockgate : phase=contract", 1, "looks like a directive"),
        ("-- lockgate phase=contract", 1, "looks like a directive"),
        ("/* lockgate: phase=contract */", 1, "looks like a directive"),
        ("--- lockgate: transaction=off", 1, "looks like a directive"),
        (" -- lockgate: down", 1, "unknown directive `down`"),
    ],
)
def test_refusals(text: str, line: int, says: str):
    """Unknown, doubled, malformed, misplaced, and what only looks like a directive: each is refused at its line."""
    with pytest.raises(DirectiveError, match=says.replace("(", r"\(")) as caught:
        parse(text)
    assert caught.value.line == line


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SELECT 'lockgate';",
        "-- lockgate applies this after the release\nSELECT 1;",
        "-- see lockgate: the manual",
    ],
)
def test_prose_is_no_directive(text: str):
    """A comment that only speaks of lockgate says nothing to it."""
    assert parse(text) == Directives()


def test_a_directive_behind_a_hidden_line_end():
    """A lone CR ends a comment for the server, so what follows is SQL and a later directive is out of place."""
    with pytest.raises(DirectiveError, match="top of the file"):
        parse("-- note\rSELECT 1;\n-- lockgate: transaction=off\n")


@MANY
@given(
    st.sampled_from(["SELECT 1;", "SELECT 1;\n\n", ""]),
    ends,
    st.sampled_from(["DROP TABLE x;", "", "-- nothing"]),
)
def test_down_section(up: str, end: str, down: str):
    """The text before the mark is what up runs, the text behind it what down runs; without one there is no down."""

    def made(text: str) -> Migration:
        return Migration("1", "a", "a", "", text)

    file = made(f"{up}{end}-- lockgate: down{end}{down}")
    assert (file.up, file.down) == (up + end, down)
    assert (made(up).up, made(up).down) == (up, None)
