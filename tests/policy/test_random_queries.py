"""Random queries over random partitions: what the planner leaves out is what we leave out."""

from itertools import pairwise
from random import Random

import psycopg
import pytest
from claims import claim, differences, model_of
from observation import observe

from lockgate.postgres.embedded import Embedded
from support import servers

_TYPES = ("int", "bigint", "date", "timestamp", "text", "uuid")
_TEXTS = ("a", "b", "c", "zz", "longer than twelve bytes")


def value(dice: Random, kind: str) -> str:
    """A constant of a type, from a small set, so that bounds are met."""
    return {
        "date": f"'2024-{dice.randint(1, 12):02}-01'",
        "timestamp": f"'2024-{dice.randint(1, 12):02}-01 06:00'",
        "text": f"'{dice.choice(_TEXTS)}'",
        "uuid": f"'{dice.randint(0, 9):08}-0000-0000-0000-000000000000'",
    }.get(kind, str(dice.randint(-3, 30)))


def partitions(dice: Random, name: str, column: str, kind: str) -> list[str]:
    """CREATE TABLE of a partitioned table and its partitions, by one column."""
    how = dice.choice(["list", "hash", "list" if kind in ("text", "uuid") else "range"])
    made = [f"CREATE TABLE {name} (a {kind}, b int) PARTITION BY {how} ({column})"]
    if how == "hash":
        bounds = [f"FOR VALUES WITH (MODULUS 3, REMAINDER {rest})" for rest in range(3)]
    elif how == "list":
        values = sorted({value(dice, kind) for _ in range(5)})
        bounds = [f"FOR VALUES IN ({item})" for item in values]
    else:
        edges = [value(dice, kind) for _ in range(4)]
        edges = sorted(set(edges), key=lambda edge: float(edge) if edge[0] != "'" else edge)
        bounds = [f"FOR VALUES FROM ({low}) TO ({high})" for low, high in pairwise(edges)]
    if how != "hash" and dice.random() < 0.6:
        bounds.append("DEFAULT")
    return [
        *made,
        *[f"CREATE TABLE {name}_{at} PARTITION OF {name} {bound}" for at, bound in enumerate(bounds)],
    ]


def condition(dice: Random, column: str, kind: str) -> str:
    """Something that is asked of a column."""
    one, other = value(dice, kind), value(dice, kind)
    return dice.choice([
        f"{column} = {one}", f"{column} = {one}", f"{one} = {column}", f"{column} IN ({one}, {other})", f"{column} IS NULL",
        f"{column} = {one} OR {column} = {other}", f"{column} <> {one}",
        *([f"{column} >= {one}", f"{column} < {one}", f"{column} BETWEEN {one} AND {other}"] if kind not in ("text", "uuid") else []),
    ])  # fmt: skip


@pytest.mark.postgres("16", "18")
@pytest.mark.parametrize("seed", range(3))
def test_random_queries(server: Embedded, seed: int) -> None:
    """Thirty queries, joins and writes over six random partitioned tables lock exactly what the server shows."""
    dice = Random(seed)
    tables = {f"p{at}": kind for at, kind in enumerate(_TYPES)}
    setup = ";\n".join(line for name, kind in tables.items() for line in partitions(dice, name, "a", kind))
    wrong = []
    with (
        servers.fresh_database(server, "policy_queries") as url,
        psycopg.connect(url, autocommit=True) as connection,
    ):
        version = connection.info.server_version // 10000
        schema, cursor = model_of(setup, version=version), connection.cursor()
        cursor.execute(setup)  # type: ignore[call-overload]
        for _ in range(30):
            name, kind = dice.choice(list(tables.items()))
            other, kind2 = dice.choice(list(tables.items()))
            asked = condition(dice, "x.a", kind)
            sql = dice.choice([
                f"SELECT FROM {name} x WHERE {asked}",
                f"UPDATE {name} x SET b = 1 WHERE {asked}",
                f"DELETE FROM {name} x WHERE {asked}",
                f"SELECT FROM {name} x JOIN {other} y ON {condition(dice, 'y.a', kind2)} WHERE {asked}",
                f"SELECT FROM {name} x LEFT JOIN {name} y ON y.a = x.a WHERE x.a = {value(dice, kind)}",
            ])  # fmt: skip
            cursor.execute("BEGIN")
            seen = observe(cursor, sql)
            cursor.execute("ROLLBACK")
            word, facts = claim(sql, schema, version)
            wrong += [f"{sql}\n    {told}" for told in differences(word, facts, seen)]
    assert not wrong, "\n" + "\n".join(wrong)
