"""Files judged apart give the answer of judging everything, whatever changes."""

import hashlib
from collections.abc import Sequence
from datetime import date

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lockgate.config import Settings
from lockgate.migrations.files import Migration
from lockgate.release import halves
from lockgate.release.parts import Parts, judge_changed, judge_whole, put_together
from lockgate.release.remembered import Mode, Task, Walked
from lockgate.release.walk import walk_all

TODAY = date(2030, 1, 1)
TABLES = ("a", "b", "c", "d", "e")
STATEMENTS = [
    "CREATE TABLE {t} (id bigint PRIMARY KEY, x integer, y text)",
    "CREATE TABLE {t} (id bigint PRIMARY KEY, other bigint REFERENCES {u} (id), CHECK (id > 0))",
    "CREATE TABLE {t}_part PARTITION OF {t} DEFAULT",
    "ALTER TABLE {t} ADD COLUMN z{n} text",
    "ALTER TABLE {t} ADD COLUMN x integer NOT NULL DEFAULT 1",
    "ALTER TABLE {t} DROP COLUMN x",
    "ALTER TABLE {t} ALTER COLUMN x TYPE bigint",
    "ALTER TABLE {t} ALTER COLUMN y SET NOT NULL",
    "ALTER TABLE {t} ADD CONSTRAINT {t}_ok CHECK (y IS NOT NULL) NOT VALID",
    "ALTER TABLE {t} VALIDATE CONSTRAINT {t}_ok",
    "ALTER TABLE {t} DROP CONSTRAINT {t}_ok",
    "ALTER TABLE {t} ADD CONSTRAINT {t}_fk FOREIGN KEY (id) REFERENCES {u} (id)",
    "CREATE INDEX {t}_x ON {t} (x)",
    "CREATE INDEX shared ON {t} (y)",
    "CREATE INDEX ON {t} (x, y)",
    "DROP INDEX {t}_x",
    "DROP INDEX shared",
    "DROP INDEX {t}_x_y_idx",
    "REINDEX TABLE {t}",
    "ALTER COLLATION plain REFRESH VERSION",
    "CREATE VIEW {t}_view AS SELECT id, y FROM {t}",
    "CREATE VIEW both AS SELECT 1 AS one FROM {t}, {u}",
    "DROP VIEW {t}_view",
    "DROP TABLE {t}",
    "DROP TABLE {t} CASCADE",
    "ALTER TABLE {t} RENAME TO {u}",
    "ALTER TABLE {t} RENAME COLUMN x TO y{n}",
    "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.y := NEW.x; RETURN NEW; END'",
    "CREATE OR REPLACE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "CREATE TRIGGER keep BEFORE INSERT OR UPDATE ON {t} FOR EACH ROW EXECUTE FUNCTION keep()",
    "UPDATE {t} SET y = x::text WHERE id < 1000",
    "UPDATE {t} SET y = 'a'",
    "INSERT INTO {t} (id, x) SELECT id, x FROM {u}",
    "ANALYZE {t}",
    "ANALYZE",
    "CREATE TYPE mood AS ENUM ('a', 'b')",
    "ALTER TYPE mood ADD VALUE 'c{n}'",
    "CREATE DOMAIN positive AS integer CHECK (VALUE > 0)",
    "ALTER TABLE {t} ADD COLUMN p positive",
    "ALTER TABLE {t} ADD COLUMN m mood",
    "ALTER DOMAIN positive ADD CHECK (VALUE < 10)",
    "CREATE PUBLICATION pub FOR TABLE {t}",
    "ALTER TABLE {t} REPLICA IDENTITY NOTHING",
    "CREATE SCHEMA app",
    "CREATE TABLE app.{t} (id bigint PRIMARY KEY)",
    "SET search_path = app, public",
    "CREATE EXTENSION citext",
    "CREATE STATISTICS s{n} ON x, y FROM {t}",
    "CREATE TABLE {t}_child (w integer) INHERITS ({t})",
    "LOCK TABLE {t}",
    "CREATE OR REPLACE FUNCTION w{n}() RETURNS int LANGUAGE sql AS 'INSERT INTO {t} VALUES ({n}); SELECT x FROM {u}'",
    "CREATE OR REPLACE FUNCTION g{n}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE {u} SET x = 1; RETURN NULL; END $$",
    "CREATE TRIGGER fires AFTER INSERT ON {t} FOR EACH ROW EXECUTE FUNCTION g{n}()",
    "SELECT w{n}()",
    "DROP FUNCTION w{n}()",
    "DO $$ BEGIN RAISE EXCEPTION 'no'; END $$",
    "not sql",
]  # fmt: skip
APART = [words for words in STATEMENTS if "{t}" in words or "{n}" in words]
"""Those that name something of their own."""
phase = st.sampled_from(["", "", "-- lockgate: phase=contract\n", "-- lockgate: transaction=off\n"])


def texts_of(
    tables: tuple[str, ...], numbers: st.SearchStrategy[int], statements: Sequence[str] = STATEMENTS
) -> st.SearchStrategy[str]:
    """Files about ``tables``, whose other names have one of the ``numbers``."""
    statement = st.builds(
        lambda words, t, u, n: words.format(t=t, u=u, n=n),
        st.sampled_from(statements),
        st.sampled_from(tables),
        st.sampled_from(tables),
        numbers,
    )
    return st.builds(
        lambda head, body: head + ";\n".join(body) + ";\n", phase, st.lists(statement, min_size=1, max_size=3)
    )


text = texts_of(TABLES, st.integers(0, 3))
project = st.dictionaries(st.integers(1, 24), text, min_size=8, max_size=24)


def tasks(texts: dict[int, str]) -> list[Task]:
    made = []
    for number, words in sorted(texts.items()):
        revision = f"{1_700_000_000_000 + number * 43_200_000}"
        checksum = hashlib.sha256(words.encode()).hexdigest()
        made.append(Task(Migration(revision, "f", f"{revision}_f.sql", checksum, words), Mode.JUDGE))
    return made


def plain(walked: Walked) -> object:
    """The answer in the order in which `check` tells it."""
    findings = sorted(walked.findings, key=lambda found: (found.file, found.line))
    return msgspec.to_builtins((walked.problems, findings, walked.statements))


ANSWERS = given(
    project, st.lists(st.tuples(st.integers(1, 26), st.one_of(st.none(), text)), min_size=1, max_size=4)
)


@pytest.mark.parametrize("examples", [120, pytest.param(1200, marks=pytest.mark.soak)])
def test_apart_or_together(examples: int):
    """After each edit, addition or removal the entries make the answer that judging everything makes, and most edits are judged apart."""
    taken: list[bool] = []

    @settings(max_examples=examples, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @ANSWERS
    def apart_or_together(texts: dict[int, str], edits: list[tuple[int, str | None]]):
        found = Settings()
        walked, parts = judge_whole(found, tasks(texts), TODAY)
        assert plain(walked) == plain(walk_all(found, tasks(texts), TODAY))
        for number, words in edits:
            texts = {key: value for key, value in texts.items() if key != number}
            if words is not None:
                texts[number] = words
            now = tasks(texts)
            # As they come back from where they are kept.
            kept = msgspec.msgpack.decode(msgspec.msgpack.encode(parts), type=Parts)
            after = judge_changed(found, now, TODAY, kept)
            taken.append(after is not None)
            if after is None:
                _, after = judge_whole(found, now, TODAY)
            assert plain(put_together(after)) == plain(walk_all(found, now, TODAY))
            parts = after

    apart_or_together()
    # The property would say nothing if everything were always judged as a whole.
    assert sum(taken) > examples // 8, (sum(taken), len(taken))


@pytest.mark.parametrize("examples", [120, pytest.param(1200, marks=pytest.mark.soak)])
def test_in_halves_or_together(examples: int):
    """Whatever files are judged by another process, the two halves make the answer of one, or none; by guessed halves, often one."""
    taken: list[bool] = []

    @settings(max_examples=examples, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(
        st.dictionaries(st.integers(0, 11), texts_of(("a", "b"), st.integers(0, 3), APART), max_size=5),
        st.dictionaries(st.integers(0, 11), texts_of(("c", "d"), st.integers(4, 7), APART), max_size=5),
        st.sets(st.integers(0, 5), max_size=2),
        st.booleans(),
    )
    def in_halves(some: dict[int, str], others: dict[int, str], moved: set[int], guessed: bool):
        texts = {2 * n: words for n, words in some.items()} | {
            2 * n + 1: words for n, words in others.items()
        }
        found, now = Settings(), tasks(texts)
        names = [task.migration.file for task in now]
        odd = {
            name
            for place, (name, n) in enumerate(zip(names, sorted(texts), strict=True))
            if n % 2 ^ (place in moved)
        }
        theirs = halves.divide(now) if guessed else odd
        here = halves.judge_half(found, now, TODAY, {*names} - theirs)
        there = halves.judge_half(found, now, TODAY, theirs)
        # As it comes back from the other process.
        there = msgspec.msgpack.decode(msgspec.msgpack.encode(there), type=halves.Half)
        made = halves.join(now, here, there)
        taken.append(made is not None and bool(theirs))
        if made is not None:
            whole, parts = judge_whole(found, now, TODAY)
            assert plain(put_together(made)) == plain(whole)
            assert made == parts

    in_halves()
    assert sum(taken) > examples // 20, (sum(taken), len(taken))


def tables_apart(number: int) -> dict[int, str]:
    """Four files each for ``number`` tables that have nothing to do with each other."""
    texts = {}
    for n in range(number * 4):
        table = f"t{n // 4}"
        texts[n] = [
            f"CREATE TABLE {table} (id bigint PRIMARY KEY, x integer);\n",
            f"ALTER TABLE {table} ADD COLUMN y text;\n",
            f"CREATE INDEX {table}_y ON {table} (y);\n",
            f"COMMENT ON COLUMN {table}.x IS 'what {table} is for';\n",
        ][n % 4]
    return texts


def test_two_processes(monkeypatch: pytest.MonkeyPatch):
    """Tables that have nothing to do with each other are judged by two processes, with the answer of one."""
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    now = tasks(tables_apart(60))
    made = halves.judge_in_halves(Settings(), now, TODAY)
    assert made is not None
    assert made == judge_whole(Settings(), now, TODAY)[1]
    assert plain(put_together(made)) == plain(walk_all(Settings(), now, TODAY))


@pytest.mark.parametrize(
    "link",
    [
        "VACUUM;\n",
        "not sql;\n",
        "CREATE VIEW both AS SELECT t0.id FROM t0, t4;\n",
        "SELECT (SELECT max(id) FROM t0), (SELECT max(id) FROM t4);\n",
    ],
)
def test_what_links_files_is_judged_as_a_whole(link: str):
    """A file that has to do with everything, that cannot be read, or that names tables of both halves leaves no halves."""
    now = tasks(
        {**tables_apart(3), 14: link, **{n + 16: words for n, words in tables_apart(6).items() if n >= 12}}
    )
    names = [task.migration.file for task in now]
    theirs = {*names[13:]}
    here, there = (halves.judge_half(Settings(), now, TODAY, some) for some in ({*names} - theirs, theirs))
    assert halves.join(now, here, there) is None


def test_one_file_of_many():
    """A change in one table's file judges the files of that table again, and no other."""
    texts = {}
    for number in range(60):
        table = f"t{number // 4}"
        texts[number] = [
            f"CREATE TABLE {table} (id bigint PRIMARY KEY, x integer);\n",
            f"ALTER TABLE {table} ADD COLUMN y text;\n",
            f"CREATE INDEX {table}_y ON {table} (y);\n",
            f"COMMENT ON TABLE {table} IS 'x';\n",
        ][number % 4]
    _, parts = judge_whole(Settings(), tasks(texts), TODAY)
    texts[21] += "ALTER TABLE t5 ADD COLUMN more text;\n"
    after = judge_changed(Settings(), tasks(texts), TODAY, parts)
    assert after is not None
    same = [new.findings is old.findings for new, old in zip(after.entries, parts.entries, strict=True)]
    assert [number for number, kept in enumerate(same) if not kept] == [20, 21, 22, 23]
    assert plain(put_together(after)) == plain(walk_all(Settings(), tasks(texts), TODAY))


def test_a_file_that_takes_nothing_away_looks_through_no_bodies():
    """Files with functions of their own stay apart: only what drops or renames something has to do with every body."""
    body = "CREATE TABLE t{0} (id bigint PRIMARY KEY);\nCREATE FUNCTION f{0}() RETURNS int LANGUAGE sql AS 'SELECT 1';\nCREATE INDEX i{0} ON t{0} (id);\n"
    _, parts = judge_whole(Settings(), tasks({n: body.format(n) for n in range(1, 5)}), TODAY)
    assert [entry.whole for entry in parts.entries if "routines" in entry.whole] == []
