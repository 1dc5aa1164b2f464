"""Hazards of family E: enums, composite types and domains that are made or changed."""

from collections.abc import Iterator

from lockgate.policy.hazard import INFO, WARNING, Hazard
from lockgate.policy.model.names import bare, clipped
from lockgate.policy.model.schema import UserType
from lockgate.policy.model.spelling import beside, in_words, literal, qualified, spelled, type_sql
from lockgate.policy.registry import rule
from lockgate.policy.subject import Hit, Subject
from lockgate.postgres.tree import words as w

_ENUM = "CREATE TYPE mood AS ENUM ('sad', 'ok');\nCREATE TABLE people (id bigint PRIMARY KEY, mood mood);"
_COMPOSITE = "CREATE TYPE address AS (street text, city text);\nCREATE TABLE offices OF address;"
_AX = "AccessExclusiveLock"


def _old_type(subject: Subject, name: w.Name) -> tuple[str, UserType | None]:
    """The key of a type and what is known of it; an empty key when this file created it."""
    key = subject.schema.type_key(name.schema, name.name)
    state = subject.schema.types.get(key)
    return ("", state) if state is not None and state.created_file == subject.file.number else (key, state)


@rule(
    Hazard(
        id="enum-ordering",
        name="Enum label without a place",
        detects="ALTER TYPE … ADD VALUE without BEFORE or AFTER.",
        effect="The label sorts after all others, in every ORDER BY and comparison, and its place can never be changed.",
        severity=INFO,
        workaround="Say where it belongs: BEFORE or AFTER a label.",
        source="PostgreSQL documentation, ALTER TYPE",
        setup=_ENUM,
        bad="ALTER TYPE mood ADD VALUE 'happy';",
        good="ALTER TYPE mood ADD VALUE 'happy' AFTER 'ok';",
    ),
    on=w.AlterEnum,
)
def enum_ordering(subject: Subject) -> Iterator[Hit]:
    """A new label at the end, said or not."""
    word = subject.statement
    assert isinstance(word, w.AlterEnum)
    if word.renamed_from or word.positioned:
        return
    key, state = _old_type(subject, word.name)
    if not key or (state is not None and word.value in state.labels):
        return
    last = state.labels[-1] if state is not None and state.labels else ""
    after = f" AFTER {literal(last)}" if last else ""
    yield Hit(
        f"{literal(word.value)} sorts after every other label of {key}",
        f"ALTER TYPE {spelled(key)} ADD VALUE {literal(word.value)}{after};" if after else "",
    )


@rule(
    Hazard(
        id="enum-rename-or-drop-value",
        name="Enum label or type taken away",
        detects="RENAME VALUE of an enum, or DROP TYPE or DROP DOMAIN of one that an earlier file created.",
        effect="The old release still writes and compares the old label: its statements fail.",
        contract_severity=INFO,
        workaround="Add the new label, move rows and code over to it, then take the old one away in a file with `-- lockgate: phase=contract`.",
        destructive=True,
        source="Field practice with types",
        setup=_ENUM,
        bad="ALTER TYPE mood RENAME VALUE 'ok' TO 'fine';",
        good="ALTER TYPE mood ADD VALUE 'fine' AFTER 'ok';",
    ),
    on=(w.AlterEnum, w.Drop),
)
def enum_rename_or_drop(subject: Subject) -> Iterator[Hit]:
    """A label under another name, or the whole type gone."""
    word = subject.statement
    if isinstance(word, w.AlterEnum) and word.renamed_from:
        key, _ = _old_type(subject, word.name)
        if key:
            old, new = literal(word.renamed_from), literal(word.value)
            yield Hit(
                f"whoever still writes or compares {old} of {key} fails",
                f"ALTER TYPE {spelled(key)} ADD VALUE {new} AFTER {old};",
            )
    elif isinstance(word, w.Drop) and word.kind in ("type", "domain"):
        for name in word.names:
            key, state = _old_type(subject, name)
            if key and not (word.if_exists and state is None):
                yield Hit(
                    f"whoever still uses the type {key} fails",
                    f"-- lockgate: phase=contract\nDROP {word.kind.upper()} {in_words(name, key)};",
                )


@rule(
    Hazard(
        id="enum-recreate",
        name="Enum replaced by a new type",
        detects="ALTER COLUMN … TYPE away from an enum, as in: rename the old type, create the new one, convert with USING.",
        effect="Each table with a column of the enum is written again while nobody can use it.",
        lock=_AX,
        by_size=True,
        workaround="ADD VALUE for a new label; to take labels away, a text column with a CHECK … NOT VALID, filled by a move.",
        source="observed",
        setup=_ENUM,
        bad="ALTER TYPE mood RENAME TO mood_old;\nCREATE TYPE mood AS ENUM ('sad', 'fine');\n"
        "ALTER TABLE people ALTER COLUMN mood TYPE mood USING mood::text::mood;",
        good="ALTER TYPE mood ADD VALUE 'fine' AFTER 'ok';",
    ),
    on=w.AlterType,
)
def enum_recreate(subject: Subject) -> Iterator[Hit]:
    """The source type of the column is an enum and the target is another type."""
    action = subject.action
    assert isinstance(action, w.AlterType)
    column = subject.table.columns.get(action.column) if subject.table is not None else None
    if column is None or subject.new:
        return
    source = subject.schema.user_type(column.type)
    target = subject.schema.user_type(action.type)
    if source is None or source.kind != "enum" or (target is not None and target.key == source.key):
        return
    added = [label for label in target.labels if label not in source.labels] if target is not None else []
    kept = target is not None and all(label in target.labels for label in source.labels)
    yield Hit(
        f"{subject.key} is written again under {_AX} to turn {action.column} from {source.key} into {action.type.name}",
        "\n".join(
            f"ALTER TYPE {_first_name(subject, source.key)} ADD VALUE {literal(label)};" for label in added
        )
        if kept
        else "",
        subject.key,
    )


def _first_name(subject: Subject, key: str) -> str:
    """What the type was called before this file renamed it out of the way."""
    for judged in subject.earlier():
        word = judged.statement
        if isinstance(word, w.Rename) and word.kind == "type" and word.new == bare(key):
            return beside(key, word.name.name)
    return spelled(key)


@rule(
    Hazard(
        id="type-create-enum",
        name="New enum type",
        detects="CREATE TYPE … AS ENUM.",
        effect="Labels can be added but never removed or put into another order without writing tables again.",
        severity=INFO,
        workaround="A lookup table with a foreign key, or text with a CHECK, where labels will change.",
        source="PostgreSQL documentation, Enumerated Types",
        bad="CREATE TYPE mood AS ENUM ('sad', 'ok');",
        good="CREATE TABLE moods (name text PRIMARY KEY);\nINSERT INTO moods (name) VALUES ('sad'), ('ok');",
    ),
    on=w.CreateType,
)
def create_enum(subject: Subject) -> Iterator[Hit]:
    """Advice, before anyone uses it."""
    word = subject.statement
    assert isinstance(word, w.CreateType)
    if word.kind == "enum":
        name = word.name.name
        several = qualified(w.Name(word.name.schema, clipped(name, 1) + "s"))
        yield Hit(
            f"labels of {name} can never be removed in place",
            f"CREATE TABLE {several} (name text PRIMARY KEY);\n"
            f"INSERT INTO {several} (name) VALUES {', '.join(f'({literal(label)})' for label in word.labels)};"
            if word.labels
            else "",
        )


@rule(
    Hazard(
        id="type-composite-change",
        name="Composite type changed",
        detects="ADD, DROP, ALTER or RENAME ATTRIBUTE of a composite type that an earlier file created.",
        effect="Every table OF the type is locked and changed with it; the old release reads values of another shape.",
        lock=f"{_AX} on the type and on every table OF it",
        severity=WARNING,
        workaround="A new type beside the old one, or plain columns.",
        source="PostgreSQL documentation, ALTER TYPE; observed",
        setup=_COMPOSITE,
        bad="ALTER TYPE address ADD ATTRIBUTE country text CASCADE;",
        good="CREATE TYPE address_2 AS (street text, city text, country text);",
    ),
    on=(w.AlterTable, w.Rename),
)
def composite_change(subject: Subject) -> Iterator[Hit]:
    """Attributes that come, go or change."""
    word = subject.statement
    assert isinstance(word, w.AlterTable | w.Rename)
    if word.kind != ("type" if isinstance(word, w.AlterTable) else "attribute"):
        return
    if isinstance(word, w.AlterTable) and not any(
        isinstance(action, w.AddColumn | w.DropColumn | w.AlterType) for action in word.actions
    ):
        return
    key, _ = _old_type(subject, word.name)
    if key:
        typed = [table for table in subject.schema.tables_of_type(key) if not subject.is_new(table)]
        also = f"; {', '.join(typed)} change with it under {_AX}" if typed else ""
        yield Hit(f"whoever reads values of {key} meets another shape{also}")


@rule(
    Hazard(
        id="domain-create-constrained",
        name="Domain with a constraint",
        detects="CREATE DOMAIN with CHECK or NOT NULL.",
        effect="A new column of it writes its table again, and each later change of the rule reads every table that uses it.",
        severity=INFO,
        workaround="The base type, with a CHECK on the table.",
        source="PostgreSQL documentation, CREATE DOMAIN; observed",
        bad="CREATE DOMAIN positive AS integer CHECK (VALUE > 0);",
        good="CREATE TABLE items (id bigint PRIMARY KEY, qty integer CHECK (qty > 0));",
    ),
    on=w.CreateDomain,
)
def create_constrained_domain(subject: Subject) -> Iterator[Hit]:
    """Advice, before any table uses it."""
    word = subject.statement
    assert isinstance(word, w.CreateDomain)
    if word.constraints or word.not_null:
        yield Hit(
            f"adding a column of {word.name.name} to a table writes the table again: its values must be checked",
            f"CREATE DOMAIN {qualified(word.name)} AS {type_sql(word.base)};\n-- and a CHECK on each table that uses it",
        )
