"""The schema that an image was built for, object by object, and what a live one says instead. Pure.

``lockgate gate signature --output lockgate.schema.json`` writes one; the write guard (writes.py) compares with it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from lockgate.errors import ConfigError
from lockgate.gate.report import FAIL, PASS, UNKNOWN
from lockgate.migrations.drift import Recorded
from lockgate.migrations.drift import judge as judge_drift
from lockgate.postgres.fingerprint import digest_of, of_definitions
from lockgate.record.verdict import Verdict
from lockgate.record.words import counted

VERSION = "1"
_REMAKE = "Make it anew on this major version: lockgate gate signature --output FILE"


class Signature(msgspec.Struct, frozen=True, rename="camel"):
    """A schema at ``revision``: ``objects`` maps ``"kind identity"`` to its definition as the server writes it.

    ``basis`` tells what it can be compared with: the format of the fingerprint and the server's major version.
    """

    revision: str
    basis: str
    objects: Mapping[str, str]
    schema_version: str = VERSION

    @property
    def digest(self) -> str:
        """The digest of the whole schema, as ``parity`` and ``verify`` give it."""
        return digest_of(of_definitions(self.objects).objects)

    @classmethod
    def from_file(cls, path: "str | Path") -> "Signature":
        """Read what ``lockgate gate signature`` wrote. Raises ``ConfigError`` that names the file."""
        try:
            found = msgspec.json.decode(Path(path).read_bytes(), type=cls)
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}", "CONTRACT", next=_REMAKE) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: not a schema signature: {error}", "CONTRACT", next=_REMAKE) from None
        if found.schema_version != VERSION:
            raise ConfigError(
                f'{path}: schemaVersion is {found.schema_version!r}; this gate reads "{VERSION}"', "CONTRACT", next=_REMAKE
            )  # fmt: skip
        return found


class Departure(msgspec.Struct, frozen=True, rename="camel"):
    """One object that is not as expected. ``expected`` and ``live`` are definitions, "" where unknown or not there."""

    kind: Literal["added", "removed", "changed"]
    object: str
    expected: str = ""
    live: str = ""

    def __str__(self) -> str:
        if self.kind == "changed" and self.expected and self.live:
            return f"changed {self.object}: {self.expected} -> {self.live}"
        return f"{self.kind} {self.object}"


class LiveSchema(msgspec.Struct, frozen=True):
    """What a database showed at one moment: its revision, its objects, and what lockgate recorded of them."""

    revision: str
    basis: str
    objects: Mapping[str, str]
    recorded: Recorded = Recorded()


class WriteVerdict(msgspec.Struct, frozen=True, rename="camel"):
    """May writes flow: ``answer`` is pass, fail or unknown; ``departures`` are the diff behind a no."""

    answer: str
    evidence: str
    departures: tuple[Departure, ...] = ()
    next: str = ""


def departures(expected: Mapping[str, str], live: Mapping[str, str]) -> tuple[Departure, ...]:
    """Every object that differs, in the order of their names."""
    found = [Departure("removed", name, expected[name]) for name in expected.keys() - live.keys()]
    found += [Departure("added", name, live=live[name]) for name in live.keys() - expected.keys()]
    found += [
        Departure("changed", name, expected[name], live[name])
        for name in expected.keys() & live.keys()
        if expected[name] != live[name]
    ]
    return tuple(sorted(found, key=lambda one: one.object))


def judge_schema(live: LiveSchema, signature: Signature | None) -> WriteVerdict:
    """Is this the schema that the code was built for?

    At the signature's own revision every object has to be as it says. At another revision of the window, and without a
    signature, it has to be what the history left, as lockgate recorded it: what a migration changed is no departure.
    """
    if signature is None or live.revision != signature.revision:
        return _as_recorded(live, signature)
    if live.basis != signature.basis:
        told = f"the signature was read as {signature.basis} (format/server version), this server writes {live.basis}"
        return WriteVerdict(UNKNOWN, told, next=_REMAKE)
    found = departures(signature.objects, live.objects)
    if not found:
        told = f"{counted(len(live.objects), 'object')} at {live.revision}, each as the image was built for"
        return WriteVerdict(PASS, told)
    if live.recorded.running:
        told = f"run {live.recorded.running} is under way; compared again when it has ended"
        return WriteVerdict(UNKNOWN, told, found, "Wait for it.")
    return _no(f"at {live.revision} the schema is not the one that the image was built for", found)


def _as_recorded(live: LiveSchema, signature: Signature | None) -> WriteVerdict:
    seen = judge_drift(live.recorded, of_definitions(live.objects, live.basis))
    where = f"at {live.revision or 'no revision'}"
    if signature is not None:
        where += f" (the signature is of {signature.revision})"
    if seen.verdict is Verdict.PASS:
        return WriteVerdict(PASS, f"{where}: {seen.note}")
    # Of what was recorded only the hashes are kept, so what was expected has no words here.
    found = tuple(Departure(c.kind, c.identity, live=live.objects.get(c.identity, "")) for c in seen.changes)
    if seen.verdict is Verdict.HOLD:
        return WriteVerdict(UNKNOWN, f"{where}: {seen.note}", found, "lockgate verify")
    return _no(f"{where}: {seen.note}", found)


def _no(told: str, found: tuple[Departure, ...]) -> WriteVerdict:
    shown = "; ".join(str(one) for one in found[:3])
    more = f"; and {len(found) - 3} more" if len(found) > 3 else ""
    return WriteVerdict(
        FAIL, f"{told}: {shown}{more}" if shown else told, found,
        "lockgate verify names the objects; undo the change, or put it into a migration.",
    )  # fmt: skip
