"""Hazards of family F: privileges, roles, and advice on who sees what."""

from collections.abc import Iterator

from lockgate.policy.hazard import INFO, WARNING, Hazard
from lockgate.policy.model.spelling import qualified
from lockgate.policy.registry import rule
from lockgate.policy.subject import Hit, Subject
from lockgate.postgres.tree import words as w

_SETUP = "CREATE TABLE orders (id bigint PRIMARY KEY, tenant text);"

# Statements beyond this database's schema: kind → what they reach.
_WIDE = {
    "CREATE ROLE": "every database of the server",
    "ALTER ROLE": "every database of the server",
    "ALTER ROLE SET": "every session of the role",
    "DROP ROLE": "every database of the server",
    "ALTER SYSTEM": "every database of the server",
    "ALTER DATABASE": "every session of the database",
    "ALTER DATABASE SET": "every session of the database",
}
# The version that brought security_invoker.
_INVOKER = 15
_RELATIONS = ("table", "sequence", "view", "matview", "foreign_table")


@rule(
    Hazard(
        id="privilege-change",
        name="Privileges or roles changed",
        detects="REVOKE, GRANT to PUBLIC or of ALL, role membership, CREATE, ALTER or DROP ROLE, ALTER SYSTEM, ALTER DATABASE.",
        effect="A role gets more than it needs, or the release that is still running loses a right in mid-flight; roles and settings reach beyond this database.",
        severity=WARNING,
        workaround="Name the privileges and the role, and keep roles and settings apart from the schema.",
        source="Field practice with views, routines and triggers",
        setup=_SETUP,
        bad="GRANT SELECT ON orders TO PUBLIC;",
        good="GRANT SELECT ON orders TO CURRENT_USER;",
    ),
    on=(w.Grant, w.Utility),
)
def privilege_change(subject: Subject) -> Iterator[Hit]:
    """What widens, what takes away, and what does not belong to a schema at all."""
    word = subject.statement
    if isinstance(word, w.Utility):
        if word.kind in _WIDE:
            yield Hit(f"{word.kind} changes {_WIDE[word.kind]}, not this schema")
        return
    assert isinstance(word, w.Grant)
    what = ", ".join(name.name for name in word.names)
    if word.kind == "role":
        yield Hit("role membership holds in every database of the server")
    elif _all_new(subject, word):
        return
    elif not word.grant:
        yield Hit(
            f"whoever relies on {_privileges(word)} on {what} fails: {', '.join(word.grantees)} loses it at once"
        )
    elif "public" in word.grantees and word.privileges not in (("execute",), ("usage",)):
        names = ", ".join(qualified(name) for name in word.names)
        yield Hit(
            f"every role, also those made later, gets {_privileges(word)} on {what}",
            f"GRANT {_privileges(word).upper()} ON {names} TO …;" if names else "",
        )
    elif not word.privileges:
        yield Hit(
            f"{', '.join(word.grantees)} gets every privilege on {what}, TRUNCATE and TRIGGER included"
            if word.kind in _RELATIONS
            else f"{', '.join(word.grantees)} gets every privilege on {what}",
            severity=INFO,
        )


def _privileges(word: w.Grant) -> str:
    return ", ".join(word.privileges) or "all privileges"


def _all_new(subject: Subject, word: w.Grant) -> bool:
    """Whether this file created all that is named: then nobody has a right to lose."""
    if word.in_schema or not word.names:
        return False
    if word.kind in _RELATIONS:
        revoked = not word.grant or "public" not in word.grantees
        return revoked and all(subject.is_new(subject.schema.resolve(name)) for name in word.names)
    made = {name for judged in subject.earlier() for name in _made(judged.statement)}
    return not word.grant and all(name.name in made for name in word.names)


def _made(word: w.Statement) -> tuple[str, ...]:
    if isinstance(word, w.CreateFunction | w.CreateType | w.CreateDomain):
        return (word.name.name,)
    return (word.name,) if isinstance(word, w.CreateSchema) else ()


@rule(
    Hazard(
        id="security-advice",
        name="More is seen than meant",
        detects="A policy for writing that is always true; a view over a table with row security that is not security_invoker.",
        effect="Row security is there but lets everything through: for every role that may write, or for every reader of the view.",
        severity=WARNING,
        workaround="A policy that names the tenant; CREATE VIEW … WITH (security_invoker).",
        source="PostgreSQL documentation, Row Security Policies; CREATE VIEW, security_invoker",
        setup=_SETUP + "\nALTER TABLE orders ENABLE ROW LEVEL SECURITY;",
        bad="CREATE VIEW order_list AS SELECT id FROM orders;",
        good="CREATE VIEW order_list WITH (security_invoker) AS SELECT id FROM orders;",
    ),
    on=(w.CreateView, w.Policy),
)
def security_advice(subject: Subject) -> Iterator[Hit]:
    """Views and policies that undo row security."""
    word, schema = subject.statement, subject.schema
    if isinstance(word, w.Policy):
        # A restrictive policy that is always true restricts nothing, and everybody may read is often meant.
        if word.always_true and word.permissive and word.command != "select":
            what = "read and write every row" if word.command in ("all", "") else f"{word.command} any row"
            yield Hit(
                f"policy {word.name} lets every role that it is for {what} of {schema.resolve(word.table)}"
            )
        return
    assert isinstance(word, w.CreateView)
    if "security_invoker" in word.options or subject.options.server.version < _INVOKER:
        return
    keys = dict.fromkeys(schema.resolve(access.name) for access in word.query.accesses)
    open_ = [key for key in keys if key in schema.relations and schema.relations[key].row_security]
    if open_:
        yield Hit(
            f"readers of {word.name.name} see {', '.join(open_)} with the rights of the view's owner, "
            "past row security",
            f"CREATE VIEW {qualified(word.name)} WITH (security_invoker) AS …;",
        )
