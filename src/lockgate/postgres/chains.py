"""Chains such as ``1+1+1...`` nest as deep as they are long, and a deep tree overflows the stack of the C parser."""

from functools import cache

from lockgate.postgres.tree.library import SyntaxProblem

LONGEST = 10_000
"""Tokens of one expression, or links of one chain of UNION or JOIN. The server's own stack ends at about as many."""
_SHORT = 20_000
"""Characters of a text that cannot hold such a chain."""
_LINKS = frozenset({"UNION", "EXCEPT", "INTERSECT", "JOIN"})
_BETWEEN = _LINKS | {",", ";", "AND", "OR", "WHEN", "THEN", "ELSE", "SELECT", "FROM", "WHERE", "VALUES", "ON"}
"""What ends one expression and begins another: the parser keeps these as flat lists."""


@cache
def _words() -> dict[int, str]:
    """Token number → word, of the tokens that end a part."""
    import postgast

    number = postgast.pg_query_pb2.Token.Value
    return {number(w if w.isalpha() else f"ASCII_{ord(w)}"): w for w in sorted(_BETWEEN | {"(", ")"})}


def find_long_chain(text: str) -> int | None:
    """The byte offset at which ``text`` is chained too long to be parsed, or None.

    Counts tokens between separators, so it may refuse what would just have passed; it never lets through what would not.
    Raises ``SyntaxProblem`` for what is not even made of tokens.
    """
    if len(text) <= _SHORT:
        return None
    import postgast  # 60 ms of protobuf descriptors, which short files need not pay
    from postgast.errors import PgQueryError

    try:
        tokens = postgast.scan(text).tokens
    except PgQueryError as error:
        raise SyntaxProblem(str(error.message or error), (error.cursorpos or 1) - 1) from None
    words = _words()
    outer: list[tuple[int, int, int]] = []
    part = longest = links = 0  # of this parenthesis: tokens of the current part and of the longest, links
    for token in tokens:
        word = words.get(token.token)
        if word is None:
            part += 1
        elif word == "(":
            outer.append((part, longest, links))
            part = longest = links = 0
            continue
        elif word == ")":
            if outer:
                inside, more = max(part, longest), links
                part, longest, links = outer.pop()
                part, links = part + inside, links + more
        else:
            longest = max(longest, part)
            part = 0
            links = 0 if word == ";" else links + (word in _LINKS)
        if part > LONGEST or links > LONGEST:
            return int(token.start)
    return None
