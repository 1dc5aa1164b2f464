"""Hazards of family E: types, domains, enums."""

from collections.abc import Iterator

from lockgate.policy.hazard import Hazard
from lockgate.policy.model.spelling import qualified, quote
from lockgate.policy.registry import rule
from lockgate.policy.rules.own_words import check_text
from lockgate.policy.subject import Hit, Subject
from lockgate.postgres.tree import words as w

_ENUM = "CREATE TYPE mood AS ENUM ('sad', 'ok');\nCREATE TABLE people (id bigint PRIMARY KEY, mood mood);"
_DOMAIN = "CREATE DOMAIN positive AS integer;\nCREATE TABLE items (id bigint PRIMARY KEY, qty positive);"


@rule(
    Hazard(
        id="enum-use-in-same-tx",
        name="Enum label used before it is committed",
        detects="A label added by ALTER TYPE … ADD VALUE and used later in the same transactional file.",
        effect="The server refuses it with 55P04 and the file fails.",
        workaround="Use the label in the next file.",
        suppressible=False,
        source="PostgreSQL documentation, ALTER TYPE, Notes; observed",
        setup=_ENUM,
        bad="ALTER TYPE mood ADD VALUE 'happy';\nUPDATE people SET mood = 'happy' WHERE id = 1;",
        good="ALTER TYPE mood ADD VALUE 'happy';",
        unproven="the server refuses the bad example, which is the point",
    ),
    on=(w.Dml, w.AlterTable, w.CreateTable),
)
def enum_use_in_same_transaction(subject: Subject) -> Iterator[Hit]:
    """A literal that equals a label which this file added to a type that older files made."""
    if not subject.file.transactional:
        return
    used = set(_literals(subject.statement))
    if not used:
        return
    for judged in subject.earlier():
        word = judged.statement
        if isinstance(word, w.AlterEnum) and not word.renamed_from and word.value in used:
            state = subject.schema.types.get(subject.schema.type_key(word.name.schema, word.name.name))
            if state is None or state.created_file != subject.file.number:
                yield Hit(
                    f"'{word.value}' was added to {word.name.name} in this same transaction and is used here"
                )


def _literals(statement: w.Statement) -> list[str]:
    if isinstance(statement, w.Dml):
        return list(statement.literals)
    expressions: list[w.Expression | None] = []
    if isinstance(statement, w.CreateTable):
        expressions = [column.default for column in statement.columns]
    elif isinstance(statement, w.AlterTable):
        for action in statement.actions:
            if isinstance(action, w.AddColumn):
                expressions.append(action.column.default)
            elif isinstance(action, w.SetDefault):
                expressions.append(action.default)
    return [item.literal for item in expressions if item is not None and item.literal]


@rule(
    Hazard(
        id="domain-add-check",
        name="Domain constraint proved on every table",
        detects="ALTER DOMAIN … ADD CHECK without NOT VALID.",
        effect="Writes to every table with a column of the domain wait while each is read.",
        lock="ShareLock on every table that uses the domain",
        workaround="ADD … NOT VALID, then VALIDATE CONSTRAINT in a later file.",
        by_target=True,
        source="PostgreSQL documentation, ALTER DOMAIN; observed",
        setup=_DOMAIN,
        bad="ALTER DOMAIN positive ADD CONSTRAINT positive_check CHECK (VALUE > 0);",
        good="ALTER DOMAIN positive ADD CONSTRAINT positive_check CHECK (VALUE > 0) NOT VALID;",
    ),
    on=w.AlterDomain,
)
def domain_add_check(subject: Subject) -> Iterator[Hit]:
    """Tables of earlier files that use the domain."""
    word = subject.statement
    assert isinstance(word, w.AlterDomain)
    tables = subject.busy_locks(w.LockMode.ShareLock)
    if word.what == "add" and tables:
        name = word.constraint.name if word.constraint is not None else ""
        text = check_text(subject, word.constraint.expression if word.constraint is not None else None)
        yield Hit(
            f"writes to {', '.join(tables)} wait while each is read",
            f"ALTER DOMAIN {qualified(word.name)} ADD CONSTRAINT {quote(name)} {text} NOT VALID;\n"
            f"-- next file:\nALTER DOMAIN {qualified(word.name)} VALIDATE CONSTRAINT {quote(name)};",
        )


@rule(
    Hazard(
        id="domain-set-not-null",
        name="Domain made NOT NULL on every table",
        detects="ALTER DOMAIN … SET NOT NULL.",
        effect="Writes to every table with a column of the domain wait while each is read.",
        lock="ShareLock on every table that uses the domain",
        workaround="A CHECK (VALUE IS NOT NULL) NOT VALID on the domain, validated later.",
        by_target=True,
        source="observed",
        setup=_DOMAIN,
        bad="ALTER DOMAIN positive SET NOT NULL;",
        good="ALTER DOMAIN positive ADD CONSTRAINT present CHECK (VALUE IS NOT NULL) NOT VALID;",
    ),
    on=w.AlterDomain,
)
def domain_set_not_null(subject: Subject) -> Iterator[Hit]:
    """Tables of earlier files that use the domain."""
    word = subject.statement
    assert isinstance(word, w.AlterDomain)
    tables = subject.busy_locks(w.LockMode.ShareLock)
    if word.what == "set_not_null" and tables:
        yield Hit(f"writes to {', '.join(tables)} wait while each is read")
