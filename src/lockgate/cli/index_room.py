"""What the subcommands of ``lockgate index`` open: the session of our record, the stores, the source of a build."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from lockgate.cli.options import Session, usage

if TYPE_CHECKING:
    from lockgate.indexes.register import Generation
    from lockgate.postgres.link import Link
    from lockgate.stores.searching import SearchStore

NAME = re.compile(r"[a-z][a-z0-9_]{0,35}")
STORES = ("pgvector", "fts", "fts5", "pointer", "qdrant", "lancedb", "chroma", "milvus", "opensearch", "elasticsearch")  # fmt: skip
"""``stores.open_search.KINDS``, named here so that help imports no store; a test keeps the two equal."""
DRIVERS = ("chromadb", "httpx", "httpcore", "pymilvus", "grpc", "qdrant_client", "lance", "sqlite3")
"""Packages whose errors are those of a store."""
GENERATION = re.compile(r"[a-z0-9][a-z0-9-]{0,19}")


class Room:
    """One call: the session of our record, and the stores that were opened."""

    def __init__(self, session: Session, link: "Link") -> None:
        self.session, self.link = session, link
        self._stores: dict[tuple[str, str], SearchStore] = {}

    def store(self, kind: str, place: str) -> "SearchStore":
        """The store of a kind and a place, opened once; relative places start at the project."""
        from lockgate.stores.open_search import IN_DATABASE, open_search

        if (kind, place) not in self._stores:
            path = (
                place
                if kind in IN_DATABASE or "://" in place or not place
                else str(self.session.settings.path(place))
            )
            self._stores[kind, place] = open_search(kind, path, self.link, store_key())
        return self._stores[kind, place]

    def of(self, row: "Generation") -> "SearchStore":
        """The store that a generation is in."""
        return self.store(row.store, row.place)

    def close(self) -> None:
        """Close the stores."""
        for store in self._stores.values():
            store.close()


@contextmanager
def opened(session: Session, *, changing: bool, name: str = "", wait: float = 0.0) -> Iterator[Room]:
    """The room of a call. A changing call makes the tables where they are missing, and holds the lock of the index."""
    from contextlib import ExitStack

    from lockgate.cli.waiting import stoppable
    from lockgate.errors import Busy
    from lockgate.indexes.register import writing
    from lockgate.migrations.limits import Limits
    from lockgate.postgres.alarm import Alarm
    from lockgate.postgres.link import Link
    from lockgate.release.authorise import refuse_application_role
    from lockgate.release.desk import ensure_home

    if name and not NAME.fullmatch(name):
        raise usage(f"{name!r} is not a name of an index: a-z, 0-9 and _, at most 36", "lockgate index list")
    if changing:
        refuse_application_role()
    target = session.target()
    with ExitStack() as stack:
        if changing:
            with Alarm() as alarm:
                ensure_home(target, session.settings, Limits.of(session.settings.migrations), alarm)
        stack.enter_context(stoppable("index"))
        link = Link(target, "index")
        stack.callback(link.close)
        room = Room(session, link)
        stack.callback(room.close)
        if changing:
            try:
                stack.enter_context(writing(link, name, wait))
            except Busy as busy:
                busy.next = f"Wait for it to end, then: {_called()}"
                raise
        stack.enter_context(_driver_errors())
        yield room


@contextmanager
def _driver_errors() -> Iterator[None]:
    """What the driver of a store says of its server, told as that store's failure and not as a bug of ours."""
    from lockgate.errors import LockgateError

    try:
        yield
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in DRIVERS:
            raise
        raise LockgateError(
            f"the store answers with an error: {type(error).__name__}: {str(error)[:300]}", "INDEX_STORE"
        ) from error


def refuse_missing_home(room: Room) -> None:
    """Raise ``INDEX_UNKNOWN`` where lockgate never made an index."""
    from lockgate.errors import ConfigError

    there = room.link.value(
        "SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'lockgate' AND c.relname = 'index_generation'"
    )
    if not there:
        raise ConfigError(
            "this database has no index of lockgate", "INDEX_UNKNOWN", next="lockgate index build NAME"
        )


def refuse_unknown(room: Room, name: str) -> None:
    """Raise ``INDEX_UNKNOWN`` for an index that was never built here, and name those that were."""
    from lockgate.errors import ConfigError
    from lockgate.indexes.register import index_names

    known = index_names(room.link)
    if name not in known:
        raise ConfigError(
            f"there is no index {name!r} (known: {', '.join(known) or 'none'})", "INDEX_UNKNOWN", next="lockgate index list"
        )  # fmt: skip


def counted_in(room: Room, row: "Generation") -> int | None:
    """How many records a generation holds; None where its store cannot be asked, which a list of all survives."""
    from pathlib import Path

    from lockgate.errors import LockgateError
    from lockgate.postgres.sqlstate import ServerError

    local = bool(row.place) and "://" not in row.place
    if local and not Path(room.session.settings.path(row.place)).exists():
        return None  # opening it would make an empty one
    try:
        with _driver_errors():
            return room.of(row).count(row.physical)
    except (LockgateError, ServerError):
        if not room.link.alive:
            raise
        return None


def lock_wait_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """The option that says how long to wait for another command."""
    return click.option("--lock-wait", metavar="SECONDS", type=click.FloatRange(min=0), default=10.0, show_default=True, help="How long to wait for another command on this index.")(function)  # fmt: skip


def of_store(session: Session, kind: str, place: str) -> dict[str, str]:
    """What every document says of a store: its kind, and ``unproven`` where nobody ran its adapter against the real thing.

    People are told, too.
    """
    from lockgate.stores.open_search import unproven

    said = unproven(kind, place)
    if said:
        session.output.say(f"{session.output.mark('note', 'hold')}: the adapter of {kind} was {said}")
    return {"store": kind, "unproven": said}


def given_options(*but: str) -> str:
    """The options of this call as they were given, to be called again; without those that say how one connects and waits, and without ``but``."""
    import shlex

    context = click.get_current_context()
    apart = {"format", "config", "verbose", "env", "database_url", "lock_wait", *but}
    words = [""]
    for option in context.command.params:
        name = option.name or ""
        given = context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        if isinstance(option, click.Argument) or not given or name in apart:
            continue
        value = context.params[name]
        for one in value if option.multiple else (value,):
            words += [option.opts[0], *([] if one is True else [shlex.quote(str(one))])]
    return " ".join(words)


def _called() -> str:
    """This call, to be typed again."""
    import shlex

    context = click.get_current_context()
    words = [str(context.params[p.name or ""]) for p in context.command.params if isinstance(p, click.Argument)]  # fmt: skip
    return f"lockgate index {context.command.name} {shlex.join(words)}{given_options()}"


def store_key() -> str:
    """The key of a store's server; it comes from the environment only, because a place is recorded."""
    return os.environ.get("LOCKGATE_STORE_KEY", "")


def embedder_key() -> str:
    """The key of an embedding endpoint; it comes from the environment only."""
    return os.environ.get("LOCKGATE_EMBEDDER_KEY", "")


def session_of(options: dict[str, Any]) -> Session:
    """The session of a command; takes the shared options out of ``options``."""
    return Session(**{k: options.pop(k) for k in ("format", "config", "verbose", "env", "database_url")})
