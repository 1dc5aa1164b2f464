"""`lockgate gate` on a real server: every answer, its exit code, and its one JSON document."""

import json
import os
import signal
import subprocess

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from gate.contracts import R, ask, write_contract
from lockgate.gate import Contract, check
from lockgate.postgres.gate import FLOOR_KEY
from lockgate.postgres.guard import GUARD_KEY, WORK_KEY, key_halves
from lockgate.postgres.home import FORMAT, steps
from lockgate.postgres.intents import INTENT_KEY
from support.calls import COMMAND, finish
from support.processes import until

pytestmark = pytest.mark.postgres("16", "18")


def test_the_window(gate_answer, applied):
    """READY, BEHIND, AHEAD_OK, and after a contract-phase file AHEAD_TOO_FAR, with their exit codes."""
    assert gate_answer(1, 3) == ("READY", 0)
    assert gate_answer(3, 5) == ("READY", 0)
    assert gate_answer(4, 5) == ("BEHIND", 1)
    assert gate_answer(1, 2) == ("AHEAD_OK", 0)
    applied.write("drop_x", "-- lockgate: phase=contract\nALTER TABLE a DROP COLUMN x;\n")
    assert applied.run("up").code == 0
    assert gate_answer(1, 3) == ("AHEAD_TOO_FAR", 1)
    assert gate_answer(1, 4) == ("READY", 0)


def test_before_the_first_run(project):
    """A database without schema lockgate is BEHIND, told by one document, and nothing was made."""
    answer = project.json(
        "gate", "--contract", write_contract(project.root, indexes={"docs": {"spec_hash": "s"}})
    )
    assert answer.code == 1
    assert answer.document("gate")["answer"] == "BEHIND"
    assert ask(project.environ["DATABASE_URL"], "SELECT to_regnamespace('lockgate')") == [(None,)]


def test_an_older_format(gate_answer, applied, database):
    """A database of format 1 is judged by its window; what it cannot tell is a doubt, not a pass."""
    ask(database, "DROP SCHEMA lockgate CASCADE")
    ask(database, "BEGIN;" + dict(steps())[1] + "INSERT INTO lockgate.format (number) VALUES (1); COMMIT")
    assert gate_answer(1, 3) == ("BEHIND", 1)
    ask(
        database,
        "INSERT INTO lockgate.migration_history SELECT %s, now(), 'c', 'o', 'n', 1, 'expand', 'applied', now(), 0, 'r', NULL, '1', 1, '0', NULL, '', '', ''",
        R[3],
    )
    assert gate_answer(1, 3) == ("READY", 0)
    assert gate_answer(1, 3, schema={"digest": "a" * 64}) == ("UNKNOWN", 5)


def test_unreachable_and_other_doubts(project, database):
    """Nobody listens: 69. A login that is refused, a role without grants: 5. JSON in every case."""
    path = write_contract(project.root)
    gone = project.json("gate", "--contract", path, DATABASE_URL="postgresql://u@127.0.0.1:1/none")
    assert (gone.code, gone.document("gate")["answer"]) == (69, "UNKNOWN")
    refused = project.json(
        "gate", "--contract", path, DATABASE_URL=make_conninfo(database, user="nobody_of_this_name")
    )
    assert (refused.code, refused.document("gate")["answer"]) == (5, "UNKNOWN")
    assert project.run("up").code == 0
    role = f"poor_{R[1]}_{project.root.name}"[:60].lower()
    ask(database, f'CREATE ROLE "{role}" LOGIN')
    try:
        poor = project.json("gate", "--contract", path, DATABASE_URL=make_conninfo(database, user=role))
        document = poor.document("gate")
        assert (poor.code, document["answer"]) == (5, "UNKNOWN")
        assert any("lockgate roles" in c["next"] for c in document["conditions"])
    finally:
        ask(database, f'DROP ROLE "{role}"')


def test_unreachable_beside_a_definite_no(project):
    """A probe that is down beside an unreachable database: a definite no, exit 1."""
    path = write_contract(project.root, probes=[{"name": "flag", "kind": "file", "path": "/nowhere/at/all"}])
    answer = project.json("gate", "--contract", path, DATABASE_URL="postgresql://u@127.0.0.1:1/none")
    assert (answer.code, answer.document("gate")["answer"]) == (1, "PROBE_FAILED")


def test_a_wrong_contract(project):
    """A wrong contract is exit 2 with an error document, before the database is asked; unknown keys only warn."""
    path = write_contract(project.root)
    wrong = project.json(
        "gate", "--contract", str(project.root / "none.json"), DATABASE_URL="postgresql://u@127.0.0.1:1/none"
    )
    assert wrong.code == 2
    wrong.error("CONTRACT")
    assert project.run("up").code == 0
    warned = project.json("gate", "--contract", write_contract(project.root, later=True))
    assert warned.code == 0
    assert "later" in warned.document("gate")["warnings"][0]
    assert project.json("gate", LOCKGATE_CONTRACT=path).code == 0


def test_the_contract_of_the_working_directory(applied):
    """`gate contract --output` writes the file that `gate`, `gate wait` and `run` take by themselves; without any, the error names that command."""
    none = applied.json("gate")
    assert none.code == 2
    assert "lockgate gate contract --output lockgate.contract.json" in none.error("CONTRACT")["next"]
    printed = applied.run("gate", "contract")
    assert "starts on this schema only; --min REVISION" in printed.err
    assert "lockgate gate contract --output lockgate.contract.json" in printed.err
    made = applied.run("gate", "contract", "--output", "lockgate.contract.json")
    assert (made.code, made.out) == (0, "")
    assert "lockgate run -- CMD" in made.err
    assert json.loads(printed.out) == json.loads((applied.root / "lockgate.contract.json").read_text())
    for call in (("gate",), ("gate", "wait"), ("run", "--", "true")):
        done = applied.run(*call)
        assert done.code == 0, done
    late = applied.run("gate", LOCKGATE_SCHEMA_MIN=R[5], LOCKGATE_SCHEMA_MAX=R[5])
    assert late.code == 1, "the environment is asked first"


def test_waiting_that_cannot_help_is_told_so(applied):
    """An answer that waiting does not change is not told with a rest of time."""
    applied.write("drop_x", "-- lockgate: phase=contract\nALTER TABLE a DROP COLUMN x;\n")
    assert applied.run("up").code == 0
    done = applied.run("gate", "wait", LOCKGATE_SCHEMA_MIN=R[1], LOCKGATE_SCHEMA_MAX=R[3])
    assert done.code == 1
    assert "; waiting cannot help" in done.err
    assert "s left" not in done.err


def test_a_wrong_url_is_usage(project):
    """A URL that is none is exit 2, as everywhere."""
    assert project.json("gate", "--contract", write_contract(project.root), DATABASE_URL="nonsense").code == 2


def test_the_digest(gate_answer, applied, database):
    """The digest over (revision, checksum) that the files give equals that of the database; another is CHECKSUM_MISMATCH."""
    digest = ask(database, "SELECT lockgate.history_digest_v1(%s)", R[3])[0][0]
    made = applied.json("gate", "contract", "--release-id", "r7", "--min", R[1])
    written = json.loads(made.out)
    below = {r: ask(database, "SELECT lockgate.history_digest_v1(%s)", r)[0][0] for r in (R[1], R[2])}
    assert written["schema"] == {"min": R[1], "max": R[3], "digest": digest, "digests": below}
    assert f"schema {R[1]} to {R[3]}, 3 revisions" in made.err
    assert gate_answer(1, 3, schema={"digest": digest}) == ("READY", 0)
    assert gate_answer(1, 3, schema={"digest": "0" * 64}) == ("CHECKSUM_MISMATCH", 1)
    applied.write("d", "CREATE TABLE d (id bigint PRIMARY KEY);\n")
    assert applied.run("up").code == 0
    assert gate_answer(1, 3, schema={"digest": digest}) == ("AHEAD_OK", 0), "newer files do not change it"


def test_the_digest_below_max(applied):
    """While the database is inside the window and below max, other files than the image's are a CHECKSUM_MISMATCH there, too."""
    applied.write("d", "CREATE TABLE d (id bigint PRIMARY KEY);\n")
    made = applied.run("gate", "contract", "--min", R[2], "--output", "lockgate.contract.json")
    assert made.code == 0, made
    assert applied.json("gate").code == 0
    path = applied.root / "lockgate.contract.json"
    written = json.loads(path.read_text())
    assert sorted(written["schema"]["digests"]) == [R[2], R[3]]
    written["schema"]["digests"][R[3]] = "0" * 64
    path.write_text(json.dumps(written))
    refused = applied.json("gate")
    assert (refused.code, json.loads(refused.out)["answer"]) == (1, "CHECKSUM_MISMATCH")
    assert applied.run("up").code == 0
    assert applied.json("gate").code == 0, "from max on that of max counts"


def test_a_run_in_progress_and_one_that_died(gate_answer, applied, database):
    """A live run: MIGRATING. Killed in the middle of a transactional file: what it left is judged. Half-done journal: PARTIAL."""
    applied.write("slow", "SELECT pg_sleep(60);\n")
    process = subprocess.Popen(
        [*COMMAND, "up"],
        cwd=applied.root,
        env={**os.environ, **applied.environ},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(
            lambda: ask(
                database,
                "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%%pg_sleep(60)%%' AND state = 'active' AND pid <> pg_backend_pid() AND datname = current_database()",
            )
        )
        assert gate_answer(1, 3) == ("MIGRATING", 1)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    until(lambda: gate_answer(1, 3) == ("READY", 0))
    ask(
        database,
        "INSERT INTO lockgate.migration_step (revision_id, number, statement_hash, statement, kind, state, run_id, epoch) VALUES (%s, 1, 'h', 's', 'k', 'running', 'r', 1)",
        R[4],
    )
    assert gate_answer(1, 3) == ("PARTIAL", 1)


def test_what_the_environment_says(gate_answer, database):
    """Accepted secrets with a rotation, the live index generation, a move's stage: each is a condition, each with its answer."""
    ask(database, "INSERT INTO lockgate.accepted_secrets (revision, actor) VALUES ('s1', 'a'), ('s2', 'a')")
    assert gate_answer() == ("SECRETS_MISMATCH", 1)
    for revision, expected in (("s1", 0), ("s2", 0), ("s0", 1)):
        assert gate_answer(environ={"LOCKGATE_SECRETS_REVISION": revision})[1] == expected
    ask(database, "UPDATE lockgate.accepted_secrets SET accepted_until = now() WHERE revision = 's1'")
    assert gate_answer(environ={"LOCKGATE_SECRETS_REVISION": "s1"}) == ("SECRETS_MISMATCH", 1)
    ask(database, "DELETE FROM lockgate.accepted_secrets")
    indexes = {"docs": {"spec_hash": "spec"}}
    assert gate_answer(indexes=indexes) == ("INDEX_MISMATCH", 1)
    ask(
        database,
        "INSERT INTO lockgate.live_index (name, generation, spec_hash) VALUES ('docs', 'g1', 'spec')",
    )
    assert gate_answer(indexes=indexes) == ("INDEX_MISMATCH", 1)
    ask(database, "UPDATE lockgate.live_index SET index_hash = 'sealed'")
    assert gate_answer(indexes=indexes) == ("READY", 0)
    assert gate_answer(indexes=indexes, environ={"LOCKGATE_INDEX_HASHES": "docs=old"}) == (
        "INDEX_MISMATCH",
        1,
    )
    assert gate_answer(moves={"orders": "reconciled"}) == ("MOVE_NOT_READY", 1)
    ask(
        database,
        "INSERT INTO lockgate.move (name, stage, declaration, declaration_hash, source_oid, target_oid, same_database, operator) VALUES ('orders', 'cut_over', '{}', '', 1, 1, true, 'me')",
    )
    assert gate_answer(moves={"orders": "reconciled"}) == ("READY", 0)


def test_one_connection_and_one_query(applied, database):
    """Five checks cost the server what five connections cost that send one SELECT each: sessions and transactions."""
    contract = Contract(min=R[1], max=R[3])
    with psycopg.connect(database, autocommit=True, dbname="postgres") as observer:
        name = conninfo_to_dict(database)["dbname"]

        def counted() -> tuple[int, int]:
            return observer.execute(
                "SELECT sessions, xact_commit + xact_rollback FROM pg_stat_database WHERE datname = %s",
                [name],
            ).fetchone()

        def nobody() -> bool:
            row = observer.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = %s", [name]
            ).fetchone()
            return row == (0,)

        def cost(act) -> tuple[int, int]:
            until(nobody)
            before = counted()
            for _ in range(5):
                act()
            until(nobody)  # a session hands its figures in before it is gone
            after = counted()
            return after[0] - before[0], after[1] - before[1]

        assert cost(lambda: check(contract, database)) == cost(lambda: ask(database, "SELECT 1"))


def test_it_waits_until_ready(project):
    """gate wait: not ready until up has run in between, then 0; a final answer or the end of its time ends it."""
    path = write_contract(project.root)
    waiting = project.start("gate", "wait", "--contract", path, "--timeout", "30", "--format", "json")
    line = waiting.stderr.readline()
    assert "BEHIND" in line
    assert project.run("up").code == 0
    out, _ = waiting.communicate(timeout=30)
    assert waiting.returncode == 0
    assert json.loads(out)["answer"] == "READY"
    late = project.json("gate", "wait", "--contract", write_contract(project.root, 5, 6), "--timeout", "0.3")
    assert (late.code, late.document("gate")["answer"]) == (1, "BEHIND")
    project.write("drop_x", "-- lockgate: phase=contract\nALTER TABLE a DROP COLUMN x;\n")
    assert project.run("up").code == 0
    final = project.json("gate", "wait", "--contract", write_contract(project.root), "--timeout", "600")
    assert (final.code, final.document("gate")["answer"]) == (1, "AHEAD_TOO_FAR")


def test_a_one_shot_gate_registers_nothing(gate_answer, applied, database):
    """gate and gate wait leave no instance behind."""
    assert gate_answer() == ("READY", 0)
    assert applied.run("gate", "wait", "--contract", write_contract(applied.root)).code == 0
    assert ask(database, "SELECT count(*) FROM lockgate.instance") == [(0,)]


def test_the_keys_in_the_sql_are_those_of_the_code():
    """The advisory keys that the SQL files spell out are those that runners, gates and drains take."""
    assert f"({INTENT_KEY})" in dict(steps())[3]
    sql = dict(steps())[2]
    for key in (GUARD_KEY, WORK_KEY):
        assert f"({', '.join(key_halves(key))})" in sql
    assert str(FLOOR_KEY) in sql


_OLDER = """
import sys
from lockgate.postgres import home
older = int(sys.argv.pop())
first = home.steps()[:older]
home.FORMAT, home.steps = older, lambda: first
sys.argv = ["lockgate", "up"]
from lockgate.cli.main import main
main()
"""


@pytest.mark.parametrize("older", range(1, FORMAT))
def test_up_brings_an_older_format_up_when_nothing_is_pending(older, project, database, gate_answer_of):
    """A database that an older lockgate left at an older format: `up` with nothing pending brings the tables that gates rely on."""
    done = finish(project.python("-c", _OLDER, str(older)))
    assert done.code == 0, done.err
    assert ask(database, "SELECT max(number) FROM lockgate.format") == [(older,)]
    assert gate_answer_of(project) == ("READY", 0)
    if older == 1:
        assert project.json("readonly", "on", "--reason", "x").error("HOME_OLDER")["next"] == "lockgate up"
    assert project.json("readonly", "intents").error("HOME_OLDER")["next"] == "lockgate up"
    assert project.run("up").code == 0
    assert ask(database, "SELECT max(number) FROM lockgate.format") == [(FORMAT,)]
    assert gate_answer_of(project) == ("READY", 0)
    assert project.json("readonly", "on", "--reason", "x").code == 0
