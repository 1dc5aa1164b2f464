"""The driver's own connection, for code of the application's that expects one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from lockgate.postgres.connecting import connect_error
from lockgate.postgres.target import Target


@contextmanager
def plain_connection(target: Target, name: str) -> Iterator[Any]:
    """A psycopg connection with transactions, closed at the end; what is open then is rolled back. Raises as ``Wire``."""
    parameters = target.parameters(connect_timeout=10)
    parameters["application_name"] = f"lockgate/{name}"
    try:
        connection = psycopg.connect(**parameters)  # type: ignore[arg-type]
    except psycopg.Error as error:
        raise connect_error(target, error) from None
    try:
        yield connection
    finally:
        connection.close()
