"""What an image asks for: a schema window, index specs, stages of moves, probes. From a file, from Python, from the environment."""

from lockgate.gate.probe import Probe

VERSION = "1"
FILE_NAME = "lockgate.contract.json"
"""Where the command line looks for a contract that nothing else names: in the working directory."""
_KNOWN = frozenset(
    {
        "schemaVersion",
        "release_id",
        "git_sha",
        "service",
        "schema",
        "indexes",
        "moves",
        "queries",
        "probes",
        "signature",
    }
)
_REVISION = 13
_HEX = frozenset("0123456789abcdef")

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from os import PathLike

    from lockgate.errors import ConfigError


class Contract:
    """The contract of one image.

    ``min`` and ``max`` are revisions (13 digits): the image runs on every schema from ``min`` to ``max``, and on newer ones
    as long as no contract-phase migration above ``max`` was applied. ``digest`` is over (revision, checksum) up to
    ``max``, ``digests`` gives it for revisions below ``max``: there the database is compared with its own. ``signature`` is the path of the schema that the write guard compares with, from the contract's own folder.
    ``indexes`` maps a name to ``{"spec_hash": ...}``, ``moves`` a name to the stage that must be reached.
    Raises ``ConfigError`` that names the field.
    """

    __slots__ = (
        "digest",
        "digests",
        "git_sha",
        "indexes",
        "max",
        "min",
        "moves",
        "probes",
        "queries",
        "release_id",
        "service",
        "signature",
        "source",
        "warnings",
    )

    def __init__(
        self,
        *,
        min: str,
        max: str,
        digest: str = "",
        digests: "Mapping[str, str] | None" = None,
        release_id: str = "",
        git_sha: str = "",
        service: str = "",
        indexes: "Mapping[str, object] | None" = None,
        moves: "Mapping[str, str] | None" = None,
        queries: str = "",
        signature: str = "",
        probes: "Iterable[Probe]" = (),
        source: str = "Contract(...)",
        warnings: "tuple[str, ...]" = (),
    ) -> None:
        self.source = source
        self.min = self._revision("schema.min", min)
        self.max = self._revision("schema.max", max)
        if self.min > self.max:
            raise self._wrong("schema.min", f"{min} is above schema.max {max}")
        self.digest = self._text("schema.digest", digest)
        self._refuse_no_digest("schema.digest", digest)
        self.digests = self._digests(digests)
        self.release_id = self._text("release_id", release_id)
        self.git_sha = self._text("git_sha", git_sha)
        self.service = self._text("service", service)
        self.queries = self._text("queries", queries)
        self.signature = self._text("signature", signature)
        self.indexes = self._indexes(indexes)
        self.moves = self._moves(moves)
        self.probes = tuple(probes)
        names = [probe.name for probe in self.probes]
        if len(set(names)) < len(names):
            raise self._wrong("probes", "two probes share a name")
        self.warnings = warnings

    # -- sources ------------------------------------------------------------------------------------

    @classmethod
    def from_file(cls, path: "str | PathLike[str]") -> "Contract":
        """Read ``lockgate.contract.json``. Unknown keys are a warning, so that an older gate reads a newer image."""
        import json

        try:
            with open(path, "rb") as file:  # noqa: PTH123 - pathlib costs more to import than the whole gate
                data = json.loads(file.read())
        except OSError as error:
            raise cls._error(f"{path}: {error.strerror}") from None
        except (ValueError, RecursionError) as error:
            raise cls._error(f"{path}: not JSON: {error}") from None
        contract = cls.from_document(data, source=str(path))
        if contract.signature:
            import os

            contract.signature = os.path.join(os.path.dirname(path), contract.signature)  # noqa: PTH118, PTH120
        return contract

    @classmethod
    def from_document(cls, data: object, *, source: str = "the contract") -> "Contract":
        """A contract from what JSON gave. Raises ``ConfigError`` that names ``source`` and the field."""
        if not isinstance(data, dict):
            raise cls._error(f"{source}: a contract is an object")
        version = data.get("schemaVersion")
        if version != VERSION:
            raise cls._error(f'{source}: schemaVersion is {version!r}; this gate reads "{VERSION}"')
        schema = data.get("schema")
        if not isinstance(schema, dict):
            raise cls._error(f"{source}: schema is missing or no object with min and max")
        unknown = sorted(str(k) for k in data.keys() - _KNOWN)
        unknown += sorted(f"schema.{k}" for k in schema.keys() - {"min", "max", "digest", "digests"})
        for name in ("min", "max"):
            if name not in schema:
                raise cls._error(f"{source}: schema.{name} is missing")
        probes = data.get("probes")
        probes = [] if probes is None else probes
        if not isinstance(probes, list):
            raise cls._error(f"{source}: probes is no list")
        return cls(
            min=schema["min"],
            max=schema["max"],
            digest=schema.get("digest") or "",
            digests=schema.get("digests"),
            release_id=_text_of(data, "release_id"),
            git_sha=_text_of(data, "git_sha"),
            service=_text_of(data, "service"),
            indexes=data.get("indexes"),
            moves=data.get("moves"),
            queries=_text_of(data, "queries"),
            signature=_text_of(data, "signature"),
            probes=tuple(
                Probe.from_document(probe, where=f"{source}: probes[{number}]")
                for number, probe in enumerate(probes)
            ),
            source=source,
            warnings=tuple(f"{source}: unknown key {name} is ignored" for name in unknown),
        )

    @classmethod
    def from_environment(cls, environ: "Mapping[str, str] | None" = None) -> "Contract":
        """``LOCKGATE_CONTRACT`` (a path, or the JSON itself), or ``LOCKGATE_SCHEMA_MIN``, ``_MAX`` and ``_DIGEST``.

        ``LOCKGATE_RELEASE_ID`` and ``LOCKGATE_SERVICE`` fill what the contract leaves open.
        """
        import os

        environ = os.environ if environ is None else environ
        given = environ.get("LOCKGATE_CONTRACT", "").strip()
        if given.startswith("{"):
            import json

            try:
                data = json.loads(given)
            except (ValueError, RecursionError) as error:
                raise cls._error(f"LOCKGATE_CONTRACT: not JSON: {error}") from None
            contract = cls.from_document(data, source="LOCKGATE_CONTRACT")
        elif given:
            contract = cls.from_file(given)
        elif "LOCKGATE_SCHEMA_MIN" in environ or "LOCKGATE_SCHEMA_MAX" in environ:
            for name in ("LOCKGATE_SCHEMA_MIN", "LOCKGATE_SCHEMA_MAX"):
                if not environ.get(name):
                    raise cls._error(f"{name} is not set, and a window has two ends")
            contract = cls(
                min=environ.get("LOCKGATE_SCHEMA_MIN", ""),
                max=environ.get("LOCKGATE_SCHEMA_MAX", ""),
                digest=environ.get("LOCKGATE_SCHEMA_DIGEST", ""),
                source="the environment",
            )
        else:
            raise cls._error(
                "there is no contract: give a file, LOCKGATE_CONTRACT, or LOCKGATE_SCHEMA_MIN and LOCKGATE_SCHEMA_MAX",
                f"lockgate gate contract --output {FILE_NAME} writes one from the migration files.",
            )
        contract.release_id = contract.release_id or environ.get("LOCKGATE_RELEASE_ID", "")
        contract.service = contract.service or environ.get("LOCKGATE_SERVICE", "")
        return contract

    # -- out ----------------------------------------------------------------------------------------

    def document(self) -> "dict[str, object]":
        """The contract as JSON has it, without probes: what the database is asked with and what a heartbeat carries."""
        schema = {"min": self.min, "max": self.max}
        if self.digest:
            schema["digest"] = self.digest
        return {
            "schemaVersion": VERSION,
            "release_id": self.release_id,
            "git_sha": self.git_sha,
            "schema": schema,
            "indexes": {name: {"spec_hash": value} for name, value in self.indexes.items()},
            "moves": dict(self.moves),
        }

    def __repr__(self) -> str:
        return f"Contract({self.release_id or 'no release'}, schema {self.min} to {self.max})"

    # -- checking -----------------------------------------------------------------------------------

    def _revision(self, field: str, value: object) -> str:
        if not isinstance(value, str) or len(value) != _REVISION or not (value.isascii() and value.isdigit()):
            raise self._wrong(field, f"{value!r} is not a revision of {_REVISION} digits")
        return value

    def _text(self, field: str, value: object) -> str:
        if not isinstance(value, str) or "\0" in value or len(value) > 4096:
            raise self._wrong(field, "is not a text")
        return value

    def _refuse_no_digest(self, field: str, digest: str) -> None:
        if digest and (len(digest) != 64 or not set(digest) <= _HEX):
            raise self._wrong(field, "is not 64 hexadecimal digits")

    def _digests(self, given: object) -> "dict[str, str]":
        if given is None:
            return {}
        if not isinstance(given, dict) or not all(isinstance(v, str) and v for v in given.values()):
            raise self._wrong("schema.digests", "is no object of revision and digest")
        for revision, digest in given.items():
            self._refuse_no_digest(f"schema.digests.{self._revision('schema.digests', revision)}", digest)
        return dict(given)

    def _indexes(self, given: object) -> "dict[str, str]":
        if given is None:
            return {}
        if not isinstance(given, dict):
            raise self._wrong("indexes", "is no object of name and {spec_hash}")
        found = {}
        for name, spec in given.items():
            value = spec.get("spec_hash") if isinstance(spec, dict) else None
            if not isinstance(value, str) or not value:
                raise self._wrong(f"indexes.{name}", "has no spec_hash")
            found[str(name)] = value
        return found

    def _moves(self, given: object) -> "dict[str, str]":
        if given is None:
            return {}
        if not isinstance(given, dict) or not all(isinstance(v, str) and v for v in given.values()):
            raise self._wrong("moves", "is no object of name and stage")
        return {str(name): stage for name, stage in given.items()}

    def _wrong(self, field: str, what: str) -> "ConfigError":
        return self._error(f"{self.source}: {field}: {what}")

    @staticmethod
    def _error(
        message: str, next: str = "Mend the named field; docs/gate.md shows a whole contract."
    ) -> "ConfigError":
        from lockgate.errors import ConfigError

        return ConfigError(message, "CONTRACT", next=next)


def _text_of(data: "Mapping[str, object]", key: str) -> "str":
    """A text of the document; null counts as not given. What is no text is refused by the constructor."""
    value = data.get(key)
    return "" if value is None else value  # type: ignore[return-value]
