"""What a finding tells people to run is SQL that names what is there, whatever it is called."""

import re
import shlex
from datetime import date

import pytest

from lockgate.policy.finding import Finding
from lockgate.policy.hazard import Hazard
from lockgate.policy.judge import Judge, Source
from lockgate.policy.model.schema import Schema
from lockgate.policy.recipes import steps_of
from lockgate.policy.rules import HAZARDS
from lockgate.policy.subject import Options
from lockgate.postgres.tree import statements_of
from lockgate.postgres.tree.lexing import words

_SCHEMA = 'CREATE SCHEMA "Its Shop";\nSET search_path TO "Its Shop";\n'
_PATH = 'SET search_path TO "Its Shop";\n'
# Names of examples that are words of their statements, too.
_WORDS = frozenset("at date name text type count kind version public role old new".split())  # noqa: SIM905 - one line
_OPAQUE = re.compile(r"'(?:[^']|'')*'|--[^\n]*|\$\w*\$.*?\$\w*\$", re.DOTALL)
_START = re.compile(r"(?:ALTER|CREATE|DROP|SELECT|INSERT|REINDEX|ANALYZE|VACUUM|REFRESH|GRANT|REASSIGN)\b")


def _judged(hazard: Hazard, setup: str, bad: str) -> tuple[list[Finding], Schema]:
    judge = Judge(Options(environment=hazard.environment), today=date(2030, 1, 1))
    judge.replay(setup)
    for key, (rows, size) in hazard.sizes.items():
        for state in judge.schema.relations.values():
            if state.key.rpartition(".")[2] in (key, f"My {key}"):
                state.rows, state.bytes = rows, size
    found: list[Finding] = []
    for text in bad.split("-- next file\n"):
        phase = "contract" if "phase=contract" in text else "expand" if "phase=expand" in text else ""
        up, _, down = text.partition("-- lockgate: down\n")
        found += judge.judge(Source("file.sql", up, phase, "transaction=off" not in text, down, ())).findings
    return found + judge.finish(), judge.schema


def _names(schema: Schema) -> set[str]:
    names: set[str] = set()
    for key, state in schema.relations.items():
        names |= {key, *state.columns, *state.constraints, *state.triggers, *state.policies}
    names |= {*schema.indexes, *schema.types, *schema.functions, *schema.publications}
    return {name for name in names if re.fullmatch(r"[a-z_0-9]+", name)} - _WORDS


def _renamed(text: str, names: set[str]) -> str:
    """``text`` with every name in quotes and mixed case, outside of texts and comments."""
    if not names:
        return text
    word = re.compile(rf"(?<![\w\"])({'|'.join(sorted(names, key=len, reverse=True))})(?![\w\"])")
    parts, at = [], 0
    for match in _OPAQUE.finditer(text):
        parts += [word.sub(r'"My \1"', text[at : match.start()]), match[0]]
        at = match.end()
    return "".join([*parts, word.sub(r'"My \1"', text[at:])])


def _told(fix: str) -> str:
    """The SQL of a fix, without comments; empty where it is advice in words."""
    lines = [line.partition("--")[0].strip() for line in fix.split("\n")]
    kept = [line for line in lines if line and line != "In a file of its own, with"]
    return "\n".join(kept) if kept and _START.match(kept[0]) else ""


@pytest.mark.parametrize("hazard", HAZARDS.values(), ids=HAZARDS.keys())
def test_a_fix_names_what_is_there(hazard: Hazard) -> None:
    """With every name of the example in quotes and mixed case, in a schema of that kind, each fix parses and no name loses its quotes."""
    _, schema = _judged(hazard, hazard.setup, hazard.bad)
    at_first = _judged(hazard, hazard.setup, "SELECT 1;")[1]
    names = _names(schema) | _names(at_first)
    setup, bad = _renamed(hazard.setup, names), _renamed(hazard.bad, names)
    bad = "-- next file\n".join(_PATH + part for part in bad.split("-- next file\n"))
    findings, _ = _judged(hazard, _SCHEMA + setup, bad)
    for finding in findings:
        sql = _told(finding.fix)
        outside = re.sub(r'"(?:[^"]|"")*"|\'(?:[^\']|\'\')*\'', "x", sql)
        assert not re.search("My |Its ", outside), finding.fix
        assert not re.search(r'"Its Shop\.', sql), finding.fix
        if "…" not in sql.replace("(…)", ""):
            statements_of(sql.replace("(…)", "(x)"))


def _long(text: str, names: set[str]) -> str:
    """``text`` with every name as long as a name may be, outside of texts and comments."""
    if not names:
        return text
    word = re.compile(rf"(?<![\w\"])({'|'.join(sorted(names, key=len, reverse=True))})(?![\w\"])")
    parts, at = [], 0
    for match in _OPAQUE.finditer(text):
        parts += [word.sub(lambda found: found[1].ljust(63, "x"), text[at : match.start()]), match[0]]
        at = match.end()
    return "".join([*parts, word.sub(lambda found: found[1].ljust(63, "x"), text[at:])])


@pytest.mark.parametrize("hazard", HAZARDS.values(), ids=HAZARDS.keys())
def test_no_fix_makes_up_a_name_that_the_server_would_cut(hazard: Hazard) -> None:
    """With every name of the example 63 bytes long, no fix holds a longer one, not even one it made up."""
    _, schema = _judged(hazard, hazard.setup, hazard.bad)
    names = _names(schema) | _names(_judged(hazard, hazard.setup, "SELECT 1;")[1])
    findings, _ = _judged(hazard, _long(hazard.setup, names), _long(hazard.bad, names))
    for finding in findings:
        long = [name for name in words(_told(finding.fix)) if len(name.encode()) > 63]
        assert not long, finding.fix


_TABLES = (
    'CREATE SCHEMA "Billing";\nCREATE TABLE "Billing"."Invoice" ("Id" bigint PRIMARY KEY, "Note" text, "Total" integer);\n'
    'CREATE TABLE public."Who" ("Id" bigint PRIMARY KEY);'
)


@pytest.mark.parametrize(
    ("id", "statement", "told"),
    [
        ("col-drop", 'ALTER TABLE "Billing"."Invoice" DROP COLUMN "Note";', 'ALTER TABLE "Billing"."Invoice" DROP COLUMN "Note";'),
        ("col-set-not-null", 'ALTER TABLE "Billing"."Invoice" ALTER "Note" SET NOT NULL;', 'ADD CONSTRAINT "Invoice_Note_present" CHECK ("Note" IS NOT NULL)'),
        ("con-unique-direct", 'ALTER TABLE "Billing"."Invoice" ADD UNIQUE ("Note");', 'CREATE UNIQUE INDEX CONCURRENTLY "Invoice_key" ON "Billing"."Invoice" ("Note");'),
        ("tab-drop", 'DROP TABLE public."Who";', 'DROP TABLE public."Who";'),
        ("tab-rename", 'ALTER TABLE "Billing"."Invoice" RENAME TO "Bill";', 'CREATE VIEW "Billing"."Invoice" AS TABLE "Billing"."Bill";'),
        ("tab-rename", 'ALTER TABLE "Billing"."Invoice" SET SCHEMA public;', 'SET SCHEMA public;\nCREATE VIEW "Billing"."Invoice" AS TABLE public."Invoice";'),
        ("col-add-serial", 'ALTER TABLE "Billing"."Invoice" ADD "No" serial;', """nextval('"Billing"."Invoice_No_seq"')"""),
        ("idx-create-blocking", 'CREATE INDEX ON "Billing"."Invoice" ("Note");', 'CREATE INDEX CONCURRENTLY ON "Billing"."Invoice" ("Note");'),
    ],
)  # fmt: skip
def test_schemas_stand_where_sql_has_them(id: str, statement: str, told: str) -> None:
    """Indexes and constraints have no schema, tables, views and sequences keep the one that they were named with."""
    judge = Judge(today=date(2030, 1, 1))
    judge.replay(_TABLES)
    (fix,) = [one.fix for one in judge.judge(Source("2.sql", statement)).findings if one.id == id]
    assert told in fix
    statements_of(_told(fix))


def test_a_rename_is_answered_by_a_command_that_works() -> None:
    """The command has every parameter that the recipe requires, as a shell takes them, and says what to do before."""
    judge = Judge(today=date(2030, 1, 1))
    judge.replay(_TABLES)
    text = 'ALTER TABLE "Billing"."Invoice" RENAME COLUMN "Total" TO "Sum";'
    (fix,) = [one.fix for one in judge.judge(Source("2.sql", text)).findings if one.id == "col-rename"]
    first, command = fix.split("\n")
    assert "2.sql" in first
    words = shlex.split(command)
    assert words[:4] == ["lockgate", "new", "--recipe", "rename-column"]
    given = dict(word.split("=", 1) for word in words[5::2])
    assert given == {"table": '"Billing"."Invoice"', "column": '"Total"', "to": '"Sum"', "type": "int4"}
    assert steps_of("rename-column", "total", given)


def test_a_contract_file_is_not_told_to_be_one() -> None:
    """Where the file is contract already, the directive and the statement that it has are no fix."""
    judge = Judge(today=date(2030, 1, 1))
    judge.replay(_TABLES)
    text = (
        '-- lockgate: phase=contract\nALTER TABLE "Billing"."Invoice" DROP COLUMN "Note";\nDROP TABLE "Who";'
    )
    findings = judge.judge(Source("2.sql", text, phase="contract")).findings
    assert {"col-drop", "tab-drop"} <= {one.id for one in findings}
    assert all(not one.fix for one in findings if one.id in ("col-drop", "tab-drop"))


@pytest.mark.parametrize(
    ("parents", "told"), [(("a",), "; a is locked too"), (("a", "b"), "; a, b are locked too")]
)
def test_one_relation_is_and_two_are(parents: tuple[str, ...], told: str) -> None:
    """A sentence about one table has its verb in the singular."""
    judge = Judge(today=date(2030, 1, 1))
    keys = "".join(f", {name} bigint REFERENCES {name}" for name in parents)
    made = "".join(f"CREATE TABLE {name} (id bigint PRIMARY KEY);\n" for name in parents)
    judge.replay(f"{made}CREATE TABLE c (id bigint{keys});")
    (message,) = [
        one.message for one in judge.judge(Source("2.sql", "DROP TABLE c;")).findings if one.id == "tab-drop"
    ]
    assert message.endswith(told)
