"""What `init --ci` and `init --deploy` write: read by a YAML parser, judged by our own scan, and the GitHub workflow run step by step."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from support.calls import Project

ALL = ["--ci", "github", *[w for p in ("kubernetes", "helm", "compose", "aca") for w in ("--deploy", p)]]


@pytest.fixture
def made(tmp_path: Path) -> Project:
    """A project with every template."""
    project = Project(tmp_path)
    project.ok("init", "init", *ALL)
    return project


def test_kubernetes_job(made: Project):
    """The job runs once: no retry, no second pod, our exit codes fail it, an eviction does not, no init container, not as root."""
    job = yaml.safe_load((made.root / "deploy/kubernetes/migrate-job.yaml").read_text())
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    assert (spec["backoffLimit"], spec["podReplacementPolicy"], spec["parallelism"], spec["completions"]) == (
        0,
        "Failed",
        1,
        1,
    )
    assert (pod["restartPolicy"], "initContainers" in pod, pod["securityContext"]["runAsNonRoot"]) == (
        "Never",
        False,
        True,
    )
    fail, ignore = spec["podFailurePolicy"]["rules"]
    from lockgate.record.reasons import Exit

    retry = {Exit.OK, Exit.FOUND, Exit.UNREACHABLE, Exit.BUSY, Exit.INTERRUPTED, Exit.TERMINATED}
    assert set(fail["onExitCodes"]["values"]) == {int(e) for e in Exit} - retry
    assert (fail["action"], ignore["action"]) == ("FailJob", "Ignore")
    assert fail["onExitCodes"]["containerName"] == pod["containers"][0]["name"]
    assert pod["containers"][0]["command"] == ["lockgate", "up"]


def test_helm_hook_says_the_same(made: Project):
    """The chart's hook is the same job, before install and upgrade; its pod template differs only where values stand."""
    text = (made.root / "deploy/helm/templates/migrate-job.yaml").read_text()
    plain = "\n".join(
        line if "{{" not in line else line.split("{{")[0] + "VALUE" for line in text.splitlines()[2:]
    )
    job = yaml.safe_load(plain)
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    other = yaml.safe_load((made.root / "deploy/kubernetes/migrate-job.yaml").read_text())
    assert job["spec"]["podFailurePolicy"] == other["spec"]["podFailurePolicy"]
    assert job["spec"]["backoffLimit"] == 0


def test_compose_and_aca(made: Project):
    """compose: the app waits for the job's success and may not migrate itself. aca: one replica, no retry."""
    compose = yaml.safe_load((made.root / "compose.migrate.yaml").read_text())["services"]
    assert compose["app"]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
    assert compose["app"]["environment"]["LOCKGATE_ROLE"] == "app"
    assert compose["migrate"]["restart"] == "no"
    aca = yaml.safe_load((made.root / "deploy/aca/migrate-job.yaml").read_text())["properties"][
        "configuration"
    ]
    assert (aca["replicaRetryLimit"], aca["manualTriggerConfig"]["parallelism"]) == (0, 1)
    import tomllib

    lines = (made.root / "deploy/aca/migrate-job.yaml").read_text().splitlines()
    toml = tomllib.loads("\n".join(line[4:] for line in lines if line.startswith("#   ") and " = " in line))
    assert toml["status"][0] == "az"
    assert "{execution}" in toml["stop"]


@pytest.mark.parametrize(
    ("kind", "file", "line"),
    [
        ("github-workflows", ".github/workflows/migrations.yml", "    runs-on: ubuntu-latest\n"),
        ("gitlab-ci", ".gitlab/migrations.yml", "  image: python:3.12\n"),
        ("compose-spec", "compose.migrate.yaml", '    restart: "no"\n'),
    ],
)
def test_linted_by_the_formats_own_schemas(made: Project, kind: str, file: str, line: str):
    """GitHub's, GitLab's and compose's published schemas find nothing; with a wrong key in the file they do."""
    made.ok("init", "init", "--ci", "gitlab")
    path = made.root / file

    def lint() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{kind}", str(path)],
            capture_output=True,
            text=True,
            check=False,
        )

    seen = lint()
    assert seen.returncode == 0, seen.stdout
    text = path.read_text()
    assert line in text
    path.write_text(
        text.replace(
            line,
            line + line.partition(":")[0].replace(line.split(":")[0].strip(), "no-such-key") + ": 1\n",
            1,
        )
    )
    assert lint().returncode == 1


@pytest.mark.parametrize("version", ["1.34", "1.37"])
def test_linted_by_the_schemas_of_kubernetes(made: Project, version: str):
    """The manifest, and the chart's with its values filled in, are what Kubernetes' API takes, without a field that it does not know."""
    import re

    import kubernetes_validate

    plain = (made.root / "deploy/kubernetes/migrate-job.yaml").read_text()
    chart = re.sub(
        r"\{\{- /\*.*?\*/\}\}\n",
        "",
        (made.root / "deploy/helm/templates/migrate-job.yaml").read_text(),
        flags=re.DOTALL,
    )
    values = {".Release.Name": "shop", ".Release.Revision": "7", "deadlineSeconds": "3900", ".Values.image": '"shop@sha256:0"', "secretName": '"s"'}  # fmt: skip
    chart = re.sub(r"\{\{(.*?)\}\}", lambda m: next(v for k, v in values.items() if k in m[1]), chart)
    for text in (plain, chart):
        job = yaml.safe_load(text)
        assert kubernetes_validate.validate(job, version, strict=True) == version
        job["spec"]["retries"] = 0
        with pytest.raises(kubernetes_validate.ValidationError, match="retries"):
            kubernetes_validate.validate(job, version, strict=True)


def test_workflow_is_serialised(made: Project):
    """The GitHub workflow releases from main only, in an environment, one at a time, never cancelled in the middle."""
    jobs = yaml.safe_load((made.root / ".github/workflows/migrations.yml").read_text())["jobs"]
    release = jobs["release"]
    assert release["concurrency"]["cancel-in-progress"] is False
    assert release["environment"] == "production"
    assert release["needs"] == "check"
    uploads = [s for s in release["steps"] if "upload-artifact" in s.get("uses", "")]
    assert uploads[0]["if"] == "always()"
    assert release["steps"][0]["with"]["fetch-depth"] == 0
    assert release["permissions"] == {"contents": "read", "pull-requests": "write"}


@pytest.mark.postgres("18")
def test_workflow_step_by_step(made: Project, databases):
    """Every shell step of the workflow, in order, as GitHub would run it (but for the installation): both jobs succeed and leave the artifact."""
    jobs = yaml.safe_load((made.root / ".github/workflows/migrations.yml").read_text())["jobs"]
    sha = "0123456789abcdef0123456789abcdef01234567"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    summary = made.root / "summary.md"
    for job in ("check", "release"):
        url = databases()
        for step in jobs[job]["steps"]:
            if "run" not in step or step["run"].startswith("pip install"):
                continue
            environ = {
                **os.environ, "PATH": path, "GITHUB_SHA": sha, "BASE": "", "DATABASE_URL": url, "GITHUB_ACTIONS": "true",
                "GITHUB_ACTOR": "octo", "GITHUB_STEP_SUMMARY": str(summary),
            }  # fmt: skip
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", step["run"]],
                cwd=made.root,
                env=environ,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, (step["run"], done.stdout, done.stderr)
    assert made.artifact(sha)["operator"] == "octo"
    assert "pass" in summary.read_text()
