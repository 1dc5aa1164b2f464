# ruff: noqa: N815, D101
"""The parser's nodes that most statements are made of, as typed structs that msgspec decodes directly.

Only the fields we read are named; everything else is skipped by the decoder without becoming a Python object.
Expressions stay raw bytes until somebody asks (``expressions.py``). All other statements decode to plain dicts:
they are rare. Field names are the parser's own.
"""

from msgspec import Raw, Struct

_EMPTY = Raw()


class Node(Struct, gc=False):
    """Base of the decoded nodes."""


class Sval(Node):
    sval: str = ""


class StringNode(Node):
    String: Sval


class RangeVar(Node):
    relname: str
    schemaname: str = ""
    inh: bool = False
    relpersistence: str = "p"


class RangeVarNode(Node, rename={"node": "RangeVar"}):
    node: RangeVar


class Ival(Node):
    ival: int = 0


class AConst(Node):
    ival: Ival | None = None


class ModNode(Node):
    A_Const: AConst | None = None


class TypeNameNode(Node):
    names: list[StringNode] = []
    setof: bool = False
    pct_type: bool = False
    typmods: list[ModNode] = []
    arrayBounds: list[Raw] = []


class CollClause(Node):
    collname: list[StringNode]


class Exclusion(Node):
    List: "ExclusionItems"


class ExclusionItems(Node):
    items: list[dict[str, Raw]]


class ConstraintNode(Node):
    contype: str
    conname: str = ""
    deferrable: bool = False
    initdeferred: bool = False
    is_enforced: bool = False
    skip_validation: bool = False
    is_no_inherit: bool = False
    raw_expr: Raw = _EMPTY
    generated_when: str = ""
    generated_kind: str = ""
    keys: list[StringNode] = []
    exclusions: list[Exclusion] = []
    including: list[StringNode] = []
    where_clause: Raw = _EMPTY
    indexname: str = ""
    access_method: str = ""
    pktable: RangeVar | None = None
    fk_attrs: list[StringNode] = []
    pk_attrs: list[StringNode] = []
    fk_with_period: bool = False
    fk_upd_action: str = "a"
    fk_del_action: str = "a"
    options: Raw = _EMPTY


class ConstraintBox(Node, rename={"node": "Constraint"}):
    node: ConstraintNode


class ColumnDef(Node):
    colname: str = ""
    typeName: TypeNameNode | None = None
    raw_default: Raw = _EMPTY
    collClause: CollClause | None = None
    constraints: list[ConstraintBox] = []
    is_not_null: bool = False


class LikeNode(Node):
    relation: RangeVar
    options: int = 0


class TableElement(
    Node, rename={"column": "ColumnDef", "constraint": "Constraint", "like": "TableLikeClause"}
):
    column: ColumnDef | None = None
    constraint: ConstraintNode | None = None
    like: LikeNode | None = None


class PartElem(Node):
    name: str = ""
    collation: list[StringNode] = []
    opclass: list[StringNode] = []


class PartElemNode(Node):
    PartitionElem: PartElem


class PartSpec(Node):
    strategy: str = ""
    partParams: list[PartElemNode] = []


class PartBound(Node):
    is_default: bool = False
    strategy: str = ""
    listdatums: list[Raw] = []
    lowerdatums: list[Raw] = []
    upperdatums: list[Raw] = []
    modulus: int = 0
    remainder: int = 0


class CreateStmt(Node):
    relation: RangeVar
    tableElts: list[TableElement] = []
    inhRelations: list[RangeVarNode] = []
    partbound: PartBound | None = None
    partspec: PartSpec | None = None
    ofTypename: TypeNameNode | None = None
    tablespacename: str = ""
    if_not_exists: bool = False


class CreateForeignTableStmt(Node):
    base: CreateStmt
    servername: str = ""


class IndexElem(Node):
    name: str = ""
    expr: Raw = _EMPTY
    collation: list[StringNode] = []
    opclass: list[StringNode] = []
    ordering: str = ""
    nulls_ordering: str = ""


class IndexElemNode(Node, rename={"node": "IndexElem"}):
    node: IndexElem


class IndexStmt(Node):
    relation: RangeVar
    idxname: str = ""
    accessMethod: str = "btree"
    indexParams: list[IndexElemNode] = []
    indexIncludingParams: list[IndexElemNode] = []
    whereClause: Raw = _EMPTY
    unique: bool = False
    nulls_not_distinct: bool = False
    concurrent: bool = False
    if_not_exists: bool = False
    tableSpace: str = ""


class AlterTableCmd(Node, rename={"definition": "def"}):
    subtype: str
    name: str = ""
    num: int = 0
    definition: Raw = _EMPTY
    behavior: str = ""
    missing_ok: bool = False
    newowner: Raw = _EMPTY


class AlterTableCmdNode(Node, rename={"node": "AlterTableCmd"}):
    node: AlterTableCmd


class AlterTableStmt(Node):
    relation: RangeVar
    cmds: list[AlterTableCmdNode] = []
    objtype: str = "OBJECT_TABLE"
    missing_ok: bool = False


class PartitionCmd(Node):
    name: RangeVar
    bound: PartBound | None = None
    concurrent: bool = False


class RawStmt(Node):
    stmt: dict[str, Raw]
    stmt_location: int = 0
    stmt_len: int = 0


class ParseTree(Node):
    stmts: list[RawStmt] = []
