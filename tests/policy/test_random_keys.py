"""Random conditions on partition keys of several columns: what the planner leaves out is what we leave out."""

from itertools import pairwise
from random import Random

import psycopg
import pytest
from claims import claim, differences, model_of
from observation import observe, relations

from lockgate.postgres.embedded import Embedded
from support import servers

_FIXED = """
CREATE TABLE r3 (a int, b int, c text COLLATE "C") PARTITION BY RANGE (a, b, c);
CREATE TABLE r3_0 PARTITION OF r3 FOR VALUES FROM (1, 1, 'a') TO (1, 3, 'b');
CREATE TABLE r3_1 PARTITION OF r3 FOR VALUES FROM (1, 3, 'b') TO (2, MINVALUE, MINVALUE);
CREATE TABLE r3_2 PARTITION OF r3 FOR VALUES FROM (2, MINVALUE, MINVALUE) TO (2, 5, 'x');
CREATE TABLE r3_3 PARTITION OF r3 FOR VALUES FROM (3, 1, 'a') TO (MAXVALUE, MAXVALUE, MAXVALUE);
CREATE TABLE l1 (a int, b int, c text) PARTITION BY LIST (a);
CREATE TABLE l1_0 PARTITION OF l1 FOR VALUES IN (1, 2);
CREATE TABLE l1_1 PARTITION OF l1 FOR VALUES IN (3, NULL) PARTITION BY RANGE (b);
CREATE TABLE l1_1_0 PARTITION OF l1_1 FOR VALUES FROM (1) TO (3);
CREATE TABLE l1_1_1 PARTITION OF l1_1 FOR VALUES FROM (3) TO (5);
CREATE TABLE h1 (a int, b int, c text) PARTITION BY HASH (a, c);
"""
_TABLES = ("r1", "r2", "r3", "l1", "h1")


def _ranges(dice: Random, name: str) -> list[str]:
    """A table by two columns, some stretches of it, and maybe a default partition."""
    points = [(dice.randint(1, 4), dice.choice([1, 2, 3, "MINVALUE", "MAXVALUE"])) for _ in range(6)]
    order = {"MINVALUE": -1, "MAXVALUE": 9}
    edges = sorted(set(points), key=lambda point: (point[0], order.get(str(point[1]), point[1])))
    shown = [f"({one}, {two})" for one, two in edges]
    shown = (
        ["(MINVALUE, MINVALUE)"] * dice.randint(0, 1) + shown + ["(MAXVALUE, MAXVALUE)"] * dice.randint(0, 1)
    )
    made = [
        f"CREATE TABLE {name}_{at} PARTITION OF {name} FOR VALUES FROM {low} TO {high}"
        for at, (low, high) in enumerate(pairwise(shown))
        if dice.random() < 0.75
    ]
    head = f"CREATE TABLE {name} (a int, b int, c text) PARTITION BY RANGE (a, b)"
    return [head, *made, *_default(dice, name)]


def _default(dice: Random, name: str) -> list[str]:
    return [f"CREATE TABLE {name}_d PARTITION OF {name} DEFAULT"] if dice.random() < 0.6 else []


def _condition(dice: Random, depth: int = 0) -> str:
    turn = dice.random()
    if turn < 0.25 and depth < 2:
        return f"({_condition(dice, depth + 1)} OR {_condition(dice, depth + 1)})"
    if turn < 0.55 and depth < 3:
        return f"{_condition(dice, depth + 1)} AND {_condition(dice, depth + 1)}"
    if turn < 0.6 and depth < 2:
        return f"NOT ({_condition(dice, depth + 1)})"
    column = dice.choice("aaabbbc")
    one, other = (f"'{dice.choice('abxz')}'" if column == "c" else str(dice.randint(0, 5)) for _ in range(2))
    return dice.choice([
        f"{column} IS NULL", f"{column} IS NOT NULL", f"{column} IN ({one}, {other})", f"{column} NOT IN ({one}, {other})",
        f"{column} BETWEEN {one} AND {other}", f"{column} = ANY (ARRAY[{one}, {other}])", f"(a, b) = ({dice.randint(0, 4)}, {dice.randint(0, 4)})",
        *[f"{column} {op} {one}" for op in ("=", "=", "=", "=", "<", "<=", ">", ">=", "<>")],
    ])  # fmt: skip


@pytest.mark.postgres("16", "18")
@pytest.mark.parametrize("seed", range(3))
def test_random_conditions_on_keys_of_several_columns(server: Embedded, seed: int) -> None:
    """Eighty reads, deletes and rows over keys of several columns, nested and hashed, lock exactly what the server shows."""
    dice = Random(seed)
    hashed = [
        f"CREATE TABLE h1_{at} PARTITION OF h1 FOR VALUES WITH (MODULUS 3, REMAINDER {at})" for at in range(3)
    ]
    lines = [
        *_ranges(dice, "r1"),
        *_ranges(dice, "r2"),
        *_default(dice, "r3"),
        *_default(dice, "l1"),
        *hashed,
    ]
    setup = _FIXED + ";\n".join(sorted(lines, key=lambda line: "PARTITION OF" in line))
    wrong = []
    with (
        servers.fresh_database(server, "policy_keys") as url,
        psycopg.connect(url, autocommit=True) as connection,
    ):
        version = connection.info.server_version // 10000
        schema, cursor = model_of(setup, version=version), connection.cursor()
        cursor.execute(setup)  # type: ignore[call-overload]
        before = relations(cursor)
        for _ in range(80):
            name, asked = dice.choice(_TABLES), _condition(dice)
            row = f"{dice.randint(0, 5)}, {dice.choice(['NULL', *'012345'])}, '{dice.choice('abxz')}'"
            sql = dice.choice([
                f"SELECT FROM {name} WHERE {asked}", f"SELECT FROM {name} WHERE {asked}",
                f"DELETE FROM {name} WHERE {asked}", f"INSERT INTO {name} VALUES ({row})",
            ])  # fmt: skip
            try:
                with connection.transaction(force_rollback=True):
                    seen = observe(cursor, sql, before)
            except psycopg.errors.CheckViolation:
                continue  # there is no partition for the row
            word, facts = claim(sql, schema, version)
            wrong += [f"{sql}\n    {told}" for told in differences(word, facts, seen)]
    assert not wrong, "\n" + "\n".join(wrong)
