"""Hazards of families E and F: names that a release still uses and that a file takes away or gives to something else."""

from collections.abc import Iterator

from lockgate.policy.hazard import INFO, WARNING, Hazard
from lockgate.policy.model.spelling import qualified, spelled
from lockgate.policy.registry import rule
from lockgate.policy.subject import Hit, Subject
from lockgate.postgres.tree import words as w

_SETUP = "CREATE TABLE orders (id bigint PRIMARY KEY, qty integer);\nCREATE VIEW order_list AS SELECT id FROM orders;\nCREATE SEQUENCE tickets;"
_RELATIONS = ("view", "matview", "sequence", "foreign_table")
_TYPES = ("type", "domain")
_ROUTINES = ("function", "procedure", "routine", "aggregate")
_DROPPED = ("operator", "cast", "collation", "operator_class", "operator_family", "conversion")


@rule(
    Hazard(
        id="object-rename",
        name="Name taken away",
        detects="RENAME TO or SET SCHEMA of a view, materialized view, sequence, foreign table, type, domain, collation, function, procedure, aggregate or schema that an earlier file created.",
        effect="The old release knows only the old name, the new one only the new: one of the two fails.",
        contract_severity=WARNING,
        workaround="Make it anew under the new name beside the old one; drop the old one in a contract file when nobody uses it.",
        destructive=True,
        source="Field practice with views, routines and types",
        setup=_SETUP,
        bad="ALTER VIEW order_list RENAME TO purchases;",
        good="CREATE VIEW purchases AS SELECT id FROM orders;",
    ),
    on=(w.Rename, w.SetSchema),
)
def renamed(subject: Subject) -> Iterator[Hit]:
    """Tables and columns have hazards of their own."""
    word = subject.statement
    assert isinstance(word, w.Rename | w.SetSchema)
    kind = word.kind
    schema = isinstance(word, w.Rename) and kind == "schema"
    if not schema and kind not in (*_RELATIONS, *_TYPES, *_ROUTINES, "collation"):
        return
    name = w.Name("", word.sub) if isinstance(word, w.Rename) and schema else word.name
    if _made_here(subject, kind, name):
        return
    new = word.new if isinstance(word, w.Rename) else f"{word.schema}.{name.name}"
    yield Hit(f"whoever uses {qualified(name)} fails once it is called {new}")


@rule(
    Hazard(
        id="object-drop",
        name="Sequence, operator, cast or collation dropped",
        detects="DROP SEQUENCE, OPERATOR, CAST, COLLATION or CONVERSION of one that an earlier file created.",
        effect="Whoever still uses it fails, defaults and queries alike.",
        contract_severity=INFO,
        workaround="Stop using it in one release, drop it with the next, in a file with `-- lockgate: phase=contract`.",
        destructive=True,
        source="Field practice with views, routines and types",
        setup=_SETUP,
        bad="DROP SEQUENCE tickets;",
        good="CREATE SEQUENCE tickets_2;",
    ),
    on=w.Drop,
)
def dropped(subject: Subject) -> Iterator[Hit]:
    """Views, types and functions have hazards of their own."""
    word = subject.statement
    assert isinstance(word, w.Drop)
    if word.kind not in ("sequence", *_DROPPED):
        return
    for name in word.names:
        key = subject.schema.resolve(name)
        absent = word.if_exists and word.kind == "sequence" and key not in subject.schema.relations
        if absent or _made_here(subject, word.kind, name):
            continue
        what = "the cast of" if word.kind == "cast" else f"the {word.kind.replace('_', ' ')}"
        fix = f"-- lockgate: phase=contract\nDROP SEQUENCE {spelled(key)};" if word.kind == "sequence" else ""
        yield Hit(f"whoever still uses {what} {qualified(name)} fails", fix)


def _made_here(subject: Subject, kind: str, name: w.Name) -> bool:
    """Whether this same file created it, as far as the model tells."""
    schema, number = subject.schema, subject.file.number
    if kind == "schema":
        return schema.schemas.get(name.name, -1) == number
    if kind in _RELATIONS:
        return subject.is_new(schema.resolve(name))
    if kind in _TYPES:
        state = schema.types.get(schema.type_key(name.schema, name.name))
        return state is not None and state.created_file == number
    made = [judged.statement for judged in subject.earlier()]
    if kind in _ROUTINES:
        key = schema.type_key(name.schema, name.name)
        return any(
            isinstance(word, w.CreateFunction)
            and not word.replace
            and schema.type_key(word.name.schema, word.name.name) == key
            for word in made
        )
    return kind == "operator" and any(
        isinstance(word, w.CreateConversion) and word.operator == name.name for word in made
    )
