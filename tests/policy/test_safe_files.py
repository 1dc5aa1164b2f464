"""Files that are safe to ship: no finding above info, and the server agrees that nothing is written or read."""

from datetime import date
from pathlib import Path

import psycopg
import pytest
from claims import claim, differences, model_of
from observation import observe

from lockgate.policy.judge import Judge, Source
from lockgate.policy.model.replay import replay
from lockgate.postgres.embedded import Embedded
from lockgate.postgres.tree import statements_of
from support import servers

FOLDER = Path(__file__).parent.parent / "safe"
BASE = (FOLDER / "base.sql").read_text()
FILES = [path for path in sorted(FOLDER.glob("*.sql")) if path.name != "base.sql"]
PAGE = (Path(__file__).parents[2] / "docs" / "policy.md").read_text()
_EARLIER = "-- earlier: "

each_file = pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])


def _before(text: str) -> str:
    """The base, and what the file says that an earlier one did."""
    return BASE + "".join(
        line.removeprefix(_EARLIER) + "\n" for line in text.splitlines() if line.startswith(_EARLIER)
    )


@each_file
def test_no_alarm_is_raised(path: Path) -> None:
    """A safe file gives no finding above info, on its own and at the end of the history."""
    text = path.read_text()
    judge = Judge(today=date(2030, 1, 1))
    judge.replay(_before(text))
    found = judge.judge(Source(path.name, text, "", "transaction=off" not in text)).findings
    found += [late for late in judge.finish() if late.id != "con-notvalid-forgotten"]
    assert [finding for finding in found if finding.severity != "info"] == []


@pytest.mark.postgres("16", "18")
@each_file
def test_the_server_writes_nothing_anew(path: Path, server: Embedded) -> None:
    """No statement of a safe file replaces storage that was there before, and claims equal what the server shows."""
    text = path.read_text()
    if "transaction=off" in text:
        pytest.skip("runs outside of a transaction; idx-create-blocking's good example shows it")
    with (
        servers.fresh_database(server, "policy_safe") as url,
        psycopg.connect(url, autocommit=True) as connection,
    ):
        version = connection.info.server_version // 10000
        cursor = connection.cursor()
        cursor.execute("SET TimeZone = 'UTC'")
        cursor.execute(_before(text))  # type: ignore[call-overload]
        schema = model_of(_before(text), version=version)
        for item in statements_of(text):
            sql = text.encode()[item.start : item.end].decode()
            word, facts = claim(sql, schema, version)
            before = set(schema.relations)
            cursor.execute("BEGIN")
            seen = observe(cursor, sql)
            cursor.execute("COMMIT")
            assert not differences(word, facts, seen)
            assert not seen.rewrites & before or "same-file" in path.stem
            replay(schema, item.statement, 1)


def test_the_page_lists_them() -> None:
    """docs/policy.md names each safe file with its reason, in order, and no other."""
    table = PAGE.partition("<!-- safe: begin -->")[2].partition("<!-- safe: end -->")[0]
    listed = [tuple(line.split(" | ")) for line in table.splitlines() if line.startswith("| `")]
    reasons = []
    for path in FILES:
        said = [
            line for line in path.read_text().splitlines() if line.startswith("-- ") and ": " not in line[:20]
        ]
        reasons.append((f"| `{path.stem}`", said[0].removeprefix("-- ") + " |"))
    assert listed == reasons
