"""Shell scripts that start a container, Procfiles and the start scripts of package.json."""

import re
from collections.abc import Iterator

from msgspec import DecodeError, Raw, json

from lockgate.policy.deploy.commands import migrating, only_migrates
from lockgate.policy.deploy.kinds import DeployFinding, finding

STARTS = re.compile(
    r"(?:^|[-_.])(?:docker-)?(?:entry-?point|start|startup|boot|run|serve|server|web|init|launch|cmd)(?:[-_.]|$)"
)
_MIGRATE_WORD = re.compile(r"\bmigrat|\bupgrade\b|\brelease\b", re.IGNORECASE)
_ARGUMENT = re.compile(r"""\$\{?[1@*#]""")


def shell(file: str, text: str) -> Iterator[DeployFinding]:
    """A script that starts an application. A branch for the argument ``migrate`` is a job's, and right."""
    if only_migrates("\n".join(line for line in text.split("\n") if not line.startswith("#!"))):
        return
    asked = 0  # depth of ifs inside a branch that asks for the argument
    branch = False
    for number, raw in enumerate(_joined_lines(text), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        word = re.match(r"^\(?\s*([\w\"'|*\s:./-]+)\)\s*(.*)$", line)
        if word and "(" not in word[1]:
            branch = bool(_MIGRATE_WORD.search(word[1])) and "*" not in word[1]
            line = word[2]
        if re.match(r"(?:if|elif)\b", line):
            mine = bool(_ARGUMENT.search(line) and _MIGRATE_WORD.search(line))
            if line.startswith("elif"):
                asked = int(mine)
            elif asked or mine:
                asked += 1
        elif re.match(r"else\b", line) and asked == 1:
            asked = 0
        if not asked and not branch:
            tool = migrating(line)
            if tool and not (_ARGUMENT.search(line) and re.search(r"\[.*=.*migrat", line)):
                yield finding("deploy-migrates-at-start", file, number, tool, "the application", line)
        if re.search(r"(?:^|;\s*)fi\b", line) and asked:
            asked -= 1
        if line.endswith(";;") or re.match(r"esac\b", line):
            branch = False


def _joined_lines(text: str) -> list[str]:
    """Lines with continued ones put together; the lines they came from stay as empty ones."""
    found: list[str] = []
    pending, empty = "", 0
    for line in text.split("\n"):
        if line.endswith("\\"):
            pending, empty = pending + line[:-1] + " ", empty + 1
            continue
        found.append(pending + line)
        found += [""] * empty
        pending, empty = "", 0
    return found


def procfile(file: str, text: str) -> Iterator[DeployFinding]:
    """A Procfile: every process but the release phase starts with each dyno."""
    for number, line in enumerate(text.split("\n"), 1):
        name, colon, command = line.partition(":")
        if colon and name.strip() != "release" and not re.search("migrat", name):
            tool = migrating(command)
            if tool:
                yield finding(
                    "deploy-migrates-at-start", file, number, tool, f"process {name.strip()}", command
                )


class _Package:
    """The scripts that npm runs when an application starts."""

    names = ("prestart", "start", "start:prod", "start:production", "serve", "postinstall")


def package_json(file: str, text: str) -> Iterator[DeployFinding]:
    """The scripts of package.json that run at start-up."""
    try:
        scripts = json.decode(
            json.decode(text, type=dict[str, Raw]).get("scripts", Raw(b"{}")), type=dict[str, str]
        )
    except DecodeError:
        yield finding("deploy-unreadable", file, 1, "package.json", file)
        return
    lines = text.split("\n")
    for name in _Package.names:
        command = scripts.get(name, "")
        called = re.sub(
            r"\b(?:npm run|yarn|pnpm(?: run)?) ([\w:-]+)", lambda m: scripts.get(m[1], m[0]), command
        )
        tool = migrating(called) or migrating(command)
        if tool:
            line = next((n for n, text in enumerate(lines, 1) if f'"{name}"' in text), 1)
            yield finding("deploy-migrates-at-start", file, line, tool, f"npm script {name}", command)
