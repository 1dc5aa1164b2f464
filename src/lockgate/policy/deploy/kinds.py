"""The findings of a deployment scan, each told once."""

from typing import NamedTuple

from msgspec import Struct


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
    """One kind of finding; ``{0}`` is the tool, ``{1}`` the place."""

    severity: str
    message: str
    fix: str


_JOB = "Run `lockgate up` once in a release step (a CI job, a Kubernetes Job, a Helm pre-upgrade or Argo PreSync hook), and let the application wait: `lockgate run --contract FILE -- CMD`."

KINDS: dict[str, Kind] = {
    "deploy-migrates-at-start": Kind("error", "{0} runs when {1} starts: every replica and every restart migrates, with the application's rights and no plan", _JOB),
    "deploy-init-container": Kind("error", "{0} runs in {1}: every pod of every rollout, rollback and eviction migrates before it starts", _JOB),
    "deploy-sidecar": Kind("error", "{0} runs beside the application in {1}: it starts with each replica, and nothing waits for its answer", _JOB),
    "deploy-migrates-at-build": Kind("error", "{0} runs while {1} is built: a build needs no database, and its image may never be deployed", "Take the step out of the build. " + _JOB),
    "deploy-migrates-in-code": Kind("error", "{0} runs {1}: each process migrates as it starts, and a failed migration is a crash loop", "Take the call out of the application. " + _JOB),
    "deploy-unreadable": Kind("warning", "{1} could not be read as {0}, so nothing is known of what it starts", "Mend the file, or leave it out of --deploy."),
}  # fmt: skip
"""Every kind of finding of ``check --deploy``."""


def finding(id: str, file: str, line: int, tool: str, place: str, evidence: str = "") -> DeployFinding:
    """The finding ``id`` at one place."""
    kind = KINDS[id]
    short = " ".join(evidence.split())[:160]
    return DeployFinding(file, line, id, kind.severity, kind.message.format(tool, place), kind.fix, short)
