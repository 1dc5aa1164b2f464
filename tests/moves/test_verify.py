"""``move verify``: every difference is found, nothing else is, and what cannot be compared is said."""

import os

import pytest

from support.tables import Two, run_sql

pytestmark = pytest.mark.postgres("18")

MAKE = (
    "CREATE TABLE x (id bigint PRIMARY KEY, a text, b text, n numeric, f float8, ts timestamptz, j jsonb, big bigint)",
    "INSERT INTO x SELECT g, 'a' || g, 'b' || g, g / 7.0, g / 3.0, '2026-01-01'::timestamptz + g * interval '1 s', jsonb_build_object('k', g), g FROM generate_series(1, 2000) g",
    # What one hash takes for another: the halves of a number folded to nothing, and a zero with a sign.
    "UPDATE x SET b = NULL, big = 0, ts = '2000-01-01+00' WHERE id IN (6, 13)",
    "UPDATE x SET f = 0 WHERE id = 2000",
)
MUTATIONS = {
    "null": ("UPDATE x SET a = NULL WHERE id = 7", [(7, "changed")]),
    "null-word": ("UPDATE x SET a = '<null>' WHERE id = 7", [(7, "changed")]),
    "empty": ("UPDATE x SET a = '' WHERE id = 7", [(7, "changed")]),
    "scale": ("UPDATE x SET n = n + 0.0001 WHERE id = 9", [(9, "changed")]),
    "trailing-zero": ("UPDATE x SET n = n * 1.0 WHERE id = 9", [(9, "changed")]),
    "big": ("UPDATE x SET n = 1e40 WHERE id = 9", [(9, "changed")]),
    "last-bit": ("UPDATE x SET f = f + 1e-15 * f WHERE id = 9", [(9, "changed")]),
    "tiny": ("UPDATE x SET f = 1e-300 WHERE id = 9", [(9, "changed")]),
    "microsecond": ("UPDATE x SET ts = ts + interval '1 us' WHERE id = 3", [(3, "changed")]),
    "blank": ("UPDATE x SET a = a || ' ' WHERE id = 4", [(4, "changed")]),
    "shifted": ("UPDATE x SET a = 'a5b', b = '5' WHERE id = 5", [(5, "changed")]),
    "swapped": ("UPDATE x SET a = b, b = a WHERE id = 8", [(8, "changed")]),
    "json-number": ("""UPDATE x SET j = '{"k": 1.0}' WHERE id = 1""", [(1, "changed")]),
    "deleted": ("DELETE FROM x WHERE id = 11", [(11, "missing")]),
    "inserted": ("INSERT INTO x VALUES (99999, 'z')", [(99999, "extra")]),
    "key": ("UPDATE x SET id = 70000 WHERE id = 70", [(70, "missing"), (70000, "extra")]),
    "sign": ("UPDATE x SET n = -n WHERE id = 9", [(9, "changed")]),
    "minus-zero": ("UPDATE x SET f = '-0' WHERE id = 2000", [(2000, "changed")]),
    "folded-bigint": ("UPDATE x SET big = 4294967297 WHERE id = 6", [(6, "changed")]),
    "folded-time": ("UPDATE x SET ts = '2000-01-01 01:11:34.967297+00' WHERE id = 6", [(6, "changed")]),
    "null-wanders": ("UPDATE x SET b = CASE id WHEN 12 THEN NULL ELSE 'b12' END WHERE id IN (12, 13)", [(12, "changed"), (13, "changed")]),
    "greatest-keys": ("INSERT INTO x VALUES (9223372036854775807, 'z'), (-9223372036854775808, 'z')", [(-9223372036854775808, "extra"), (9223372036854775807, "extra")]),
    "two-rows-swapped": ("UPDATE x SET a = CASE id WHEN 1 THEN 'a2' ELSE 'a1' END WHERE id IN (1, 2)", [(1, "changed"), (2, "changed")]),
}  # fmt: skip


def test_every_mutation_is_found(two: Two):
    """Each kind of change is listed by key and kind, exit 1, and undone tables are equal again."""
    two.both(*MAKE)
    assert two.verify("x") | {"seconds": 0} == two.verify("x", "--key", "id") | {"seconds": 0}
    for name, (change, differing) in MUTATIONS.items():
        run_sql(two.target, change)
        found = two.verify("x")
        assert [(d["key"], d["kind"]) for d in found["differing"]] == differing, name
        assert found["reasonCode"] == "ROWS_DIFFER"
        run_sql(two.target, "DROP TABLE x", *MAKE)
    assert two.verify("x")["equal"]


def test_settings_of_the_databases_do_not_matter(two: Two):
    """Other time zone, date style, float digits and search path on one side: still equal."""
    two.both(*MAKE)
    name = two.target.rpartition("/")[2].partition("?")[0]
    for setting in ("timezone = 'Asia/Tokyo'", "datestyle = 'German'", "extra_float_digits = 0", "intervalstyle = 'iso_8601'", "bytea_output = 'escape'"):  # fmt: skip
        run_sql(two.target, f'ALTER DATABASE "{name}" SET {setting}')
    assert two.verify("x")["rows"] == {"source": 2000, "target": 2000}


TYPES = (
    "CREATE TYPE mood AS ENUM ('low', 'high')",
    "CREATE DOMAIN money2 AS numeric(12, 2)",
    "CREATE DOMAIN mood2 AS mood",
    "CREATE TYPE pair AS (a int, b text)",
    "CREATE TYPE span AS RANGE (subtype = float8)",
    """CREATE TABLE "Odd Name" (id int, "Key" text COLLATE "C", m mood, ms mood[], d money2, d2 mood2, c pair, s span, r int4range, mr int4multirange,
         b bytea, arr int[][], js json, iv interval, ip inet, u uuid, tv tsvector, bits bit varying, ch char(5), pt point, ok boolean, day date, tz timetz,
         g int GENERATED ALWAYS AS (id * 2) STORED, PRIMARY KEY (id, "Key"))""",
    """INSERT INTO "Odd Name" SELECT g, 'k' || g, 'low', '{low,high}', g, 'high', ('(' || g || ',x)')::pair, span(g, g + 1.5), int4range(g, g + 5), int4multirange(int4range(g, g + 5)),
         decode(lpad(to_hex(g), 8, '0'), 'hex'), ARRAY[[g, 1], [2, NULL]], '{"a":  1}', make_interval(mins => g), '10.0.0.1', md5(g::text)::uuid, to_tsvector('simple', 'a b'),
         B'101', 'ab', point(g, 1), g % 2 = 0, '2026-01-01', '10:00+02' FROM generate_series(1, 500) g""",
)


@pytest.mark.postgres("16", "18")
def test_every_type_and_odd_names(two: Two):
    """Enums, domains, composites, ranges, arrays, json, generated columns and quoted names compare equal across databases, and a change in each is found."""
    run_sql(
        two.target, "CREATE TYPE shift AS ENUM ('x')", "CREATE TABLE shifted (id int)"
    )  # other oids there
    two.both(*TYPES)
    name = '"Odd Name"'
    assert two.verify(name)["equal"]
    assert two.verify("Odd Name")["key"] == ["id", "Key"]
    changes = ("m = 'high'", "ms = '{low}'", "d = d + 0.01", "d2 = 'low'", "c.b = NULL", "s = 'empty'", "r = 'empty'", "mr = '{}'", "b = ''", "arr[1][1] = 0",
               "js = '{\"a\": 1}'", "iv = iv + interval '1 us'", "ip = '10.0.0.2'", "bits = B'1010'", "pt = point(0, 1)", "ok = NULL", "tz = '10:00+01'")  # fmt: skip
    at = dict(enumerate(changes, 71))
    run_sql(two.target, *(f"UPDATE {name} SET {change} WHERE id = {number}" for number, change in at.items()))
    found = {one["key"][0]: one["kind"] for one in two.verify(name)["differing"]}
    assert found == dict.fromkeys(at, "changed"), [at[number] for number in at.keys() - found.keys()]


@pytest.mark.postgres("machine")
def test_collations_and_partitions(two: Two):
    """A text key under another collation and a partitioned target hold the same rows; empty tables are equal."""
    run_sql(two.source, "CREATE TABLE t (k text PRIMARY KEY, v int)", "CREATE TABLE e (id int PRIMARY KEY)")
    run_sql(
        two.target,
        "CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
        "CREATE TABLE t (k text COLLATE ci PRIMARY KEY, v int)",
        "CREATE TABLE p (k text PRIMARY KEY, v int) PARTITION BY HASH (k)",
        *(f"CREATE TABLE p{i} PARTITION OF p FOR VALUES WITH (MODULUS 3, REMAINDER {i})" for i in range(3)),
        "CREATE TABLE e (id int PRIMARY KEY)",
    )
    fill = "INSERT INTO {} SELECT 'Kä' || g, g FROM generate_series(1, 3000) g"
    run_sql(two.source, fill.format("t"))
    run_sql(two.target, fill.format("t"), fill.format("p"))
    assert two.verify("t")["equal"]
    assert two.verify("t=p")["equal"]
    assert two.verify("e")["rows"] == {"source": 0, "target": 0}
    run_sql(two.target, "UPDATE p SET k = 'kä7' WHERE k = 'Kä7'")
    assert two.verify("t=public.p")["differing"] == [
        {"key": "Kä7", "kind": "missing"},
        {"key": "kä7", "kind": "extra"},
    ]


def test_families_are_compared_by_value(two: Two):
    """int and bigint, varchar and text, json and jsonb hold equal values; the profile says so, and a changed value is found."""
    run_sql(
        two.source,
        "CREATE TABLE t (id int PRIMARY KEY, a varchar(20), f real, j json)",
        "INSERT INTO t SELECT g, g, g / 8.0, '{\"a\":  1}' FROM generate_series(1, 300) g",
    )
    run_sql(
        two.target,
        "CREATE TABLE t (id bigint PRIMARY KEY, a text, f float8, j jsonb)",
        "INSERT INTO t SELECT g, g, g / 8.0, '{\"a\": 1}' FROM generate_series(1, 300) g",
    )
    found = two.verify("t")
    assert found["equal"]
    assert [p["column"] for p in found["profile"]] == ["id", "a", "f", "j"]
    run_sql(two.target, "UPDATE t SET f = f + 0.001 WHERE id = 5")
    assert two.verify("t")["differing"] == [{"key": 5, "kind": "changed"}]


def test_many_differences(two: Two):
    """Sparse and dense keys: a hundred scattered differences in many rows are all listed; with --limit the list is cut and says so."""
    two.both(
        "CREATE TABLE t (id bigint PRIMARY KEY, v int)",
        "INSERT INTO t SELECT g::bigint * g * g, g FROM generate_series(1, 60000) g",
    )
    run_sql(two.target, "UPDATE t SET v = -v WHERE v % 600 = 0")
    found = two.verify("t")
    assert [d["key"] for d in found["differing"]] == [g**3 for g in range(600, 60001, 600)]
    cut = two.verify("t", "--limit", "10")
    assert (len(cut["differing"]), cut["truncated"]) == (10, True)
    run_sql(two.target, "TRUNCATE t")
    assert len(two.verify("t")["differing"]) == 60000


def test_keys_in_two_heaps(two: Two):
    """Nearly all keys lie close together and one far away, so that one leaf holds more rows than are held at once: it is cut again, and the difference found."""
    two.both(
        "CREATE TABLE t (id bigint PRIMARY KEY, v int)",
        "INSERT INTO t SELECT g, g FROM generate_series(1, 120000) g",
        "INSERT INTO t VALUES (4611686018427387904, 1), (-4611686018427387904, 1)",
        "ANALYZE t",
    )
    run_sql(two.target, "UPDATE t SET v = 0 WHERE id IN (77, 119000)", "DELETE FROM t WHERE id < 0")
    assert [(d["key"], d["kind"]) for d in two.verify("t")["differing"]] == [(-4611686018427387904, "missing"), (77, "changed"), (119000, "changed")]  # fmt: skip


def test_composite_and_text_keys(two: Two):
    """Keys that are no single integer are spread by hash: swapped values, deleted and changed rows are listed by both columns."""
    two.both(
        "CREATE TABLE t (a int, b text, v bigint, w text, PRIMARY KEY (a, b))",
        "INSERT INTO t SELECT g % 7, 'k' || g, g, 'w' || g FROM generate_series(1, 5000) g",
    )
    assert two.verify("t")["equal"]
    run_sql(
        two.target,
        "UPDATE t SET w = CASE v WHEN 8 THEN 'w15' ELSE 'w8' END WHERE v IN (8, 15)",
        "DELETE FROM t WHERE v = 70",
    )
    assert two.verify("t")["differing"] == [
        {"key": [0, "k70"], "kind": "missing"},
        {"key": [1, "k15"], "kind": "changed"},
        {"key": [1, "k8"], "kind": "changed"},
    ]


def test_one_database_is_read_from_one_snapshot(two: Two):
    """Source and target in one database: the same table compared with itself while it is written to is always equal."""
    two.target = two.source
    run_sql(
        two.source,
        "CREATE TABLE t (id int PRIMARY KEY, v int)",
        "INSERT INTO t SELECT g, 0 FROM generate_series(1, 20000) g",
    )
    import threading

    import psycopg

    stop = threading.Event()

    def write() -> None:
        with psycopg.connect(two.source, autocommit=True) as connection:
            while not stop.is_set():
                connection.execute("UPDATE t SET v = v + 1 WHERE id % 50 = (random() * 49)::int")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert [two.verify("t")["equal"] for _ in range(3)] == [True] * 3
    finally:
        stop.set()
        writer.join()


def test_columns_option(two: Two):
    """--columns compares what is named and the key, nothing else; unknown names are refused."""
    two.both(*MAKE)
    run_sql(two.target, "UPDATE x SET b = 'other' WHERE id = 3", "ALTER TABLE x ADD extra int")
    assert two.verify("x", "--columns", "a,n")["equal"]
    assert two.verify("x", "--columns", "b")["differing"] == [{"key": 3, "kind": "changed"}]
    assert "nope" in two.refused("COLUMN_MISSING", "x", "--columns", "nope")["message"]
    assert two.refused("COLUMNS_DIFFER", "x")["details"]["extra"] == ["extra"]


def test_what_cannot_be_compared_is_said(two: Two):
    """Missing table, no key, duplicate and NULL keys, unlike types, broken options: each has its reason and exit code."""
    two.both("CREATE TABLE t (id int, v int)", "INSERT INTO t VALUES (1, 1), (2, 2)")
    assert two.refused("TABLE_MISSING", "nope")["exitCode"] == 2
    assert two.refused("TABLE_MISSING", "t=no.where")["exitCode"] == 2
    assert two.refused("KEY_MISSING", "t")["exitCode"] == 2
    assert two.verify("t", "--key", "id")["equal"]
    run_sql(two.target, "INSERT INTO t VALUES (2, 3)")
    assert "(2) occurs 2 times" in two.refused("KEY_NOT_UNIQUE", "t", "--key", "id")["message"]
    run_sql(two.target, "UPDATE t SET id = NULL WHERE v = 3")
    assert "NULL" in two.refused("KEY_NOT_UNIQUE", "t", "--key", "id")["message"]
    run_sql(two.target, "DELETE FROM t WHERE v = 3", "ALTER TABLE t ALTER v TYPE date USING '2026-01-01'")
    assert two.refused("TYPES_DIFFER", "t", "--key", "id")["exitCode"] == 1
    assert two.refused("USAGE", "t", "--key", ",")["exitCode"] == 2
    assert two.refused("USAGE", "=t")["exitCode"] == 2


def test_unreachable_and_unprivileged(two: Two):
    """No server: 69. No privilege, or rows hidden by row security: 77 or refused, never a comparison of a part."""
    two.both("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    base = two.project.json("move", "verify", "--source", two.source, "--target", "postgresql://u:sesame77@127.0.0.1:1/d", "--table", "t")  # fmt: skip
    assert base.error("UNREACHABLE")["exitCode"] == 69
    assert "sesame77" not in base.out + base.err
    run_sql(two.source, "DROP ROLE IF EXISTS verify_poor", "CREATE ROLE verify_poor LOGIN")
    try:
        two.target = two.source.replace("//postgres@", "//verify_poor@", 1)
        assert two.refused("PRIVILEGE", "t")["exitCode"] == 77
        run_sql(
            two.source,
            "GRANT SELECT ON t TO verify_poor",
            "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
            "CREATE POLICY p ON t USING (id > 1)",
        )
        assert two.refused("PRIVILEGE", "t")["exitCode"] == 77
    finally:
        run_sql(two.source, "DROP OWNED BY verify_poor", "DROP ROLE verify_poor")


def test_url_from_a_variable(two: Two):
    """env:NAME reads a URL from a variable; one that is not set is a usage error."""
    two.both(*MAKE)
    call = (
        "move",
        "verify",
        "--source",
        "env:ONE",
        "--target",
        "env:OTHER",
        "--table",
        "x",
        "--format",
        "json",
    )
    assert two.project.run(*call, ONE=two.source, OTHER=two.target).code == 0
    assert two.project.run(*call, ONE=two.source).error("USAGE")["exitCode"] == 2


def test_a_signal_ends_it(two: Two):
    """SIGTERM while a lock makes it wait: exit 143, an error document, no session left behind."""
    import signal

    import psycopg

    from support.calls import finish
    from support.processes import until

    two.both(*MAKE)
    with psycopg.connect(two.source) as blocker:
        blocker.execute("LOCK TABLE x IN ACCESS EXCLUSIVE MODE")
        process = two.project.start(
            "move",
            "verify",
            "--source",
            two.source,
            "--target",
            two.target,
            "--table",
            "x",
            "--format",
            "json",
        )
        until(
            lambda: run_sql(
                two.source,
                "SELECT 1 FROM pg_stat_activity WHERE application_name LIKE 'lockgate/verify%' AND wait_event_type = 'Lock'",
            )
        )
        os.kill(process.pid, signal.SIGTERM)
        answer = finish(process)
        assert answer.code == 143
        assert answer.error("CANCELLED")
        until(
            lambda: (
                not run_sql(
                    two.source,
                    "SELECT 1 FROM pg_stat_activity WHERE application_name LIKE 'lockgate/verify%'",
                )
            )
        )


def test_text_for_people(two: Two):
    """The text names the rows and ends with the verdict."""
    two.both(*MAKE)
    run_sql(two.target, "DELETE FROM x WHERE id = 11")
    answer = two.project.text(
        "move", "verify", "--source", two.source, "--target", two.target, "--table", "x"
    )
    assert "missing" in answer.out
    assert "1 row differs" in answer.out.splitlines()[-1]
