"""What goes in comes out, and nothing that a file may hold brings the splitter down."""

import postgast
import pytest
from grammar import blanks, gaps, only_filling, scripts
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lockgate.postgres.script import ScriptError, Statement, literals, split
from lockgate.postgres.script.nodes import kind_of

BROAD = settings(deadline=None, max_examples=100)


def gaps_hold(text: str, found: list[Statement]) -> None:
    """Fail unless the statements are slices of ``text`` in order, with filling between them and the right lines."""
    at = 0
    for statement in found:
        start = text.index(statement.text, at)
        # The same text may stand in a comment before the statement; then the filling is what tells.
        while not only_filling(text[at:start]) or only_filling(text[at:start] + "x"):
            start = text.index(statement.text, start + 1)
        assert statement.line == text.count("\n", 0, start) + 1
        assert statement.end_line == statement.line + statement.text.count("\n")
        at = start + len(statement.text)
    assert only_filling(text[at:]), text[at:]


@BROAD
@given(scripts, blanks)
def test_what_goes_in_comes_out(parts: list[tuple[str, str, str, str]], tail: str):
    """Every statement comes back as it was written, in order, with only blanks, comments and semicolons between."""
    text = "".join("".join(part) for part in parts) + tail
    found = split(text)
    gaps_hold(text, found)
    assert len(found) == len(parts)
    for statement, (_, written, _, _) in zip(found, parts, strict=True):
        assert statement.text.startswith(written)
        assert only_filling(statement.text[len(written) :])


@BROAD
@given(scripts.filter(bool), gaps)
def test_last_statement_needs_no_semicolon(parts: list[tuple[str, str, str, str]], tail: str):
    """A file that does not end with a semicolon loses nothing."""
    *first, (before, last, between, _) = parts
    text = "".join("".join(part) for part in first) + before + last + between + tail
    found = split(text)
    gaps_hold(text, found)
    assert found[-1].text.startswith(last)


@BROAD
@given(st.text(max_size=60))
@example("SELECT 1;\0 DROP TABLE x")
@example("\0")
@example("SELECT '\ud800'")
@example("\\restrict abc\nSELECT 1;")
@example('U&"\\d800"')
@example("SELECT U&'\\00")
@example("\ufeffSELECT 1")
@example("COPY t FROM stdin;\n1\t2\n\\.\n")
def test_any_text_splits_or_is_refused(text: str):
    """Arbitrary text gives statements or a ScriptError with a line of the text, never anything else."""
    check(text)


@BROAD
@given(st.lists(st.sampled_from(["SELECT ", "1", ";", "'", "''", '"', "$$", "$a$", "E'", "U&'", "--", "/*", "*/", "\n", "\r", "BEGIN", " ATOMIC", "END", "(", ")", "\\", "\\.", "COPY t FROM stdin", "é", "😀", "DO ", "::", ",", "CREATE TABLE t", "\t", "\x0b", "\x1a", "\x7f"]), max_size=20).map("".join))  # fmt: skip
def test_any_mix_of_tokens_splits_or_is_refused(text: str):
    """The same for texts made of SQL's own marks, which come closer to what the lexer knows."""
    check(text)


@BROAD
@given(scripts.filter(bool), st.data())
def test_damaged_scripts(parts: list[tuple[str, str, str, str]], data: st.DataObject):
    """A script with one character lost, doubled or replaced splits without loss, or is refused."""
    text = "".join("".join(part) for part in parts)
    at = data.draw(st.integers(0, len(text) - 1))
    check(
        text[:at]
        + data.draw(st.sampled_from(["", text[at] * 2, "'", '"', "$", ";", "\\", "\0"]))
        + text[at + 1 :]
    )


def check(text: str) -> None:
    """Split; what was accepted must be whole."""
    refused: ScriptError | None = None
    found: list[Statement] = []
    try:
        found = split(text)
    except ScriptError as error:
        refused = error
    if refused is None:
        gaps_hold(text, found)
        return
    assert refused.code.startswith("FILE_")
    assert 1 <= refused.line <= text.count("\n") + 1
    assert str(refused)


def test_deep_and_long_expressions():
    """An expression of 3,000 terms is understood, one of a million is refused; neither ends the process."""
    for sql in (
        "SELECT " + " || ".join(["'a'"] * 3000),
        "SELECT " + "NOT " * 3000 + "true",
        " UNION ALL ".join(["SELECT 1, 2"] * 3000),
    ):
        assert len(split(sql)) == 1
    assert len(split("INSERT INTO t VALUES " + ",\n".join(["(1, -2, now())"] * 20_000))) == 1
    assert len(split("SELECT " + " OR ".join(["a = 1"] * 20_000))) == 1
    for sql in (
        "SELECT\n1" + "+1" * 100_000,
        "SELECT\n1" + "::int" * 100_000,
        "SELECT\n" + "(" * 100_000,
        "SELECT\n" + "- " * 100_000 + "1",
    ):
        with pytest.raises(ScriptError) as caught:
            split(sql)
        assert (caught.value.code, caught.value.line) in {("FILE_SIZE", 2), ("FILE_SYNTAX", 2)}
    chain = " UNION ".join(["SELECT 1"] * 40_000)
    with pytest.raises(ScriptError, match="overflows the parser"):
        split(chain)


def test_deep_expressions_are_searched_too():
    """A forbidden function is found at the bottom of an expression that is deeper than Python's own stack."""
    (statement,) = split("SELECT " + "1 + (" * 900 + "length(pg_read_file('/etc/passwd'))" + ")" * 900)
    assert statement.problem == ("FILE_FORBIDDEN", "pg_read_file() reaches outside this database")
    assert "deep" in literals("SELECT " + "'x' || (" * 900 + "'deep'" + ")" * 900)


@BROAD
@given(st.integers(1, 40))
def test_names_of_63_bytes(length: int):
    """A name of more than 63 bytes is refused with its line; one of 63 is taken, counted in bytes, not characters."""
    for letter in ("n", "é", "😀"):
        fits = letter * (63 // len(letter.encode()))
        assert split(f"CREATE TABLE {fits} (x int)")
        for name in (fits + letter * length, f'"{fits}{letter * length}"'):
            if len(name.strip('"').encode()) <= 63:
                continue
            with pytest.raises(ScriptError) as caught:
                split(f"SELECT 1;\n\nCREATE TABLE {name} (x int)")
            assert (caught.value.code, caught.value.line) == ("FILE_IDENTIFIER", 3)
    assert split(f"SELECT '{'n' * 100}', $${'n' * 100}$$ -- {'n' * 100}")


def test_names_in_another_form():
    """A name in NFD looks like one in NFC and is another name: refused; in a string it is data."""
    with pytest.raises(ScriptError) as caught:
        split('CREATE TABLE x (id int);\nCREATE TABLE "cafe\u0301" (id int)')
    assert (caught.value.code, caught.value.line) == ("FILE_IDENTIFIER", 2)
    assert split("SELECT 'cafe\u0301'")


def test_kinds_have_the_parsers_own_names():
    """The kind of a statement is the parser's field name for it, for every statement that the parser knows."""
    fields = postgast.pg_query_pb2.Node.DESCRIPTOR.oneofs_by_name["node"].fields
    statements = {f.message_type.name: f.name for f in fields if f.name.endswith("_stmt")}
    assert len(statements) > 100
    assert {name: kind_of({name: {}})[0] for name in statements} == statements
