"""Databases made from a template: for tests that want a migrated one of their own each."""

import hashlib
from collections.abc import Callable

from psycopg.conninfo import make_conninfo

from lockgate.postgres.target import Target
from lockgate.postgres.tenants import other_database
from lockgate.postgres.wire import Wire

_KEY = int.from_bytes(hashlib.sha256(b"lockgate:template:1").digest()[:8], "big", signed=True)
_PATIENCE = 600.0


def make_template(server: Target, name: str, migrate: Callable[[Target], None]) -> None:
    """Make the template database ``name`` with ``migrate`` unless it is there; whoever comes second waits.

    It is marked as a template when it is whole: one that a killed process left half made is made anew.
    """
    wire = Wire(server, "template")
    wire.patience = _PATIENCE
    try:
        wire.one("SELECT pg_catalog.pg_advisory_lock($1::bigint)", str(_KEY))
        whole = wire.value("SELECT datistemplate::text FROM pg_catalog.pg_database WHERE datname = $1", name)
        if whole == "true":
            return
        if whole is not None:
            wire.alone(f"DROP DATABASE {_quoted(name)} WITH (FORCE)")
        wire.alone(f"CREATE DATABASE {_quoted(name)}")
        migrate(other_database(server, name))
        wire.alone(f"ALTER DATABASE {_quoted(name)} IS_TEMPLATE true")
    finally:
        wire.close()


def copy_database(server: Target, template: str, name: str) -> str:
    """Make the database ``name`` as a copy of ``template``; its URL, secrets included."""
    wire = Wire(server, "template")
    try:
        # Since 15 the server can copy through the log, which is slower for many small files.
        strategy = " STRATEGY file_copy" if int(wire.value("SHOW server_version_num") or 0) >= 150000 else ""
        wire.alone(f"CREATE DATABASE {_quoted(name)} TEMPLATE {_quoted(template)}{strategy}")
    finally:
        wire.close()
    return make_conninfo(**{**server.parameters(), "dbname": name})


def drop_database(server: Target, name: str) -> None:
    """Drop the database ``name``, connections and all."""
    wire = Wire(server, "template")
    try:
        wire.alone(f"DROP DATABASE IF EXISTS {_quoted(name)} WITH (FORCE)")
    finally:
        wire.close()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
