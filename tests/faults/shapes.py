"""The kinds of migration that the faults are tried on, and how each one's effects are seen in the database."""

from typing import NamedTuple

BASE = """
CREATE TABLE public.effects (revision text NOT NULL);
CREATE TABLE public.orders (id bigint PRIMARY KEY, customer bigint NOT NULL, note text, doomed text);
INSERT INTO public.orders SELECT i, i % 10, 'note ' || i, 'x' FROM generate_series(1, 200) i;
CREATE INDEX orders_old ON public.orders (doomed);
CREATE TYPE public.mood AS ENUM ('calm');
CREATE TABLE public.brake (seconds double precision NOT NULL);
CREATE TABLE public.events (at bigint NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE public.events_1 PARTITION OF public.events FOR VALUES FROM (0) TO (100);
CREATE TABLE public.events_2 PARTITION OF public.events FOR VALUES FROM (100) TO (200);
CREATE TABLE public.was AS SELECT pg_relation_filenode('public.orders_pkey') AS node;
"""
"""What stands in every database before the first migration."""

_TABLE = "SELECT to_regclass('public.{0}') IS NOT NULL"
_INDEX = (
    "SELECT COALESCE((SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('public.{0}')), false)"
)
_ONCE = "SELECT count(*) = 1 FROM public.effects WHERE revision = '{0}'"


class File(NamedTuple):
    """One migration. ``parts`` are queries that answer whether one effect of it is there, in the order of its statements."""

    revision: str
    name: str
    sql: str
    parts: tuple[str, ...]
    transactional: bool = True

    @property
    def file(self) -> str:
        """Its file name."""
        return f"{self.revision}_{self.name}.sql"


class Shape(NamedTuple):
    """Some files, and what a run of them without any fault comes to."""

    name: str
    files: tuple[File, ...]
    exit: int = 0
    reason: str = ""
    applied: int | None = None
    """How many files are applied in the end; None: all."""

    @property
    def goal(self) -> int:
        """The number of files that end up in the history."""
        return len(self.files) if self.applied is None else self.applied


def once(revision: str) -> str:
    """A statement whose second run would show."""
    return f"INSERT INTO public.effects VALUES ('{revision}');"


BRAKE = "SELECT pg_sleep(seconds) FROM public.brake;"
"""A statement that lasts as long as the rows of the table ``brake`` say, and no time at all while it is empty."""


def braked(number: int, name: str) -> File:
    """A transactional file that makes a table, waits at the brake, and writes a row."""
    plain = table(number, name)
    first, rest = plain.sql.split("\n", 1)
    return plain._replace(sql=f"{first}\n{BRAKE}\n{rest}")


def table(number: int, name: str) -> File:
    """A small transactional file that makes a table."""
    revision = f"17000000000{number:02d}"
    text = f"CREATE TABLE public.{name} (id bigint PRIMARY KEY, text text NOT NULL DEFAULT '');\n{once(revision)}\n"
    return File(revision, name, text, (_TABLE.format(name), _ONCE.format(revision)))


_MANY = "1700000000010"
_CONCURRENT = "1700000000020"
_REBUILD = "1700000000025"
_ENUM = "1700000000030"
_CONTRACT = "1700000000040"
_BAD = "1700000000051"
_TWICE = "1700000000061"

SHAPES = {
    shape.name: shape
    for shape in (
        Shape("small", (table(1, "small"),)),
        Shape(
            "several statements",
            (
                File(
                    _MANY, "many",
                    f"""-- lockgate: lock_timeout=2s statement_timeout=30s
CREATE TABLE public.many (id bigint PRIMARY KEY);
CREATE TABLE public.detail (many_id bigint NOT NULL REFERENCES public.many);
CREATE VIEW public.many_view AS SELECT id FROM public.many;
{once(_MANY)}
CREATE FUNCTION public.many_count() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM public.many';
""",
                    (
                        _TABLE.format("many"), _TABLE.format("detail"), _TABLE.format("many_view"), _ONCE.format(_MANY),
                        "SELECT to_regprocedure('public.many_count()') IS NOT NULL",
                    ),
                ),
            ),
        ),
        Shape("two files", (table(2, "first"), table(3, "second"))),
        Shape(
            "concurrent",
            (
                File(
                    _CONCURRENT, "concurrent",
                    f"""-- lockgate: transaction=off
CREATE INDEX CONCURRENTLY orders_customer ON public.orders (customer);
{once(_CONCURRENT)}
DROP INDEX CONCURRENTLY public.orders_old;
""",
                    (_INDEX.format("orders_customer"), _ONCE.format(_CONCURRENT), "SELECT to_regclass('public.orders_old') IS NULL"),
                    transactional=False,
                ),
            ),
        ),
        Shape(
            "rebuild and detach",
            (
                File(
                    _REBUILD, "rebuild",
                    f"""-- lockgate: transaction=off
REINDEX INDEX CONCURRENTLY public.orders_pkey;
ALTER TABLE public.events DETACH PARTITION public.events_1 CONCURRENTLY;
{once(_REBUILD)}
""",
                    (
                        "SELECT node <> pg_relation_filenode('public.orders_pkey') FROM public.was",
                        "SELECT NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = 'public.events_1'::regclass)",
                        _ONCE.format(_REBUILD),
                    ),
                    transactional=False,
                ),
            ),
        ),
        Shape(
            "enum value",
            (
                File(
                    _ENUM, "enum", f"ALTER TYPE public.mood ADD VALUE 'brave';\n{once(_ENUM)}\n",
                    ("SELECT EXISTS (SELECT FROM pg_enum WHERE enumlabel = 'brave')", _ONCE.format(_ENUM)),
                ),
            ),
        ),
        Shape(
            "contract",
            (
                table(4, "before"),
                File(
                    _CONTRACT, "contract", f"-- lockgate: phase=contract\n{once(_CONTRACT)}\nALTER TABLE public.orders DROP COLUMN doomed;\n",
                    (
                        "SELECT NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'public.orders'::regclass AND attname = 'doomed' AND NOT attisdropped)",
                        _ONCE.format(_CONTRACT),
                    ),
                ),
            ),
        ),
        Shape(
            "fails half way",
            (
                table(5, "good"),
                File(
                    _BAD, "bad", f"CREATE TABLE public.bad (id bigint);\n{once(_BAD)}\nSELECT 1 / 0;\n",
                    (_TABLE.format("bad"), _ONCE.format(_BAD)),
                ),
            ),
            exit=3, reason="MIGRATION_EXECUTION_FAILED", applied=1,
        ),
        Shape(
            "fails concurrently",
            (
                table(6, "fine"),
                File(
                    _TWICE, "twice",
                    f"-- lockgate: transaction=off\n{once(_TWICE)}\nCREATE UNIQUE INDEX CONCURRENTLY orders_one ON public.orders (customer);\n",
                    (_ONCE.format(_TWICE), _INDEX.format("orders_one")),
                    transactional=False,
                ),
            ),
            exit=3, reason="MIGRATION_EXECUTION_FAILED", applied=1,
        ),
    )
}  # fmt: skip
"""Every shape by its name."""
