"""Indexes in a release: built beside what serves, validated, asked shadow queries, swapped, watched, and taken back by themselves."""

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from faults.relay import Line
from release.test_kill import TOKEN, hurt
from support.asked import start_asking
from support.calls import Answer, Project, finish

pytestmark = pytest.mark.postgres("18")

GOLD = Path(__file__).resolve().parents[2] / "examples" / "gold"
ONE, TWO = "1" * 40, "2" * 40
ENV = '[env.production]\nurl_env = "PRODUCTION_URL"\n'
RELEASE = ("release", "--env", "production", "--sha")


def declare(project: Project, *, dtype: str = "float32", more: str = "") -> None:
    # Latency is judged in test_watching.py; here a busy machine is no finding.
    project.configure(
        ENV
        + f'[index.help]\nrecords = "corpus.jsonl"\nembedder = "hashing:256"\ndtype = "{dtype}"\nann = "hnsw:m=16,ef_construction=64"\n'
        f'gold = "gold"\ninterval = "10ms"\nmax_latency_increase_percent = 1000\n{more}'
    )


@pytest.fixture
def project(make: Callable[..., Project]) -> Project:
    """A project with one declared index, whose first generation serves after a release."""
    made = make()
    shutil.copytree(GOLD, made.root / "gold")
    shutil.copy(GOLD / "corpus.jsonl", made.root / "corpus.jsonl")
    declare(made)
    made.ok("release", *RELEASE, ONE)
    return made


def serving(url: str) -> tuple[str, str]:
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "SELECT generation, index_hash FROM lockgate.live_index WHERE name = 'help'"
        ).fetchone()
    assert found is not None
    return found


def step(document: dict, name: str) -> dict:
    return next(s for s in document["steps"] if s["name"] == name)


def test_a_changed_declaration_is_carried_through(project: Project, database: str):
    """The first release builds and swaps; a changed declaration builds beside it, passes its validation and shadow queries, is swapped and watched."""
    first = serving(database)
    declare(project, dtype="float16")
    document = project.ok("release", *RELEASE, TWO)
    assert (step(document, "indexes")["state"], step(document, "index-watch")["state"]) == ("done", "done")
    live = serving(database)
    assert (first[0], live[0]) == ("0001", "0002")
    release = json.loads((project.root / ".artifacts" / "deploy" / TWO / "release.json").read_text())
    told = step(release, "indexes")["evidence"]["help"]
    assert (told["stage"], told["before"], told["generation"], told["verdict"]) == (
        "swapped",
        "0001",
        "0002",
        "pass",
    )
    assert told["shadow"]["queries"] > 20
    assert told["shadow"]["short"] == 0
    assert told["cacheNamespace"] == f"help:{live[1][:16]}" != f"help:{first[1][:16]}"
    assert step(release, "index-watch")["evidence"]["help"]["verdict"] == "pass"


def test_an_unchanged_declaration_changes_nothing(project: Project, database: str):
    """What serves is what is declared: nothing is built, nothing is watched."""
    before = serving(database)
    document = project.ok("release", *RELEASE, TWO)
    assert step(document, "indexes")["message"] == "help: 0001 serves already"
    assert step(document, "index-watch")["state"] == "skipped"
    assert serving(database) == before


def test_an_image_that_asks_for_another_index(project: Project, database: str):
    """The contract of the candidate asks for another specification than is declared: the release ends before anything is built; with the declared one it goes on."""
    with psycopg.connect(database) as connection:
        (spec,) = connection.execute("SELECT spec_hash FROM lockgate.live_index").fetchone() or ("",)
    contract = project.root / "candidate.json"
    declare(project, dtype="float16")

    def release(asked: str) -> Answer:
        contract.write_text(
            json.dumps(
                {"schema": {"min": "", "max": "9999999999999"}, "indexes": {"help": {"spec_hash": asked}}}
            )
        )
        return project.json(*RELEASE, TWO, "--contract", "candidate.json")

    refused = release(spec).error("INDEX_SPEC")
    assert refused["exitCode"] == 2
    assert serving(database)[0] == "0001"
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM lockgate.index_generation").fetchone() == (1,)
    assert release(refused["details"]["specHash"]).code == 0
    assert serving(database)[0] == "0002"


def test_a_worse_generation_never_serves(project: Project, database: str):
    """A quarter of the documents is gone from the source: the release fails before the swap and names the cause."""
    lines = (GOLD / "corpus.jsonl").read_text().splitlines(keepends=True)
    (project.root / "corpus.jsonl").write_text("".join(line for n, line in enumerate(lines) if n % 4))
    declare(project, more='rebuild = "always"\n')
    answer = project.json(*RELEASE, TWO)
    told = answer.error("INDEX_DRIFT")
    assert answer.code == 1
    assert "documents-missing" in told["message"]
    assert serving(database)[0] == "0001"


def test_a_set_that_is_too_small_holds_the_release(project: Project, database: str):
    """Twelve gold queries cannot tell: the release is held, and the old generation goes on serving."""
    lines = (GOLD / "queries.jsonl").read_text().splitlines(keepends=True)[:12]
    (project.root / "gold" / "queries.jsonl").write_text("".join(lines))
    kept = {json.loads(line)["_id"] for line in lines}
    rows = (GOLD / "qrels.tsv").read_text().splitlines(keepends=True)
    (project.root / "gold" / "qrels.tsv").write_text(
        "".join(r for r in rows if r.split("\t")[0] in kept or r.startswith("query"))
    )
    declare(project, dtype="float16")
    answer = project.json(*RELEASE, TWO)
    answer.error("INDEX_HELD")
    assert answer.code == 5
    assert serving(database)[0] == "0001"


def test_without_a_gold_set_nothing_is_swapped_blindly(project: Project, database: str):
    """A second generation without a gold set is built and kept, and the release refuses to swap to it."""
    declare(project, dtype="float16")
    text = (project.root / "lockgate.toml").read_text()
    project.configure(text.replace('gold = "gold"\n', ""))
    project.json(*RELEASE, TWO).error("INDEX_NOT_READY")
    assert serving(database)[0] == "0001"


SAMPLE = ["release:indexes:built", "index:swap:committed"]
POINTS = [
    "release:indexes:begun",
    "index:build:begin",
    "release:indexes:validated",
    "index:swap:moved",
    "release:indexes:swapped",
    "release:indexes:acted",
    "index:watch:looked",
    "release:index-watch:acted",
]


@pytest.mark.parametrize("point", [*SAMPLE, *(pytest.param(p, marks=pytest.mark.soak) for p in POINTS)])
def test_killed_and_resumed(project: Project, database: str, point: str):
    """kill -9 at a step of an index in a release, then `release resume`: one new generation, swapped once, as undisturbed."""
    declare(project, dtype="float16")
    killed = hurt(project, point, *RELEASE, TWO)
    assert killed.code == -signal.SIGKILL, killed
    assert serving(database)[0] in ("0001", "0002")
    document = project.ok("release", "release", "resume", "--env", "production")
    assert [step(document, n)["state"] for n in ("indexes", "index-watch")] == ["done", "done"]
    assert serving(database)[0] == "0002"
    with psycopg.connect(database) as connection:
        states = connection.execute(
            "SELECT generation, state, verdict FROM lockgate.index_generation ORDER BY 1"
        ).fetchall()
        swaps = connection.execute(
            "SELECT to_generation FROM lockgate.index_event WHERE kind = 'swap' ORDER BY id"
        ).fetchall()
    assert states == [("0001", "sealed", ""), ("0002", "sealed", "pass")]
    assert swaps == [("0001",), ("0002",)]


def test_a_release_whose_index_got_worse_has_failed(project: Project, database: str):
    """After the swap a tenth of the live vectors is overwritten: the watch takes the alias back by itself and the release fails; a resume does not swap again."""
    declare(project, dtype="float16")
    with psycopg.connect(database, autocommit=True) as connection:
        # The rows are spoilt by the swap itself: what a writer on the wrong model would do to the new generation.
        connection.execute(
            "CREATE FUNCTION lockgate_index.spoil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " IF NEW.generation = '0002' THEN UPDATE lockgate_index.help__0002 SET embedding = (SELECT array_agg(sin(i * length(text))) FROM generate_series(1, 256) i)::real[]::vector(256)::halfvec(256); END IF;"
            " RETURN NEW; END $$"
        )
        connection.execute(
            "CREATE TRIGGER spoil AFTER INSERT OR UPDATE ON lockgate.live_index FOR EACH ROW EXECUTE FUNCTION lockgate_index.spoil()"
        )
    answer = project.json(*RELEASE, TWO)
    answer.error("INDEX_WATCH_ABORTED")
    assert answer.code == 1
    assert serving(database)[0] == "0001"
    project.json("release", "resume", "--env", "production").error("INDEX_WATCH_ABORTED")
    assert serving(database)[0] == "0001"


def test_shadow_queries_that_get_fewer_answers_stop_the_swap(project: Project, database: str, tmp_path: Path):
    """Documents that are lost after the validation are missed by the shadow queries: the release fails, the old generation serves."""
    declare(project, dtype="float16")
    line = Line(str(tmp_path / "line"))
    process = start_asking(project, "release:indexes:validated", line, *RELEASE, TWO, SMOKE_TOKEN=TOKEN)
    try:
        line.wait(60)
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute(
                "DELETE FROM lockgate_index.help__0002 WHERE id NOT IN (SELECT id FROM lockgate_index.help__0002 LIMIT 3)"
            )
    finally:
        line.close()
    answer = finish(process)
    told = answer.error("INDEX_SHADOW")
    assert answer.code == 3
    assert "shadow queries get fewer answers than before" in told["message"]
    assert serving(database)[0] == "0001"
