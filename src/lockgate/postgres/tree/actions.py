"""The words for what one ALTER TABLE asks for, action by action."""

from typing import TypeAlias

from lockgate.postgres.tree.shapes import Bound, Column, Constraint, Expression, Name, TypeName, Word


class AddColumn(Word, frozen=True):
    """ADD COLUMN."""

    column: Column
    if_not_exists: bool = False


class DropColumn(Word, frozen=True):
    """DROP COLUMN."""

    column: str
    cascade: bool = False
    if_exists: bool = False


class AlterType(Word, frozen=True):
    """ALTER COLUMN … TYPE."""

    column: str
    type: TypeName
    using: Expression | None = None
    collation: str = ""


class SetDefault(Word, frozen=True):
    """ALTER COLUMN … SET DEFAULT, or DROP DEFAULT when ``default`` is None."""

    column: str
    default: Expression | None


class SetNotNull(Word, frozen=True):
    """ALTER COLUMN … SET NOT NULL."""

    column: str


class DropNotNull(Word, frozen=True):
    """ALTER COLUMN … DROP NOT NULL."""

    column: str


class SetExpression(Word, frozen=True):
    """ALTER COLUMN … SET EXPRESSION (17+), or DROP EXPRESSION when ``expression`` is None."""

    column: str
    expression: Expression | None


class AlterIdentity(Word, frozen=True):
    """ADD GENERATED, SET …, RESTART, DROP IDENTITY. ``what``: add, set, drop; sequence for options of that alone."""

    column: str
    what: str
    # The sequence behind it gets another option, and so is written anew.
    sequence: bool = False
    # SEQUENCE NAME of ADD.
    named: Name | None = None


class AddConstraint(Word, frozen=True):
    """ADD CONSTRAINT, also from a prepared index (``constraint.using_index``)."""

    constraint: Constraint


class DropConstraint(Word, frozen=True):
    """DROP CONSTRAINT."""

    name: str
    cascade: bool = False
    if_exists: bool = False


class ValidateConstraint(Word, frozen=True):
    """VALIDATE CONSTRAINT."""

    name: str


class AlterConstraint(Word, frozen=True):
    """ALTER CONSTRAINT (deferrability; 18: enforceability, inheritance)."""

    name: str
    enforced: bool | None = None
    deferred: bool = False
    # INHERIT or NO INHERIT of a NOT NULL.
    inherited: bool | None = None


class SetStatistics(Word, frozen=True):
    """ALTER COLUMN … SET STATISTICS."""

    column: str


class SetColumnOptions(Word, frozen=True):
    """ALTER COLUMN … SET (n_distinct = …), RESET (…)."""

    column: str


class SetStorage(Word, frozen=True):
    """ALTER COLUMN … SET STORAGE or SET COMPRESSION (``what``)."""

    column: str
    what: str


class SetOptions(Word, frozen=True):
    """SET (fillfactor = …) or RESET (…) on the relation."""

    options: tuple[str, ...]
    values: tuple[str, ...] = ()


class SetTablespace(Word, frozen=True):
    """SET TABLESPACE."""

    tablespace: str


class SetAccessMethod(Word, frozen=True):
    """SET ACCESS METHOD."""

    method: str


class SetLogged(Word, frozen=True):
    """SET LOGGED or SET UNLOGGED."""

    logged: bool


class ReplicaIdentity(Word, frozen=True):
    """REPLICA IDENTITY. ``kind``: n nothing, f full, d default, i index."""

    kind: str
    index: str = ""


class RowSecurity(Word, frozen=True):
    """ENABLE, DISABLE, FORCE, NO FORCE ROW LEVEL SECURITY (``what``)."""

    what: str


class ToggleTrigger(Word, frozen=True):
    """ENABLE or DISABLE TRIGGER; ``name`` is empty for ALL and USER, and USER leaves out those of foreign keys."""

    name: str
    enable: bool
    user: bool = False
    # It fires where replicated rows are applied, and not in a session of its own.
    replica: bool = False


class ToggleRule(Word, frozen=True):
    """ENABLE or DISABLE RULE."""

    name: str
    enable: bool


class AttachPartition(Word, frozen=True):
    """ATTACH PARTITION (of a table or an index)."""

    partition: Name
    default: bool = False
    bound: Bound | None = None


class DetachPartition(Word, frozen=True):
    """DETACH PARTITION. ``how``: plain, concurrently, finalize."""

    partition: Name
    how: str = "plain"


class Inherit(Word, frozen=True):
    """INHERIT or NO INHERIT."""

    parent: Name
    add: bool


class OwnerTo(Word, frozen=True):
    """OWNER TO."""

    role: str


class ClusterOn(Word, frozen=True):
    """CLUSTER ON an index, or SET WITHOUT CLUSTER when ``index`` is empty."""

    index: str


class OfType(Word, frozen=True):
    """OF type, or NOT OF when ``type`` is None."""

    type: TypeName | None


class ForeignOptions(Word, frozen=True):
    """OPTIONS of a foreign table or of its column; and SET WITHOUT OIDS, which does nothing but lock."""

    column: str = ""


class DependsOnExtension(Word, frozen=True):
    """[NO] DEPENDS ON EXTENSION."""

    name: str


Action: TypeAlias = (
    ForeignOptions
    | AddColumn | DropColumn | AlterType | SetDefault | SetNotNull | DropNotNull | SetExpression | AlterIdentity
    | AddConstraint | DropConstraint | ValidateConstraint | AlterConstraint | SetStatistics | SetColumnOptions
    | SetStorage | SetOptions | SetTablespace | SetAccessMethod | SetLogged | ReplicaIdentity | RowSecurity
    | ToggleTrigger | ToggleRule | AttachPartition | DetachPartition | Inherit | OwnerTo | ClusterOn | OfType
    | DependsOnExtension
)  # fmt: skip
