"""`check` tells exactly what the file contract finds, whichever way a file was read."""

import random
from datetime import date
from pathlib import Path

import msgspec
import pytest

from lockgate.config import Settings
from lockgate.release.project import prepare_files, read_files
from lockgate.release.review import review
from support.calls import Project

CASES = Path(__file__).resolve().parents[1] / "cases"
NOISE = [
    "",
    "'",
    "(",
    ";",
    "\n",
    "$$",
    "--",
    "/*",
    "\u00e9",
    "\t",
    "COMMIT;",
    "\r",
    "x" * 70,
    "concurrently ",
]


@pytest.mark.parametrize("seed", range(3))
def test_the_contract_is_not_weakened(tmp_path, seed):
    """Over mutated SQL the review's problems are those of the contract alone, and nothing crashes."""
    dice = random.Random(seed)
    parts = [path.read_text() for path in sorted(CASES.glob("*/*.sql"))]
    project = Project(tmp_path)
    project.directory.mkdir(parents=True)
    for number in range(120):
        text = "".join(dice.sample(parts, dice.randint(1, 4)))
        for _ in range(dice.choice((0, 1, 2))):
            at = dice.randrange(len(text))
            text = text[:at] + dice.choice(NOISE) + text[at + dice.randint(0, 5) :]
        (project.directory / f"{1_700_000_000_000 + number}_mutated.sql").write_text(
            text, "utf-8", newline=""
        )
    project.lock()
    settings = msgspec.structs.replace(Settings(), root=tmp_path)
    files = read_files(settings)
    _, found = prepare_files(files.migrations, settings)
    answer = review(settings, today=date(2030, 1, 1))
    assert sorted((p.id, p.file, p.line) for p in [*files.problems, *found]) == sorted(
        (f.id, f.file, f.line) for f in answer.findings if f.id.isupper()
    )
