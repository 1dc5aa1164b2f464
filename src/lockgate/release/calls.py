"""The commands that an answer names, made whole, so that they can be pasted: with the environment or URL, the configuration and the sha of the call.

Whoever wrote the words cannot know them, and a command without its ``--env`` or ``--database-url`` would speak to another database.
"""

import re
import shlex

_TARGETED = (
    "backup (?:take|verify|list|restore|drill)",
    "gate secrets (?:accept|list|retire)",
    "gate (?:signature|wait)",
    "index (?:build|gc|list|rollback|swap|validate|watch)",
    "move (?:abort|backfill|cutover|finish|observe|pause|plan|resume|rollback|run|shadow|start|status|verify)",
    "postmortem new",
    "queries capture",
    "readonly (?:discard|drain|intents|off|on|retry|status)",
    "release (?:bundle|resume|recover|continue|replay|show|workers)",
    "release|gate(?! secrets)|snapshot|plan|up|status|verify|doctor|down|baseline|repair|parity|bootstrap|metrics|serve|run|instances|approve|runbook|roles",
)
"""Commands that take ``--env`` and ``--config``, the longer names first; all but those below take ``--database-url``, too."""
_OF_AN_ENVIRONMENT = {"parity", "runbook"}
"""Commands that are about an environment of the configuration, which no URL can name."""
_UNTARGETED = (
    "gate (?:contract|secrets revision)",
    "gold (?:lint|sample)",
    "init|new|promote|check|explain|rehearse|drift|embedded|demo",
)
"""Commands that take ``--config`` only."""
_REST = r"(?P<rest>(?:(?!\blockgate )(?:[^;,.|`\n]|[.,](?=\S)))*)"
_CALL = re.compile(
    rf"\blockgate (?:(?P<untargeted>{'|'.join(_UNTARGETED)})|(?P<targeted>{'|'.join(_TARGETED)}))(?![\w-]){_REST}"
)
_SHA = {"release resume", "release recover", "release continue"}
_TOLD = re.compile(r"^\s*(?=lockgate )|^\s*(?:read|call):|\b(?:next|fix)\b", re.IGNORECASE)
"""Where the part of a line begins that tells what to type."""
_FIELDS = frozenset({"next", "fix", "call", "commands", "recover"})


def whole(text: str, environment: str, sha: str = "", config: str = "", url: str = "") -> str:
    """``text`` with every command in it made whole. With a ``sha`` it is about that release: there, going on is ``release resume``.

    ``url`` is the ``--database-url`` of the call, without its password (``postgres.target.shown_url``).
    """
    return _CALL.sub(lambda match: _whole(match, environment, sha, config, url), text)


def whole_line(line: str, environment: str, config: str, url: str = "") -> str:
    """A line for people: made whole from the word that tells what comes next; other lines stay as they are."""
    told = _TOLD.search(line)
    if told is None:
        return line
    return line[: told.end()] + whole(line[told.end() :], environment, config=config, url=url)


def whole_document(value: object, environment: str, config: str, url: str = "", field: str = "") -> object:
    """A document for programs: made whole in the fields that name commands."""
    if isinstance(value, dict):
        return {key: whole_document(one, environment, config, url, key) for key, one in value.items()}
    if isinstance(value, list):
        return [whole_document(one, environment, config, url, field) for one in value]
    if isinstance(value, str) and field in _FIELDS:
        return whole(value, environment, config=config, url=url)
    return value


def _whole(match: re.Match[str], environment: str, sha: str, config: str, url: str) -> str:
    targeted = match["targeted"] is not None
    words, rest = match["targeted"] or match["untargeted"], match["rest"]
    named_by_environment = words in _OF_AN_ENVIRONMENT
    if sha and words == "up":
        words = "release resume"
    named = re.match(r" [0-9a-f]{7,64}\b", rest)
    if named:  # a sha that stands there already stays where it is
        words, rest = words + named[0], rest[named.end() :]
    if sha:
        rest = re.sub(r"\bSHA\b", sha, rest)
        if words in _SHA:
            words = f"{words} {sha}"
        elif words == "release" and "--sha" not in rest:
            words = f"{words} --sha {sha}"
    if environment and targeted:
        flag = f"--env {shlex.quote(environment)}"
        rest = re.sub(r"--env NAME\b", lambda _: flag, rest)
        if "--env " not in rest:
            words = f"{words} {flag}"
    elif (
        url
        and targeted
        and not named_by_environment
        and not re.search(r"--(?:env|database-url|source) ", rest)
    ):
        words = f"{words} --database-url {shlex.quote(url)}"
    if config and "--config " not in rest:
        words = f"{words} --config {shlex.quote(config)}"
    return f"lockgate {words}{rest}"
