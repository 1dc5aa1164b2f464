"""The model of a snapshot against the model replayed from the files that built the same schema."""

import random
from collections.abc import Callable
from datetime import date
from typing import Any

import msgspec
import psycopg
import pytest

from lockgate.config import Migrations
from lockgate.errors import Refused
from lockgate.migrations.limits import Limits
from lockgate.policy.facts import Server
from lockgate.policy.judge import Judge, Source
from lockgate.policy.model import snapshot as files
from lockgate.policy.model.replay import replay
from lockgate.policy.model.schema import Schema
from lockgate.policy.subject import Options
from lockgate.postgres.snapshot import Catalogue, RelationRow, ServerRow
from lockgate.postgres.target import Target
from lockgate.postgres.tree import statements_of
from lockgate.postgres.tree.blanking import blanked
from lockgate.record.reasons import Exit
from lockgate.release.snapshot import snapshot_of, take

AT = "2030-01-01T00:00:00Z"


def taken(url: str, role: str = "app_migrator") -> files.Snapshot:
    return take(Target(url, source="test"), role, Limits.of(Migrations()), at=AT)


def replayed(texts: list[str], version: int) -> Schema:
    schema = Schema(version=version)
    for number, text in enumerate(texts):
        for item in statements_of(text):
            replay(schema, item.statement, number)
    return schema


def run(url: str, texts: list[str]) -> int:
    with psycopg.connect(url, autocommit=True) as connection:
        for text in texts:
            source = text.encode()
            for item in statements_of(text):
                connection.execute(source[item.start : item.end].decode().rstrip().rstrip(";"))
        return connection.info.server_version // 10000


# Told apart neither by the catalogue nor by a rule: where it came from, how big it is, how it was written.
_OF_FILES = {
    "created_file",
    "rows",
    "bytes",
    "owner",
    "lost_proofs",
    "concurrently",
    "shapes",
    "rule",
    "plain_names",
    "bound",
    "view_reads",
}
_SETS = {
    "children",
    "dependents",
    "referenced_by",
    "owned_sequences",
    "reads",
    "indexes",
    "sources",
    "source_columns",
    # replay puts a label that was added in between at the end
    "labels",
}


def plain(schema: Schema) -> dict[str, Any]:
    """A model as plain values, without what only files or only a server can know."""
    shape = {
        name: msgspec.to_builtins(getattr(schema, name))
        for name in (
            "relations",
            "indexes",
            "types",
            "functions",
            "routines",
            "servers",
            "schemas",
            "statistics",
            "publications",
            "extensions",
        )
    }
    shape["schemas"] = sorted(shape["schemas"])
    shape["extensions"].pop("plpgsql", None)
    # A snapshot keeps no data of a body.
    shape["routines"] = {
        key: msgspec.to_builtins([blanked(routine) for routine in made])
        for key, made in schema.routines.items()
    }
    for group in ("relations", "indexes", "types"):
        shape[group] = {key: _plain(value) for key, value in shape[group].items()}
    return shape


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    done = {}
    for key, item in value.items():
        if key in _OF_FILES or (key == "serial"):
            continue
        if key in _SETS and isinstance(item, list | tuple):
            done[key] = sorted({str(one) for one in item})
        elif key == "default_functions":
            # serial is written without the nextval that it stands for
            done[key] = [name for name in item if name != "nextval"]
        elif key == "opclasses":
            done[key] = [name for name in item if name]
        else:
            done[key] = _plain(item)
    return done


def differences(one: Any, other: Any, where: str = "") -> list[str]:
    """What the replayed model (``one``) and the snapshot (``other``) say differently."""
    if isinstance(one, dict) and isinstance(other, dict):
        if where.endswith(".type") and one.get("name") == "":
            return []  # replay does not know the types of a view's expressions
        return [
            line
            for key in sorted({*one, *other})
            for line in differences(one.get(key, "absent"), other.get(key, "absent"), f"{where}.{key}")
        ]
    return [] if one == other else [f"{where}: files {one!r}, snapshot {other!r}"]


@pytest.mark.postgres("16", "18")
def test_the_mixed_schema_is_the_same_from_files_and_from_the_server(database: str, mixed: str) -> None:
    """Every relation, column, constraint, index, type and trigger is told alike by both."""
    version = run(database, [mixed])
    assert differences(plain(replayed([mixed], version)), plain(taken(database).schema)) == []


@pytest.mark.postgres("16", "18")
def test_the_example_shop_is_the_same_from_files_and_from_the_server(database: str, shop: list[str]) -> None:
    """A history with renames of nothing, partitions and validations ends in the schema that the server has."""
    version = run(database, shop)
    assert differences(plain(replayed(shop, version)), plain(taken(database).schema)) == []


@pytest.mark.postgres("16", "18")
def test_a_snapshot_survives_its_file(database: str, mixed: str) -> None:
    """What is written is read back as it was, and twice the same bytes."""
    run(database, [mixed])
    snapshot = taken(database)
    text = files.write(snapshot)
    assert files.read(text) == snapshot
    assert files.write(files.read(text)) == text


@pytest.mark.postgres("18")
def test_rows_and_sizes_are_there_and_no_data(database: str, mixed: str) -> None:
    """Estimates follow ANALYZE, a partitioned table adds up, and no value of a row is in the file."""
    run(database, [mixed])
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO customers (mail, name) SELECT 'secretive' || g || '@x', 'n' || g FROM generate_series(1, 500) g"
        )
        connection.execute("INSERT INTO app.orders SELECT g, '2029-05-05', 1 FROM generate_series(1, 700) g")
        connection.execute("ANALYZE")
    snapshot = taken(database)
    relations = snapshot.schema.relations
    assert relations["customers"].rows == 500
    assert relations["app.orders_2029"].rows == 700
    assert relations["app.orders"].rows == 700
    assert relations["app.orders"].bytes >= relations["app.orders_2029"].bytes > 8192 * 4
    assert relations["scratch"].rows == 0
    assert relations["open_orders"].bytes == -1
    assert b"secretive" not in files.write(snapshot)


@pytest.mark.postgres("18")
def test_the_server_around_the_schema(database: str) -> None:
    """Role, room for locks, age and extensions are told, with what is not known left out."""
    run(database, ["CREATE TABLE t (a int)"])
    environment = taken(database).environment
    assert environment.role
    assert environment.superuser
    assert environment.max_locks > 1000
    assert environment.standbys == 0
    assert environment.free_bytes == -1
    assert "plpgsql" in environment.available_extensions
    assert environment.life("t").age >= 0
    assert environment.life("t").writes_per_second == 0


@pytest.mark.postgres("16", "18")
def test_a_role_that_only_reads_takes_the_same_snapshot(databases: Callable[[], str], mixed: str) -> None:
    """No right on any table is needed, and the reader is not taken for the role that migrates."""
    url = databases()
    run(url, [mixed])
    role = f"reader_{random.Random().randrange(10**9)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'none'")
        try:
            own = psycopg.conninfo.make_conninfo(url, options=f"-c role={role}")
            seen = taken(own)
            assert seen.schema == taken(url).schema
            assert seen.environment.role == ""
            assert not seen.environment.superuser
        finally:
            connection.execute(f"DROP ROLE {role}")


@pytest.mark.postgres("18")
def test_what_only_18_has(database: str) -> None:
    """Constraints not enforced, virtual columns and odd names are told alike by both; NOT NULL may be not valid."""
    text = """
    CREATE TABLE a (id int PRIMARY KEY, n int, v int GENERATED ALWAYS AS (id + 1), s text DEFAULT 'it''s');
    ALTER TABLE a ADD CONSTRAINT positive CHECK (n > 0) NOT ENFORCED;
    CREATE TABLE b (a int, CONSTRAINT b_a FOREIGN KEY (a) REFERENCES a NOT ENFORCED);
    CREATE TABLE "Odd name" ("a b" "char", "select" interval day to second(3), "c""d" bit(3)[] NOT NULL);
    CREATE INDEX "Odd index" ON "Odd name" ("a b", ("a b"::int + 1) DESC);
    CREATE VIEW "Odd view" AS WITH w AS (SELECT id FROM a) SELECT w.id, b.a FROM w LEFT JOIN b ON b.a = w.id;
    """
    version = run(database, [text])
    assert differences(plain(replayed([text], version)), plain(taken(database).schema)) == []
    run(database, ["ALTER TABLE a ADD CONSTRAINT present NOT NULL n NOT VALID"])
    relation = taken(database).schema.relations["a"]
    assert relation.columns["n"].not_null
    assert not relation.columns["n"].not_null_valid
    assert not relation.constraints["present"].valid


def test_words_that_the_parser_does_not_know_are_no_guess() -> None:
    """A definition that cannot be read ends the snapshot with hold, never with half a model."""
    server = ServerRow(99, "", False, [], 1, 0, 1, [], 1.0, False)
    relation = RelationRow("public", "v", "v", "p", False, "d", False, "o", "", -1, -1, -1, -1, -1, None, [], False, [], "SELECT FROM FUTURE ?", "", None, "")  # fmt: skip
    with pytest.raises(Refused) as caught:
        snapshot_of(Catalogue(server, [relation], [], [], [], [], []), AT)
    assert caught.value.exit == Exit.HOLD


def test_rows_of_a_partitioned_table_are_not_known_when_one_partition_is_not() -> None:
    """Half a sum would call a large table small."""

    def row(name: str, kind: str, rows: int, parents: list[tuple[str, str]]) -> RelationRow:
        return RelationRow("public", name, kind, "p", bool(parents), "d", False, "o", "", rows, 10, -1, -1, -1, None, parents, False, [], "", "", None, "")  # fmt: skip

    server = ServerRow(18, "", False, [], 1, 0, 1, [], 1.0, False)
    rows = [row("p", "p", -1, []), row("a", "r", 5, [("public", "p")]), row("b", "r", -1, [("public", "p")])]
    model = snapshot_of(Catalogue(server, rows, [], [], [], [], []), AT).schema
    assert model.relations["p"].rows == -1
    assert model.relations["p"].bytes == 20


_CANARY = "kan4rienvogel"
_SECRETS = f"""
CREATE TABLE orders (id bigint PRIMARY KEY, note text);
CREATE SEQUENCE s;
CREATE FUNCTION one() RETURNS trigger LANGUAGE plpgsql AS $f$
DECLARE k text := '{_CANARY}'; n bigint := 4111111111111111;
BEGIN -- {_CANARY}
  /* a /* {_CANARY} */ b */
  IF TG_OP = 'INSERT' THEN LOCK TABLE orders IN SHARE MODE; END IF;
  RAISE NOTICE '{_CANARY} % and %', k, n USING HINT = '{_CANARY}';
  PERFORM E'\\'{_CANARY}', $q${_CANARY}$q$, U&'{_CANARY}', 'it''s {_CANARY}'::text, nextval('s');
  EXECUTE 'CREATE ROLE x PASSWORD ''{_CANARY}''';
  INSERT INTO orders VALUES (1, '{_CANARY}');
  RETURN NULL;
END $f$;
CREATE TRIGGER t AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION one();
CREATE FUNCTION two() RETURNS text LANGUAGE sql AS $$ SELECT '{_CANARY}' $$;
CREATE FUNCTION three() RETURNS text LANGUAGE sql BEGIN ATOMIC SELECT '{_CANARY}' || nextval('s'); END;
CREATE PROCEDURE four() LANGUAGE sql AS $$ LOCK TABLE orders IN SHARE MODE; DELETE FROM orders WHERE note = '{_CANARY}' $$;
"""


def test_a_snapshot_holds_no_constant_of_a_body(database: str) -> None:
    """A word that stands in bodies as constant, text, number or comment is not in the file; their locks are claimed all the same."""
    version = run(database, [_SECRETS])
    written = files.write(taken(database))
    assert _CANARY.encode() not in written
    assert b"4111111111111111" not in written
    judge = Judge(Options(server=Server(version)), today=date(2030, 1, 1), schema=files.read(written).schema)
    (called,) = judge.judge(Source("f.sql", "CALL four();")).statements
    assert called.locks["orders"] == "ShareLock"
    told = judge.judge(Source("g.sql", "INSERT INTO orders VALUES (2);")).findings
    assert any("put together from text" in each.message for each in told)
