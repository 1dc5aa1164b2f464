"""What CASCADE takes, by name; and that the server takes just that."""

from datetime import date

import psycopg
import pytest

from lockgate.policy.judge import Judge, Source

_BASE = """CREATE TYPE en AS ENUM ('a');
CREATE COLLATION cc (locale = 'C');
CREATE FUNCTION ok(text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
CREATE FUNCTION okt() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE DOMAIN dom AS text CONSTRAINT dom_ok CHECK (ok(VALUE));
CREATE TABLE p (id bigint PRIMARY KEY, e en, x text);
CREATE TABLE c (id bigint PRIMARY KEY, p bigint CONSTRAINT c_fk REFERENCES p);
CREATE TABLE oc (id bigint PRIMARY KEY, a text COLLATE cc, b text);
CREATE INDEX oc_b ON oc (b COLLATE cc);
CREATE TRIGGER trg BEFORE INSERT ON p FOR EACH ROW EXECUTE FUNCTION okt();
CREATE POLICY by_e ON p USING (e = 'a');
CREATE POLICY by_ok ON p USING (ok(x));
CREATE INDEX p_ok ON p (ok(x));
"""
_TAKEN = [
    ("DROP COLLATION cc CASCADE;", ("oc.a", "index oc_b")),
    ("DROP FUNCTION okt() CASCADE;", ("trigger trg of p",)),
    ("ALTER TABLE p DROP CONSTRAINT p_pkey CASCADE;", ("constraint c_fk of c",)),
    ("DROP FUNCTION ok(text) CASCADE;", ("policy by_ok of p", "index p_ok", "a check of the domain dom")),
    ("DROP TYPE en CASCADE;", ("p.e", "policy by_e of p")),
]
_THERE = """SELECT (SELECT count(*) FROM pg_attribute WHERE attrelid = 'oc'::regclass AND attname = 'a' AND NOT attisdropped)
  + (SELECT count(*) FROM pg_attribute WHERE attrelid = 'p'::regclass AND attname = 'e' AND NOT attisdropped)
  + (SELECT count(*) FROM pg_class WHERE relname IN ('oc_b', 'p_ok')) + (SELECT count(*) FROM pg_trigger WHERE tgname = 'trg')
  + (SELECT count(*) FROM pg_policy) + (SELECT count(*) FROM pg_constraint WHERE conname IN ('c_fk', 'dom_ok'))"""


@pytest.mark.postgres("16", "18")
@pytest.mark.parametrize(("text", "names"), _TAKEN)
def test_what_cascade_takes_is_named(text: str, names: tuple[str, ...], database: str) -> None:
    """The finding is an error that names each thing, and the server takes as many."""
    judge = Judge(today=date(2030, 1, 1))
    judge.replay(_BASE)
    found = judge.judge(Source("f.sql", text, "contract")).findings
    (hit,) = (f for f in found if f.id == "tab-drop-cascade")
    assert hit.severity == "error"
    told = hit.message.removeprefix("CASCADE also takes ").split(", ")
    assert sorted(told) == sorted(names)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(_BASE)
        before = connection.execute(_THERE).fetchone()
        connection.execute(text)
        after = connection.execute(_THERE).fetchone()
    assert before is not None
    assert after is not None
    assert before[0] - after[0] == len(names)


def test_a_key_without_foreign_keys_takes_nothing() -> None:
    """CASCADE of a constraint that nothing points to is no finding."""
    judge = Judge(today=date(2030, 1, 1))
    judge.replay(_BASE)
    text = "ALTER TABLE c DROP CONSTRAINT c_pkey CASCADE;"
    assert "tab-drop-cascade" not in {f.id for f in judge.judge(Source("f.sql", text, "contract")).findings}
