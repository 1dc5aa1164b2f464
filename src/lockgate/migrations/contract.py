"""The file contract: what a migration file may hold, judged without a database."""

import msgspec

from lockgate.config import Migrations
from lockgate.migrations.directives import DirectiveError, Directives, parse
from lockgate.migrations.files import Migration
from lockgate.migrations.finding import Problem, problem
from lockgate.postgres.script import ScriptError, Statement, literals, split
from lockgate.record.words import counted


class Prepared(msgspec.Struct, frozen=True):
    """A migration that is ready to run: its directives and the statements of its up and down sections."""

    migration: Migration
    directives: Directives
    statements: tuple[Statement, ...]
    down: tuple[Statement, ...] | None = None

    @property
    def revision(self) -> str:
        """The 13 digits that order it."""
        return self.migration.revision


def prepare(migration: Migration, limits: Migrations | None = None) -> tuple[Prepared | None, list[Problem]]:
    """Split and judge one file. Returns None with the problems when any of them is an error."""
    limits = limits or Migrations()
    file = migration.file
    try:
        directives = parse(migration.up)
    except DirectiveError as error:
        return None, [problem("FILE_DIRECTIVE", file, error.line, str(error))]
    allowed = frozenset(limits.allow_functions)
    try:
        statements = split(migration.up, allow_functions=allowed)
    except ScriptError as error:
        return None, [problem(error.code, file, error.line, str(error))]
    problems = _judge(file, statements, directives.transaction, limits)
    down: tuple[Statement, ...] | None = None
    if migration.down is not None:
        offset = migration.text.count("\n", 0, len(migration.text) - len(migration.down))
        try:
            down = tuple(split(migration.down, allow_functions=allowed))
        except ScriptError as error:
            problems.append(problem(error.code, file, error.line + offset, f"in the down section: {error}"))
        else:
            problems += [
                msgspec.structs.replace(p, line=p.line + offset)
                for p in _judge(file, list(down), directives.transaction, limits)
            ]
    if problems:
        return None, problems
    return Prepared(migration, directives, tuple(statements), down), []


def _judge(file: str, statements: list[Statement], transactional: bool, limits: Migrations) -> list[Problem]:
    if not statements:
        return [problem("FILE_EMPTY", file, 1, "no statement in it")]
    if len(statements) > limits.max_statements:
        return [
            problem(
                "FILE_SIZE",
                file,
                1,
                f"{counted(len(statements), 'statement')}; the limit is {limits.max_statements} (migrations.max_statements)",
            )
        ]
    problems = [problem(s.problem[0], file, s.line, s.problem[1]) for s in statements if s.problem]
    if transactional:
        problems += [
            problem(
                "FILE_NEEDS_TRANSACTION_OFF",
                file,
                s.line,
                f"{_first_words(s.text)} cannot run inside a transaction",
            )
            for s in statements
            if s.alone
        ]
        problems += _enum_use(file, statements)
    problems += [
        problem(
            "FILE_SYNTAX",
            file,
            s.line,
            "an index that is built concurrently needs a name, so that a half-built one can be found again",
            "Name the index: CREATE INDEX CONCURRENTLY <name> ON ...",
        )
        for s in statements
        if s.alone and s.alone.kind == "create_index" and not s.alone.name
    ]
    return problems


def _enum_use(file: str, statements: list[Statement]) -> list[Problem]:
    made = {s.creates_type for s in statements if s.creates_type}
    problems = []
    for number, statement in enumerate(statements):
        if statement.enum_value is None or statement.enum_value[0] in made:
            continue
        kind, value = statement.enum_value
        for later in statements[number + 1 :]:
            shown = (
                value in later.text or "'" in value or "\\" in later.text
            )  # a quoted value is spelled otherwise
            if later.enum_value is None and shown and value in literals(later.text):
                problems.append(
                    problem(
                        "FILE_ENUM_USE",
                        file,
                        later.line,
                        f"uses '{value}', which line {statement.line} adds to {kind} in the same transaction",
                    )
                )
                break
    return problems


def _first_words(text: str) -> str:
    words = text.split()
    return " ".join(words[: 4 if "CONCURRENTLY" in (w.upper() for w in words[:4]) else 2])
