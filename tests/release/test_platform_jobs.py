"""The `[job]` that the manifests of `init --deploy` propose: run as it stands there, against programs that refuse what kubectl and az would not take.

None of this ran against a platform.
"""

import json
import os
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from release.conftest import ENV, SHA
from support.calls import Project

pytestmark = pytest.mark.postgres("18")
IMAGE = "registry.example.org:5000/shop@sha256:" + "a" * 64
DOUBLE = """#!{python}
import json, os, pathlib, subprocess, sys
folder = pathlib.Path({folder!r})
program, words = pathlib.Path(sys.argv[0]).name, sys.argv[1:]
with (folder / "log").open("a") as file:
    file.write(json.dumps([program, *words]) + "\\n")
hangs, failing = (folder / "hangs").exists(), (folder / "failing").exists()
def refuse(why):
    sys.exit(f"{{program}}: {{why}}: {{words}}")
def migrate():
    if not hangs and not failing:
        url = {{"DATABASE_URL": os.environ["PRODUCTION_URL"]}}
        subprocess.run([sys.executable, "-m", "lockgate", "up"], env={{**os.environ, **url}}, check=True, capture_output=True)
def word(running, good, bad):
    return running if hangs else bad if failing else good
def options(rest, *known):
    given = dict(zip(rest[::2], rest[1::2]))
    if len(rest) % 2 or not given.keys() <= set(known):
        refuse("unknown flag")
    return given
if program == "kubectl" and words[0] == "create":
    import yaml
    dry = "--dry-run=server" in words
    given = options([w for w in words[1:] if w != "--dry-run=server"], "--filename", "--output")
    job = yaml.safe_load(sys.stdin)
    if given["--filename"] != "-" or (job["apiVersion"], job["kind"]) != ("batch/v1", "Job"):
        refuse("no job")
    image, label = job["spec"]["template"]["spec"]["containers"][0]["image"], job["metadata"]["labels"]["app.kubernetes.io/version"]
    if label != {sha!r}:
        refuse("another sha")
    if given["--output"] == "name" and not dry:
        migrate()
        print("job.batch/migrate-x7k2p")
    elif given["--output"] == "go-template={{{{(index .spec.template.spec.containers 0).image}}}}" and dry:
        print(image, end="")
    elif given["--output"] == 'go-template={{"parallelism": {{{{.spec.parallelism}}}}, "retries": {{{{.spec.backoffLimit}}}}}}' and dry:
        print(json.dumps({{"parallelism": job["spec"]["parallelism"], "retries": job["spec"]["backoffLimit"]}}), end="")
    else:
        refuse("unknown output")
elif program == "kubectl" and words[1] != "job.batch/migrate-x7k2p":
    refuse("NotFound")
elif program == "kubectl" and words[0] == "get" and options(words[2:], "--output")["--output"].startswith("go-template="):
    if words[3].count("{{{{") != words[3].count("}}}}") or words[3].count("{{{{if") + words[3].count("{{{{range") != words[3].count("{{{{end}}}}"):
        refuse("bad template")
    print(word("Running", "Complete", "Failed"), end="")
elif program == "kubectl" and words[0] == "logs" and len(words) == 2:
    print("the pod's log")
elif program == "kubectl" and words[0] == "patch":
    given = options(words[2:], "--type", "--patch")
    if given["--type"] != "merge" or json.loads(given["--patch"]) != {{"spec": {{"suspend": True}}}}:
        refuse("bad patch")
elif program == "az" and words[:2] == ["containerapp", "job"]:
    act = words[2:4] if words[2] == "execution" else words[2:3]
    given = options(words[2 + len(act):], "--name", "--resource-group", "--query", "--output", "--job-execution-name", "--image")
    if (given["--name"], given["--resource-group"]) != ("migrate", "GROUP"):
        refuse("ResourceNotFound")
    execution, query = given.get("--job-execution-name"), given.get("--query")
    if act == ["start"] and (query, given["--output"]) == ("name", "tsv"):
        migrate()
        print("migrate-abc12")
    elif act == ["execution", "show"] and (execution, query, given["--output"]) == ("migrate-abc12", "properties.status", "tsv"):
        print(word("Running", "Succeeded", "Failed"))
    elif act == ["stop"] and execution == "migrate-abc12":
        pass
    elif act == ["update"] and "@sha256:" in given["--image"]:
        (folder / "image").write_text(given["--image"])
        print("{{}}")
    elif act == ["show"] and query == "properties.template.containers[0].image" and given["--output"] == "tsv":
        print((folder / "image").read_text())
    elif act == ["show"] and query == "{{parallelism: properties.configuration.manualTriggerConfig.parallelism, retries: properties.configuration.replicaRetryLimit}}":
        print(json.dumps({{"parallelism": 1, "retries": 0}}))
    else:
        refuse("unknown")
else:
    refuse("unknown command")
"""
MANIFEST = {"kubernetes": "deploy/kubernetes/migrate-job.yaml", "aca": "deploy/aca/migrate-job.yaml"}


@pytest.fixture
def platform(tmp_path: Path) -> Path:
    """A folder for PATH with both programs; what lies in it says how the job ends."""
    folder = tmp_path / "platform"
    folder.mkdir()
    for name in ("kubectl", "az"):
        program = folder / name
        program.write_text(DOUBLE.format(python=sys.executable, folder=str(folder), sha=SHA))
        program.chmod(0o755)
    return folder


@pytest.mark.parametrize("kind", list(MANIFEST))
def test_the_proposed_job(make: Callable[..., Project], platform: Path, kind: str):
    """The commands in the manifest release with the candidate's own image, read back, once and without a retry; a job that outlives its time is stopped, one that never came to the database is told by its logs, and the resume ends well."""
    project = make(ENV)
    project.ok("init", "init", "--deploy", kind)
    lines = (project.root / MANIFEST[kind]).read_text().splitlines()
    text = "\n".join(
        line[4:] for line in lines if line.startswith("#   ") and (" = " in line or "[job]" in line)
    )
    assert tomllib.loads(text)["job"]["provider"] == "command"
    project.configure(ENV + text + '\npoll_interval = "50ms"\ntimeout = "1s"\n')
    path = {"PATH": f"{platform}:{Path(sys.executable).parent}:{os.environ['PATH']}"}
    call = ("release", "--sha", SHA, "--env", "production", "--image", IMAGE)
    (platform / "hangs").touch()
    project.json(*call, **path).error("MIGRATION_EXECUTION_TIMEOUT")
    asked = [json.loads(line) for line in (platform / "log").read_text().splitlines()]
    assert any("patch" in words or words[3] == "stop" for words in asked)
    (platform / "hangs").unlink()
    (platform / "failing").touch()
    failed = project.json("release", "resume", SHA, "--env", "production", **path)
    assert "no run of it came as far as the database" in failed.error("MIGRATION_EXECUTION_FAILED")["message"]
    (platform / "failing").unlink()
    project.ok("release", "release", "resume", SHA, "--env", "production", **path)
    told = project.artifact(SHA)
    assert (told["status"], told["imageDigest"]) == ("pass", IMAGE)
    assert told["executionName"] in ("job.batch/migrate-x7k2p", "migrate-abc12")
    assert len(told["migrations"]) == 2
