"""Each hazard's examples: test, documentation and proof at once."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import psycopg
import pytest
from claims import claim, differences, model_of
from observation import observe, observe_outside

from lockgate.policy.finding import Finding
from lockgate.policy.hazard import Hazard
from lockgate.policy.judge import Judge, Source
from lockgate.policy.model.replay import replay
from lockgate.policy.rules import HAZARDS
from lockgate.policy.subject import Options
from lockgate.postgres.embedded import Embedded
from lockgate.postgres.tree import statements_of
from support import servers

CASES = Path(__file__).parent.parent / "cases"
_TODAY = date(2030, 1, 1)

every_hazard = pytest.mark.parametrize("hazard", HAZARDS.values(), ids=HAZARDS.keys())


def _read(hazard: Hazard, name: str) -> str:
    return (CASES / hazard.id / f"{name}.sql").read_text()


def _source(text: str) -> Source:
    phase = "expand" if "phase=expand" in text else "contract" if "phase=contract" in text else ""
    up, _, down = text.partition("-- lockgate: down\n")
    after = ("move:example",) if "after=move:example" in up else ()
    return Source("file.sql", up, phase, "transaction=off" not in text, down, after)


def _judged(hazard: Hazard, name: str) -> list[Finding]:
    judge = Judge(Options(environment=hazard.environment), today=_TODAY)
    judge.replay(hazard.setup)
    for key, (rows, size) in hazard.sizes.items():
        judge.schema.relations[key].rows, judge.schema.relations[key].bytes = rows, size
    found: list[Finding] = []
    for text in _read(hazard, name).split("-- next file\n"):
        found += judge.judge(_source(text)).findings
    return found + judge.finish()


@every_hazard
def test_files_are_in_step_with_the_data(hazard: Hazard) -> None:
    """The case files are the examples of the hazard's record (write them with ``python tests/policy/write_cases.py``)."""
    assert _read(hazard, "bad") == hazard.bad + "\n"
    assert _read(hazard, "good") == hazard.good + "\n"
    if hazard.setup:
        assert _read(hazard, "setup") == hazard.setup + "\n"


@every_hazard
def test_bad_is_found_and_good_is_not(hazard: Hazard) -> None:
    """The bad example has the hazard, with a message and the right severity; the good one has not."""
    bad = [finding for finding in _judged(hazard, "bad") if finding.id == hazard.id]
    assert bad
    assert all(finding.message and finding.severity in ("error", "warning", "info") for finding in bad)
    good = [finding for finding in _judged(hazard, "good") if finding.id == hazard.id]
    # A drop stays a drop: in a contract file it is told, not refused.
    assert not good or (
        hazard.contract_severity and all(f.severity == hazard.contract_severity for f in good)
    )


@pytest.fixture(scope="module")
def url(server: Embedded) -> Iterator[str]:
    with servers.fresh_database(server, "policy_cases") as made:
        yield made


@pytest.mark.postgres("16", "18")
@pytest.mark.parametrize("name", ["bad", "good"])
@every_hazard
def test_examples_do_what_they_claim(hazard: Hazard, name: str, url: str) -> None:
    """Each statement of the examples locks, rewrites and scans on a real server what we say it does."""
    if hazard.unproven:
        pytest.skip(hazard.unproven)
    text = _read(hazard, name)
    wrong = []
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.cursor()
        cursor.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        cursor.execute(hazard.setup or "SELECT 1")  # type: ignore[call-overload]
        version = connection.info.server_version // 10000
        schema = model_of(hazard.setup)
        for item in statements_of(text):
            sql = text.encode()[item.start : item.end].decode()
            word, facts = claim(sql, schema, version)
            if facts.transactional:
                cursor.execute("BEGIN")
                seen = observe(cursor, sql)
                cursor.execute("COMMIT")
            else:
                seen = observe_outside(url, sql, [key for key in facts.locks if key in schema.relations])
            found = differences(word, facts, seen, outside=not facts.transactional)
            wrong += [f"{sql}\n    {difference}" for difference in found]
            replay(schema, item.statement, 1)
    assert not wrong, "\n" + "\n".join(wrong)
