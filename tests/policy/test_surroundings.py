"""What stands around a statement: other files, the session, the server of a snapshot."""

from datetime import date

import pytest
from msgspec import json

from lockgate.errors import ConfigError
from lockgate.policy.finding import Finding
from lockgate.policy.judge import Judge, Source
from lockgate.policy.model.environment import Environment, Life
from lockgate.policy.model.snapshot import Snapshot, read, write
from lockgate.policy.subject import Options

_BASE = "CREATE TABLE orders (id bigint PRIMARY KEY, qty integer, total integer);"
_FILL = "UPDATE orders SET total = qty WHERE id BETWEEN 1 AND 1000;"
_SYNC = (
    "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.total := NEW.qty; RETURN NEW; END $$;\n"
    "CREATE TRIGGER keep BEFORE INSERT OR UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION keep();"
)


def found(*sources: Source, base: str = _BASE, environment: Environment | None = None) -> list[Finding]:
    """All findings of some files on top of ``base``, those over several files last."""
    options = Options() if environment is None else Options(environment=environment)
    judge = Judge(options, today=date(2030, 1, 1))
    judge.replay(base)
    listed = [finding for source in sources for finding in judge.judge(source).findings]
    return listed + judge.finish()


def ids(*sources: Source, base: str = _BASE, environment: Environment | None = None) -> set[str]:
    return {finding.id for finding in found(*sources, base=base, environment=environment)}


def files(*texts: str) -> list[Source]:
    return [Source(f"{number}.sql", text) for number, text in enumerate(texts, 1)]


def test_a_snapshot_tells_of_the_server() -> None:
    """The environment is written and read back; one that says nothing is not written out."""
    judge = Judge(today=date(2030, 1, 1))
    judge.replay(_BASE + "CREATE PUBLICATION p FOR TABLE orders (id, qty);")
    around = Environment(role="app_migrator", free_bytes=10, tables={"orders": Life(age=5)})
    taken = Snapshot("1", 16, "2030-01-01T00:00:00Z", judge.schema, environment=around)
    assert read(write(taken)) == taken
    assert json.encode(Environment()) == b"{}"


def test_a_snapshot_of_another_version_is_named_as_such() -> None:
    """The version is looked at first: what a later one holds need not be readable."""
    with pytest.raises(ConfigError, match="schemaVersion 2"):
        read(b'{"schemaVersion": "2", "tables": []}')
    with pytest.raises(ConfigError, match="cannot be read"):
        read(b'{"schemaVersion": "1"}')


def test_what_a_snapshot_does_not_say_is_not_judged() -> None:
    """Without a snapshot no rule speaks of disk, traffic, locks, roles, standbys or extensions."""
    text = "ALTER TABLE orders ALTER COLUMN qty TYPE bigint;\nCREATE EXTENSION postgis;"
    told = ids(*files(text))
    assert not told & {
        "env-disk-headroom",
        "env-size-risk",
        "env-max-locks",
        "env-extensions",
        "dml-standby-conflict",
    }
    assert "env-extensions" in ids(*files(text), environment=Environment(available_extensions=("citext",)))


def test_a_member_of_the_owner_may_change_the_table() -> None:
    """Only an owner that the migrating role does not belong to is a finding, and never for a superuser."""
    base = _BASE + "ALTER TABLE orders OWNER TO app_owner;"
    text = files("ALTER TABLE orders ADD COLUMN a text;")
    for around, expected in (
        (Environment(role="m", memberships=("m",)), True),
        (Environment(role="m", memberships=("m", "app_owner")), False),
        (Environment(role="m", superuser=True), False),
    ):
        assert ("env-role-owner" in ids(*text, base=base, environment=around)) is expected


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        ("CREATE PUBLICATION p FOR TABLE orders (id);", "env-publication-column"),
        ("CREATE PUBLICATION p FOR TABLE orders;", "env-replication"),
        ("CREATE PUBLICATION p FOR ALL TABLES;", "env-replication"),
        ("CREATE PUBLICATION p; ALTER PUBLICATION p ADD TABLE orders;", "env-replication"),
        ("CREATE PUBLICATION p FOR TABLE orders; ALTER PUBLICATION p DROP TABLE orders;", ""),
        (
            "CREATE PUBLICATION p FOR TABLE orders; ALTER PUBLICATION p SET TABLE orders (id);",
            "env-publication-column",
        ),
        ("CREATE PUBLICATION p FOR TABLE orders; DROP PUBLICATION p;", ""),
    ],
)
def test_publications_are_part_of_the_model(statements: str, expected: str) -> None:
    """What a publication sends follows CREATE, ADD, SET, DROP."""
    told = ids(*files("ALTER TABLE orders ADD COLUMN a text;"), base=_BASE + statements)
    assert told & {"env-replication", "env-publication-column"} == ({expected} if expected else set())


def test_a_table_without_identity_cannot_be_published() -> None:
    """UPDATE and DELETE fail on it afterwards, so it is an error."""
    (finding,) = found(*files("CREATE PUBLICATION p FOR TABLE notes;"), base="CREATE TABLE notes (a text);")
    assert (finding.id, finding.severity) == ("env-replication", "error")


def test_the_trigger_comes_before_the_copy() -> None:
    """In another file too; a second pass after the trigger makes up for it."""
    assert "dml-backfill-before-sync" in ids(*files(_FILL, _SYNC))
    assert "dml-backfill-before-sync" not in ids(*files(_SYNC, _FILL))
    assert "dml-backfill-before-sync" not in ids(*files(_FILL, _SYNC, _FILL))


def test_a_trigger_with_a_purpose_of_its_own_is_not_taken_for_a_sync() -> None:
    """It writes the column, but from something else than the copy did."""
    touch = _SYNC.replace("NEW.qty", "now()")
    assert "dml-backfill-before-sync" not in ids(*files(_FILL, touch))


def test_a_copy_that_the_server_looked_through_may_replace_the_original() -> None:
    """SET NOT NULL, a validated CHECK, a raising block or a move stand between the copy and the drop."""
    drop = "ALTER TABLE orders DROP COLUMN qty;"
    assert "dml-backfill-unverified" in ids(*files(_FILL, drop))
    for proof in (
        "ALTER TABLE orders ALTER COLUMN total SET NOT NULL;",
        "DO $$ BEGIN ASSERT (SELECT count(*) FROM orders WHERE total IS DISTINCT FROM qty) = 0; END $$;",
    ):
        assert "dml-backfill-unverified" not in ids(*files(_FILL, proof, drop))
    assert "dml-backfill-unverified" not in ids(*files(_FILL), Source("2.sql", drop, after=("move:t",)))


@pytest.mark.parametrize(("later", "expected"), [(3_600_000, True), (40 * 24 * 3_600_000, False)])
def test_expand_and_contract_of_one_day_are_one_release(later: int, expected: bool) -> None:
    """The revisions tell the time between them; files without one are not judged."""
    add, drop = "ALTER TABLE orders ADD COLUMN amount integer;", "ALTER TABLE orders DROP COLUMN qty;"
    first = Source("1800000000000_add.sql", add)
    second = Source(f"{1_800_000_000_000 + later}_drop.sql", drop, "contract")
    assert ("dml-contract-before-n1" in ids(first, second)) is expected
    assert "dml-contract-before-n1" not in ids(*files(add, drop))


def test_a_finding_over_several_files_can_be_allowed() -> None:
    """The allowance covers its statement, counts as used only when it hides something, and hides nothing else."""
    add = "ALTER TABLE orders ADD CONSTRAINT c CHECK (qty > 0) NOT VALID;"
    allow = '-- lockgate: allow=con-notvalid-forgotten until=2031-01-01 reason="later"\n'
    assert "con-notvalid-forgotten" in ids(*files(add, "SELECT 1;"))
    assert not ids(*files(allow + add, "SELECT 1;")) & {"con-notvalid-forgotten", "suppression-useless"}
    done = ids(*files(allow + add, "ALTER TABLE orders VALIDATE CONSTRAINT c;"))
    assert "suppression-useless" in done


def test_a_secret_is_found_and_never_repeated() -> None:
    """The message and the fix hold nothing of it; the finding stands at the statement."""
    text = "SELECT 1;\nCREATE USER MAPPING FOR app SERVER s\n  OPTIONS (user 'a', password 'hunter2');"
    listed = [f for f in found(*files(text)) if f.id == "rep-secret-or-psql-meta"]
    assert [finding.line for finding in listed] == [2]
    assert "hunter2" not in str(listed)


def test_a_loop_that_only_reads_is_no_backfill() -> None:
    """FOR UPDATE in a loop and words in comments or strings are no writes."""
    body = "FOR r IN SELECT id FROM orders LOOP PERFORM 1 FROM orders FOR UPDATE; -- delete from x\n RAISE NOTICE 'update y'; END LOOP;"
    told = ids(*files(f"DO $$ DECLARE r record; BEGIN {body} END $$;"))
    assert not {one for one in told if one.startswith("dml-")}


def test_names_in_the_path_are_looked_up() -> None:
    """A schema that nothing creates is named; those that exist, $user and pg_temp are not."""
    told = found(*files('SET search_path = "$user", shop, public, pg_temp;'))
    assert [finding.id for finding in told] == ["tx-search-path"]
    assert not found(*files('SET search_path = "$user", shop;'), base="CREATE SCHEMA shop;")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SET LOCAL lock_timeout = '5s';\nALTER TABLE orders ADD COLUMN a text;", []),
        ("SET LOCAL lock_timeout = 5000;\nALTER TABLE orders ADD COLUMN a text;", []),
        ("SET LOCAL lock_timeout = '10min';\nALTER TABLE orders ADD COLUMN a text;", ["warning"]),
        ("ALTER TABLE orders ADD COLUMN a text;\nSET LOCAL lock_timeout = '5s';", ["warning"]),
        ("CREATE TABLE a (b int);\nSET LOCAL lock_timeout = '5s';", []),
        ("RESET lock_timeout;", ["error"]),
    ],
)
def test_a_lock_timeout_is_short_and_comes_first(text: str, expected: list[str]) -> None:
    """Off is an error; too long or too late is a warning."""
    told = [finding.severity for finding in found(*files(text)) if finding.id == "tx-timeout-bad-value"]
    assert told == expected
