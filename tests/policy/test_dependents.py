"""What hangs on a column, in the findings and on the server: who drops or retypes it is told by name what stands in the way."""

from datetime import date

import psycopg
import pytest

from lockgate.policy.judge import Judge, Source

_TODAY = date(2030, 1, 1)
_TABLE = """CREATE TABLE acc (id bigint PRIMARY KEY, kind varchar(10), qty integer, note varchar(20));
CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
"""
_HANGS = [
    ("CREATE POLICY mine ON acc AS RESTRICTIVE USING (kind <> 'x');", "policy mine of acc"),
    ("CREATE TRIGGER t BEFORE UPDATE OF kind ON acc FOR EACH ROW EXECUTE FUNCTION noted();", "trigger t of acc"),
    ("CREATE TRIGGER t BEFORE INSERT ON acc FOR EACH ROW WHEN (new.kind = 'x') EXECUTE FUNCTION noted();", "trigger t of acc"),
    ("CREATE FUNCTION kinds() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(kind) FROM acc; END;", "function kinds()"),
    ("CREATE PUBLICATION p FOR TABLE acc WHERE (kind = 'x');", "publication p"),
    ("CREATE PUBLICATION p FOR TABLE acc (id, kind);", "publication p"),
]  # fmt: skip
_CHECK = "ALTER TABLE acc ADD CONSTRAINT whole CHECK (qty > 0 AND note <> '');"


def found(setup: str, text: str, id: str, phase: str = "contract") -> list[str]:
    """The messages of one hazard."""
    judge = Judge(today=_TODAY)
    judge.replay(_TABLE + setup)
    return [f.message for f in judge.judge(Source("f.sql", text, phase)).findings if f.id == id]


@pytest.mark.postgres("16", "18")
@pytest.mark.parametrize(("setup", "name"), _HANGS)
def test_a_drop_names_what_hangs_on_the_column(setup: str, name: str, database: str) -> None:
    """Without CASCADE the server refuses the drop, and the finding names the dependent; with it, it goes."""
    drop = "ALTER TABLE acc DROP COLUMN kind"
    (told,) = found(setup, f"{drop};", "col-drop-dependents")
    assert name in told
    assert "refuse" in told
    (told,) = found(setup, f"{drop} CASCADE;", "col-drop-dependents")
    assert name in told
    assert "goes too" in told
    assert found(setup, "ALTER TABLE acc DROP COLUMN note;", "col-drop-dependents") == []
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(_TABLE + setup)
        with pytest.raises(psycopg.errors.DependentObjectsStillExist):
            connection.execute(drop)
        connection.execute(f"{drop} CASCADE")


@pytest.mark.postgres("16", "18")
@pytest.mark.parametrize(
    ("setup", "name"),
    [
        *_HANGS,
        ("CREATE VIEW v AS SELECT id, kind FROM acc;", "view v"),
        ("ALTER TABLE acc ADD COLUMN long text GENERATED ALWAYS AS (kind || 'x') STORED;", "generated column long"),
    ],
)  # fmt: skip
def test_a_retype_names_what_makes_it_fail(setup: str, name: str, database: str) -> None:
    """The server refuses another type, and the finding names why; a column beside it may be retyped."""
    retype = "ALTER TABLE acc ALTER COLUMN kind TYPE varchar(20)"
    (told,) = found(setup, f"{retype};", "col-type-dependents", "")
    assert name in told
    assert found(setup, "ALTER TABLE acc ALTER COLUMN note TYPE varchar(30);", "col-type-dependents") == []
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(_TABLE + setup)
        with pytest.raises((psycopg.errors.FeatureNotSupported, psycopg.errors.SyntaxError)):
            connection.execute(retype)
        connection.execute("ALTER TABLE acc ALTER COLUMN note TYPE varchar(30)")


def test_a_renamed_column_is_followed() -> None:
    """Policies and triggers know the column by its new name."""
    setup = "".join(each for each, _ in _HANGS[:2]) + "ALTER TABLE acc RENAME COLUMN kind TO sort;"
    assert len(found(setup, "ALTER TABLE acc DROP COLUMN sort;", "col-drop-dependents")) == 2


def test_a_view_with_a_namesake_is_not_sure() -> None:
    """Where another relation of the view has a column of that name, the finding is a warning that says so."""
    setup = "CREATE TABLE other (acc bigint, note text); CREATE VIEW v AS SELECT o.note FROM acc a JOIN other o ON o.acc = a.id;"
    (told,) = found(setup, "ALTER TABLE acc ALTER COLUMN note TYPE varchar(30);", "col-type-dependents")
    assert "may use" in told


def test_a_check_that_goes_is_named() -> None:
    """The CHECK that reads another column too is named; one on this column alone, or one made anew, is not."""
    drop = "ALTER TABLE acc DROP COLUMN note;"
    (told,) = found(_CHECK, drop, "col-drop-check-lost")
    assert "whole" in told
    assert "guards qty no more" in told
    assert found("ALTER TABLE acc ADD CHECK (note <> '');", drop, "col-drop-check-lost") == []
    kept = "ALTER TABLE acc ADD CONSTRAINT kept CHECK (qty > 0) NOT VALID;"
    assert found(_CHECK, kept + drop, "col-drop-check-lost") == []
    # One that was there already may say something else.
    assert found("ALTER TABLE acc ADD CHECK (qty < 9);" + _CHECK, drop, "col-drop-check-lost")
