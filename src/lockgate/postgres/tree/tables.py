"""Readers of the statements that most files are made of: CREATE TABLE, ALTER TABLE, CREATE INDEX."""

import re
from collections.abc import Callable
from typing import Any

from msgspec import Raw, json, structs

from lockgate.postgres.tree import words as w
from lockgate.postgres.tree.constants import datum, strings
from lockgate.postgres.tree.expressions import expression_of, name_of_parts
from lockgate.postgres.tree.nodes import (
    AlterTableCmd,
    AlterTableStmt,
    ColumnDef,
    ConstraintNode,
    CreateForeignTableStmt,
    CreateStmt,
    IndexElem,
    IndexStmt,
    PartBound,
    PartitionCmd,
    PartSpec,
)
from lockgate.postgres.tree.outputs import derived_name
from lockgate.postgres.tree.wording import Unknown, column_of, constraint_of, name_of, sequence_named, type_of

_create = json.Decoder(CreateStmt).decode
_create_foreign = json.Decoder(CreateForeignTableStmt).decode
_alter = json.Decoder(AlterTableStmt).decode
_index = json.Decoder(IndexStmt).decode
_column = json.Decoder(ColumnDef).decode
_constraint = json.Decoder(ConstraintNode).decode
_partition = json.Decoder(PartitionCmd).decode
_any: Callable[[Raw], Any] = json.Decoder().decode


def create_table(body: Raw) -> w.CreateTable:
    """CREATE TABLE."""
    return _table(_create(body))


def create_foreign_table(body: Raw) -> w.CreateTable:
    """CREATE FOREIGN TABLE."""
    node = _create_foreign(body)
    return structs.replace(_table(node.base, foreign=True), server=node.servername)


def _table(node: CreateStmt, *, foreign: bool = False) -> w.CreateTable:
    columns: list[w.Column] = []
    constraints: list[w.Constraint] = []
    like: list[w.Like] = []
    for element in node.tableElts:
        if element.column is not None:
            columns.append(column_of(element.column))
        elif element.constraint is not None:
            constraints.append(constraint_of(element.constraint))
        elif element.like is not None:
            like.append(w.Like(name_of(element.like.relation), element.like.options))
        else:
            raise Unknown("a table element")
    parents = tuple([name_of(item.node) for item in node.inhRelations])
    spec = node.partspec
    of_type = type_of(node.ofTypename) if node.ofTypename else None
    return w.CreateTable(
        name=name_of(node.relation),
        columns=tuple(columns),
        constraints=tuple(constraints),
        inherits=() if node.partbound else parents,
        partition_of=parents[0] if node.partbound else None,
        default_partition=bool(node.partbound and node.partbound.is_default),
        bound=_bound(node.partbound),
        partition_by=spec.strategy.removeprefix("PARTITION_STRATEGY_").lower() if spec else "",
        partition_columns=tuple([part.PartitionElem.name for part in spec.partParams]) if spec else (),
        partition_orders=_orders(spec) if spec else (),
        like=tuple(like),
        of_type=w.Name(of_type.schema, of_type.name) if of_type else None,
        persistence=node.relation.relpersistence,
        if_not_exists=node.if_not_exists,
        foreign=foreign,
        tablespace=node.tablespacename,
    )


def _orders(spec: PartSpec) -> tuple[tuple[str, str], ...]:
    """Collation and operator class of each key, where the text names them; empty where it names none."""
    keys = [part.PartitionElem for part in spec.partParams]
    if not any(key.collation or key.opclass for key in keys):
        return ()
    return tuple([
        (
            key.collation[-1].String.sval if key.collation else "",
            key.opclass[-1].String.sval if key.opclass else "",
        )
        for key in keys
    ])  # fmt: skip


def create_index(body: Raw) -> w.CreateIndex:
    """CREATE INDEX."""
    node = _index(body)
    return w.CreateIndex(
        name=node.idxname,
        table=name_of(node.relation),
        keys=tuple([_key(item.node) for item in node.indexParams]),
        include=tuple([item.node.name for item in node.indexIncludingParams]),
        unique=node.unique,
        concurrently=node.concurrent,
        if_not_exists=node.if_not_exists,
        only=not node.relation.inh,
        method=node.accessMethod,
        where=_shaped(node.whereClause),
        nulls_not_distinct=node.nulls_not_distinct,
        tablespace=node.tableSpace,
    )


_PLACE = re.compile(rb',?"location":\d+')


def _shaped(raw: Raw) -> w.Expression | None:
    expression = expression_of(raw)
    return structs.replace(expression, shape=_PLACE.sub(b"", bytes(raw)).decode()) if expression else None


def _key(node: IndexElem) -> w.IndexKey:
    opclass = node.opclass[-1].String.sval if node.opclass else ""
    collation = node.collation[-1].String.sval if node.collation else ""
    order = _ORDERS.get((node.ordering == "SORTBY_DESC", node.nulls_ordering), "")
    if node.name:
        return w.IndexKey(node.name, opclass=opclass, collation=collation, order=order)
    name = derived_name(_any(node.expr))
    return w.IndexKey(
        "", _shaped(node.expr), "expr" if name == "?column?" else name, opclass, collation, order
    )


_ORDERS = {
    (False, "SORTBY_NULLS_FIRST"): "nulls first",
    (True, "SORTBY_NULLS_LAST"): "desc nulls last",
    (True, "SORTBY_NULLS_FIRST"): "desc",
    (True, "SORTBY_NULLS_DEFAULT"): "desc",
}


def alter_table(body: Raw) -> w.AlterTable:
    """ALTER TABLE and its kin."""
    node = _alter(body)
    actions = []
    for item in node.cmds:
        command = item.node
        reader = _ACTIONS.get(command.subtype)
        if reader is None:
            raise Unknown(f"ALTER TABLE action {command.subtype}")
        actions.append(reader(command))
    return w.AlterTable(
        name=name_of(node.relation),
        actions=tuple(actions),
        kind=node.objtype.removeprefix("OBJECT_").lower(),
        only=not node.relation.inh,
        if_exists=node.missing_ok,
    )


def _cascades(command: AlterTableCmd) -> bool:
    return command.behavior == "DROP_CASCADE"


def _alter_type(command: AlterTableCmd) -> w.AlterType:
    column = _column(command.definition)
    if column.typeName is None:
        raise Unknown("ALTER COLUMN TYPE without a type")
    return w.AlterType(
        command.name,
        type_of(column.typeName),
        expression_of(column.raw_default),
        column.collClause.collname[-1].String.sval if column.collClause else "",
    )


def _add_constraint(command: AlterTableCmd) -> w.AddConstraint:
    return w.AddConstraint(constraint_of(_constraint(command.definition)))


def _boxed(command: AlterTableCmd, kind: str) -> dict[str, Any]:
    node: dict[str, Any] = _any(command.definition)
    inner: dict[str, Any] = node[kind]
    return inner


def _options(command: AlterTableCmd) -> w.SetOptions:
    items = [item["DefElem"] for item in _boxed(command, "List").get("items", ())]
    return w.SetOptions(
        tuple(
            [
                (item.get("defnamespace", "") + "." if "defnamespace" in item else "") + item["defname"]
                for item in items
            ]
        ),
        tuple([_option_value(item.get("arg")) for item in items]),
    )


def _option_value(arg: dict[str, Any] | None) -> str:
    if not arg:
        return ""
    kind, node = next(iter(arg.items()))
    if kind == "String":
        return str(node.get("sval", ""))
    if kind == "Integer":
        return str(node.get("ival", 0))
    if kind == "Float":
        return str(node.get("fval", ""))
    if kind == "Boolean":
        return "true" if node.get("boolval") else "false"
    if kind == "TypeName":
        return ".".join(strings(node.get("names", [])))
    return ""


def _range(command: AlterTableCmd) -> w.Name:
    node = _boxed(command, "RangeVar")
    return w.Name(node.get("schemaname", ""), node["relname"])


def _attach(command: AlterTableCmd) -> w.AttachPartition:
    node = _unboxed_partition(command)
    return w.AttachPartition(
        name_of(node.name), bool(node.bound and node.bound.is_default), _bound(node.bound)
    )


_STRATEGIES = {"l": "list", "r": "range", "h": "hash"}


def _bound(node: PartBound | None) -> w.Bound | None:
    if node is None or node.is_default:
        return None
    parts = [
        tuple([datum(_any(raw)) for raw in raws])
        for raws in (node.listdatums, node.lowerdatums, node.upperdatums)
    ]
    return w.Bound(
        _STRATEGIES.get(node.strategy, ""), parts[0], parts[1], parts[2], node.modulus, node.remainder
    )


def _add_identity(command: AlterTableCmd) -> w.AlterIdentity:
    constraint = _constraint(_constraint_body(command))
    return w.AlterIdentity(command.name, "add", named=sequence_named(bytes(constraint.options)))


def _detach(command: AlterTableCmd) -> w.DetachPartition:
    node = _unboxed_partition(command)
    return w.DetachPartition(name_of(node.name), "concurrently" if node.concurrent else "plain")


def _unboxed_partition(command: AlterTableCmd) -> PartitionCmd:
    return _partition(json.Decoder(dict[str, Raw]).decode(command.definition)["PartitionCmd"])


def _unbox(kind: str) -> Callable[[AlterTableCmd], Raw]:
    decode = json.Decoder(dict[str, Raw]).decode
    return lambda command: decode(command.definition)[kind]


_column_body, _constraint_body = _unbox("ColumnDef"), _unbox("Constraint")


def _set_identity(command: AlterTableCmd) -> tuple[str, bool]:
    """Whether SET says when the value is made up, and whether it says something of the sequence behind it."""
    options = [item["DefElem"].get("defname") for item in _boxed(command, "List").get("items", [])]
    return "set" if "generated" in options else "sequence", bool(set(options) - {"generated"})


def _replica(command: AlterTableCmd) -> w.ReplicaIdentity:
    node = _boxed(command, "ReplicaIdentityStmt")
    return w.ReplicaIdentity(node.get("identity_type", "d"), node.get("name", ""))


def _of_type(command: AlterTableCmd) -> w.OfType:
    names = _boxed(command, "TypeName").get("names", [])
    name = name_of_parts(strings(names))
    return w.OfType(w.TypeName(name.name, name.schema))


def _owner(command: AlterTableCmd) -> w.OwnerTo:
    role = _any(command.newowner)
    return w.OwnerTo(role.get("rolename") or role.get("roletype", "").removeprefix("ROLESPEC_").lower())


def _alter_constraint(command: AlterTableCmd) -> w.AlterConstraint:
    node = _boxed(command, "ATAlterConstraint") if bytes(command.definition).startswith(b'{"ATAlter') else {}
    if not node:
        node = _boxed(command, "Constraint")
    enforced = node.get("is_enforced", False) if node.get("alterEnforceability") else None
    inherited = not node.get("noinherit", False) if node.get("alterInheritability") else None
    name = node.get("conname", command.name)
    return w.AlterConstraint(name, enforced, node.get("initdeferred", False), inherited)


_ACTIONS: dict[str, Callable[[AlterTableCmd], w.Action]] = {
    "AT_AddColumn": lambda c: w.AddColumn(column_of(_column(_column_body(c))), c.missing_ok),
    "AT_DropColumn": lambda c: w.DropColumn(c.name, _cascades(c), c.missing_ok),
    "AT_AlterColumnType": lambda c: _alter_type(_with(c, _column_body(c))),
    "AT_ColumnDefault": lambda c: w.SetDefault(c.name, expression_of(c.definition)),
    "AT_SetNotNull": lambda c: w.SetNotNull(c.name),
    "AT_DropNotNull": lambda c: w.DropNotNull(c.name),
    "AT_SetExpression": lambda c: w.SetExpression(c.name, expression_of(c.definition)),
    "AT_DropExpression": lambda c: w.SetExpression(c.name, None),
    "AT_AddIdentity": lambda c: _add_identity(c),
    "AT_SetIdentity": lambda c: w.AlterIdentity(c.name, *_set_identity(c)),
    "AT_DropIdentity": lambda c: w.AlterIdentity(c.name, "drop"),
    "AT_AddConstraint": lambda c: _add_constraint(_with(c, _constraint_body(c))),
    "AT_DropConstraint": lambda c: w.DropConstraint(c.name, _cascades(c), c.missing_ok),
    "AT_ValidateConstraint": lambda c: w.ValidateConstraint(c.name),
    "AT_AlterConstraint": _alter_constraint,
    "AT_SetStatistics": lambda c: w.SetStatistics(c.name or str(c.num)),
    "AT_SetOptions": lambda c: w.SetColumnOptions(c.name),
    "AT_ResetOptions": lambda c: w.SetColumnOptions(c.name),
    "AT_SetStorage": lambda c: w.SetStorage(c.name, "storage"),
    "AT_SetCompression": lambda c: w.SetStorage(c.name, "compression"),
    "AT_SetRelOptions": _options,
    "AT_ResetRelOptions": _options,
    "AT_SetTableSpace": lambda c: w.SetTablespace(c.name),
    "AT_SetAccessMethod": lambda c: w.SetAccessMethod(c.name),
    "AT_SetLogged": lambda _: w.SetLogged(True),
    "AT_SetUnLogged": lambda _: w.SetLogged(False),
    "AT_ReplicaIdentity": _replica,
    "AT_EnableRowSecurity": lambda _: w.RowSecurity("enable"),
    "AT_DisableRowSecurity": lambda _: w.RowSecurity("disable"),
    "AT_ForceRowSecurity": lambda _: w.RowSecurity("force"),
    "AT_NoForceRowSecurity": lambda _: w.RowSecurity("no force"),
    "AT_EnableTrig": lambda c: w.ToggleTrigger(c.name, True),
    "AT_EnableAlwaysTrig": lambda c: w.ToggleTrigger(c.name, True),
    "AT_EnableReplicaTrig": lambda c: w.ToggleTrigger(c.name, True, replica=True),
    "AT_DisableTrig": lambda c: w.ToggleTrigger(c.name, False),
    "AT_EnableTrigAll": lambda _: w.ToggleTrigger("", True),
    "AT_EnableTrigUser": lambda _: w.ToggleTrigger("", True, True),
    "AT_DisableTrigAll": lambda _: w.ToggleTrigger("", False),
    "AT_DisableTrigUser": lambda _: w.ToggleTrigger("", False, True),
    "AT_EnableRule": lambda c: w.ToggleRule(c.name, True),
    "AT_EnableAlwaysRule": lambda c: w.ToggleRule(c.name, True),
    "AT_EnableReplicaRule": lambda c: w.ToggleRule(c.name, True),
    "AT_DisableRule": lambda c: w.ToggleRule(c.name, False),
    "AT_AttachPartition": _attach,
    "AT_DetachPartition": _detach,
    "AT_DetachPartitionFinalize": lambda c: w.DetachPartition(_detach(c).partition, "finalize"),
    "AT_AddInherit": lambda c: w.Inherit(_range(c), True),
    "AT_DropInherit": lambda c: w.Inherit(_range(c), False),
    "AT_ChangeOwner": _owner,
    "AT_ClusterOn": lambda c: w.ClusterOn(c.name),
    "AT_DropCluster": lambda _: w.ClusterOn(""),
    "AT_DropOids": lambda _: w.ForeignOptions(),
    "AT_GenericOptions": lambda _: w.ForeignOptions(),
    "AT_AlterColumnGenericOptions": lambda c: w.ForeignOptions(c.name),
    "AT_AddOf": _of_type,
    "AT_DropOf": lambda _: w.OfType(None),
}


def _with(command: AlterTableCmd, definition: Raw) -> AlterTableCmd:
    return AlterTableCmd(
        command.subtype, command.name, command.num, definition, command.behavior, command.missing_ok
    )


READERS: dict[str, Callable[[Raw], w.Statement]] = {
    "CreateStmt": create_table,
    "CreateForeignTableStmt": create_foreign_table,
    "IndexStmt": create_index,
    "AlterTableStmt": alter_table,
}
