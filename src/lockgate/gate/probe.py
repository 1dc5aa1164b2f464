"""Probes: what else has to answer before a process may serve. Declared here, asked in probing.py."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lockgate.errors import ConfigError

_NEEDS = {
    "sql": ("sql",),
    "http": ("url",),
    "tcp": ("address",),
    "file": ("path",),
    "redis": ("url",),
    "command": ("command",),
    "python": ("call",),
}
_MAY = {
    "sql": ("expect",),
    "http": ("status", "contains"),
    "file": ("max_age",),
    "redis": ("url_env",),
    "command": (),
    "tcp": (),
    "python": (),
}


class Probe:
    """One probe: ``kind`` is sql, http, tcp, file, redis, command or python; ``timeout`` in seconds is its own.

    It is asked before the process starts to serve; with ``always`` also afterwards, and then its no closes the gate again.

    Its settings by kind: ``sql`` (``expect``: the first value of the first row, as text; without it, any row or value that
    is not false or null), ``url`` (``status``, default any of 200 to 299; ``contains``), ``address`` as ``host:port``,
    ``path`` (not empty; ``max_age`` in seconds), redis ``url`` or ``url_env`` (answers PONG), ``command`` as a list (exits
    0), ``call`` (a callable, or ``module:name``; passes unless it raises or returns False).
    """

    __slots__ = ("always", "kind", "name", "settings", "timeout")

    def __init__(
        self, name: str, kind: str, *, timeout: object = 2.0, always: object = False, **settings: object
    ) -> None:
        self.name = name
        self.kind = kind
        where = f"probe {name!r}"
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not 0 < timeout <= 300:
            raise _wrong(f"{where}: timeout is not a number of seconds above 0 and up to 300")
        if not isinstance(always, bool):
            raise _wrong(f"{where}: always is neither true nor false")
        self.timeout = timeout
        self.always = always
        self.settings = settings
        self._validate(where)

    @classmethod
    def python(cls, name: str, call: "Callable[[], object]", *, timeout: float = 2.0) -> "Probe":
        """A probe that calls ``call`` in a thread."""
        return cls(name, "python", timeout=timeout, call=call)

    @classmethod
    def from_document(cls, data: object, *, where: str) -> "Probe":
        """A probe from JSON. Raises ``ConfigError`` that names ``where``."""
        if not isinstance(data, dict) or not all(isinstance(k, str) for k in data):
            raise _wrong(f"{where}: a probe is an object")
        for field in ("name", "kind"):
            if not isinstance(data.get(field), str) or not data[field]:
                raise _wrong(f"{where}.{field}: missing or no text")
        settings: Mapping[str, object] = {
            k: v for k, v in data.items() if k not in ("name", "kind", "timeout", "always")
        }
        try:
            return cls(
                data["name"],
                data["kind"],
                timeout=data.get("timeout", 2.0),
                always=data.get("always", False),
                **settings,
            )
        except TypeError as error:
            raise _wrong(f"{where}: {error}") from None

    def _validate(self, where: str) -> None:
        if self.kind not in _NEEDS:
            raise _wrong(f"{where}: kind {self.kind!r} is none of {', '.join(_NEEDS)}")
        needs, may = _NEEDS[self.kind], _MAY[self.kind]
        missing = [field for field in needs if self.settings.get(field) in (None, "", [])]
        if missing and not (self.kind == "redis" and self.settings.get("url_env")):
            raise _wrong(f"{where}: a {self.kind} probe needs {', '.join(missing)}")
        for field in self.settings:
            if field not in needs and field not in may:
                raise _wrong(f"{where}: {field} is unknown to a {self.kind} probe")
        for field, value in self.settings.items():
            if field == "command":
                if not isinstance(value, (list, tuple)) or not all(isinstance(v, str) for v in value):
                    raise _wrong(f"{where}: command is no list of words")
            elif field in ("status", "max_age"):
                if isinstance(value, bool) or not isinstance(value, (int, float)):
                    raise _wrong(f"{where}: {field} is no number")
            elif field == "call":
                if not callable(value) and not (isinstance(value, str) and ":" in value):
                    raise _wrong(f"{where}: call is neither a callable nor module:name")
            elif not isinstance(value, str):
                raise _wrong(f"{where}: {field} is no text")
        if self.kind == "tcp":
            host, _, port = str(self.settings["address"]).rpartition(":")
            if not host or not port.isdigit() or not 0 < int(port) < 65536:
                raise _wrong(f"{where}: address is not host:port")

    def __repr__(self) -> str:
        return f"Probe({self.name!r}, {self.kind!r})"


def _wrong(message: str) -> "ConfigError":
    from lockgate.errors import ConfigError

    return ConfigError(
        message, "CONTRACT", next="Mend the probe; docs/gate.md lists the kinds and their settings."
    )
