"""What a finding advises, and what `check --fix` makes of it: only statements that the server takes."""

from collections.abc import Iterator
from datetime import date

import psycopg
import pytest

from lockgate.policy.facts import Server
from lockgate.policy.finding import Finding
from lockgate.policy.fixes import Fixed, fixed
from lockgate.policy.judge import Judge, Source
from lockgate.policy.subject import Options
from lockgate.postgres.embedded import Embedded
from support import servers

PARTS = """CREATE TABLE users (id bigint PRIMARY KEY);
CREATE TABLE parts (id bigint NOT NULL, u bigint, at date NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2030-01-01') TO ('2031-01-01');
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM ('2031-01-01') TO ('2032-01-01');
CREATE INDEX parts_id ON parts (id);
CREATE TABLE orders (id bigint PRIMARY KEY, a int, b int, during int4range);
ALTER TABLE orders ADD CONSTRAINT ex EXCLUDE USING gist (during WITH &&);
"""
NOT_VALID = "ALTER TABLE parts ADD CONSTRAINT pfk FOREIGN KEY (u) REFERENCES users (id)"


DEEPER = """CREATE TABLE parts_3 PARTITION OF parts FOR VALUES FROM ('2032-01-01') TO ('2033-01-01') PARTITION BY RANGE (at);
CREATE TABLE parts_3_a PARTITION OF parts_3 FOR VALUES FROM ('2032-01-01') TO ('2032-06-01');
"""


@pytest.fixture
def database(server: Embedded) -> Iterator[str]:
    with servers.fresh_database(server, "policy_advice") as made:
        yield made


def run(database: str, setup: str, fix: str) -> psycopg.Connection:
    """What the advice says, line by line, outside a transaction."""
    connection = psycopg.connect(database, autocommit=True)
    connection.execute(setup)
    for line in fix.splitlines():
        if not line.startswith("--"):
            connection.execute(line)
    return connection


def judged(
    text: str, setup: str = PARTS, version: int = 16, phase: str = ""
) -> tuple[list[Finding], list[Finding]]:
    """What is found in ``text``, and what is found at the end."""
    judge = Judge(Options(server=Server(version)), today=date(2030, 1, 1))
    judge.replay(setup)
    return judge.judge(Source("f.sql", text, phase)).findings, judge.finish()


def rewritten(text: str, version: int = 16) -> Fixed:
    """The file after `check --fix`."""
    return fixed("f.sql", text, text, judged(text, version=version)[0], transactional=True)


def advice(text: str, hazard: str, setup: str = PARTS, phase: str = "") -> str:
    """The fix of the one finding of a kind."""
    first, last = judged(text, setup, phase=phase)
    [fix] = [one.fix for one in first + last if one.id == hazard]
    return fix


@pytest.mark.parametrize(
    "text",
    [
        "DROP INDEX parts_id;\n",
        "DROP INDEX parts_1_id_idx;\n",
        "DROP INDEX ex;\n",
        "REINDEX INDEX ex;\n",
        "REINDEX TABLE orders;\n",
        NOT_VALID + ";\n",
        "CREATE INDEX parts_u ON parts (u);\n",
        "CREATE INDEX orders_a ON orders (a);\nCREATE INDEX parts_u ON parts (u);\n",
    ],
)
def test_what_the_server_refuses_or_skips_is_not_written(text: str):
    """A partitioned index has no concurrent drop, an exclusion constraint's no concurrent build, and until 18 a partitioned table no NOT VALID foreign key."""
    assert rewritten(text).text == text
    assert judged(text)[0]


@pytest.mark.parametrize("version", [16, 18])
def test_what_it_takes_is_written(version: int):
    """Beside them: an index of a plain table, and from 18 on the foreign key of a partitioned one."""
    assert "CONCURRENTLY" in rewritten("REINDEX INDEX orders_pkey;\n").text
    assert "REINDEX TABLE CONCURRENTLY" in rewritten("REINDEX TABLE parts;\n").text
    assert ("NOT VALID" in rewritten(NOT_VALID + ";\n", version).text) == (version == 18)


@pytest.mark.parametrize("version", [16, 17, 18])
def test_a_hand_written_not_valid_foreign_key_on_a_partitioned_table(version: int):
    """Until 18 the server refuses it, and the finding says what works in its place."""
    found = [
        one for one in judged(NOT_VALID + " NOT VALID;\n", version=version)[0] if one.severity == "error"
    ]
    assert [one.id for one in found] == ["con-fk-validating"] * (version < 18)
    for one in found:
        assert "refuses" in one.message
        assert (
            "ALTER TABLE parts_2 ADD CONSTRAINT pfk FOREIGN KEY (u) REFERENCES users (id) NOT VALID;"
            in one.fix
        )


def test_a_lost_unique_index_does_not_make_the_rest_unique():
    """Keys that were unique together need not be unique each; one with an expression is told as well."""
    lost = PARTS + "CREATE UNIQUE INDEX orders_ab ON orders (a, b);\n"
    fix = advice("ALTER TABLE orders DROP COLUMN b;", "col-drop-index-lost", lost, "contract")
    assert "CREATE INDEX CONCURRENTLY orders_a_idx ON orders (a);" in fix
    lost = PARTS + "CREATE UNIQUE INDEX orders_ab ON orders (lower(a::text), b);\n"
    fix = advice("ALTER TABLE orders DROP COLUMN b;", "col-drop-index-lost", lost, "contract")
    assert "UNIQUE" not in fix


def test_the_index_of_a_foreign_key_of_a_partitioned_table():
    """It is built on each partition, as PostgreSQL has no concurrent build on their parent."""
    fix = advice(NOT_VALID + ";", "con-fk-no-index")
    assert "CREATE INDEX CONCURRENTLY parts_u_idx ON parts (" not in fix
    assert "CREATE INDEX parts_u_idx ON ONLY parts (u);" in fix
    assert "CREATE INDEX CONCURRENTLY parts_2_parts_u_idx ON parts_2 (u);" in fix
    assert "ALTER INDEX parts_u_idx ATTACH PARTITION parts_2_parts_u_idx;" in fix


@pytest.mark.postgres("16", "18")
def test_an_index_built_partition_by_partition_is_whole(database: str):
    """The server takes each line, also with partitions of partitions, and the index of the parent is valid at the end."""
    fix = advice("CREATE INDEX parts_u ON parts (u, at DESC);", "idx-partitioned-parent", PARTS + DEEPER)
    with run(database, PARTS + DEEPER, fix) as connection:
        valid = connection.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = 'parts_u'::regclass")
        assert valid.fetchall() == [(True,)]


@pytest.mark.postgres("16")
def test_a_foreign_key_added_partition_by_partition_is_one(database: str):
    """The parent takes over the keys of its partitions: they are valid and hang on its own."""
    text = NOT_VALID + " ON DELETE CASCADE;"
    fix = advice(text, "con-fk-validating", PARTS + DEEPER)
    with run(database, PARTS + DEEPER, fix) as connection:
        keys = connection.execute(
            "SELECT conrelid::regclass::text, convalidated, confdeltype::text, conparentid <> 0 FROM pg_constraint "
            "WHERE contype = 'f' AND confrelid = 'users'::regclass ORDER BY 1"
        )
        assert keys.fetchall() == [
            (table, True, "c", table != "parts")
            for table in ("parts", "parts_1", "parts_2", "parts_3", "parts_3_a")
        ]


@pytest.mark.parametrize("off", [False, True])
@pytest.mark.parametrize(
    "word", ["REINDEX INDEX parts_id", "REINDEX TABLE parts", "CLUSTER parts USING parts_id"]
)
def test_what_takes_its_own_transactions_is_refused_in_every_file(word: str, off: bool):
    """Without CONCURRENTLY the engine wraps it, and the server refuses it half way: transaction=off is no help."""
    judge = Judge(today=date(2030, 1, 1))
    judge.replay(PARTS)
    found = judge.judge(Source("f.sql", word + ";", transactional=not off)).findings
    [fix] = [one.fix for one in found if one.id == "idx-concurrently-in-tx"]
    assert fix.endswith("CLUSTER parts_2;") if "CLUSTER" in word else "CONCURRENTLY parts" in fix


@pytest.mark.parametrize(
    "word", ["REINDEX INDEX CONCURRENTLY parts_id", "REINDEX TABLE orders", "CLUSTER orders"]
)
def test_what_the_engine_runs_is_not(word: str):
    """The concurrent form, and tables that are not partitioned, run."""
    judge = Judge(today=date(2030, 1, 1))
    judge.replay(PARTS)
    found = judge.judge(Source("f.sql", word + ";", transactional=False)).findings
    assert not [one for one in found if one.id == "idx-concurrently-in-tx"]


def test_only_what_has_storage_is_built_again():
    """REINDEX claims no rewrite of the index of a partitioned partition, nor of what its concurrent form passes over."""
    judge = Judge(today=date(2030, 1, 1))
    judge.replay(PARTS + DEEPER)
    text = "REINDEX TABLE CONCURRENTLY parts;\nREINDEX INDEX CONCURRENTLY parts_id;\nREINDEX TABLE CONCURRENTLY orders;"
    table, index, orders = judge.judge(Source("f.sql", text, transactional=False)).statements
    leaves = ["parts_1_id_idx", "parts_2_id_idx", "parts_3_a_id_idx"]
    assert [sorted(table.rewrites), sorted(index.rewrites), orders.rewrites] == [
        leaves,
        leaves,
        ["orders_pkey"],
    ]


OWN = [
    ("CREATE INDEX parts_x ON parts USING btree (abs(u), (id || ')') DESC) INCLUDE (at) WITH (fillfactor=70) WHERE u > 0;", "idx-partitioned-parent", "ON parts_2 USING btree (abs(u), (id || ')') DESC) INCLUDE (at) WITH (fillfactor=70) WHERE u > 0;"),
    ("CREATE /* on t ( */ UNIQUE INDEX i ON public . orders (coalesce(a, 0), b)", "idx-create-blocking", "CREATE UNIQUE INDEX CONCURRENTLY i ON orders (coalesce(a, 0), b);"),
    ("CREATE INDEX i ON orders USING gist (during);", "idx-create-blocking", "ON orders USING gist (during);"),
    ("ALTER TABLE orders ADD CONSTRAINT a_pos CHECK (a > 0 AND '(' <> b::text);", "con-check-validating", "ADD CONSTRAINT a_pos CHECK (a > 0 AND '(' <> b::text) NOT VALID;"),
    ("-- ü\nALTER TABLE orders ADD COLUMN c int CHECK (c < 9);", "col-add-inline-check", "CHECK (c < 9) NOT VALID;"),
    ("ALTER DOMAIN d ADD CONSTRAINT pos CHECK (VALUE > 0);", "domain-add-check", "ADD CONSTRAINT pos CHECK (VALUE > 0) NOT VALID;"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "hazard", "part"), OWN)
def test_advice_has_the_users_own_expressions(text: str, hazard: str, part: str):
    """What the file says of keys, predicates and checks stands in the advice, to be pasted as it is."""
    fix = advice(text, hazard, PARTS + "CREATE DOMAIN d AS int;\nCREATE TABLE uses (v d);\n")
    assert part in fix.replace("public.", "")
    assert "…" not in fix


def test_separate_files_say_so():
    """The advice for a partitioned table names each file, and which of them are outside a transaction."""
    fix = advice("CREATE INDEX parts_x ON parts (u);", "idx-partitioned-parent")
    for file in fix.split("-- next file:\n"):
        assert file.startswith("-- lockgate: transaction=off\n") == ("CONCURRENTLY" in file)
        assert file.count("CONCURRENTLY") < 2


@pytest.mark.parametrize(("how", "fires"), [("ENABLE", True), ("ENABLE ALWAYS", True), ("ENABLE REPLICA", False), ("DISABLE", False)])  # fmt: skip
def test_a_trigger_for_replicated_rows_does_not_fire(how: str, fires: bool):
    """What its function locks is claimed only where it runs in a session of its own."""
    body = "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN DELETE FROM users; RETURN new; END';\n"
    made = "CREATE TRIGGER t BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION f();\n"
    judge = Judge(today=date(2030, 1, 1))
    judge.replay(PARTS + body + made + f"ALTER TABLE orders {how} TRIGGER t;")
    [told] = judge.judge(Source("f.sql", "INSERT INTO orders (id) VALUES (1);")).statements
    assert ("users" in told.locks) == fires


def test_what_is_warned_of_is_not_called_safe():
    """Autovacuum that is switched off has its warning, and no word beside it that all is well."""
    found, _ = judged("ALTER TABLE orders SET (autovacuum_enabled = false);")
    assert [one.id for one in found if one.id in ("tab-autovacuum", "col-options-harmless")] == [
        "tab-autovacuum"
    ]
    found, _ = judged("ALTER TABLE orders SET (autovacuum_vacuum_scale_factor = 0.1);")
    assert "col-options-harmless" in [one.id for one in found]


def test_types_are_told_with_their_limits():
    """Two lengths or precisions of one type are told apart."""
    found, _ = judged("ALTER TABLE n ALTER COLUMN v TYPE numeric(12,4);", "CREATE TABLE n (v numeric(8,2));")
    [message] = [one.message for one in found if one.id == "col-type-rewrite"]
    assert message.startswith("from numeric(8,2) to numeric(12,4) writes n ")
