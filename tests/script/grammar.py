"""Scripts made of what splitters trip over: quotes in quotes, comments in comments, bodies with semicolons."""

import re

from hypothesis import strategies as st

LINE_ENDS = st.sampled_from(["\n", "\r\n", "\n\n"])
_NASTY = [
    "a",
    "é",
    "e\u0301",
    "😀",
    ";",
    "'",
    '"',
    "$",
    "$$",
    "$x$",
    "--",
    "/*",
    "*/",
    "\\",
    "(",
    ")",
    "BEGIN",
    "END;",
    "\n",
    "\r\n",
    "\t",
    "\u2028",
    "\ufeff",
    "0",
]
_inner = st.lists(st.sampled_from(_NASTY), max_size=6).map("".join)


@st.composite
def comments(draw: st.DrawFn, depth: int = 2) -> str:
    """A comment: to the end of the line, or a block, nested."""
    words = draw(_inner)
    if draw(st.booleans()):
        return "--" + re.sub(r"[\r\n]", " ", words) + draw(LINE_ENDS)
    body = words.replace("/*", "").replace("*/", "").replace("/", "").replace("*", "")
    if depth and draw(st.booleans()):
        body += draw(comments(depth - 1).filter(lambda c: c.startswith("/*")))
    return f"/*{body}*/"


blanks = st.lists(st.one_of(st.sampled_from([" ", "\t", "\n", "\r\n", "\f"]), comments()), max_size=3).map(
    "".join
)
gaps = st.lists(st.one_of(st.sampled_from([" ", "\n", "\r\n"]), comments()), min_size=1, max_size=3).map(
    lambda parts: " " + "".join(parts)
)
"""Blanks and comments; ``gaps`` part two words, also before a comment."""


@st.composite
def literals(draw: st.DrawFn) -> str:
    """A string in one of the server's forms of quoting."""
    words = draw(_inner)
    form = draw(st.sampled_from(["plain", "escape", "unicode", "dollar", "nested"]))
    if form == "plain":
        return "'" + words.replace("'", "''") + "'"
    if form == "escape":
        return "E'" + words.replace("\\", "\\\\").replace("'", draw(st.sampled_from(["''", "\\'"]))) + "\\n'"
    if form == "unicode":
        return "U&'" + words.replace("\\", "\\\\").replace("'", "''") + "\\0041'"
    tag = draw(st.sampled_from(["$$", "$q$", "$été$", "$_1$"]))
    body = words.replace("$", "")
    if form == "nested":
        other = draw(st.sampled_from([t for t in ("$$", "$in$", "$été$") if t not in tag and tag not in t]))
        body = f"{body} {other};{body}'{other} "
    return f"{tag}{body}{tag}"


@st.composite
def names(draw: st.DrawFn) -> str:
    """A name, quoted or not, in NFC and short enough for the server."""
    return draw(
        st.sampled_from(
            ["a", "été", "_x1", '"select"', '"a;b"', '"q""q"', '"--"', '"/*"', '"$$"', '"Größe 😀"']
        )
    )


@st.composite
def statements(draw: st.DrawFn) -> str:
    """One statement that the grammar accepts, without comments at its ends."""
    gap, name, other, text = draw(gaps), draw(names()), draw(names()), draw(literals())
    kind = draw(st.sampled_from(["select", "insert", "do", "function", "atomic", "rule", "table", "comment"]))
    if kind == "select":
        return f"SELECT{gap}{text}{draw(blanks)},{draw(blanks)}{draw(literals())}"
    if kind == "insert":
        return f"INSERT{gap}INTO {name} {draw(blanks)}VALUES{draw(blanks)}({text})"
    if kind == "do":
        return f"DO{gap}$do$ BEGIN PERFORM {text.replace('$do$', '')}; END $do$"
    if kind == "function":
        return f"CREATE FUNCTION {name}(){gap}RETURNS text LANGUAGE plpgsql AS $fn$ BEGIN RETURN {text}; END; $fn$"
    if kind == "atomic":
        return f"CREATE PROCEDURE {name}(){gap}LANGUAGE sql BEGIN ATOMIC{gap}SELECT {text};{draw(blanks)}INSERT INTO {other} VALUES (CASE WHEN true THEN 1 END);{draw(blanks)}END"
    if kind == "rule":
        return f"CREATE RULE r AS ON INSERT TO {name}{gap}DO ALSO (SELECT {text}; DELETE FROM {other})"
    if kind == "table":
        return f"CREATE TABLE {name}{draw(blanks)}(x text DEFAULT {text},{gap}y int)"
    return f"COMMENT ON TABLE {name} IS{gap}{draw(st.sampled_from(['NULL', chr(39) + 'a;b' + chr(39)]))}"


scripts = st.lists(st.tuples(blanks, statements(), gaps, st.sampled_from([";", ";;", "; ;"])), max_size=5)
"""(what stands before, the statement, what stands between it and its end, its end)."""


def only_filling(text: str) -> bool:
    """Whether ``text`` holds nothing but blanks, comments and semicolons; written anew, without the parser."""
    at, size = 0, len(text)
    while at < size:
        if text[at] in " \t\r\n\f\v;":
            at += 1
        elif text.startswith("--", at):
            end = re.compile(r"[\r\n]").search(text, at)
            at = end.end() if end else size
        elif text.startswith("/*", at):
            depth, at = 1, at + 2
            while depth and at < size:
                step = {"/*": 1, "*/": -1}.get(text[at : at + 2], 0)
                depth, at = depth + step, at + (2 if step else 1)
            if depth:
                return False
        else:
            return False
    return True
