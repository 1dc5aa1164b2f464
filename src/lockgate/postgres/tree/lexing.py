"""SQL as a row of words: the names that stand outside of texts, comments and bodies in dollar quotes.

For texts that no parser takes as a whole: pieces of a body, a statement of a journal, a list of names.
"""

import re
from collections.abc import Iterator

_WORD = re.compile(
    r"""(?P<comment>--[^\n]*|/\*(?:[^*/]|\*(?!/)|/(?!\*)|/\*(?:[^*]|\*(?!/))*\*/)*\*/)
    |(?P<text>[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
    |"(?P<quoted>(?:[^"]|"")+)"|(?P<bare>[^\W\d][\w$]*)|(?P<mark>[.%])""",
    re.VERBOSE | re.DOTALL,
)


def names(text: str) -> list[str]:
    """The names in ``text`` in order, as the server reads them: bare ones in lower case, quoted ones as they stand."""
    return [word for word, mark in _words(text) if not mark]


def words(text: str) -> list[str]:
    """The names in ``text`` with the dots and percent signs between them."""
    return [word for word, _ in _words(text)]


def _words(text: str) -> Iterator[tuple[str, bool]]:
    """Each word, and whether it is a mark: a name in quotes may be one, too."""
    for match in _WORD.finditer(text):
        if match["bare"]:
            yield match["bare"].lower(), False
        elif match["quoted"]:
            yield match["quoted"].replace('""', '"'), False
        elif match["mark"]:
            yield match["mark"], True


_PARTS = re.compile(r'(?:("[^"]*(?:""[^"]*)*"|[^."][^.]*)\.)?("[^"]*(?:""[^"]*)*"|[^."][^.]*)')


def dotted(*parts: str) -> str:
    """A name with its schema as one text: a part with a dot in it stands in quotes, so that ``parted`` finds the parts again."""
    text = ".".join(parts)
    return text if '"' not in text and text.count(".") < len(parts) else ".".join(map(_guarded, parts))


def parted(text: str) -> tuple[str, str]:
    """The schema ("" where there is none) and the name that ``dotted`` made one text of."""
    if '"' not in text:
        schema, _, name = text.rpartition(".")
        return schema, name
    match = _PARTS.fullmatch(text)
    return (_bare(match[1] or ""), _bare(match[2])) if match else ("", text)


def _guarded(part: str) -> str:
    return '"' + part.replace('"', '""') + '"' if "." in part or part[:1] == '"' else part


def _bare(part: str) -> str:
    return part[1:-1].replace('""', '"') if part[:1] == '"' else part


def without_comments(text: str) -> str:
    """``text`` with a space for each comment."""
    return _WORD.sub(lambda match: " " if match["comment"] else match[0], text)


def without_texts(text: str) -> str:
    """``text`` with a space for each comment and each text in quotes."""
    return _WORD.sub(lambda match: " " if match["comment"] or match["text"] else match[0], text)
