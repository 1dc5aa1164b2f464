"""A service as a fleet has it: a pool, a gate in front, one page that reads and writes. Started by test_fleet.py as a process.

Arguments: port file, statement that writes, statement that reads. The contract and the URL come from the environment.
"""

import os
import socket
import sys
from pathlib import Path

import uvicorn
from psycopg_pool import ConnectionPool
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from lockgate.gate import Contract, Gate, GateASGI
from lockgate.gate.connections import recycle_pool


def main() -> None:
    """Serve until SIGTERM."""
    port_file, write, read = sys.argv[1:4]
    url = os.environ["DATABASE_URL"]
    gate = Gate(Contract.from_environment(), url, interval=0.5)
    pool = ConnectionPool(url, min_size=2, max_size=2, open=True, kwargs={"autocommit": True})
    recycle_pool(gate, pool)

    def page(request):
        with pool.connection() as connection:
            connection.execute(write)
            rows = connection.execute(read).fetchall()
        return PlainTextResponse(str(len(rows)))

    listener = socket.create_server(("127.0.0.1", 0))
    Path(port_file).write_text(f"{listener.getsockname()[1]}\n")
    app = GateASGI(Starlette(routes=[Route("/", page)]), gate)
    uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run(sockets=[listener])
    pool.close()


main()
