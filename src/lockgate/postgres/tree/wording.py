"""From the parser's typed nodes to words: names, types, columns and constraints."""

from msgspec import json, structs

from lockgate.postgres.tree.constants import strings
from lockgate.postgres.tree.expressions import expression_of, expression_of_node, name_of_parts
from lockgate.postgres.tree.nodes import ColumnDef, ConstraintNode, RangeVar, StringNode, TypeNameNode
from lockgate.postgres.tree.outputs import derived_name
from lockgate.postgres.tree.words import Column, Constraint, ConstraintIndex, Name, TypeName


class Unknown(Exception):
    """The statement holds something that the vocabulary has no word for."""


_SERIALS = {
    "serial": "int4", "serial4": "int4", "bigserial": "int8", "serial8": "int8",
    "smallserial": "int2", "serial2": "int2",
}  # fmt: skip

_CONSTRAINT_KINDS = {
    "CONSTR_CHECK": "check",
    "CONSTR_FOREIGN": "foreign",
    "CONSTR_UNIQUE": "unique",
    "CONSTR_PRIMARY": "primary",
    "CONSTR_EXCLUSION": "exclude",
    "CONSTR_NOTNULL": "not_null",
}


def name_of(node: RangeVar) -> Name:
    """The name of a relation."""
    return Name(node.schemaname, node.relname)


def parts_of(items: list[StringNode]) -> tuple[str, ...]:
    """The strings of a list."""
    return tuple([item.String.sval for item in items])


def dotted(items: list[StringNode]) -> Name:
    """A name given as a list of strings."""
    return name_of_parts([item.String.sval for item in items])


def type_of(node: TypeNameNode) -> TypeName:
    """A type, with serial resolved to its integer."""
    names = node.names
    schema = names[-2].String.sval if len(names) > 1 else ""
    name = names[-1].String.sval
    if schema == "pg_catalog":
        schema = ""
    if not schema and name in _SERIALS:
        return TypeName(_SERIALS[name], serial=True)
    mods = node.typmods
    return TypeName(
        name,
        schema,
        tuple(
            [0 if mod.A_Const is None or mod.A_Const.ival is None else mod.A_Const.ival.ival for mod in mods]
        )
        if mods
        else (),
        bool(node.arrayBounds),
    )


def constraint_of(node: ConstraintNode, column: str = "") -> Constraint:
    """A table constraint, or that of a column definition when ``column`` is given."""
    kind = _CONSTRAINT_KINDS.get(node.contype)
    if kind is None:
        raise Unknown(f"constraint {node.contype}")
    if kind == "foreign":
        columns = parts_of(node.fk_attrs)
    elif kind == "exclude":
        columns = _exclusion_columns(node)
    else:
        columns = parts_of(node.keys)
    index = (
        _index_of(node, columns or ((column,) if column else ()))
        if node.exclusions or node.including
        else None
    )
    expression = expression_of(node.raw_expr)
    return Constraint(
        kind=kind,
        name=node.conname,
        columns=columns or ((column,) if column else ()),
        not_valid=node.skip_validation,
        enforced=node.is_enforced or kind not in ("check", "foreign"),
        expression=expression,
        references=name_of(node.pktable) if node.pktable else None,
        ref_columns=parts_of(node.pk_attrs),
        on_delete=node.fk_del_action,
        on_update=node.fk_upd_action,
        using_index=node.indexname,
        deferrable=node.deferrable,
        no_inherit=node.is_no_inherit,
        method=node.access_method,
        expressions=kind == "exclude" and "" in columns,
        inline=bool(column),
        period=node.fk_with_period,
        deferred=node.initdeferred,
        index=index,
    )


def _exclusion_columns(node: ConstraintNode) -> tuple[str, ...]:
    names = []
    for exclusion in node.exclusions:
        element = json.decode(exclusion.List.items[0]["IndexElem"])
        names.append(element.get("name", ""))
    return tuple(names)


def _index_of(node: ConstraintNode, columns: tuple[str, ...]) -> ConstraintIndex:
    """What the index of the constraint holds besides ``columns``."""
    elements = [json.decode(exclusion.List.items[0]["IndexElem"]) for exclusion in node.exclusions]
    expressions = [expression_of_node(element["expr"]) for element in elements if "expr" in element]
    where = expression_of(node.where_clause)
    read = [*expressions, *([where] if where is not None else [])]
    names = [element.get("name") or derived_name(element["expr"]) for element in elements] or columns
    # The server's own word for what has none is expr.
    names = ["expr" if name == "?column?" else name for name in names]
    included = parts_of(node.including)
    reads = [*filter(None, columns), *included, *[column for each in read for column in each.columns]]
    return ConstraintIndex(
        (*names, *included),
        tuple(dict.fromkeys(reads)),
        tuple([(strings(element.get("opclass", [])) or [""])[-1] for element in elements]),
        tuple([function for each in read for function in each.functions]),
        where is not None,
    )


_SAID = {
    "CONSTR_ATTR_NOT_ENFORCED": {"enforced": False},
    "CONSTR_ATTR_DEFERRABLE": {"deferrable": True},
    "CONSTR_ATTR_DEFERRED": {"deferrable": True, "deferred": True},
}


def column_of(node: ColumnDef) -> Column:
    """A column definition with its constraints apart from default, identity, generation and NOT NULL."""
    default, identity, generated, not_null = expression_of(node.raw_default), "", "", node.is_not_null
    rest: list[Constraint] = []
    sequence = None
    for box in node.constraints:
        constraint = box.node
        kind = constraint.contype
        if kind == "CONSTR_NOTNULL":
            not_null = True
            if constraint.conname:
                rest.append(constraint_of(constraint, node.colname))
        elif kind == "CONSTR_DEFAULT":
            default = expression_of(constraint.raw_expr)
        elif kind == "CONSTR_IDENTITY":
            identity, not_null = constraint.generated_when or "a", True
            sequence = sequence_named(bytes(constraint.options))
        elif kind == "CONSTR_GENERATED":
            generated = constraint.generated_kind or "s"
            default = expression_of(constraint.raw_expr)
        elif kind in _CONSTRAINT_KINDS:
            rest.append(constraint_of(constraint, node.colname))
            not_null = not_null or kind == "CONSTR_PRIMARY"
        elif kind == "CONSTR_NULL" or kind.startswith("CONSTR_ATTR_"):
            # What is said of a column constraint behind it arrives as an attribute of its own.
            if kind in _SAID and rest:
                rest[-1] = structs.replace(rest[-1], **_SAID[kind])
        else:
            raise Unknown(f"column constraint {kind}")
    kind_of_type = type_of(node.typeName) if node.typeName else TypeName("")
    return Column(
        node.colname,
        kind_of_type,
        default,
        identity,
        generated,
        not_null or kind_of_type.serial,
        tuple(rest),
        node.collClause.collname[-1].String.sval if node.collClause else "",
        sequence,
    )


def sequence_named(options: bytes) -> Name | None:
    """SEQUENCE NAME among the options of an identity column."""
    for item in json.decode(options) if b'"sequence_name"' in options else ():
        element = item["DefElem"]
        if element["defname"] == "sequence_name":
            parts = [part["String"]["sval"] for part in element["arg"]["List"]["items"]]
            return name_of_parts(parts)
    return None
