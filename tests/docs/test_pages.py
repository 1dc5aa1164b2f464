"""The pages say what the code does: generated ones are fresh, handwritten ones complete, examples run."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import generate_docs
import msgspec
import pytest

from lockgate.cli.main import COMMANDS, app
from lockgate.migrations.directives import HEADER_KEYS
from lockgate.record import schemas
from lockgate.record.reasons import REASONS, Exit

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
SOURCE = ROOT / "src" / "lockgate"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md"), *ROOT.glob("examples/*/README.md")])
LATER = {"instances", "snapshot"}
"""Commands that a text may name although they come with a later part of the project."""

_FENCE = re.compile(r"^```(?P<kind>\w*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
_RUNNABLE = re.compile(
    r"^<!-- runnable -->\n```(?P<kind>sh|console)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL
)
_LINK = re.compile(r"\[[^\]]*\]\((?!https?:)([^)\s]+)\)")


def named(page: Path) -> str:
    """How a page is called in a test's id."""
    return str(page.relative_to(ROOT))


# -- generated pages --------------------------------------------------------------------------------


def test_generated_pages_are_fresh():
    """The pages made from the code are what the code says now."""
    assert generate_docs.stale() == ""


def test_a_stale_page_fails_the_check(tmp_path, monkeypatch, capsys):
    """--check exits 1 and shows a diff when a page was edited by hand."""
    for name, make in generate_docs.PAGES.items():
        (tmp_path / name).write_text(make())
    monkeypatch.setattr(generate_docs, "DOCS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["generate_docs.py", "--check"])
    assert generate_docs.main() == 0
    with (tmp_path / "reasons.md").open("a") as page:
        page.write("by hand\n")
    assert generate_docs.main() == 1
    assert "-by hand" in capsys.readouterr().out


def test_every_command_and_option_is_documented():
    """commands.md has a section for each command and a row for each of its options, with a meaning."""
    page = (DOCS / "commands.md").read_text()
    sections = dict(re.findall(r"^## `lockgate ([^`]+)`\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    context = click.Context(app, info_name="lockgate")
    commands = {name: app.get_command(context, name) for name in COMMANDS}
    for name, group in list(commands.items()):
        if isinstance(group, click.Group):
            commands |= {f"{name} {child}": found for child, found in group.commands.items()}
    assert set(sections) == set(commands)
    for name, command in commands.items():
        for parameter in command.params:
            for word in parameter.opts if isinstance(parameter, click.Option) else ():
                row = re.search(rf"^\| `{re.escape(word)}[` ].*\| (.+) \|$", sections[name], re.MULTILINE)
                assert row, f"lockgate {name} {word}"
                assert row[1].strip(), f"lockgate {name} {word} has no meaning"


def test_help_lines_and_help_texts():
    """Each command's own help begins with a sentence, and the list of commands has a line for each."""
    context = click.Context(app, info_name="lockgate")
    for name, (_, line) in COMMANDS.items():
        assert line.endswith("."), name
        assert (app.get_command(context, name).help or "").strip(), name


def test_every_reason_code_and_exit_code_is_documented():
    """reasons.md has a section for each code, and every exit code has its meaning in commands.md."""
    assert re.findall(r"^## `(\w+)`$", (DOCS / "reasons.md").read_text(), re.MULTILINE) == list(REASONS)
    assert set(generate_docs.EXITS) == set(Exit)


def test_every_configuration_key_has_a_meaning():
    """No key of the settings lacks a meaning, and none that has one is gone."""
    keys = {
        f"{section}.{field.name}"
        for section, struct in generate_docs.SECTIONS.items()
        for field in msgspec.structs.fields(struct)
    }
    assert set(generate_docs.KEYS) == keys
    assert all(text.endswith((".", "`")) for text in generate_docs.KEYS.values())


def test_every_environment_variable_is_documented():
    """Each variable that the code reads is in configuration.md."""
    read = set()
    for path in SOURCE.rglob("*.py"):
        text = path.read_text()
        read |= set(re.findall(r'environ(?:\.get\(|\[)\s*"([A-Z_]+)"', text))
        read |= set(re.findall(r'"([A-Z_]+)" in os\.environ', text))
        read |= set(re.findall(r'"(MIGRATION_[A-Z_]*TIMEOUT[A-Z_]*)", "[a-z_]+"', text))
    assert read == set(generate_docs.VARIABLES)


# -- handwritten pages ------------------------------------------------------------------------------


def test_directives_are_documented():
    """files.md names every directive."""
    page = (DOCS / "files.md").read_text()
    for word in {*HEADER_KEYS, "estimate", "allow", "down"}:
        assert re.search(rf"`{word}=|lockgate: {word}\b|`{word} |allow={'<'}", page), word


def test_artifact_fields_are_documented():
    """release.md names every field of migration.json, and no other."""
    table = (DOCS / "release.md").read_text().partition("| field | holds |")[2].partition("\n\n")[0]
    told = {
        field
        for row in table.splitlines()
        for field in re.findall(r"`(\w+)`", row.split("|")[1] if "|" in row else "")
    }
    assert told == set(json.loads(schemas.text("migration-artifact"))["properties"])


def test_exit_codes_of_the_operators_table():
    """release.md's table for operators names exit codes that exist."""
    table = (DOCS / "release.md").read_text().partition("| exit | status |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| ([\d, ]+) \|", table, re.MULTILINE)
    told = {int(code) for row in rows for code in row.split(",")}
    assert told <= {int(code) for code in Exit}
    assert {0, 3, 4, 5, 69, 75, 143} <= told


def test_rooms_are_in_the_architecture():
    """ARCHITECTURE.md has a row for each room, and every file that it names is there."""
    page = (ROOT / "ARCHITECTURE.md").read_text()
    for room in SOURCE.iterdir():
        if (room / "__init__.py").is_file():
            assert f"| `{room.name}/` |" in page, room.name
    for name in set(re.findall(r"`([a-z_]+/[a-z_/0-9]+\.(?:py|sql))`", page)):
        assert (SOURCE / name).is_file() or (ROOT / name).is_file(), name


def test_readme_fits_on_a_screen():
    """README.md has at most 60 lines and names the two commands."""
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 60
    assert "    make demo" in text
    assert "    make test" in text


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page):
    """Every relative link of the page leads to a file, and its anchor to a heading."""
    for link in _LINK.findall(_FENCE.sub("", page.read_text())):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{named(page)}: {link}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}
            assert anchor in anchors, f"{named(page)}: {link}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_commands_that_pages_name_exist(page):
    """Every `lockgate ...` in code on the page is a command with options that it has."""
    text = page.read_text()
    pieces = [body for _, body in _FENCE.findall(text)] + re.findall(r"`([^`\n]+)`", _FENCE.sub("", text))
    for call in {
        m
        for piece in pieces
        for m in re.findall(r"(?:^|\$ |\()lockgate ([a-z][^\n`#>|)]*)", piece, re.MULTILINE)
    }:
        assert_command(call, named(page))


@pytest.mark.parametrize("code", REASONS)
def test_commands_that_errors_name_exist(code):
    """The next command of a reason code is one that can be typed."""
    for match in re.finditer(r"lockgate (([a-z]+)[^;,.:()`]*)", REASONS[code].next):
        if match.start() == 0 or match[2] in COMMANDS:  # else a sentence about lockgate
            assert_command(match[1], code)


def assert_command(call: str, where: str) -> None:
    """Fail when ``call`` (what stands after ``lockgate``) is no command, or has an option that it lacks."""
    words = call.partition(" -- ")[0].split()
    if words[0] in LATER:
        return
    command = app.get_command(click.Context(app), words[0])
    assert command is not None, f"{where}: lockgate {call}"
    if isinstance(command, click.Group) and words[1:2] and words[1] in command.commands:
        command = command.commands[words[1]]
    known = {word for parameter in command.params for word in parameter.opts} | {"--help"}
    used = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert used <= known, f"{where}: lockgate {call}"


# -- examples ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [p for p in PAGES if _RUNNABLE.search(p.read_text())], ids=named)
def test_examples_run(page, folder):
    """The runnable examples of the page succeed, in order, in a fresh project on the embedded server."""
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for match in _RUNNABLE.finditer(page.read_text()):
        body = match["body"]
        script = (
            "\n".join(line[2:] for line in body.splitlines() if line.startswith("$ "))
            if match["kind"] == "console"
            else body
        )
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=folder,
            env=environ,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_tests_that_pages_name_exist(page):
    """Every test that a page names as `tests/.../file.py::test_name` is there."""
    for file, name in re.findall(r"`(tests/[a-z_/]+\.py)::(test_\w+)`", page.read_text("utf-8")):
        assert f"def {name}(" in (ROOT / file).read_text("utf-8"), f"{file}::{name}"
