"""The catalogue snapshot: what `lockgate snapshot` writes of a live database, and what the model starts from.

The file holds the schema with row estimates and sizes, what the server around it is like, and no row of data, nor
a constant of a function's body (``postgres/tree/blanking.py``): CI needs no credentials to judge against it. ``schema`` is the model itself as JSON, so whatever the model learns to
know, a snapshot can say. Every key below ``schema`` and ``environment`` may be left out; what is not said is not
known, and no rule judges by it.

    {"schemaVersion": "1", "serverVersion": 16, "takenAt": "2030-01-01T00:00:00Z", "schemaRev": "1700000000000",
     "schema": {"relations": {"orders": {"key": "orders", "kind": "r", "rows": 120000, "bytes": 9437184,
                                         "owner": "app_owner", "replica_identity": "d",
                                         "columns": {…}, "constraints": {…}, "indexes": ["orders_pkey"]}},
                "indexes": {…}, "types": {…}, "functions": {…}, "extensions": {"citext": "1.6"},
                "publications": {"changes": {"tables": {"orders": ["id", "qty"]}, "all_tables": false}}},
     "environment": {"role": "app_migrator", "memberships": ["app_migrator", "app_owner"], "superuser": false,
                     "freeBytes": 53687091200, "maxLocks": 6400, "standbys": 1, "freezeMaxAge": 200000000,
                     "availableExtensions": ["citext", "pg_trgm"],
                     "tables": {"orders": {"readsPerSecond": 310, "writesPerSecond": 42, "age": 150000000}}}}
"""

from msgspec import DecodeError, Struct, json

from lockgate.errors import ConfigError
from lockgate.policy.model.environment import UNKNOWN, Environment
from lockgate.policy.model.schema import Schema

SCHEMA_VERSION = "1"


class Snapshot(Struct, frozen=True, rename="camel"):
    """A model with where and when it was taken."""

    schema_version: str
    server_version: int
    taken_at: str
    schema: Schema
    # The newest applied revision at that time: files up to it are in the snapshot already.
    schema_rev: str = ""
    environment: Environment = UNKNOWN


class _Head(Struct, rename="camel"):
    schema_version: str


def read(source: bytes) -> Snapshot:
    """The snapshot in ``source``. Raises ``ConfigError`` when it is none, or of another version."""
    try:
        version = json.decode(source, type=_Head).schema_version
        if version != SCHEMA_VERSION:
            raise ConfigError(
                f"the snapshot has schemaVersion {version}, this lockgate reads {SCHEMA_VERSION}"
            )
        return json.decode(source, type=Snapshot)
    except DecodeError as error:
        raise ConfigError(f"the snapshot cannot be read: {error}") from error


def write(snapshot: Snapshot) -> bytes:
    """The snapshot as JSON, with stable order and line breaks, so that it can be kept in version control."""
    return json.format(json.encode(snapshot, order="sorted"), indent=1) + b"\n"
