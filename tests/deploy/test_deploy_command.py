"""`check --deploy PATH`: what the scan finds stands beside the findings of the files, in every format."""

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from lockgate.policy.deploy import KINDS
from support.calls import Project

DOCKERFILE = "FROM python\nENV DATABASE_URL=postgresql://app:hunter2hunter2@db/app\nCMD alembic upgrade head && gunicorn app\n"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """One harmless file, and an image that migrates when it starts."""
    made = Project(tmp_path)
    made.write("tables", "CREATE TABLE orders (id bigint PRIMARY KEY);\n")
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    return made


def test_findings_fail_the_check(project: Project):
    """Exit 1, with id, file, line, fix and evidence; without --deploy nobody looks."""
    assert project.json("check").code == 0
    answer = project.json("check", "--deploy", "Dockerfile")
    assert answer.code == 1
    document = answer.document("check")
    (found,) = (one for one in document["findings"] if one["severity"] == "error")
    assert (found["id"], found["file"], found["line"]) == ("deploy-migrates-at-start", "Dockerfile", 3)
    assert "lockgate up" in found["fix"]
    assert document["files"] == 1


def test_folders_and_several_paths(project: Project):
    """A folder is walked; paths add up."""
    chart = project.root / "chart"
    chart.mkdir()
    (chart / "Procfile").write_text("web: python manage.py migrate && gunicorn app\n")
    found = project.json("check", "--deploy", "chart", "--deploy", "Dockerfile").document("check")["findings"]
    assert {one["file"] for one in found} == {"chart/Procfile", "Dockerfile"}


def test_people_see_the_line(project: Project):
    """Text shows the line of the file that was scanned, and no secret of it."""
    answer = project.text("check", "--deploy", ".")
    assert "Dockerfile:3: deploy-migrates-at-start: " in answer.out
    assert "  3 | CMD alembic upgrade head" in answer.out
    assert "hunter2" not in answer.out
    assert "in 1 file, 1 statement" in answer.out


def test_every_format_has_them(project: Project):
    """SARIF with a rule, GitHub, GitLab, JUnit and Markdown name the file by its own path."""
    sarif = json.loads(project.text("check", "--deploy", "Dockerfile", "--format", "sarif").out)["runs"][0]
    assert [rule["id"] for rule in sarif["tool"]["driver"]["rules"]] == ["deploy-migrates-at-start"]
    place = sarif["results"][0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "Dockerfile"
    assert (
        "::error file=Dockerfile,line=3"
        in project.text("check", "--deploy", "Dockerfile", "--format", "github").out
    )
    gitlab = json.loads(project.text("check", "--deploy", "Dockerfile", "--format", "gitlab").out)
    assert [one["location"]["path"] for one in gitlab] == ["Dockerfile"]
    junit = ElementTree.fromstring(project.text("check", "--deploy", "Dockerfile", "--format", "junit").out)
    assert junit.iter("failure")
    assert "Dockerfile:3" in project.text("check", "--deploy", "Dockerfile", "--format", "markdown").out


def test_a_path_that_is_not_there(project: Project):
    """Exit 2 with the path in the message."""
    error = project.json("check", "--deploy", "nowhere").error("USAGE")
    assert "nowhere" in error["message"]


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_its_page(project: Project, kind: str):
    """`explain` tells about each kind, as text and as JSON."""
    (row,) = project.ok("explain", "explain", kind)["hazards"]
    assert row["id"] == kind
    assert row["workaround"]
    assert kind in project.text("explain", kind).out


@pytest.mark.parametrize("format", ["json", "sarif", "github", "gitlab", "junit", "markdown", "text"])
def test_the_profile_is_named_in_every_report(project: Project, format: str):
    """Early-stage is said in each format, and a project without it does not say so."""
    assert "early-stage" not in project.text("check", "--format", format).out
    project.configure('[policy]\nprofile = "early-stage"\n')
    assert "early-stage" in project.text("check", "--format", format).out


def test_the_profile_says_what_it_let_through(project: Project):
    """Early-stage ends with how many findings it turned into warnings, and which."""
    project.write("gone", "CREATE TABLE gone (id int PRIMARY KEY);")
    project.write("goes", "DROP TABLE gone;")
    project.configure('[policy]\nprofile = "early-stage"\n')
    out = project.text("check", "--write-ledger").out
    assert (
        "PROFILE early-stage: what takes data or names away is allowed; 1 finding would block without it: tab-drop"
        in out
    )
