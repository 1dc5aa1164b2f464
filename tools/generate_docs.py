"""Write the pages that are made from the code: commands, configuration, hazards, reason codes, schemas.

``python tools/generate_docs.py`` writes them, ``--check`` exits 1 with a diff when one of them is not what the code says.
"""

import difflib
import inspect
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import click
import msgspec
from configuration_words import KEYS, SECTIONS, VARIABLES

from lockgate.cli.explain import severity_of
from lockgate.cli.main import COMMANDS, app
from lockgate.config import Settings
from lockgate.policy.pages import every_hazard
from lockgate.record import schemas
from lockgate.record.reasons import REASONS, Exit

DOCS = Path(__file__).resolve().parent.parent / "docs"
_MADE = "<!-- Made by tools/generate_docs.py from the code. Change the code, then run `make docs`. -->\n"

EXITS: dict[Exit, str] = {
    Exit.OK: "done, nothing to do, or ready",
    Exit.FOUND: "the check found something: findings, pending files, drift",
    Exit.USAGE: "the call or the configuration is wrong",
    Exit.FAILED: "a step failed; the error tells what is applied and what is not",
    Exit.REFUSED: "refused before any change, or a contract-phase file is held",
    Exit.HOLD: "nobody can tell whether this is done or safe: a person has to look",
    Exit.UNREACHABLE: "the database cannot be reached",
    Exit.BUG: "a bug in lockgate",
    Exit.BUSY: "another runner holds the lock; trying again later is right",
    Exit.PRIVILEGE: "the role lacks a privilege",
    Exit.INTERRUPTED: "interrupted (SIGINT): cancelled, rolled back, recorded",
    Exit.TERMINATED: "terminated (SIGTERM): cancelled, rolled back, recorded",
}


def reasons_page() -> str:
    """docs/reasons.md, from record/reasons.py."""
    parts = [
        "# Reason codes\n",
        _MADE,
        "Every error carries one of these codes, in text and in JSON (`reasonCode`), with the state of the world and the next command.\n",
    ]
    for row in REASONS.values():
        parts.append(
            _safe(
                f"## `{row.code}`\n\n{row.meaning} Exit {int(row.exit)}.\n\n- State: {row.state}\n- Next: {row.next}\n"
            )
        )
    return "\n".join(parts)


def commands_page() -> str:
    """docs/commands.md, from click."""
    parts = [
        "# Commands\n",
        _MADE,
        "`lockgate COMMAND --help` prints the same. With `--format json` a command prints one document on stdout and nothing else;\n"
        "[schemas.md](schemas.md) lists their schemas. A document of a command has `command`, that of an error has `exitCode`.\n",
        "## Exit codes\n",
        _table(("code", "meaning"), ((str(int(code)), text) for code, text in EXITS.items())),
    ]
    context = click.Context(app, info_name="lockgate")
    for name in COMMANDS:
        command = app.get_command(context, name)
        assert command is not None
        parts += _command_parts(command, f"lockgate {name}")
        if isinstance(command, click.Group):
            inner = click.Context(command, info_name=name, parent=context)
            for child in command.list_commands(inner):
                found = command.get_command(inner, child)
                assert found is not None
                parts += _command_parts(found, f"lockgate {name} {child}")
    return "\n".join(parts)


def _command_parts(command: click.Command, words: str) -> Iterator[str]:
    usage = " ".join(command.collect_usage_pieces(click.Context(command)))
    yield f"## `{words}`\n"
    yield f"`{words} {usage}`\n"
    yield _safe(inspect.cleandoc(command.help or "")) + "\n"
    rows = [
        _option_row(parameter)
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.hidden
    ]
    yield _table(("option", "default", "meaning"), rows)


def _option_row(option: click.Option) -> tuple[str, str, str]:
    name = " ".join(option.opts)
    if isinstance(option.type, click.Choice):
        name += f" {'|'.join(option.type.choices)}"
    elif not option.is_flag:
        name += f" {option.metavar or option.type.name.upper()}"
    default: Any = option.default
    shown = (
        ""
        if option.is_flag or option.required or not isinstance(default, (str, int, float))
        else f"`{default}`"
    )
    return f"`{name}`".replace("|", "\\|"), "required" if option.required else shown, option.help or ""


def configuration_page() -> str:
    """docs/configuration.md, from config.py."""
    parts = [
        "# Configuration\n",
        _MADE,
        "`lockgate.toml` in the working directory, or the file of `--config`; relative paths start from its folder. Every key has a default,\n"
        "except where it says so; a key that is not listed here is an error. Without a file the defaults hold.\n",
        "A time limit is a text such as `250ms`, `3s`, `15min` or `1h`.\n",
    ]
    for section, struct in SECTIONS.items():
        doc = (struct.__doc__ or "").replace("``", "`")
        parts += [
            f"## `[{section}]`\n",
            doc.partition(": ")[2][:1].upper() + doc.partition(": ")[2][1:] + "\n",
        ]
        parts.append(_table(("key", "type", "default", "meaning"), _key_rows(section, struct)))
    parts += [
        "## Environment variables\n",
        _table(("variable", "meaning"), ((f"`{k}`", v) for k, v in VARIABLES.items())),
    ]
    parts.append("The variable that `url_env` names holds the URL of that environment.\n")
    return "\n".join(parts)


def _key_rows(section: str, struct: type[msgspec.Struct]) -> Iterator[tuple[str, ...]]:
    hints = get_type_hints(struct)
    for field in msgspec.structs.fields(struct):
        default = field.default
        if default is msgspec.NODEFAULT:
            # msgspec turns an empty table or list into a factory.
            default = None if field.required else field.default_factory()
        hint = hints[field.name]
        kind = {
            str: "text",
            int: "whole number",
            bool: "true or false",
            float: "number",
            float | None: "number",
        }.get(hint, "list of texts")
        if (
            "Mapping" in str(hint)
            or (isinstance(hint, type) and issubclass(hint, msgspec.Struct))
            or "release." in str(hint)
        ):
            kind = "table"
        if hint == tuple[int, ...]:
            kind = "list of whole numbers"
        if isinstance(default, str) and f".{field.name}".endswith(
            ("timeout", "max_age", "interval", "_age", "window", "delay", "max_seconds", ".lease")
        ):
            kind = "time limit"
        if isinstance(default, msgspec.Struct):
            default = {}
        shown = (
            "none: required" if field.required else "none" if default is None else f"`{json.dumps(default)}`"
        )
        yield f"`{field.name}`", kind, shown, KEYS.get(f"{section}.{field.name}", "")


def schemas_page() -> str:
    """docs/schemas.md, from the published schemas."""
    rows = []
    for name in schemas.names():
        schema = json.loads(schemas.text(name))
        rows.append(
            (
                f"[`{name}`](../src/lockgate/record/schemas/{name}.schema.json)",
                schema["title"],
                schema["description"],
            )
        )
    return "\n".join(
        [
            "# JSON Schemas\n",
            _MADE,
            "Everything that lockgate writes as JSON has a schema (draft 2020-12) in the package `lockgate.record.schemas`, and real output is\n"
            "validated against it by the tests. The schemas are closed, so that a test notices every new field; a reader should ignore fields that\n"
            "it does not know. A field that goes away or changes its meaning gets a new `schemaVersion`.\n",
            _table(("schema", "of", "what it holds"), rows),
        ]
    )


def hazards_page() -> str:
    """docs/hazards.md, from the records of the policy's rules."""
    rows = sorted(every_hazard().values(), key=lambda row: row.id)
    parts = [
        "# Hazards\n",
        _MADE,
        "What the policy looks for in a migration file, with the lock, the effect and the safe way. `lockgate explain ID` prints the same.\n"
        "The examples are run on PostgreSQL by the tests. [policy.md](policy.md) tells how files are judged and how to allow a finding.\n",
        _table(
            ("hazard", "severity", "what"),
            ((f"[`{row.id}`](#{row.id})", row.severity, _cell(row.name)) for row in rows),
        ),
    ]
    for row in rows:
        facts = [
            ("Looks for", row.detects),
            ("Lock", row.lock),
            ("Effect", row.effect),
            ("Instead", row.workaround),
            ("Severity", severity_of(row)),
            ("Source", row.source),
        ]
        lines = "".join(f"- {name}: {_safe(text)}\n" for name, text in facts if text)
        parts.append(f"## {row.id}\n\n{_safe(row.name)}.\n\n{lines}")
        for title, text in (("Before", row.setup), ("Bad", row.bad), ("Good", row.good)):
            if text:
                parts.append(f"{title}:\n\n```sql\n{text.rstrip()}\n```\n")
    return "\n".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _safe(text: str) -> str:
    """``text`` with every ``<`` outside of code shown as it is, not read as HTML."""
    return "".join(
        part if part.startswith("`") else part.replace("<", "&lt;") for part in re.split(r"(`[^`]*`)", text)
    )


def _table(head: tuple[str, ...], rows: Any) -> str:
    lines = [" | ".join(head), " | ".join("---" for _ in head), *(_safe(" | ".join(row)) for row in rows)]
    return "".join(f"| {line} |\n" for line in lines)


PAGES = {
    "reasons.md": reasons_page,
    "commands.md": commands_page,
    "configuration.md": configuration_page,
    "hazards.md": hazards_page,
    "schemas.md": schemas_page,
}
"""The generated pages of docs/."""


def stale() -> str:
    """A diff of every page that is not what the code says; "" when all are fresh."""
    diffs = []
    for name, make in PAGES.items():
        path = DOCS / name
        there = path.read_text("utf-8") if path.is_file() else ""
        diffs += difflib.unified_diff(
            there.splitlines(keepends=True),
            make().splitlines(keepends=True),
            f"docs/{name}",
            "what the code says",
        )
    return "".join(diffs)


def main() -> int:
    """Write or check the pages; the exit code."""
    if sys.argv[1:] == ["--check"]:
        diff = stale()
        if diff:
            sys.stdout.write(diff + "\nStale pages: run `make docs`.\n")
        return 1 if diff else 0
    for name, make in PAGES.items():
        (DOCS / name).write_text(make(), "utf-8")
        print(f"docs/{name}")
    return 0


if __name__ == "__main__":
    assert {name.partition(".")[0] for name in SECTIONS} <= {f.name for f in msgspec.structs.fields(Settings)}
    raise SystemExit(main())
