"""One owner of a piece of work among all processes on a database: a session lock that dies with its holder."""

import hashlib

from lockgate.errors import Refused
from lockgate.postgres.sqlstate import ServerError
from lockgate.postgres.target import Target
from lockgate.postgres.wire import Wire

_DONE = "SELECT owner FROM lockgate.warm_up WHERE name = $1 AND version = $2"
_NOTE = (
    "INSERT INTO lockgate.warm_up (name, version, owner, seconds) VALUES ($1, $2, $3, $4::double precision)"
)


class WarmUp:
    """The warm-up ``name`` at ``version``, seen from one process. A context manager; its connection is the claim."""

    def __init__(self, target: Target, name: str, version: str) -> None:
        self._key = int.from_bytes(
            hashlib.sha256(f"lockgate:warm-up:1:{name}".encode()).digest()[:8], "big", signed=True
        )
        self._name, self._version = name, version
        self._wire = Wire(target, "warm-up")

    def __enter__(self) -> "WarmUp":
        return self

    def __exit__(self, *_: object) -> None:
        self._wire.close()

    def owner(self) -> str:
        """Who has done it, "" while nobody has. Raises ``Refused`` where the tables are older, or may not be read."""
        try:
            return self._wire.value(_DONE, self._name, self._version) or ""
        except ServerError as error:
            code = {"42501": "PRIVILEGE"}.get(error.sqlstate, "HOME_OLDER")
            raise Refused(f"the warm-up {self._name} cannot be looked up: {error.message}", code) from None

    def claim(self) -> bool:
        """Become the owner, if nobody is: True while this connection lives."""
        return self._wire.value("SELECT pg_catalog.pg_try_advisory_lock($1::bigint)", str(self._key)) == "t"

    def note(self, owner: str, seconds: float) -> None:
        """Write that it is done."""
        try:
            self._wire.one(_NOTE, self._name, self._version, owner, f"{seconds:.3f}")
        except ServerError as error:
            raise Refused(
                f"the warm-up {self._name} is done and could not be noted: {error.message}", "PRIVILEGE"
            ) from None
