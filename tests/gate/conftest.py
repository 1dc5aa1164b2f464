"""Projects with a few applied files, and contracts for them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gate.contracts import write_contract
from support.calls import Project


@pytest.fixture
def project(tmp_path: Path, database: str) -> Project:
    """Three files, none applied."""
    made = Project(tmp_path, database)
    for name in ("a", "b", "c"):
        made.write(name, f"CREATE TABLE {name} (id bigint PRIMARY KEY, x text);\n")
    return made


@pytest.fixture
def applied(project: Project) -> Project:
    """Three files, all applied."""
    assert project.run("up").code == 0
    return project


@pytest.fixture
def gate_answer(applied: Project) -> Callable[..., tuple[str, int]]:
    """The answer and exit code of `gate` for files low to high of the applied project."""

    def answer(
        low: int = 1, high: int = 3, *, schema: dict[str, str] | None = None, **more: Any
    ) -> tuple[str, int]:
        environ = more.pop("environ", {})
        path = write_contract(applied.root, low, high, schema=schema or {}, **more)
        got = applied.json("gate", "--contract", path, **environ)
        return got.document("gate")["answer"], got.code

    return answer


@pytest.fixture
def gate_answer_of() -> Callable[[Project], tuple[str, int]]:
    """The answer and exit code of `gate` for files 1 to 3 of a project."""

    def answer(project: Project) -> tuple[str, int]:
        got = project.json("gate", "--contract", write_contract(project.root))
        return got.document("gate")["answer"], got.code

    return answer
