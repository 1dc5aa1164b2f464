"""Is a default computed for each row, or once? Only what is known not to be volatile counts as such."""

from lockgate.policy.model.schema import Schema
from lockgate.postgres.tree.lexing import parted
from lockgate.postgres.tree.words import Expression

# Volatile built-ins that turn up in defaults.
VOLATILE = frozenset({
    "random", "random_normal", "gen_random_uuid", "uuidv4", "uuidv7", "uuid_generate_v1", "uuid_generate_v1mc",
    "uuid_generate_v4", "clock_timestamp", "timeofday", "nextval", "setval", "currval", "lastval", "setseed",
    "pg_sleep", "gen_random_bytes", "txid_current_if_assigned", "pg_current_xact_id_if_assigned", "pg_backend_pid",
    "set_config",
})  # fmt: skip

# Built-ins known to be stable or immutable; anything else that the model has not met is taken for volatile.
STEADY = frozenset({
    "now", "current_timestamp", "current_date", "current_time", "localtime", "localtimestamp", "transaction_timestamp",
    "statement_timestamp", "current_user", "session_user", "user", "current_role", "current_schema",
    "current_database", "current_catalog", "current_setting", "lower", "upper", "initcap", "length", "char_length",
    "concat", "concat_ws", "coalesce", "substr", "substring", "left", "right", "replace", "regexp_replace", "trim",
    "btrim", "ltrim", "rtrim", "md5", "sha256", "encode", "decode", "abs", "ceil", "floor", "round", "trunc", "mod",
    "power", "sqrt", "greatest", "least", "to_char", "to_date", "to_timestamp", "to_number", "date_trunc",
    "date_part", "extract", "age", "make_date", "make_interval", "make_timestamp", "make_timestamptz", "timezone",
    "array_append", "array_length", "array_to_string", "string_to_array", "cardinality", "jsonb_build_object",
    "json_build_object", "jsonb_build_array", "json_build_array", "to_json", "to_jsonb", "row_to_json", "to_tsvector",
    "to_tsquery", "plainto_tsquery", "setweight", "int4range", "int8range", "numrange", "tsrange", "tstzrange",
    "daterange", "format", "repeat", "lpad", "rpad", "reverse", "split_part", "position", "strpos", "chr", "ascii",
    "hashtext", "bit_length", "octet_length", "isfinite", "point", "box", "numeric", "text", "int4", "int8", "float8",
    "txid_current", "pg_current_xact_id", "inet_client_addr", "version", "nullif",
})  # fmt: skip


def is_volatile(expression: Expression, schema: Schema) -> bool:
    """Whether the server would compute ``expression`` anew for every row."""
    for function in expression.functions:
        if function in VOLATILE:
            return True
        if function in STEADY:
            continue
        declared = schema.functions.get(schema.type_key(*_split(function)))
        if declared is None or declared == "volatile":
            return True
    return False


def _split(function: str) -> tuple[str, str]:
    schema, name = parted(function)
    return schema, name
