"""Where a command works: one database, named so that it can be shown without its secrets."""

import os
import re
import shlex

from psycopg import conninfo
from psycopg.errors import Error as DriverError

from lockgate.errors import ConfigError
from lockgate.record.redact import remember

_UNFILLED = re.compile(r"\$\{[^{}]*\}|\{\{.*?\}\}")
_SECRETS = ("password", "sslpassword")


class Target:
    """One database to work on.

    ``source`` says where the URL came from (``--env NAME``, ``--database-url``, ``DATABASE_URL``, ``embedded``).
    Printing a target shows host, port, database and user, never the password.
    """

    __slots__ = ("_parameters", "environment", "protected", "source")

    def __init__(self, url: str, *, source: str, environment: str = "", protected: bool = False) -> None:
        if not url.strip():
            raise ConfigError(
                f"{source} is empty", next="Set the URL; a missing secret never falls back to another target."
            )
        if _spilled(url):
            # libpq would read a part of the password as host, port or database, and every message would show it.
            raise ConfigError(
                f"{source} has an @ where none can be",
                next="A password with @, / or : in it is written percent-encoded: %40, %2F, %3A.",
            )
        try:
            parameters = conninfo.conninfo_to_dict(url)
        except DriverError:
            # The driver's own message repeats parts of the URL, so it is not passed on.
            raise ConfigError(
                f"{source} is not a PostgreSQL URL", next="postgresql://user@host:5432/dbname"
            ) from None
        if _UNFILLED.search(url):
            raise ConfigError(
                f"{source} holds a mark that no template has filled in: ${{...}} or {{{{...}}}}",
                next="Let it be filled in before it is read; a password with such signs is written percent-encoded: %24, %7B, %7D.",
            )
        self._parameters: dict[str, str] = {k: str(v) for k, v in parameters.items() if v is not None}
        remember(self._parameters.get("password"))
        remember(self._parameters.get("sslpassword"))
        self.source = source
        self.environment = environment
        self.protected = protected

    @property
    def has_password(self) -> bool:
        """True when the URL itself holds a password."""
        return "password" in self._parameters

    @property
    def has_secret(self) -> bool:
        """True when the URL itself holds a password, be it that of a key."""
        return any(name in self._parameters for name in _SECRETS)

    @property
    def local(self) -> bool:
        """True when every host is a unix socket directory or the loopback address."""
        # What the URL leaves out, libpq takes from the environment or a service file; every one of several hosts counts.
        if self._named("service", "PGSERVICE"):
            return False
        given = self._named("hostaddr", "PGHOSTADDR") or self._named("host", "PGHOST")
        return all(
            host.startswith(("/", "@")) or host in ("localhost", "127.0.0.1", "::1", "")
            for host in given.split(",")
        )

    def _named(self, parameter: str, variable: str) -> str:
        return self._parameters.get(parameter) or os.environ.get(variable, "")

    @property
    def sslmode(self) -> str:
        """The ``sslmode`` of the URL; libpq's default is ``prefer``, which an attacker can downgrade."""
        return self._parameters.get("sslmode", "prefer")

    def parameters(self, **more: str | int) -> dict[str, str]:
        """The connection parameters, secrets included, with ``more`` set where the URL is silent."""
        return {**{k: str(v) for k, v in more.items()}, **self._parameters}

    def sibling(self, dbname: str) -> "Target":
        """The database ``dbname`` on the same server, with the same login; an environment's protection stays with it."""
        other = Target.__new__(Target)
        other._parameters = {**self._parameters, "dbname": dbname}
        other.source, other.environment, other.protected = self.source, self.environment, self.protected
        return other

    @property
    def address(self) -> str:
        """What ``psql`` takes in a shell to come here, without any secret."""
        return shlex.quote(self.open)

    @property
    def open(self) -> str:
        """The connection string without any secret."""
        open_ = {k: v for k, v in self._parameters.items() if k not in _SECRETS}
        return conninfo.make_conninfo("", **open_)

    def __str__(self) -> str:
        p = self._parameters
        host = p.get("host", "localhost")
        where = "unix socket" if host.startswith(("/", "@")) else f"{host}:{p.get('port', '5432')}"
        return f"{p.get('dbname', p.get('user', ''))} on {where} as {p.get('user', 'the system user')}"

    def __repr__(self) -> str:
        return f"Target({self!s}, source={self.source!r})"


def shown_url(url: str) -> str:
    """``url`` as it may stand in a command that is printed: as it was typed, or without its password. ``URL`` where it is none."""
    try:
        target = Target(url, source="--database-url")
    except ConfigError:
        return "URL"
    return target.open if target.has_secret else url


def _spilled(url: str) -> bool:
    """True when a password in ``url`` holds an unescaped sign that ends it too early."""
    scheme, found, rest = url.strip().partition("://")
    if not found or not scheme.startswith("postgres"):
        return False
    authority, _, path = rest.partition("?")[0].partition("/")
    return "@" in path or authority.count("@") > 1
