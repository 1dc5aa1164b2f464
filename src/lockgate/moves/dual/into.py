"""``moves/<name>.toml`` with ``kind = "index"``: rows of a table go into an index, and go on going there while it is built.

The application writes the table by way of ``DualWriter``, which leaves every operation in the outbox; the commands of the
move carry it into the index. What is done with the index stands in ``lockgate.indexes.moving``.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from lockgate.config.index import Index
from lockgate.errors import ConfigError, Refused
from lockgate.moves.declaration import Gates, LimitsPart, digest
from lockgate.moves.dual.declaration import HOLDS, DualDeclaration, Place, problems
from lockgate.moves.dual.pair import Pair
from lockgate.stores.making import Field, Given
from lockgate.stores.neutral import TYPES
from lockgate.stores.open import open_store
from lockgate.stores.recordsql import sent_vector
from lockgate.stores.side import Side
from lockgate.stores.speaking import PostgresSpeaker, speak
from lockgate.stores.table import PACKED, Table

KIND = "index"
COLUMNS = ("text", "payload", "vector")
"""What a record has beside its id, which is the row's key."""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,35}")


class Into(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[index]``: the index that rows go into, told as ``[index.NAME]`` of ``lockgate.toml`` tells it.

    ``gold`` and the limits are what the cutover asks before it swaps; a move without a gold set asks for a validation by hand.
    """

    name: str
    store: str = "pgvector"
    place: str = ""
    embedder: str = ""
    model: str = "given"
    metric: str = "cosine"
    dtype: str = "float32"
    ann: str = "flat"
    raw_lengths: bool = False
    analyzer: str = ""
    gold: str = ""
    query_vectors: str = ""
    profile: str = "like-for-like"
    limits: Mapping[str, float] = {}
    breadth: int = 0
    two_step: bool = False

    def as_index(self) -> Index:
        """The same as the section of ``lockgate.toml``, for what reads those."""
        told = {f: getattr(self, f) for f in self.__struct_fields__ if f != "name"}
        return Index(table="-", **told)


class IndexMove(DualDeclaration, frozen=True, kw_only=True):
    """One move into an index. ``root`` is the project's folder; it is not part of what is declared."""

    index: Into
    root: str = ""

    @property
    def hash(self) -> str:
        """SHA-256 over what the declaration says; what decides about limits, gates and the cutover may change while the move runs."""
        index = {name: getattr(self.index, name) for name in INDEX_HOLDS}
        return digest(self, (*HOLDS, "index"), {"writers": 1, "root": ""}, index={**_INDEX_STANDING, **index})


INDEX_HOLDS = ("name", "store", "place", "embedder", "model", "metric", "dtype", "ann", "raw_lengths", "analyzer")  # fmt: skip
"""What of ``[index]`` must not change while the move runs."""
_INDEX_STANDING: Mapping[str, object] = {"gold": "", "query_vectors": "", "profile": "", "limits": {}, "breadth": 0}  # fmt: skip
"""See ``lockgate.moves.declaration``: words that say nothing, and to which nothing is added."""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file as it is written."""

    kind: str
    source: Place
    index: Into
    key: tuple[str, ...] = ()
    columns: Mapping[str, str] = {}
    writers: int = 1
    one_way: bool = False
    rollback_hours: float = 72.0
    limits: LimitsPart = LimitsPart()
    gates: Gates = Gates()


def is_index(file: Path) -> bool:
    """True when ``file`` declares a move into an index; False also where it cannot be read, which its own reader will say."""
    import tomllib

    try:
        return tomllib.loads(file.read_text("utf-8")).get("kind") == KIND
    except (OSError, ValueError):
        return False


def parse_index(file: Path, name: str) -> IndexMove:
    """The declaration in ``file``. Raises ``ConfigError`` (``MOVE_DECLARATION``) that names file and key."""
    import tomllib

    try:
        said = msgspec.convert(tomllib.loads(file.read_text("utf-8")), _File)
    except (OSError, ValueError, msgspec.ValidationError) as error:
        raise ConfigError(f"{file}: {error}", "MOVE_DECLARATION") from None
    declared = IndexMove(
        kind=said.kind, source=said.source, target=Place(said.index.name, ""), name=name, key=said.key, columns=said.columns,
        writers=said.writers, one_way=said.one_way, rollback_hours=said.rollback_hours, limits=said.limits, gates=said.gates,
        index=said.index, root=str(file.resolve().parent.parent),
    )  # fmt: skip
    for problem in wrong(declared):
        raise ConfigError(f"{file}: {problem}", "MOVE_DECLARATION")
    return declared


def wrong(d: IndexMove) -> list[str]:
    """What is wrong with the values of a declaration."""
    found = problems(msgspec.structs.replace(d, columns={}), kind=KIND)
    if not _NAME.fullmatch(d.index.name):
        found.append(f"index.name = {d.index.name!r:.60}: a-z, 0-9 and _, at most 36, a letter first")
    found += [f"columns.{c}: a record has {', '.join(COLUMNS)}" for c in d.columns if c not in COLUMNS]
    if "text" not in d.columns:
        found.append("columns.text says which SQL over the source's columns gives the text of a record")
    if "vector" in d.columns and d.index.embedder:
        found.append("columns.vector and index.embedder: vectors are stored, or made, and not both")
    if d.gates.shadow_reads:
        found.append(
            "gates.shadow_reads: queries are not replayed against an index; index.gold says what its answers have to be worth"
        )
    return found


def source_url(declared: IndexMove, environ: Mapping[str, str]) -> str:
    """The URL of the store that ``declared`` moves from. Raises ``ConfigError``."""
    variable = declared.source.url_env
    if not environ.get(variable):
        raise ConfigError(
            f"source.url_env: the variable {variable} is {'empty' if variable in environ else 'not set'}", "MOVE_DECLARATION",
            next=f"Set {variable}; another store is never taken instead.",
        )  # fmt: skip
    return environ[variable]


def describe_source(declared: IndexMove, url: str) -> Table:
    """The source's table, as its store describes it."""
    store = open_store(url, f"move {declared.name} plan", "source")
    try:
        return store.describe(declared.source.table)
    finally:
        store.close()


def key_problems(declared: IndexMove, table: Table) -> tuple[tuple[str, ...], list[tuple[str, str]]]:
    """The key of the source's rows, and what stands in its way as (what, fix). Pure."""
    key = declared.key or (table.unique[0] if table.unique else ())
    columns = {c.name for c in table.columns}
    missing = [k for k in key if k not in columns]
    if not key:
        return key, [(f"{table.name} has no primary key", 'Name one: key = ["a", "b"]')]
    if missing:
        return key, [(f"{table.name} has no key column {', '.join(missing)}", "Name columns of the source.")]
    if not any(set(u) == set(key) for u in table.unique):
        return key, [(f"no index of {table.name} makes ({', '.join(key)}) unique", "Create it: without it rows cannot be told apart.")]  # fmt: skip
    return key, []


def source_side(declared: IndexMove, url: str, purpose: str) -> Side:
    """The source with a session of its own. Raises ``Refused`` (``MOVE_REFUSED``) when its table has no key."""
    table = describe_source(declared, url)
    key, found = key_problems(declared, table)
    if found:
        raise Refused(found[0][0], "MOVE_REFUSED", next=found[0][1])
    speaker = speak(url, f"move {declared.name} {purpose}", "source")
    fields = [Field(c.name, c.family if c.family in TYPES["postgres"] else "text", c.type) for c in table.columns if not c.generated]  # fmt: skip
    said = {name: str(declared.columns[name]) for name in COLUMNS if name in declared.columns}
    given = {n: Given(n, sql, "text", "") for n, sql in said.items()}
    ask = speaker.ask if isinstance(speaker, PostgresSpeaker) else None
    if ask and "vector" in said and (sent := sent_vector(ask, speaker.name(table.name), said["vector"])):
        given["vector"] = Given("vector", sent, PACKED, "")
    return Side(speaker, declared.name, table, key, fields, list(given.values()))


def alone(declared: IndexMove, url: str) -> Pair:
    """What a writer opens: the source only. The second leg is the move's, because an embedder is slow and a folder has one owner."""
    side = source_side(declared, url, "writer")
    return Pair(side, side)
