"""The findings of a deployment scan, each told once."""

from typing import NamedTuple

from msgspec import Struct

from lockgate.policy.hazard import Hazard


class DeployFinding(Struct, frozen=True, order=True):
    """One place that runs migrations where an application starts, in the fields of the policy's findings."""

    file: str
    line: int
    id: str
    severity: str
    message: str
    fix: str
    evidence: str = ""


class Kind(NamedTuple):
    """One kind of finding; in the message ``{0}`` is the tool, ``{1}`` the place."""

    name: str
    detects: str
    severity: str
    message: str
    fix: str


_JOB = "Run `lockgate up` once in a release step (a CI job, a Kubernetes Job, a Helm pre-upgrade or Argo PreSync hook), and let the application wait: `lockgate run --contract FILE -- CMD`."

KINDS: dict[str, Kind] = {
    "deploy-migrates-at-start": Kind(
        "Migrations when an application starts",
        "A migration tool in the command or entry point of a container, a Procfile, a start script or a workflow's service.",
        "error", "{0} runs when {1} starts: every replica and every restart migrates, with the application's rights and no plan", _JOB),
    "deploy-init-container": Kind(
        "Migrations in an init container",
        "A migration tool in an initContainer of a workload.",
        "error", "{0} runs in {1}: every pod of every rollout, rollback and eviction migrates before it starts", _JOB),
    "deploy-sidecar": Kind(
        "Migrations beside the application",
        "A migration tool in another container of the same workload, or in a compose service that runs with it.",
        "error", "{0} runs beside the application in {1}: it starts with each replica, and nothing waits for its answer", _JOB),
    "deploy-migrates-at-build": Kind(
        "Migrations while an image is built",
        "A migration tool in RUN of a Dockerfile or in a build script of package.json.",
        "error", "{0} runs while {1} is built: a build needs no database, and its image may never be deployed", "Take the step out of the build. " + _JOB),
    "deploy-migrates-in-code": Kind(
        "Migrations in an application's code",
        "A migration call that Python code makes as the application starts.",
        "error", "{0} runs {1}: each process migrates as it starts, and a failed migration is a crash loop", "Take the call out of the application. " + _JOB),
    "deploy-unreadable": Kind(
        "File that could not be read",
        "A file of the scan that is not what its name says.",
        "warning", "{1} could not be read as {0}, so nothing is known of what it starts", "Mend the file, or leave it out of --deploy."),
}  # fmt: skip
"""Every kind of finding of ``check --deploy``."""


def as_hazard(id: str) -> Hazard:
    """The kind ``id`` in the shape of a hazard, for reports and pages. It has no SQL to show."""
    kind = KINDS[id]
    return Hazard(
        id=id,
        name=kind.name,
        detects=kind.detects,
        effect=kind.message.format("A migration tool", "what is deployed"),
        workaround=kind.fix,
        severity=kind.severity,
        suppressible=False,
        source="Field practice with deployments",
        bad="",
        good="",
    )


def finding(id: str, file: str, line: int, tool: str, place: str, evidence: str = "") -> DeployFinding:
    """The finding ``id`` at one place."""
    kind = KINDS[id]
    short = " ".join(evidence.split())[:160]
    return DeployFinding(file, line, id, kind.severity, kind.message.format(tool, place), kind.fix, short)
