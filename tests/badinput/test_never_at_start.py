"""An application that imports lockgate, all of it, connects to nothing, starts nothing and writes nothing."""

import os
import socket
import subprocess
import sys
from pathlib import Path

_PROGRAM = """
import importlib, os, pkgutil, sys, threading
refused = {"socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto", "subprocess.Popen", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "os.symlink", "os.truncate", "signal.pthread_kill"}
def watch(event, arguments):
    if event in refused:
        raise RuntimeError(f"{event} at import: {arguments}")
    if event == "open":
        path, mode, flags = arguments
        if isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and str(path) != os.devnull:
            raise RuntimeError(f"{path} opened for writing at import")
sys.dont_write_bytecode = True
import lockgate
sys.addaudithook(watch)
count = 0
def broken(name):
    raise
for module in pkgutil.walk_packages(lockgate.__path__, "lockgate.", onerror=broken):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
        count += 1
assert threading.active_count() == 1, threading.enumerate()
print(count)
"""


def test_importing_every_module_does_nothing(tmp_path: Path):
    """Every module of lockgate is imported with a target in the environment: no socket, no process, no thread, no file written, no connection arrives."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        url = f"postgresql://u@127.0.0.1:{port}/d"
        environ = {"DATABASE_URL": url, "PGHOST": "127.0.0.1", "PGPORT": str(port), "HOME": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM],
            cwd=tmp_path,
            env={**os.environ, **environ},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert int(done.stdout) > 80
        assert list(tmp_path.iterdir()) == []
        # libpq connects below Python's audit hooks; the kernel would have queued its connection here.
        listener.setblocking(False)
        try:
            listener.accept()
            arrived = True
        except BlockingIOError:
            arrived = False
        assert not arrived


def test_no_module_migrates_by_its_name():
    """`python -m` of the package is the command line and nothing else: without arguments it prints help and touches nothing."""
    done = subprocess.run(
        [sys.executable, "-m", "lockgate"],
        env={**os.environ, "DATABASE_URL": "postgresql://u@127.0.0.1:1/d"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Usage" in done.stdout + done.stderr
    assert "UNREACHABLE" not in done.stdout + done.stderr
