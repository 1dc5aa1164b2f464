"""What a star in a view stands for, as the server holds it: which columns may not go, and what the view gives out."""

from datetime import date

import psycopg
import pytest

from lockgate.policy.judge import Judge, Source
from lockgate.postgres.tree import statements_of

_TABLES = """CREATE TABLE users (id bigint PRIMARY KEY, email text, name text, age integer);
CREATE TABLE orders (id bigint PRIMARY KEY, user_id bigint, note text);
"""
_QUERIES = [
    "SELECT o.*, u.email FROM orders o JOIN users u ON u.id = o.user_id",
    "SELECT u.email AS mail, o.* FROM orders o, users u WHERE u.id = o.user_id",
    "SELECT users.* FROM orders JOIN public.users ON true",
    "SELECT o.id FROM orders o WHERE EXISTS (SELECT * FROM users u WHERE u.id = o.user_id)",
    "WITH c AS (SELECT * FROM orders) SELECT c.*, u.age FROM c JOIN users u ON u.id = c.user_id",
    "SELECT x.* FROM (SELECT id, note FROM orders) x CROSS JOIN users",
    "SELECT * FROM orders o LEFT JOIN users u USING (id)",
    "SELECT * FROM (SELECT name FROM users) x",
    "SELECT id, note FROM orders UNION ALL SELECT id, email FROM users",
    "SELECT 1 AS id, 2::bigint AS user_id, 'x' AS note UNION ALL SELECT * FROM orders",
    "SELECT (o).* FROM orders o",
    "SELECT row_to_json(o) AS j, count(*) FROM orders o GROUP BY o",
    "SELECT u.*, (SELECT count(*) FROM orders o WHERE o.user_id = u.id) AS n FROM users u ORDER BY u.name LIMIT 3",
    "SELECT z.* FROM orders AS z (p, q, r)",
    "SELECT j.* FROM (orders o CROSS JOIN users u) AS j (a, b, c, d)",
    "WITH users AS (SELECT 1 AS one) SELECT * FROM users UNION SELECT 2",
    "SELECT l.* FROM users u, LATERAL (SELECT u.age, o.* FROM orders o WHERE o.user_id = u.id) l",
]
_COLUMNS = [
    ("users", "email"),
    ("users", "name"),
    ("users", "age"),
    ("orders", "user_id"),
    ("orders", "note"),
]


@pytest.mark.postgres("16", "18")
@pytest.mark.parametrize("query", _QUERIES)
def test_columns_that_may_not_go(query: str, database: str) -> None:
    """A DROP COLUMN that the server refuses for the view is told so, and no other."""
    view = f"CREATE VIEW v AS {query};"
    with psycopg.connect(database) as connection:
        connection.execute(_TABLES + view)
        connection.commit()
        for table, column in _COLUMNS:
            drop = f"ALTER TABLE {table} DROP COLUMN {column};"
            try:
                connection.execute(drop)
                refused = False
            except psycopg.errors.DependentObjectsStillExist:
                refused = True
            connection.rollback()
            judge = Judge(today=date(2030, 1, 1))
            judge.replay(_TABLES + view)
            told = [
                f.message
                for f in judge.judge(Source("f.sql", drop, "contract")).findings
                if f.id == "col-drop-dependents"
            ]
            assert bool(told) == refused, (table, column, told)


@pytest.mark.postgres("16", "18")
@pytest.mark.parametrize(
    "query",
    [
        q
        for q in _QUERIES
        if not q.startswith(("WITH", "SELECT x.*", "SELECT l.*", "SELECT *", "SELECT z", "SELECT j"))
    ],
)
def test_columns_that_a_view_has(query: str, database: str) -> None:
    """The columns of a view with a star of a table are those that the server gives it, in their order."""
    judge = Judge(today=date(2030, 1, 1))
    judge.replay(f"{_TABLES}CREATE VIEW v AS {query};")
    with psycopg.connect(database) as connection:
        connection.execute(f"{_TABLES}CREATE VIEW v AS {query};")
        names = [column.name for column in connection.execute("SELECT * FROM v LIMIT 0").description or ()]
    assert list(judge.schema.relations["v"].columns) == names


def test_names_that_cannot_be_told():
    """Columns by other names, and a table that only seems to be one, lend no names; a schema tells two tables apart."""
    for query in (
        "SELECT * FROM orders AS z (p, q, r)",
        "SELECT * FROM (orders CROSS JOIN users) AS j (a, b)",
        "WITH users AS (SELECT 1) SELECT * FROM users UNION SELECT 2",
    ):
        (found,) = statements_of(f"CREATE VIEW v AS {query}")
        assert found.statement.query.shown == (), query
    (found,) = statements_of("CREATE VIEW v AS SELECT s1.t.* FROM s1.t, s2.t")
    assert [name.schema for name in found.statement.query.starred] == ["s1"]
