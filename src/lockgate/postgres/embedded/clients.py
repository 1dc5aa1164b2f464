"""How many clients are connected to a server, asked without a driver."""

# Plain os calls: descriptors, lstat, O_NOFOLLOW, and microseconds that count.
# ruff: noqa: PTH123

import os
import socket
import struct

_STARTUP = (
    struct.pack("!i", 196608) + b"user\0postgres\0database\0postgres\0application_name\0lockgate keeper\0\0"
)
_QUESTION = (
    b"select count(*) from pg_stat_activity "
    b"where backend_type = 'client backend' and application_name <> 'lockgate keeper'\0"
)
_LISTENING, _CONNECTED = b"01", b"03"


def socket_path(sockets: str) -> str:
    """The unix socket in the socket directory ``sockets``."""
    return f"{sockets}/.s.PGSQL.5432"


def count_by_kernel(sockets: str) -> int | None:
    """Connections to the server with socket directory ``sockets``, as the kernel's table of sockets tells.

    Costs the server nothing. None where the table does not show the server: macOS, another network namespace.
    Clients in another network namespace are not among those counted.
    """
    path = os.fsencode(socket_path(sockets))
    try:
        with open("/proc/net/unix", "rb") as file:
            rows = [row.split(None, 7) for row in file.read().splitlines()]
    except OSError:
        return None
    # Num RefCount Protocol Flags Type St Inode Path: an accepted socket carries the path of its listener.
    states = [row[5] for row in rows if len(row) == 8 and row[7] == path]
    return states.count(_CONNECTED) if _LISTENING in states else None


def count_by_question(sockets: str) -> int | None:
    """The same, asked of the server itself over a short connection; None when it does not tell."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as wire:
            wire.settimeout(5)
            wire.connect(socket_path(sockets))
            wire.sendall(struct.pack("!i", len(_STARTUP) + 4) + _STARTUP)
            wire.sendall(b"Q" + struct.pack("!i", len(_QUESTION) + 4) + _QUESTION)
            answer = _read_number(wire)
            wire.sendall(b"X\0\0\0\4")
            return answer
    except OSError:
        return None


def _read_number(wire: socket.socket) -> int | None:
    """The one number in the server's answer: messages of a kind (1 byte), a length (4) and a body."""
    number, readies = None, 0
    with wire.makefile("rb") as stream:
        while readies < 2 and len(head := stream.read(5)) == 5:
            kind, length = struct.unpack("!ci", head)
            body = stream.read(length - 4)
            if kind == b"E":
                break
            if kind == b"D":  # count of columns (2 bytes), length of the first (4), its text
                number = int(body[6:])
            readies += kind == b"Z"  # ready for the query, ready after it
    return number
