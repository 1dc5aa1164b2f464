"""Tables on both sides of a comparison or a move."""

import psycopg

from support.calls import Project


def run_sql(url: str, *statements: str) -> list[tuple]:
    """Run statements, each in a transaction of its own, and give the rows of the last one."""
    with psycopg.connect(url, autocommit=True) as connection:
        rows: list[tuple] = []
        for statement in statements:
            cursor = connection.execute(statement)
            rows = cursor.fetchall() if cursor.description else []
        return rows


class Two:
    """Two databases, and ``lockgate move verify`` between them."""

    def __init__(self, project: Project, source: str, target: str) -> None:
        self.project, self.source, self.target = project, source, target

    def both(self, *statements: str) -> None:
        """Run statements on both sides."""
        for url in (self.source, self.target):
            run_sql(url, *statements)

    def verify(self, table: str, *more: str, code: int | None = None) -> dict:
        """The document of ``move verify``, valid by its schema."""
        answer = self.project.json(
            "move", "verify", "--source", self.source, "--target", self.target, "--table", table, *more
        )
        document = answer.document("move-verify")
        assert answer.code == (0 if document["equal"] else 1) if code is None else answer.code == code, answer
        return document

    def refused(self, reason: str, table: str, *more: str) -> dict:
        """The error document of a ``move verify`` that gives ``reason``."""
        answer = self.project.json(
            "move", "verify", "--source", self.source, "--target", self.target, "--table", table, *more
        )
        return answer.error(reason)
