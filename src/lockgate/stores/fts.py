"""Full text in PostgreSQL: a stored tsvector under GIN, any of the query's words, ranked by ts_rank."""

from collections.abc import Iterator, Sequence

from lockgate.errors import Refused
from lockgate.postgres.link import texts
from lockgate.postgres.quoting import literal
from lockgate.postgres.sqlstate import ServerError
from lockgate.stores.canonical import digest_of
from lockgate.stores.content import Record
from lockgate.stores.manifest import Manifest
from lockgate.stores.pgsearch import SearchTables
from lockgate.stores.refusals import unknown
from lockgate.stores.searching import Answered, Description, Found

PROBE = "The mice were running; running-shoes cost 12.50 EUR at www.example.com/shop, ÄPFEL naïve"
"""A text whose lexemes tell analyzers apart: stemming, stop words, numbers, addresses, case, accents."""


class PgText(SearchTables):
    """Tables of documents. The analyzer is a text search configuration; what it makes of ``PROBE`` is its fingerprint."""

    def columns(self, manifest: Manifest) -> str:
        """See ``SearchTables``."""
        self._refuse_unknown(manifest.analyzer)
        return f"words tsvector NOT NULL GENERATED ALWAYS AS (to_tsvector({self._config(manifest.analyzer)}, text)) STORED"

    @staticmethod
    def _config_name(name: str) -> str:
        return name if "." in name else f"pg_catalog.{name}"

    def _config(self, name: str) -> str:
        return f"{literal(self._config_name(name))}::regconfig"

    def _refuse_unknown(self, analyzer: str) -> None:
        try:
            self.link.value("SELECT $1::regconfig::oid", self._config_name(analyzer))
        except ServerError as error:
            if error.sqlstate not in ("42704", "42602", "3F000"):
                raise
            raise Refused(
                f"this server has no text search configuration {analyzer!r}",
                "INDEX_SPEC",
                next="\\dF in psql lists them.",
            ) from None

    def fingerprint(self, analyzer: str) -> str:
        """The digest of what the analyzer makes of ``PROBE``. Raises ``Refused`` for an unknown one."""
        self._refuse_unknown(analyzer)
        words = self.link.value(f"SELECT to_tsvector({self._config(analyzer)}, $1)::text", PROBE)
        return digest_of("lockgate:analyzer:1", words)

    def upsert(self, physical: str, records: Sequence[Record]) -> None:
        """See ``SearchStore``."""
        last = {r.id: (r.id, r.text, r.payload) for r in records}
        if last:
            self._upsert(
                physical,
                ["id", "text", "payload"],
                ["text"] * 3,
                list(map(texts, zip(*last.values(), strict=True))),
            )

    def finalise(self, physical: str, manifest: Manifest) -> None:
        """See ``SearchStore``."""
        if not any(row[0] == "gin" for row in self._indexes(physical)):
            self.link.run(f"CREATE INDEX ON {self._sql(physical)} USING gin (words)")
        self.link.run(f"ANALYZE {self._sql(physical)}")

    def scan(self, physical: str) -> Iterator[tuple[Record, bytes]]:
        """See ``SearchStore``."""
        with self.link.transaction("ISOLATION LEVEL REPEATABLE READ READ ONLY"):
            for row in self.link.stream(f"SELECT id, text, payload FROM {self._sql(physical)} ORDER BY id"):
                yield Record(*row), b""

    def describe(self, physical: str) -> Description:
        """See ``SearchStore``. The analyzer is read from the column's own definition, not from the manifest."""
        made = self.link.value(
            "SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid) FROM pg_catalog.pg_attrdef d JOIN pg_catalog.pg_attribute a "
            "ON a.attrelid = d.adrelid AND a.attnum = d.adnum WHERE d.adrelid = $1::regclass AND a.attname = 'words'",
            self._sql(physical),
        )
        analyzer = made.split("'")[1].removeprefix("pg_catalog.") if made and "'" in made else ""
        count = self.link.value(f"SELECT count(*) FROM {self._sql(physical)}")
        graphs = [row for row in self._indexes(physical) if row[0] == "gin"]
        stale = self.link.value(
            f"SELECT count(*) FROM {self._sql(physical)} WHERE words <> to_tsvector({self._config(analyzer)}, text)"
        )
        return Description(
            count, valid=all(row[3] for row in graphs), indexed=bool(graphs), wrong_rows=stale, analyzer=analyzer,
            analyzer_fingerprint=self.fingerprint(analyzer), engine=f"PostgreSQL {self.link.version // 10000} full text",
        )  # fmt: skip

    def query(
        self, target: str, question: "str | Sequence[float]", k: int, *, search: int = 0, exact: bool = False
    ) -> Answered:
        """See ``SearchStore``."""
        assert isinstance(question, str)
        with self.link.transaction("ISOLATION LEVEL REPEATABLE READ READ ONLY"):
            behind = self.resolve(target)
            manifest = self.manifest(behind or target)
            if manifest is None:
                raise unknown(target)
            rows = self.link.rows(
                f"SELECT id, ts_rank(words, q) FROM {self._sql(behind or target)}, "
                f"(SELECT replace(plainto_tsquery({self._config(manifest.analyzer)}, $1)::text, '&', '|')::tsquery AS q) a "
                "WHERE words @@ q ORDER BY 2 DESC, 1 LIMIT $2::int",
                question, k,
            )  # fmt: skip
        return Answered(behind or target, tuple(Found(id_, float(s)) for id_, s in rows))
