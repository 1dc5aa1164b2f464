"""From a word to its facts: one handler a word."""

from collections.abc import Callable
from typing import Any

from lockgate.policy.facts import (
    alter,
    drops,
    indexes,
    made,
    maintenance,
    others,
    queries,
    routines,
    tables,
    writes,
)
from lockgate.policy.facts.fact import Course, Draft, Facts, Server
from lockgate.policy.model.schema import Schema
from lockgate.postgres.tree import words as w

_DEFAULT_SERVER = Server()


def facts_of(
    statement: w.Statement,
    schema: Schema,
    server: Server = _DEFAULT_SERVER,
    inside: tuple[str, ...] = (),
    course: Course | None = None,
) -> Facts:
    """The facts of ``statement`` on ``schema``, which is not changed."""
    kind, handler = _HANDLERS[type(statement)]
    draft = Draft(schema, server, kind, inside, course)
    handler(draft, statement)
    return draft.facts


_HANDLERS: dict[type, tuple[str, Callable[[Draft, Any], None]]] = {
    w.CreateTable: ("CREATE TABLE", tables.create_table),
    w.CreateTableAs: ("CREATE TABLE AS", made.create_table_as),
    w.CreateView: ("CREATE VIEW", queries.create_view),
    w.CreateIndex: ("CREATE INDEX", indexes.create_index),
    w.AlterTable: ("ALTER TABLE", alter.alter_table),
    w.Rename: ("RENAME", tables.rename),
    w.SetSchema: ("SET SCHEMA", tables.set_schema),
    w.Drop: ("DROP", drops.drop),
    w.ReassignOwned: ("REASSIGN OWNED", others.reassign_owned),
    w.MoveAll: ("ALTER ALL IN TABLESPACE", maintenance.move_all),
    w.Truncate: ("TRUNCATE", drops.truncate),
    w.CreateTrigger: ("CREATE TRIGGER", others.create_trigger),
    w.CreateRule: ("CREATE RULE", others.create_rule),
    w.Policy: ("POLICY", others.policy),
    w.CreateSequence: ("CREATE SEQUENCE", others.create_sequence),
    w.AlterSequence: ("ALTER SEQUENCE", others.alter_sequence),
    w.CreateType: ("CREATE TYPE", others.nothing),
    w.AlterEnum: ("ALTER TYPE", others.alter_enum),
    w.CreateDomain: ("CREATE DOMAIN", others.nothing),
    w.AlterDomain: ("ALTER DOMAIN", others.alter_domain),
    w.CreateFunction: ("CREATE FUNCTION", queries.create_function),
    w.CreateConversion: ("CREATE", others.conversion),
    w.AlterFunction: ("ALTER FUNCTION", others.nothing),
    w.CreateSchema: ("CREATE SCHEMA", others.create_schema),
    w.CreateExtension: ("CREATE EXTENSION", others.nothing),
    w.CreateServer: ("CREATE SERVER", others.nothing),
    w.CreateStatistics: ("CREATE STATISTICS", others.create_statistics),
    w.Dml: ("SELECT", writes.dml),
    w.Refresh: ("REFRESH MATERIALIZED VIEW", queries.refresh),
    w.Reindex: ("REINDEX", indexes.reindex),
    w.Cluster: ("CLUSTER", maintenance.cluster),
    w.Vacuum: ("VACUUM", maintenance.vacuum),
    w.LockTable: ("LOCK TABLE", maintenance.lock_table),
    w.Comment: ("COMMENT", others.comment),
    w.Grant: ("GRANT", others.grant),
    w.Publication: ("PUBLICATION", others.publication),
    w.SetVariable: ("SET", others.nothing),
    w.DoBlock: ("DO", routines.do_block),
    w.Call: ("CALL", routines.call_procedure),
    w.TransactionControl: ("TRANSACTION", others.transaction_control),
    w.Utility: ("UTILITY", others.utility),
    w.NotUnderstood: ("NOT UNDERSTOOD", others.not_understood),
}
