"""Who runs the workers: threads of this process, processes of this machine, or a Dask cluster. All are ``concurrent.futures``."""

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from lockgate.errors import ConfigError, Unreachable


@contextmanager
def executor_of(name: str, workers: int) -> Iterator[Executor | None]:
    """The executor called ``name``; None for threads, which the backfill makes itself. Raises ``ConfigError``.

    A worker gets ids and addresses, never rows; the ledger is the truth, so a worker that dies costs its lease only.
    """
    if name == "threads":
        yield None
    elif name == "processes":
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context

        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            yield pool
    elif name.startswith("dask://"):
        try:
            distributed: Any = import_module("distributed")
        except ImportError:
            raise ConfigError(
                "--executor dask:// needs the extra: pip install 'lockgate[dask]'",
                "USAGE",
                next="pip install 'lockgate[dask]'",
            ) from None
        try:
            client = distributed.Client("tcp://" + name.removeprefix("dask://"))
        except OSError as error:
            raise Unreachable(f"--executor {name}: no scheduler answers: {error}") from None
        try:
            yield client.get_executor(pure=False)
        finally:
            client.close()
    else:
        raise ConfigError(f"--executor {name!r} is none of threads, processes, dask://HOST:PORT", "USAGE")
