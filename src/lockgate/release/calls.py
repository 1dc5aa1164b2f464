"""The commands that an error names, made whole, so that they can be pasted: with the environment and the sha of the call they follow from.

The table of reason codes cannot know either, and a command without its ``--env`` would speak to another database.
"""

import re
import shlex

_CALL = re.compile(
    r"\blockgate (?P<words>release (?:resume|recover|continue|replay|show|workers)|backup (?:take|verify|list|restore|drill)"
    r"|release|up|status|doctor|verify|plan|approve|down|repair|baseline|parity)\b(?P<rest>[^;,.]*)"
)
_SHA = {"release resume", "release recover", "release continue"}


def whole(text: str, environment: str, sha: str = "") -> str:
    """``text`` with every command in it made whole. With a ``sha`` it is about that release: there, going on is ``release resume``."""
    return _CALL.sub(lambda match: _whole(match["words"], match["rest"], environment, sha), text)


def _whole(words: str, rest: str, environment: str, sha: str) -> str:
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
    if environment:
        flag = f"--env {shlex.quote(environment)}"
        rest = re.sub(r"--env NAME\b", lambda _: flag, rest)
        if "--env " not in rest:
            words = f"{words} {flag}"
    return f"lockgate {words}{rest}"
