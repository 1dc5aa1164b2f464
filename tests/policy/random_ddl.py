"""Random DDL over whatever the model says exists. The same seed gives the same statements."""

from collections.abc import Callable
from random import Random

from lockgate.policy.model.schema import Relation, Schema

TYPES = [
    "int", "bigint", "smallint", "text", "varchar", "varchar(10)", "varchar(20)", "char(5)", "numeric", "numeric(10,2)",
    "numeric(12,2)", "numeric(12,4)", "timestamp", "timestamptz", "timestamp(3)", "date", "uuid", "jsonb", "json",
    "boolean", "inet", "cidr", "dom", "free", "mood", "oid", "interval", "time", "text[]", "varchar(5)[]", "bit(4)",
    "varbit(8)", "real", "xml", "bytea",
]  # fmt: skip
INDEXABLE = {
    "int4",
    "int8",
    "int2",
    "text",
    "varchar",
    "numeric",
    "timestamp",
    "timestamptz",
    "date",
    "uuid",
    "bpchar",
}

PRELUDE = """
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE DOMAIN dom AS int CHECK (VALUE > 0);
CREATE DOMAIN free AS text;
CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE SCHEMA app;
"""


class RandomDdl:
    """Makes statements that have a fair chance to be accepted."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.count = 0

    def name(self, prefix: str) -> str:
        """A name not used before."""
        self.count += 1
        return f"{prefix}{self.count}"

    def statement(self, schema: Schema) -> str:
        """One statement."""
        tables = [relation for relation in schema.relations.values() if relation.kind in "rp"]
        if len(tables) < 3:
            return self.create_table(schema, tables)
        makers: list[tuple[int, Callable[[Schema, list[Relation]], str]]] = [
            (6, self.create_table), (5, self.create_index), (14, self.alter_column), (10, self.add_constraint),
            (6, self.add_column), (5, self.drop_something), (4, self.partitions), (4, self.view), (4, self.rename),
            (4, self.table_option), (4, self.other), (4, self.query),
        ]  # fmt: skip
        (make,) = self.random.choices([make for _, make in makers], [weight for weight, _ in makers])
        return make(schema, tables)

    def pick(self, tables: list[Relation]) -> Relation:
        """Any table."""
        return self.random.choice(tables)

    def column(self, table: Relation) -> str:
        """Any column."""
        return self.random.choice(list(table.columns) or ["nothing"])

    def columns(self, table: Relation, most: int = 2) -> list[str]:
        """Some columns that an index can have."""
        fit = [
            name
            for name, column in table.columns.items()
            if column.type.name in INDEXABLE and not column.type.array
        ]
        return self.random.sample(fit, min(len(fit), self.random.randint(1, most))) or ["nothing"]

    def key(self, schema: Schema, tables: list[Relation]) -> tuple[str, str, str]:
        """A table, a unique column of it, and the column's type."""
        found = []
        for table in tables:
            for index in schema.indexes_of(table.key):
                if (
                    index.unique
                    and len(index.columns) == 1
                    and index.columns[0] in table.columns
                    and not index.partial
                ):
                    kind = table.columns[index.columns[0]].type
                    found.append((table.key, index.columns[0], kind.name))
        return self.random.choice(found) if found else (self.pick(tables).key, "id", "int8")

    def create_table(self, schema: Schema, tables: list[Relation]) -> str:
        r = self.random
        name = ("app." if r.random() < 0.15 else "") + self.name("t")
        if tables and r.random() < 0.1:
            return f"CREATE TABLE {name} (LIKE {self.pick(tables).key}{r.choice(['', ' INCLUDING ALL'])})"
        if tables and r.random() < 0.1:
            plain = [table for table in tables if table.kind == "r" and not table.partition]
            return f"CREATE TABLE {name} ({self.name('x')} int) INHERITS ({self.pick(plain or tables).key})"
        if tables and r.random() < 0.05:
            return f"CREATE TABLE {name} AS SELECT * FROM {self.pick(tables).key}{r.choice(['', ' WITH NO DATA'])}"
        key = r.choice(
            [
                "bigint PRIMARY KEY",
                "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
                "bigserial PRIMARY KEY",
                "int",
                "int NOT NULL",
            ]
        )
        split = r.random() < 0.2
        if split:
            key = r.choice(["int", "int NOT NULL", "int PRIMARY KEY"])
        parts = [f"id {key}"]
        for number in range(r.randint(1, 5)):
            parts.append(f"c{number} {r.choice(TYPES)}{r.choice(['', '', '', ' NOT NULL'])}")
        if r.random() < 0.3 and tables:
            table, column, kind = self.key(schema, tables)
            parts.append(f"ref {kind} REFERENCES {table} ({column})")
        if r.random() < 0.3 and not split:
            parts.append("u int UNIQUE")
        if r.random() < 0.3:
            parts.append("k int CHECK (k > 0)")
        unlogged = "UNLOGGED " if r.random() < 0.05 and not split else ""
        return f"CREATE {unlogged}TABLE {name} ({', '.join(parts)})" + (
            " PARTITION BY RANGE (id)" if split else ""
        )

    def create_index(self, schema: Schema, tables: list[Relation]) -> str:
        r = self.random
        table = self.pick(tables)
        columns = self.columns(table)
        name = self.name("i") if r.random() < 0.6 else ""
        keys = ", ".join(columns)
        if r.random() < 0.15:
            keys = f"coalesce({columns[0]}, {columns[0]})"
        where = f" WHERE {self.column(table)} IS NOT NULL" if r.random() < 0.15 else ""
        include = f" INCLUDE ({self.column(table)})" if r.random() < 0.1 else ""
        only = "ONLY " if r.random() < 0.1 else ""
        return f"CREATE {r.choice(['', '', 'UNIQUE '])}INDEX {name} ON {only}{table.key} ({keys}){include}{where}"

    def alter_column(self, schema: Schema, tables: list[Relation]) -> str:
        r = self.random
        table = self.pick(tables)
        actions = []
        for column in r.sample(
            list(table.columns) or ["nothing"], min(len(table.columns) or 1, r.choice([1, 1, 1, 2]))
        ):
            change = r.choice([
                f"TYPE {r.choice(TYPES)}", f"TYPE {r.choice(TYPES)}", f"TYPE {r.choice(TYPES)}",
                f"TYPE text USING {column}::text", "SET NOT NULL", "SET NOT NULL", "DROP NOT NULL", "SET DEFAULT NULL",
                "DROP DEFAULT", "SET STATISTICS 50", "SET (n_distinct = 3)", "SET STORAGE PLAIN",
                "ADD GENERATED BY DEFAULT AS IDENTITY", "DROP IDENTITY IF EXISTS",
            ])  # fmt: skip
            actions.append(f"ALTER COLUMN {column} {change}")
        return f"ALTER TABLE {r.choice(['', '', '', 'ONLY '])}{table.key} {', '.join(actions)}"

    def add_column(self, schema: Schema, tables: list[Relation]) -> str:
        r = self.random
        table = self.pick(tables)
        name = self.name("n")
        other, column, kind = self.key(schema, tables)
        definition = r.choice([
            r.choice(TYPES), "int DEFAULT 5", "timestamptz DEFAULT now()", "uuid DEFAULT gen_random_uuid()", "bigserial",
            "int GENERATED ALWAYS AS IDENTITY", "int GENERATED ALWAYS AS (1 + 1) STORED", "dom", "int CHECK (1 > 0)", "int UNIQUE",
            "int NOT NULL", "int NOT NULL DEFAULT 0", f"{kind} REFERENCES {other} ({column})", "text DEFAULT lower('X')",
            "double precision DEFAULT random()",
        ])  # fmt: skip
        return f"ALTER TABLE {table.key} ADD COLUMN {name} {definition}"

    def add_constraint(self, schema: Schema, tables: list[Relation]) -> str:
        r = self.random
        table = self.pick(tables)
        name = self.name("con")
        columns = ", ".join(self.columns(table))
        other, column, kind = self.key(schema, tables)
        fit = [item.name for item in table.columns.values() if item.type.name == kind] or ["nothing"]
        late = r.choice(["", " NOT VALID"])
        constraints = [item for item in table.constraints if not table.constraints[item].inherited]
        existing = r.choice(constraints or ["nothing"])
        free = [index for index in table.indexes if not schema.indexes[index].constraint]
        index = r.choice(free or ["nothing"]).rpartition(".")[2]
        return f"ALTER TABLE {table.key} " + r.choice([
            f"ADD CONSTRAINT {name} CHECK ({self.column(table)} IS NOT NULL){late}",
            f"ADD CHECK ({self.columns(table)[0]} IS NOT NULL)",
            f"ADD CONSTRAINT {name} FOREIGN KEY ({r.choice(fit)}) REFERENCES {other} ({column}){late}",
            f"ADD FOREIGN KEY ({r.choice(fit)}) REFERENCES {other} ({column}) ON DELETE CASCADE",
            f"ADD CONSTRAINT {name} UNIQUE ({columns})",
            f"ADD UNIQUE ({columns})",
            f"ADD PRIMARY KEY ({columns})",
            f"ADD CONSTRAINT {name} UNIQUE USING INDEX {index}",
            f"ADD PRIMARY KEY USING INDEX {index}",
            f"VALIDATE CONSTRAINT {existing}",
            f"DROP CONSTRAINT {existing}",
            f"DROP CONSTRAINT {existing} CASCADE",
        ])  # fmt: skip

    def drop_something(self, schema: Schema, tables: list[Relation]) -> str:
        r = self.random
        table = self.pick(tables)
        index = r.choice(list(schema.indexes) or ["nothing"])
        view = r.choice([item.key for item in schema.relations.values() if item.kind == "v"] or ["nothing"])
        return r.choice([
            f"DROP TABLE {table.key}", f"DROP TABLE {table.key} CASCADE", f"DROP INDEX {index}", f"DROP INDEX {index}",
            f"ALTER TABLE {table.key} DROP COLUMN {self.column(table)}",
            f"ALTER TABLE {table.key} DROP COLUMN {self.column(table)} CASCADE",
            f"DROP VIEW {view} CASCADE", f"TRUNCATE {table.key}", f"TRUNCATE {table.key} CASCADE",
            f"TRUNCATE {table.key} RESTART IDENTITY CASCADE",
        ])  # fmt: skip

    def partitions(self, schema: Schema, tables: list[Relation]) -> str:
        r = self.random
        split = [table for table in tables if table.kind == "p"]
        if not split:
            return self.create_table(schema, tables)
        table = r.choice(split)
        start = r.randint(0, 50) * 10
        bounds = r.choice([f"FOR VALUES FROM ({start}) TO ({start + 10})", "DEFAULT"])
        child = r.choice(table.children or ["nothing"])
        loose = [
            item
            for item in tables
            if not item.partition and item.kind == "r" and list(item.columns) == list(table.columns)
        ]
        if loose and r.random() < 0.5:
            return f"ALTER TABLE {table.key} ATTACH PARTITION {r.choice(loose).key} {bounds}"
        return r.choice([
            f"CREATE TABLE {self.name('p')} PARTITION OF {table.key} {bounds}",
            f"CREATE TABLE {self.name('p')} PARTITION OF {table.key} {bounds}",
            f"CREATE TABLE {self.name('p')} (LIKE {table.key})",
            f"ALTER TABLE {table.key} DETACH PARTITION {child}",
        ])  # fmt: skip

    def view(self, schema: Schema, tables: list[Relation]) -> str:
        r = self.random
        table = self.pick(tables)
        views = [item.key for item in schema.relations.values() if item.kind in "vm"]
        source = r.choice([*views, table.key, table.key])
        filled = r.choice([item.key for item in schema.relations.values() if item.kind == "m"] or ["nothing"])
        return r.choice([
            f"CREATE VIEW {self.name('v')} AS SELECT * FROM {source}",
            f"CREATE VIEW {self.name('v')} AS SELECT {self.column(table)} FROM {table.key}",
            f"CREATE MATERIALIZED VIEW {self.name('m')} AS SELECT * FROM {source}",
            f"REFRESH MATERIALIZED VIEW {filled}", f"DROP MATERIALIZED VIEW {filled}",
        ])  # fmt: skip

    def rename(self, schema: Schema, tables: list[Relation]) -> str:
        r = self.random
        table = self.pick(tables)
        index = r.choice(list(schema.indexes) or ["nothing"])
        constraint = r.choice(list(table.constraints) or ["nothing"])
        return r.choice([
            f"ALTER TABLE {table.key} RENAME TO {self.name('r')}",
            f"ALTER TABLE {table.key} RENAME COLUMN {self.column(table)} TO {self.name('q')}",
            f"ALTER INDEX {index} RENAME TO {self.name('j')}",
            f"ALTER TABLE {table.key} RENAME CONSTRAINT {constraint} TO {self.name('k')}",
            f"ALTER TABLE {table.key} SET SCHEMA {r.choice(['app', 'public'])}",
        ])  # fmt: skip

    def table_option(self, schema: Schema, tables: list[Relation]) -> str:
        r = self.random
        table = self.pick(tables)
        index = r.choice(table.indexes or ["nothing"]).rpartition(".")[2]
        return f"ALTER TABLE {table.key} " + r.choice([
            "SET (fillfactor = 80)", "SET (autovacuum_enabled = false)", "SET UNLOGGED", "SET LOGGED",
            "ENABLE ROW LEVEL SECURITY", "REPLICA IDENTITY FULL", f"REPLICA IDENTITY USING INDEX {index}",
            f"CLUSTER ON {index}", "DISABLE TRIGGER ALL", "ENABLE TRIGGER USER",
        ])  # fmt: skip

    def other(self, schema: Schema, tables: list[Relation]) -> str:
        r = self.random
        table = self.pick(tables)
        triggers = r.choice(list(table.triggers) or ["nothing"])
        columns = self.columns(table)
        return r.choice([
            f"CREATE TRIGGER {self.name('tr')} AFTER INSERT ON {table.key} FOR EACH {r.choice(['ROW', 'STATEMENT'])} "
            "EXECUTE FUNCTION noted()",
            f"DROP TRIGGER {triggers} ON {table.key}",
            f"COMMENT ON TABLE {table.key} IS 'x'",
            f"CREATE POLICY {self.name('po')} ON {table.key} USING (true)",
            f"CREATE STATISTICS {self.name('st')} ON {columns[0]}, {self.column(table)} FROM {table.key}",
            f"ANALYZE {table.key}", f"LOCK TABLE {table.key} IN SHARE MODE", f"REINDEX TABLE {table.key}",
            f"ALTER DOMAIN dom ADD CONSTRAINT {self.name('dc')} CHECK (VALUE < 9){r.choice(['', ' NOT VALID'])}",
            f"ALTER TYPE mood ADD VALUE '{self.name('l')}'",
            f"GRANT SELECT ON {table.key} TO PUBLIC",
        ])  # fmt: skip

    def query(self, schema: Schema, tables: list[Relation]) -> str:
        r = self.random
        table = self.pick(tables)
        sources = [item.key for item in schema.relations.values() if item.kind in "rpvm"]
        column = self.column(table)
        return r.choice([
            f"SELECT * FROM {r.choice(sources)}", f"SELECT * FROM {table.key} FOR UPDATE",
            f"UPDATE {table.key} SET {column} = NULL", f"DELETE FROM {table.key}",
            f"INSERT INTO {table.key} SELECT * FROM {table.key}",
        ])  # fmt: skip
