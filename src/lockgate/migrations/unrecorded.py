"""Drift while the newest files are not recorded: a run was stopped between its last commit and its look at the schema.

What differs from the schema recorded last is then partly the files' own and partly somebody's. Two things are certain enough
to be told: what a run saw apart before it began (it writes that down), and what is new under a name that no file applied
since holds anywhere. Everything else stays untold.
"""

import re
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from lockgate.migrations.halfdone import GIVEN, parts_of
from lockgate.migrations.session import statement
from lockgate.postgres.fingerprint import Change, Fingerprint, difference
from lockgate.postgres.wire import Wire
from lockgate.record.words import agree, counted

Apart = Mapping[str, tuple[str, str]]
"""Identity → its definition as recorded and as seen; "" where it is not."""

_MORE = re.compile(
    r"\b(?:like|inherits?|partition|rename|schema|do|execute|perform|call|select|import|extension|cascade|view|rule|function|procedure)\b|\*",
    re.IGNORECASE,
)
"""What may make objects whose names do not stand in the file: after one of these nothing is told by names."""
_WORD = re.compile(r'"((?:[^"]|"")+)"|([^\W\d][\w$]*)')
_LONGEST = 63
_PARTS = ("column", "constraint", "trigger", "policy", "rule")
"""Kinds whose objects belong to a table and are named below it."""


def write_apart(wire: Wire, run_id: str, apart: Apart) -> None:
    """Write down what was apart before the run ``run_id`` changed anything, for a run after it that finds nothing recorded."""
    held = msgspec.json.encode(apart).decode()
    wire.one(
        "UPDATE lockgate.run SET details = details || pg_catalog.jsonb_build_object('apart', pg_catalog.jsonb_build_object("
        "'head', (SELECT f.schema_head FROM lockgate.fence f), 'objects', $2::jsonb)) WHERE run_id = $1",
        run_id,
        held,
    )


def apart_since(wire: Wire, live: Fingerprint, begun: Iterable[str]) -> tuple[Apart, tuple[Change, ...], str]:
    """What is certainly apart from the schema recorded last, the same as changes, and a note; ``begun`` are the statements of half-done files.

    Nothing where that schema was read on another basis. Raises ``ServerError``.
    """
    rows = wire.one(statement("unrecorded")).rows
    if not rows:
        return {}, (), ""
    objects, seen, texts, inherited = rows[0]
    recorded = msgspec.json.decode(objects or "{}", type=dict[str, object])
    if recorded.get("basis") != live.basis:
        return {}, (), ""
    before = msgspec.convert(recorded["objects"], dict[str, str])
    known = msgspec.json.decode(seen or "{}", type=dict[str, tuple[str, str]])
    found = {key: pair for key, pair in known.items() if live.objects.get(key, "") == pair[1]}
    changes = difference(before, live.objects)
    parents = msgspec.json.decode(inherited or "[]", type=list[tuple[str, str]])
    files = [*msgspec.json.decode(texts or "[]", type=list[str]), *begun]
    found |= {c.identity: ("", live.objects[c.identity]) for c in strangers(changes, files, parents)}
    told = tuple(change for change in changes if change.identity in found)
    note = f"{counted(len(told), 'object')} {agree(len(told), 'differs', 'differ')} from what the history left, whose newest files are not recorded yet"
    return found, told, note if told else ""


def strangers(
    changes: Iterable[Change], texts: list[str], parents: Iterable[tuple[str, str]] = ()
) -> list[Change]:
    """The added objects that none of the files ``texts`` can have made, by their names. ``parents`` are (parent, child): what is done to a table is done to its children. Pure."""
    if any(_MORE.search(text) for text in texts):
        return []
    names = {word for text in texts for word in _words(text)}
    links, size = list(parents), -1
    while size < len(names):
        size = len(names)
        names |= {child for parent, child in links if parent in names}
    return [change for change in changes if change.kind == "added" and _strange(change.identity, names)]


def _words(text: str) -> Iterator[str]:
    """All that may be a name, in strings and comments too, as the catalogue spells it."""
    for quoted, bare in _WORD.findall(text):
        yield quoted.replace('""', '"') if quoted else bare.lower()


def _strange(identity: str, names: set[str]) -> bool:
    kind, parts = parts_of(identity)
    if not parts or len(parts[-1]) >= _LONGEST:
        return False  # a name that PostgreSQL cut
    own = parts[-1]
    if kind in _PARTS and parts[-2:-1] and parts[-2] not in names:
        return True
    if own in names:
        return False
    return kind not in GIVEN or not any(own.startswith(f"{name}_") for name in names)
