"""The narrow face over the SQL parser: text in, our own small vocabulary out.

``statements_of(text)`` parses a file once. Nothing outside this package ever sees the parser's own tree,
and whatever the vocabulary has no word for comes out as ``NotUnderstood``, never as silence.
"""

from lockgate.postgres.tree.library import SyntaxProblem
from lockgate.postgres.tree.reader import statements_of

__all__ = ["SyntaxProblem", "statements_of"]
