"""A real Chroma server on loopback."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from support.processes import until


@contextlib.contextmanager
def chroma_server(folder: Path) -> Iterator[str]:
    """Its URL; the process ends with the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = Path(sys.executable).with_name("chroma")
    server = subprocess.Popen(
        [program, "run", "--path", str(folder), "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert server.poll() is None, "the server of Chroma ended"
        try:
            with urllib.request.urlopen(f"{url}/api/v2/heartbeat", timeout=2):
                return True
        except (urllib.error.URLError, OSError):
            return False

    try:
        until(answers, 60)
        yield url
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(20)


def emptied(url: str) -> str:
    """The URL, after every collection is gone."""
    import chromadb
    from chromadb.config import Settings

    port = int(url.rpartition(":")[2])
    client = chromadb.HttpClient(host="127.0.0.1", port=port, settings=Settings(anonymized_telemetry=False))
    for collection in client.list_collections():
        client.delete_collection(collection.name)
    return url
