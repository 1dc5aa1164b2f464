"""Queries as pg_stat_statements shows them."""

from collections.abc import Callable

import pytest

from lockgate.postgres.normalised import preparable
from lockgate.rehearsal.report import Rehearsal


@pytest.mark.parametrize(
    ("shown", "asked"),
    [
        ("SELECT now() - interval $1", "SELECT now() - CAST($1 AS interval)"),
        ("SELECT interval $1 day, 1", "SELECT CAST($1 AS interval day), 1"),
        ("SELECT timestamp with time zone $2", "SELECT CAST($2 AS timestamp with time zone)"),
        ("SELECT extract ( $1 FROM at), date_part($2, at)", "SELECT date_part($1, at), date_part($2, at)"),
        ("SELECT 'interval $1', \"date $2\" -- date $3", "SELECT 'interval $1', \"date $2\" -- date $3"),
        ("SELECT date FROM t WHERE date > $1 AND t.date = $2", "SELECT date FROM t WHERE date > $1 AND t.date = $2"),
    ],
)  # fmt: skip
def test_constants_that_became_parameters(shown: str, asked: str) -> None:
    """Where the grammar takes a constant only, a cast or a function takes the parameter; everything else stays as it is."""
    assert preparable(shown) == asked
    assert preparable(asked) == asked


@pytest.mark.postgres("16", "18")
def test_they_are_rehearsed(rehearse: Callable[..., Rehearsal], tmp_path) -> None:
    """A release with such queries passes a harmless file; they held every release before."""
    from lockgate.rehearsal.queries import read_queries

    file = tmp_path / "live.sql"
    file.write_text(
        "SELECT id FROM acc WHERE at > now() - interval $1;\nSELECT extract($1 from at) FROM acc;\n"
        "SELECT count(*) FROM acc WHERE at < date $1 AND at > timestamp $2;\n"
        "INSERT INTO acc (id) SELECT 1000 + $1 + g % $2 FROM generate_series($3,$4) g ON CONFLICT DO NOTHING;\n"
        "SELECT $1 + $2, id FROM acc;\nSELECT json_build_object($1, id) FROM acc;\n"
    )
    queries = ";\n".join(q.text for q in read_queries("live", file).queries)
    found = rehearse("create table acc (id int primary key, at timestamptz);", "alter table acc add z int;", queries=queries)  # fmt: skip
    assert found.compatibility["old"].answer == "compatible", found.compatibility["old"]


@pytest.mark.postgres("18")
@pytest.mark.parametrize("query", ["SELECT id FROM acc WHERE $1 = ANY(flags)", "SELECT id FROM acc WHERE flags @> $1", "SELECT id FROM acc WHERE flags[1] = $1", "INSERT INTO acc (id, flags) VALUES ($1, $2)"])  # fmt: skip
def test_an_element_of_an_array(rehearse: Callable[..., Rehearsal], query: str) -> None:
    """What is compared with the elements of an array is one of them, what stands for the whole is an array."""
    found = rehearse("create table acc (id int primary key, flags int[]);", "alter table acc add z int;", base=1, queries=query)  # fmt: skip
    assert found.compatibility["old"].answer == "compatible", found.compatibility["old"]
