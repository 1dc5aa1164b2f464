"""The triggers of a move: capture on the side that serves, a barrier on the side that does not. Made and removed by name."""

from lockgate.postgres.link import Link
from lockgate.postgres.moves import made
from lockgate.postgres.moves.mapping import Mapping
from lockgate.postgres.quoting import identifier, literal


def _own(move: str) -> str:
    """True for writes that are not the move's own, which must neither echo nor be refused."""
    return f"(current_setting('lockgate.feed', true) IS DISTINCT FROM {literal(move)})"


def outbox_ddl(mapping: Mapping) -> str:
    """The outbox of a feed and the function that fills it. The function runs as its owner: writers need no grant."""
    columns = ", ".join(f"{c} {k.type}" for c, k in zip(mapping.batch_columns, mapping.key, strict=True))

    def entry(op: str, row: str) -> str:
        values = ", ".join(f"{row}.{identifier(k.origin)}" for k in mapping.key)
        return f"INSERT INTO {mapping.outbox} (op, {', '.join(mapping.batch_columns)}) VALUES ('{op}', {values});"

    changed = " OR ".join(
        f"NEW.{identifier(k.origin)} IS DISTINCT FROM OLD.{identifier(k.origin)}" for k in mapping.key
    )
    body = f"""
BEGIN
  IF TG_OP = 'INSERT' THEN {entry("I", "NEW")}
  ELSIF TG_OP = 'DELETE' THEN {entry("D", "OLD")}
  ELSIF TG_OP = 'TRUNCATE' THEN INSERT INTO {mapping.outbox} (op) VALUES ('T');
  ELSE
    {entry("U", "NEW")}
    IF {changed} THEN {entry("D", "OLD")} END IF;
  END IF;
  RETURN NULL;
END
"""
    return f"""
CREATE TABLE IF NOT EXISTS {mapping.outbox} (op "char" NOT NULL, {columns}, at timestamptz NOT NULL DEFAULT clock_timestamp())
  WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_insert_threshold = -1);
CREATE OR REPLACE FUNCTION {_function(mapping)}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS {literal(body)};
REVOKE ALL ON FUNCTION {_function(mapping)}() FROM PUBLIC;
{made.ddl(mapping)}"""


def capture_ddl(mapping: Mapping, table: str) -> str:
    """The triggers on ``table`` (SQL) that fill the outbox. ALWAYS: a session in replica mode is captured too."""
    row, whole = _names(mapping)
    return (
        f"CREATE TRIGGER {row} AFTER INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW WHEN {_own(mapping.move)} EXECUTE FUNCTION {_function(mapping)}();"
        f"CREATE TRIGGER {whole} AFTER TRUNCATE ON {table} FOR EACH STATEMENT WHEN {_own(mapping.move)} EXECUTE FUNCTION {_function(mapping)}();"
        f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {row}, ENABLE ALWAYS TRIGGER {whole};"
    )


def uncapture_ddl(mapping: Mapping, table: str) -> str:
    """Take the capture off ``table``; nothing happens where it is not there."""
    row, whole = _names(mapping)
    return f"DROP TRIGGER IF EXISTS {row} ON {table}; DROP TRIGGER IF EXISTS {whole} ON {table};"


def barrier_ddl(move: str, table: str, *, owned: bool = False) -> str:
    """Refuse every write to ``table`` but the move's own, in the writer's own transaction and whatever its snapshot.

    ``owned`` marks a table that the move made or retired: fingerprints of the schema leave it out.
    """
    name = identifier(barrier_name(move))
    words = literal(move) + (", 'owned'" if owned else "")
    return (
        f"CREATE TRIGGER {name} BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table} FOR EACH STATEMENT WHEN {_own(move)} EXECUTE FUNCTION lockgate.move_refuse({words});"
        f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name};"
    )


def barrier_name(move: str) -> str:
    """The name of the barrier's trigger, as the catalog has it."""
    return f"lockgate_barrier_{move}"


def unbarrier_ddl(move: str, table: str) -> str:
    """Take the barrier off ``table``; nothing happens where it is not there."""
    return f"DROP TRIGGER IF EXISTS {identifier(barrier_name(move))} ON {table};"


MADE = "lockgate: made by the move "
"""The comment of a table that an aborted move left: no barrier marks it any more, and it is still no table of the schema."""


def mark_ddl(move: str, table: str) -> str:
    """Let the comment of ``table`` say that a move made it."""
    return f"COMMENT ON TABLE {table} IS {literal(MADE + move)};"


def unmark_ddl(link: Link, source_oid: int, table: str) -> str:
    """Give ``table`` the comment of the source, as it had it when it was made."""
    text = link.value("SELECT pg_catalog.obj_description($1::oid, 'pg_class')", source_oid)
    return f"COMMENT ON TABLE {table} IS {literal(text) if text is not None else 'NULL'};"


def owned(link: Link, oid: int) -> bool:
    """True for a table whose barrier, or comment, marks it as made or retired by a move."""
    return bool(
        link.value(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace"
            " WHERE t.tgrelid = $1::oid AND n.nspname = 'lockgate' AND p.proname = 'move_refuse' AND t.tgnargs = 2)"
            " OR starts_with(COALESCE(pg_catalog.obj_description($1::oid, 'pg_class'), ''), $2)",
            oid,
            MADE,
        )
    )


def drop_outbox_ddl(mapping: Mapping) -> str:
    """Remove outbox and function of a feed, once its triggers are gone."""
    return (
        f"DROP FUNCTION IF EXISTS {_function(mapping)}(); DROP TABLE IF EXISTS {mapping.outbox};"
        + made.drop_ddl(mapping.move, mapping.feed)
    )


def _function(mapping: Mapping) -> str:
    return f'lockgate."capture_{mapping.move}_{mapping.feed}"'


def _names(mapping: Mapping) -> tuple[str, str]:
    # Triggers of one event fire in the order of their names; z puts ours behind those that may still change the row.
    return identifier(f"zz_lockgate_{mapping.move}_{mapping.feed}"), identifier(
        f"zz_lockgate_{mapping.move}_{mapping.feed}_all"
    )


def has_trigger(link: Link, oid: int, name: str) -> bool:
    """True when the table of ``oid`` has the enabled trigger ``name``."""
    return bool(
        link.value(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_trigger WHERE tgrelid = $1::oid AND tgname = $2 AND tgenabled = 'A')",
            oid,
            name,
        )
    )


def switched_off(link: Link, oid: int, name: str) -> bool:
    """True when the table of ``oid`` has the trigger ``name``, and it does not fire for every write."""
    return bool(link.value("SELECT EXISTS (SELECT FROM pg_catalog.pg_trigger WHERE tgrelid = $1::oid AND tgname = $2 AND tgenabled <> 'A')", oid, name))  # fmt: skip


def capture_name(mapping: Mapping) -> str:
    """The name of the row trigger, as the catalog has it."""
    return f"zz_lockgate_{mapping.move}_{mapping.feed}"
