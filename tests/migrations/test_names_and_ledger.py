"""Names of files, the ledger of their sums, and line ends."""

import hashlib
import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lockgate.errors import ConfigError
from lockgate.migrations.files import FILE_PATTERN, LEDGER_NAME, Migration, read_directory
from lockgate.migrations.ledger import Ledger, compare, differs_in_line_ends_only, read_ledger, write_ledger
from lockgate.migrations.scaffold import create, next_revision, slug
from lockgate.record import points

MANY = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
file_names = st.text(
    st.characters(codec="utf-8", exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=30
)


@MANY
@given(st.integers(0, 9_999_999_999_999), st.from_regex(r"[a-z0-9_]{1,40}", fullmatch=True))
def test_a_right_name_round_trips(number: int, name: str):
    """Revision and name are read back as they were written."""
    match = FILE_PATTERN.match(f"{number:013d}_{name}.sql")
    assert match is not None
    assert (int(match[1]), match[2]) == (number, name)


@MANY
@given(file_names)
@example("1700000000001_a.sql\n")
@example("\uff11700000000001_a.sql")
@example("1700000000001_A.sql")
@example("1700000000001_a b.sql")
@example("1700000000001_cafe\u0301.sql")
@example("170000000001_a.sql")
@example("17000000000011_a.sql")
@example("1700000000001_.sql")
@example("1700000000001-a.sql")
@example("1700000000001_a.SQL")
@example("1700000000001_a.sql~")
@example(".1700000000001_a.sql")
def test_any_other_name_is_refused(name: str):
    """Only 13 ASCII digits, an underscore and [a-z0-9_] are a migration's name."""
    right = len(name) > 18 and name[:13].isascii() and name[:13].isdigit() and name[13] == "_" and name.endswith(".sql") and set(name[14:-4]) <= set("abcdefghijklmnopqrstuvwxyz0123456789_")  # fmt: skip
    assert bool(FILE_PATTERN.match(name)) == right


@MANY
@given(st.lists(file_names, max_size=5, unique=True), st.binary(max_size=30))
def test_any_directory_can_be_read(tmp_path_factory: pytest.TempPathFactory, names: list[str], raw: bytes):
    """Whatever stands in the directory: every entry is a migration or a problem that names it, and nothing is raised."""
    directory = tmp_path_factory.mktemp("any")
    for name in names:
        if name not in (".", "..") and len(name.encode()) < 255:
            (directory / name).write_bytes(raw)
    there = {p.name for p in directory.iterdir()} - {LEDGER_NAME, ".gitattributes", ".gitkeep", ".gitignore"}
    reading = read_directory(directory)
    assert len(reading.migrations) + sum(p.id != "NO_FILES" for p in reading.problems) == len(there)
    for problem in reading.problems:
        assert problem.fix
        assert str(problem).isprintable() or "\n" not in problem.file


@MANY
@given(st.text(max_size=40))
def test_a_new_name_is_a_right_one(tmp_path_factory: pytest.TempPathFactory, words: str):
    """`new` makes a file that can be read back, or says that nothing is left of the name."""
    directory = tmp_path_factory.mktemp("new")
    try:
        path = create(directory, words, "SELECT 1;", now=lambda: 1_700_000_000_000)
    except ConfigError:
        assert not any("a" <= c <= "z" or "0" <= c <= "9" for c in words.lower())
        assert list(directory.iterdir()) == []
        return
    assert slug(words) in path.name
    reading = read_directory(directory)
    assert (reading.problems, [m.file for m in reading.migrations]) == ((), [path.name])
    ledger, wrong = read_ledger(directory)
    assert (wrong, compare(reading.migrations, ledger)) == ([], [])


@given(st.lists(st.integers(0, 9_999_999_999_990), max_size=5), st.integers(0, 9_999_999_999_990))
@settings(deadline=None, max_examples=50)
def test_a_new_revision_is_the_newest(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[int], clock: int
):
    """Also with a clock that goes back, a new file comes after every file that is there."""
    directory = tmp_path_factory.mktemp("next")
    for number in numbers:
        (directory / f"{number:013d}_a.sql").touch()
    made = next_revision(directory, lambda: clock)
    assert all(int(made) > number for number in numbers)
    assert int(made) >= clock
    assert len(made) == 13


# -- the ledger -----------------------------------------------------------------------------------


def migration(number: int, text: str) -> Migration:
    """A file in memory."""
    revision = f"{number:013d}"
    return Migration(revision, "a", f"{revision}_a.sql", hashlib.sha256(text.encode()).hexdigest(), text)


files = st.dictionaries(
    st.integers(1, 99),
    st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=20),
    max_size=6,
).map(lambda texts: [migration(number, text) for number, text in sorted(texts.items())])


@MANY
@given(files, st.data())
def test_each_difference_has_its_code(found: list[Migration], data: st.DataObject):
    """Forgotten, edited, converted, lost and renamed files each give their own code; an equal ledger gives none."""
    ledger = {m.file: m.checksum for m in found}
    assert compare(found, Ledger(ledger)) == []
    if not found:
        return
    one = data.draw(st.sampled_from(found))
    at = found.index(one)
    others = [*found[:at], *found[at + 1 :]]
    assert codes(found, {m.file: m.checksum for m in others}) == [("LEDGER_MISSING", one.file)]
    assert codes(others, ledger) == [("LEDGER_STALE", one.file)]
    assert [p.id for p in compare(others, Ledger(ledger), frozenset({one.file}))] == [], "told elsewhere"
    edited = migration(int(one.revision), one.text + "x")
    assert codes([*others, edited], ledger) == [("LEDGER_DRIFT", one.file)]
    windows = migration(int(one.revision), one.text.replace("\n", "\r\n"))
    assert codes([*others, windows], ledger) == ([("EOL_ONLY", one.file)] if "\n" in one.text else [])


def codes(found: list[Migration], ledger: dict[str, str]) -> list[tuple[str, str]]:
    """(code, file) of what differs."""
    return [(p.id, p.file) for p in compare(found, Ledger(ledger))]


@MANY
@given(st.text(max_size=40), st.text(max_size=40))
def test_line_ends_only(one: str, other: str):
    """Told as a line-end difference exactly when the texts are equal but for CRLF; never for any other edit."""
    told = differs_in_line_ends_only(one, hashlib.sha256(other.encode()).hexdigest())
    same = one.replace("\r\n", "\n") == other.replace("\r\n", "\n")
    uniform = other in (other.replace("\r\n", "\n"), other.replace("\r\n", "\n").replace("\n", "\r\n"))
    assert told == (same and uniform)


@MANY
@given(st.dictionaries(file_names, st.from_regex(r"[0-9a-f]{64}", fullmatch=True), max_size=5))
def test_a_ledger_round_trips(tmp_path_factory: pytest.TempPathFactory, entries: dict[str, str]):
    """The ledger on disk is sorted, ends with one newline, and is read back as it was; written twice it is the same bytes."""
    directory = tmp_path_factory.mktemp("ledger")
    written = write_ledger(directory, entries)
    raw = (directory / LEDGER_NAME).read_bytes()
    ledger, wrong = read_ledger(directory)
    assert (dict(ledger.files), wrong) == (entries, [])
    assert raw == written.to_json() == ledger.to_json()
    assert list(json.loads(raw)["files"]) == sorted(entries)
    assert raw.endswith(b"}\n")


SUM = "a" * 64


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe{}", "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "not a JSON object"),
        (b'{"schemaVersion":1,"algorithm":"sha256","files":{}}', "schemaVersion is 1"),
        (b'{"schemaVersion":"2","algorithm":"sha256","files":{}}', "schemaVersion is '2'"),
        (b'{"schemaVersion":"1","algorithm":"md5","files":{}}', "algorithm is 'md5'"),
        (b'{"schemaVersion":"1","algorithm":"sha256"}', "`files` is missing"),
        (b'{"schemaVersion":"1","algorithm":"sha256","files":[]}', "`files` is missing"),
        (b'{"schemaVersion":"1","algorithm":"sha256","files":{},"more":1}', "unknown key 'more'"),
        (b'{"schemaVersion":"1","algorithm":"sha256","files":{"x":"abc"}}', "'x' is not a sha256"),
        (
            b'{"schemaVersion":"1","algorithm":"sha256","files":{"x":"' + SUM.upper().encode() + b'"}}',
            "'x' is not a sha256",
        ),
        (
            b'{"schemaVersion":"1","algorithm":"sha256","files":{"x":"' + SUM.encode() + b'\\n"}}',
            "'x' is not a sha256",
        ),
        (b'{"schemaVersion":"1","algorithm":"sha256","files":{"x":null}}', "'x' is not a sha256"),
    ],
)
def test_a_broken_ledger(tmp_path: Path, raw: bytes, says: str):
    """What is no ledger is refused with what is wrong; it is never taken for an empty one."""
    (tmp_path / LEDGER_NAME).write_bytes(raw)
    ledger, (problem,) = read_ledger(tmp_path)
    assert ledger is None
    assert problem.id == "LEDGER_FORMAT"
    assert says in problem.message
    with pytest.raises(ConfigError):
        create(tmp_path, "more")
    assert [p.name for p in tmp_path.iterdir()] == [LEDGER_NAME], "nothing was written"


@pytest.mark.parametrize("kind", ["link", "folder", "pipe", "nothing"])
def test_a_ledger_that_is_no_file(tmp_path: Path, kind: str):
    """A link, a folder or a pipe in the ledger's place is refused without waiting on it; none at all is LEDGER_MISSING."""
    path = tmp_path / LEDGER_NAME
    if kind == "link":
        (tmp_path / "real").write_text("{}")
        path.symlink_to(tmp_path / "real")
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    ledger, (problem,) = read_ledger(tmp_path)
    assert ledger is None
    assert problem.id == ("LEDGER_MISSING" if kind == "nothing" else "LEDGER_FORMAT")


def test_a_fault_while_the_ledger_is_written(tmp_path: Path):
    """`new` that dies while it writes the ledger leaves the old ledger whole, and `check` then tells the file that is missing in it."""
    create(tmp_path, "one", "SELECT 1;")
    before = (tmp_path / LEDGER_NAME).read_bytes()

    def die(name: str) -> None:
        if name.endswith(":rename"):
            raise KeyboardInterrupt

    points.install(die)
    try:
        with pytest.raises(KeyboardInterrupt):
            create(tmp_path, "two", "SELECT 2;")
    finally:
        points.install(None)
    assert (tmp_path / LEDGER_NAME).read_bytes() == before
    reading = read_directory(tmp_path)
    assert reading.problems == ()
    assert [p.id for p in compare(reading.migrations, read_ledger(tmp_path)[0])] == ["LEDGER_MISSING"]
