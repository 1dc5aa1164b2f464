"""Hazards of families E and F: settings of objects that change what a running release gets from them."""

from collections.abc import Iterator

from lockgate.policy.hazard import WARNING, Hazard
from lockgate.policy.model.spelling import qualified
from lockgate.policy.registry import rule
from lockgate.policy.subject import Hit, Subject
from lockgate.postgres.tree import words as w


@rule(
    Hazard(
        id="object-setting",
        name="Object that behaves otherwise from then on",
        detects="ALTER SEQUENCE (RESTART, MAXVALUE, MINVALUE, INCREMENT, AS, CYCLE), setval to a constant, ALTER DOMAIN SET or DROP DEFAULT, ALTER FUNCTION (STRICT, SECURITY DEFINER, search_path), ALTER VIEW SET (security_invoker), of what an earlier file created.",
        effect="The old release gets other numbers, values, rights or rows than it was built for, at once and without an error of the file.",
        severity=WARNING,
        workaround="A new object beside the old one; or ship code first that is right with both.",
        source="PostgreSQL documentation, ALTER SEQUENCE, ALTER DOMAIN, ALTER FUNCTION, ALTER VIEW",
        setup="CREATE SEQUENCE tickets;",
        bad="ALTER SEQUENCE tickets RESTART;",
        good="ALTER SEQUENCE tickets AS bigint NO MAXVALUE CACHE 20;",
    ),
    on=(w.AlterSequence, w.AlterDomain, w.AlterFunction, w.AlterTable, w.Dml),
)
def other_setting(subject: Subject) -> Iterator[Hit]:
    """Each kind of object by itself; what the same file made is nobody's."""
    word = subject.statement
    if isinstance(word, w.Dml):
        yield from _set(subject, word)
    elif isinstance(word, w.AlterTable):
        options = [
            name for action in word.actions if isinstance(action, w.SetOptions) for name in action.options
        ]
        if "security_invoker" in options and not subject.new:
            yield Hit(
                f"{subject.key} reads its tables with the rights of others from now on: whoever lacks them fails, or sees other rows"
            )
    elif isinstance(word, w.AlterSequence):
        if word.turns and not subject.new and not (word.if_exists and subject.table is None):
            yield Hit(
                f"{', '.join(option.upper() for option in word.turns)}: numbers of {subject.key} may come again or run out"
            )
    elif isinstance(word, w.AlterDomain):
        state = subject.schema.types.get(subject.schema.type_key(word.name.schema, word.name.name))
        if word.what == "default" and (state is None or state.created_file != subject.file.number):
            yield Hit(
                f"inserts that leave out a column of {qualified(word.name)} get another value, or none, from now on"
            )
    elif isinstance(word, w.AlterFunction):
        told = [
            ("STRICT", word.strict),
            ("SECURITY DEFINER", word.definer),
            ("search_path", bool(word.search_path) or word.unclear),
        ]
        changed = [name for name, so in told if so]
        made = (judged.statement for judged in subject.earlier())
        if changed and not any(isinstance(one, w.CreateFunction) and one.name == word.name for one in made):
            yield Hit(
                f"whoever calls {qualified(word.name)} gets it with another {', '.join(changed)} from now on"
            )


def _set(subject: Subject, word: w.Dml) -> Iterator[Hit]:
    """setval to what no query tells; after a copy of rows it is set to their maximum."""
    query = word.query
    if word.kind != "select" or "setval" not in query.functions or query.accesses:
        return
    for literal in query.sequences:
        schema, _, name = literal.rpartition(".")
        key = subject.schema.resolve(w.Name(schema, name))
        if not subject.is_new(key):
            yield Hit(
                f"numbers of {key} come from another place from now on: they may clash with those that are there"
            )
