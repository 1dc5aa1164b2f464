"""Every recipe: its files keep the contract, pass the policy, and run while both releases work."""

import datetime
import hashlib
from collections.abc import Callable

import psycopg
import pytest

from lockgate.migrations.contract import Prepared, prepare
from lockgate.migrations.files import Migration
from lockgate.moves.declaration import parse
from lockgate.policy.judge import Judge, Source
from lockgate.policy.recipes import RECIPES, Step, move_of, steps_of
from recipes.cases import CASES, ORDERS, Case

_DAY = 86_400_000
_IDS = [f"{case.recipe}-{number}" for number, case in enumerate(CASES)]
EXPLAINED = {"trigger-create", "con-fk-drop", "col-add-json"}
"""The warnings that docs/recipes.md explains."""
UNPROVED = {"col-set-not-null", "phase-contract-in-expand"}
"""What the judge must say of SET NOT NULL on a table that no file and no snapshot shows."""
every_case = pytest.mark.parametrize("case", CASES, ids=_IDS)


def _steps(case: Case) -> list[Step]:
    return steps_of(case.recipe, case.recipe.replace("-", "_"), case.values)


def _prepared(step: Step, number: int) -> Prepared:
    revision = f"{1_700_000_000_000 + number + step.waiting * 30 * _DAY:013d}"
    checksum = hashlib.sha256(step.text.encode()).hexdigest()
    migration = Migration(revision, step.name, f"{revision}_{step.name}.sql", checksum, step.text)
    prepared, problems = prepare(migration)
    assert prepared is not None, problems
    return prepared


def test_every_recipe_has_a_case():
    """No recipe goes untested."""
    assert {case.recipe for case in CASES} == set(RECIPES)


@every_case
def test_the_directives_say_what_the_step_says(case):
    """Phase, transaction mode and moves of a step stand in its file; contract files wait, the others do not."""
    for number, step in enumerate(_steps(case)):
        directives = _prepared(step, number).directives
        assert directives.phase == step.phase
        assert directives.transaction is step.transactional
        assert directives.after == tuple(f"move:{move}" for move in step.after)
        assert step.waiting is (step.phase == "contract")


@every_case
@pytest.mark.parametrize("known", [True, False], ids=["known tables", "unknown tables"])
def test_the_policy_finds_no_error(case, known):
    """The judge has no error for the files, and warns only of what docs/recipes.md explains."""
    judge = Judge(today=datetime.date(2026, 1, 1))
    if known:
        judge.replay(ORDERS + case.setup)
    findings = []
    for number, step in enumerate(_steps(case)):
        p = _prepared(step, number)
        source = Source(
            p.migration.file,
            p.migration.up,
            p.directives.phase,
            p.directives.transaction,
            "",
            p.directives.after,
        )
        findings += judge.judge(source).findings
    findings += judge.finish()
    assert not [
        f"{f.file}:{f.line} {f.id} {f.message}"
        for f in findings
        if f.severity == "error" and (known or f.id not in UNPROVED)
    ]
    warned = {f.id for f in findings if f.severity == "warning"}
    allowed = EXPLAINED | ({"env-table-unknown"} if not known else set())
    assert warned <= allowed, [f for f in findings if f.id in warned - allowed]


def _run(connection: psycopg.Connection[tuple[object, ...]], prepared: Prepared) -> None:
    if not prepared.directives.transaction:
        for statement in prepared.statements:
            connection.execute(statement.text)
        return
    with connection.transaction():
        for statement in prepared.statements:
            connection.execute(statement.text)


@every_case
@pytest.mark.postgres("16", "18")
def test_the_files_run_and_both_releases_live(case, database):
    """Expand, move and contract run on a table with rows; in between both releases read and write the same."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(ORDERS)
        connection.execute(case.setup or "SELECT 1")
        moved = not case.move
        steps = _steps(case)
        prepared = [_prepared(step, number) for number, step in enumerate(steps)]
        expand = [p for p in prepared if p.directives.phase == "expand"]
        for p in expand:
            if p.directives.after and not moved:
                connection.execute(case.move)
                moved = True
            _run(connection, p)
        if not moved:
            connection.execute(case.move)
        connection.execute(case.old or "SELECT 1")
        _true(connection.execute, case.same)
        for p in prepared[len(expand) :]:
            _run(connection, p)
        _true(connection.execute, case.new)


def _true(execute: Callable[[str], psycopg.Cursor[tuple[object, ...]]], query: str) -> None:
    assert execute(query).fetchall() == [(True,)], query


@every_case
def test_a_file_that_waits_has_a_declared_move(case, tmp_path):
    """Every recipe whose files wait for a move writes the declaration of that move, and it is one that `move` reads."""
    steps = steps_of(case.recipe, "the_change", case.values)
    declared = move_of(case.recipe, "the_change", case.values)
    waited = {move for step in steps for move in step.after}
    assert waited == ({declared.name} if declared is not None else set())
    if declared is not None:
        (tmp_path / "m.toml").write_text(declared.text, "utf-8")
        read = parse(tmp_path / "m.toml", declared.name)
        assert read.in_place
        assert dict(read.columns) == dict(declared.columns)


@pytest.mark.postgres("16", "18")
@pytest.mark.parametrize("recipe", ["split-table", "partition-table"])
def test_truncate_reaches_the_other_table(recipe, database):
    """TRUNCATE by the old release empties the new table, and in partition-table the other way round; rows that come after are kept in step."""
    case = next(case for case in CASES if case.recipe == recipe)
    new = case.values["to"]
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(ORDERS)
        for number, step in enumerate(_steps(case)):
            if not step.waiting:
                _run(connection, _prepared(step, number))
        connection.execute(case.move)
        connection.execute("TRUNCATE orders CASCADE")
        _true(connection.execute, f"SELECT count(*) = 0 FROM {new}")
        connection.execute("INSERT INTO orders (id, note) VALUES (1, 'later')")
        _true(connection.execute, f"SELECT count(*) = 1 FROM {new} WHERE note = 'later'")
        connection.execute(f"TRUNCATE {new}")
        _true(connection.execute, f"SELECT count(*) = {int(recipe == 'split-table')} FROM orders")


@pytest.mark.postgres("16", "18")
def test_the_new_release_writes_an_identity_key(database):
    """A key that is GENERATED ALWAYS takes the value that the row has in the partitioned table."""
    case = next(case for case in CASES if case.recipe == "partition-table")
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(ORDERS)
        connection.execute("ALTER TABLE orders ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY")
        for number, step in enumerate(_steps(case)):
            if not step.waiting:
                _run(connection, _prepared(step, number))
        connection.execute(case.move)
        connection.execute(
            "INSERT INTO orders_by_day (id, note, qty, made) VALUES (1002, 'by new', 1, '2027-01-01');"
            "UPDATE orders_by_day SET note = 'again' WHERE id = 1002"
        )
        _true(connection.execute, "SELECT count(*) = 1 FROM orders WHERE id = 1002 AND note = 'again'")
