"""Which file is what, and the walk over folders."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from lockgate.policy.deploy import code, containers, scripts
from lockgate.policy.deploy.kinds import DeployFinding, finding
from lockgate.policy.deploy.yaml_lines import documents

_SKIPPED = {
    ".git",
    "node_modules",
    ".venv",
    "venv",
    "__pycache__",
    ".tox",
    "dist",
    "build",
    "site-packages",
    ".lockgate",
    ".artifacts",
}
_LONGEST = 2_000_000
_CI = re.compile(
    r"(?:^|/)(?:\.github/(?:workflows|actions)/|\.gitlab/|\.circleci/|\.buildkite/|\.?azure-pipelines|\.gitlab-ci|bitbucket-pipelines|action\.ya?ml$|\.pre-commit)"
)


def scan(paths: Iterable[Path]) -> list[DeployFinding]:
    """The findings of these files and folders, in order. A file that is not there raises ``OSError``."""
    found: list[DeployFinding] = []
    for path in paths:
        for file in _files(path):
            if not path.is_dir() or _wanted(file.as_posix()):
                raw = file.read_bytes()[:_LONGEST]
                try:
                    found += judge_text(file.as_posix(), raw.decode("utf-8-sig").replace("\r\n", "\n"))
                except UnicodeDecodeError:
                    found.append(finding("deploy-unreadable", file.as_posix(), 1, "UTF-8", file.name))
    return sorted(set(found))


def judge_text(file: str, text: str) -> list[DeployFinding]:
    """The findings of one file, whose name tells what it is."""
    return sorted(set(_judged(file, text)))


def _judged(file: str, text: str) -> Iterator[DeployFinding]:
    name = PurePosixPath(file).name
    low = name.lower()
    if _CI.search(file):
        return  # a step of a pipeline is where migrations belong
    if "dockerfile" in low or "containerfile" in low:
        if "migrat" not in low:
            yield from containers.dockerfile(file, text)
    elif low.endswith((".yml", ".yaml", ".tpl")):
        for entries in documents(text):
            if any(entry.path[0] == "services" and len(entry.path) > 2 for entry in entries):
                yield from containers.compose(file, entries)
            else:
                yield from containers.manifest(file, entries)
    elif low.startswith("procfile"):
        yield from scripts.procfile(file, text)
    elif low == "package.json":
        yield from scripts.package_json(file, text)
    elif low.endswith(".py"):
        yield from code.python(file, text)
    elif _is_shell(low, text) and "migrat" not in low:
        yield from scripts.shell(file, text)


def _is_shell(name: str, text: str) -> bool:
    if name.endswith((".sh", ".bash")):
        return bool(scripts.STARTS.search(name.rsplit(".", 1)[0]))
    return (
        "." not in name
        and re.match(r"#!\s*\S*(?:/env\s+)?\S*sh\b", text) is not None
        and bool(scripts.STARTS.search(name))
    )


def _wanted(file: str) -> bool:
    name = PurePosixPath(file).name.lower()
    return (
        name.endswith((".yml", ".yaml", ".tpl", ".py", ".sh", ".bash"))
        or "dockerfile" in name
        or "containerfile" in name
        or name.startswith("procfile")
        or name == "package.json"
        or "." not in name
    )


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for child in sorted(path.iterdir()):
        if child.is_symlink():
            continue
        if child.is_dir():
            if child.name not in _SKIPPED:
                yield from _files(child)
        elif child.is_file():
            yield child
