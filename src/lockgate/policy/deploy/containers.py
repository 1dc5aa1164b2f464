"""Dockerfiles, compose files and Kubernetes or Helm manifests."""

import re
from collections.abc import Iterator

from lockgate.policy.deploy.commands import migrating, migrating_image, only_migrates
from lockgate.policy.deploy.kinds import DeployFinding, finding
from lockgate.policy.deploy.yaml_lines import Entry

_ONE_OFF = re.compile(r"migrat", re.IGNORECASE)
_JOBS = {"Job", "CronJob"}
_WORKLOADS = {
    "Deployment",
    "StatefulSet",
    "DaemonSet",
    "ReplicaSet",
    "Pod",
    "Rollout",
    "Service",
    "DeploymentConfig",
}


def dockerfile(file: str, text: str) -> Iterator[DeployFinding]:
    """What a container of this file does when it starts, and what its build does."""
    stage = ""
    for line, instruction, rest in _instructions(text):
        if instruction == "FROM":
            stage = rest.split()[-1]
            continue
        tool = migrating(rest)
        if not tool or instruction not in ("CMD", "ENTRYPOINT", "RUN"):
            continue
        if instruction == "RUN":
            # RUN may also install the tool or write a script that calls it.
            if not re.search(
                r"\b(?:pip|npm|apt-get|apk|yarn|pnpm|cargo|go)\s+(?:install|add|ci)|>\s*\S", rest
            ):
                yield finding("deploy-migrates-at-build", file, line, tool, "the image", rest)
        elif not _ONE_OFF.search(stage) and not only_migrates(rest):
            yield finding("deploy-migrates-at-start", file, line, tool, "the container", rest)


def _instructions(text: str) -> Iterator[tuple[int, str, str]]:
    lines = text.split("\n")
    at = 0
    while at < len(lines):
        first, words = at + 1, lines[at].strip()
        at += 1
        if not words or words.startswith("#"):
            continue
        while words.endswith("\\") and at < len(lines):
            more = lines[at].strip()
            at += 1
            if not more.startswith("#"):
                words = words[:-1] + " " + more
        name, _, rest = words.partition(" ")
        yield first, name.upper(), re.sub(r"^(?:--\S+\s+)*", "", rest.strip())


def compose(file: str, entries: list[Entry]) -> Iterator[DeployFinding]:
    """The services of a compose file."""
    services = dict.fromkeys(e.path[1] for e in entries if len(e.path) > 2 and e.path[0] == "services")
    for name in services:
        own = [entry for entry in entries if entry.path[:2] == ("services", name)]
        command = [entry for entry in own if entry.path[2] in ("command", "entrypoint")]
        restarts = any(
            e.path[2:] == ("restart",) and re.match(r"always|unless-stopped", e.value) for e in own
        )
        for entry, tool in _by_image(own, ("services", name), "entrypoint", "command") if restarts else ():
            where = f"service {name}, which restarts for ever"
            yield finding("deploy-sidecar", file, entry.line, tool, where, entry.value)
        for entry, tool in _migrating(command):
            if not only_migrates(_joined(command)):
                yield finding(
                    "deploy-migrates-at-start", file, entry.line, tool, f"service {name}", entry.value
                )
            elif restarts:
                yield finding(
                    "deploy-sidecar",
                    file,
                    entry.line,
                    tool,
                    f"service {name}, which restarts for ever",
                    entry.value,
                )


def manifest(file: str, entries: list[Entry]) -> Iterator[DeployFinding]:
    """One document of Kubernetes: workloads that migrate in a container of theirs. Jobs and hooks are right."""
    kinds = {entry.path[:-1]: entry.value for entry in entries if entry.path[-1] == "kind"}
    containers = dict.fromkeys(path for entry in entries if (path := _container(entry.path)))
    for path in containers:
        kind = _kind_of(kinds, path)
        if kind in _JOBS or (kind and kind not in _WORKLOADS and "{{" not in kind):
            continue
        own = [entry for entry in entries if entry.path[: len(path)] == path]
        name = next((e.value for e in own if e.path == (*path, "name")), path[-1])
        where = f"{path[-2].removesuffix('s')} {name} of {kind or 'a workload'}"
        command = [entry for entry in own if entry.path[len(path)] in ("command", "args")]
        hooks = [
            entry for entry in own if entry.path[len(path) : len(path) + 2] == ("lifecycle", "postStart")
        ]
        for entry, tool in _by_image(own, path, "command", "args"):
            kind_of = "deploy-init-container" if path[-2] in _INIT else "deploy-sidecar"
            yield finding(kind_of, file, entry.line, tool, where, entry.value)
        for entry, tool in _migrating(command):
            if path[-2] == "initContainers":
                yield finding("deploy-init-container", file, entry.line, tool, where, entry.value)
            elif only_migrates(_joined(command)):
                yield finding("deploy-sidecar", file, entry.line, tool, where, entry.value)
            else:
                yield finding("deploy-migrates-at-start", file, entry.line, tool, where, entry.value)
        for entry, tool in _migrating(hooks):
            yield finding(
                "deploy-migrates-at-start", file, entry.line, tool, f"{where} (postStart)", entry.value
            )


_INIT = ("initContainers", "extraInitContainers")


def _by_image(
    own: list[Entry], path: tuple[str, ...], entrypoint: str, arguments: str
) -> Iterator[tuple[Entry, str]]:
    """The arguments of an image whose entry point is a migration tool, where nothing stands in for that one."""
    given = {entry.path[len(path)] for entry in own}
    image = next((entry.value for entry in own if entry.path == (*path, "image")), "")
    words = [entry for entry in own if entry.path[len(path)] == arguments]
    if entrypoint in given or not words or migrating(_joined(words)):
        return
    tool = migrating_image(image, _joined(words))
    if tool:
        yield Entry(words[0].path, _joined(words), words[0].line), tool


def _container(path: tuple[str, ...]) -> tuple[str, ...]:
    for number in range(len(path) - 2, -1, -1):
        if path[number] in ("containers", "initContainers", "extraInitContainers", "extraContainers"):
            return path[: number + 2] if path[number + 1][0] == "[" and len(path) > number + 2 else ()
    return ()


def _kind_of(kinds: dict[tuple[str, ...], str], path: tuple[str, ...]) -> str:
    """The kind of the object around ``path``: that of the nearest one with a kind."""
    around = [prefix for prefix in kinds if path[: len(prefix)] == prefix]
    return kinds[max(around, key=len)] if around else ""


def _joined(entries: list[Entry]) -> str:
    """All words of a command: items of a list stand on one line, a block of text keeps its own."""
    return " ".join(entry.value for entry in entries)


def _migrating(entries: list[Entry]) -> Iterator[tuple[Entry, str]]:
    """The entry in which a command migrates; for a list of words the first of them."""
    for entry in entries:
        tool = migrating(entry.value)
        if tool:
            yield entry, tool
            return
    tool = migrating(_joined(entries))
    if tool:
        yield Entry(entries[0].path, _joined(entries), entries[0].line), tool
