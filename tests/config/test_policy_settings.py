"""`[policy]` of lockgate.toml: what is accepted changes the verdict, what makes no sense is named."""

from pathlib import Path

import pytest

from lockgate.config import load
from lockgate.errors import ConfigError
from support.calls import Project

WRONG = [
    ('profile = "wild"', "policy.profile"),
    ("server_version = 9", "policy.server_version"),
    ('server_version = "16"', "policy.server_version"),
    ('judge_after = "17"', "policy.judge_after"),
    ("small_rows = -1", "policy.small_rows"),
    ("small_rows = 10\nbig_rows = 5", "policy.big_rows"),
    ("row_limit = -5", "policy.row_limit"),
    ('forbidden_types = [""]', "policy.forbidden_types"),
    ('required_columns = [" "]', "policy.required_columns"),
    ('forbidden_statements = ["a\\u0000b"]', "policy.forbidden_statements"),
    ("strict = true", "strict"),
]


@pytest.mark.parametrize(("text", "key"), WRONG)
def test_a_wrong_value_is_named(tmp_path: Path, text: str, key: str):
    """The file and the key stand in the message."""
    path = tmp_path / "lockgate.toml"
    path.write_text(f"[policy]\n{text}\n")
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    assert str(path) in caught.value.message
    assert key.removeprefix("policy.") in caught.value.message


def found(project: Project) -> set[str]:
    return {one["id"] for one in project.json("check").document("check")["findings"]}


CHANGES = [
    ('forbidden_types = ["jsonb"]', "CREATE TABLE a (id bigint PRIMARY KEY, j jsonb);\n", "col-policy"),
    ('required_columns = ["made_at"]', "CREATE TABLE a (id bigint PRIMARY KEY);\n", "col-policy"),
    (
        'forbidden_statements = ["CREATE VIEW"]',
        "CREATE VIEW v AS SELECT 1 AS a;\n",
        "rep-forbidden-statements",
    ),
]


@pytest.mark.parametrize(("setting", "sql", "hazard"), CHANGES)
def test_a_setting_reaches_the_rules(tmp_path: Path, setting: str, sql: str, hazard: str):
    """The finding comes with the setting, and only with it; an answer that was kept is not taken for it."""
    project = Project(tmp_path)
    project.write("change", sql)
    assert hazard not in found(project)
    project.configure(f"[policy]\n{setting}\n")
    assert hazard in found(project)


def test_files_up_to_judge_after_are_learnt_from(tmp_path: Path):
    """They give no finding of the policy, keep the contract, and their tables are known."""
    project = Project(tmp_path)
    revision = project.write(
        "old", "CREATE TABLE a (id bigint PRIMARY KEY);\nCREATE VIEW v AS SELECT * FROM a;\nDROP VIEW v;\n"
    )
    project.write("new", "CREATE INDEX a_id ON a (id);\n")
    project.configure(f'[policy]\njudge_after = "{revision}"\n')
    document = project.json("check").document("check")
    assert {one["file"][:13] for one in document["statements"]} == {f"{int(revision) + 1}"}
    assert "idx-create-blocking" in {one["id"] for one in document["findings"]}
