"""Probes against real counterparts: what passes, what is down, and what may never crash or hang."""

import http.server
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from fakeredis import TcpFakeServer

from lockgate.gate import Probe
from lockgate.gate.probing import ask_probes
from lockgate.postgres.target import Target
from support.processes import until, with_word


def one(probe, target=None):
    (condition,) = ask_probes([probe], target)
    return condition


@pytest.fixture
def listener():
    """A function that serves one connection after another with ``handle`` and gives the port."""
    sockets = []

    def serve(handle):
        server = socket.create_server(("127.0.0.1", 0))
        sockets.append(server)

        def loop():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    handle(connection)

        threading.Thread(target=loop, daemon=True).start()
        return server.getsockname()[1]

    yield serve
    for server in sockets:
        server.close()


@pytest.fixture
def web():
    """A web server: its path is the status that it answers with."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(int(self.path.strip("/").partition("?")[0]))
            self.send_header("Location", "/200")
            self.end_headers()
            self.wfile.write(b"all is well")

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_http(web):
    """2xx passes, a redirect is not followed, a status and a text can be asked for, a dead port is down."""
    assert one(Probe("w", "http", url=f"{web}/204")).answer == "pass"
    assert one(Probe("w", "http", url=f"{web}/302")).answer == "fail"
    assert one(Probe("w", "http", url=f"{web}/302", status=302)).answer == "pass"
    assert one(Probe("w", "http", url=f"{web}/500")).answer == "fail"
    assert one(Probe("w", "http", url=f"{web}/200?q=1", contains="well")).answer == "pass"
    assert one(Probe("w", "http", url=f"{web}/200", contains="bad")).answer == "fail"
    assert one(Probe("w", "http", url="http://127.0.0.1:1/")).answer == "fail"
    assert one(Probe("w", "http", url="ftp://127.0.0.1/")).answer == "fail"


def test_tcp_and_file(listener, tmp_path):
    """A port that accepts, a file that is there, not empty and not too old."""
    port = listener(lambda connection: None)
    assert one(Probe("t", "tcp", address=f"127.0.0.1:{port}")).answer == "pass"
    assert one(Probe("t", "tcp", address="127.0.0.1:1")).answer == "fail"
    path = tmp_path / "flag"
    assert one(Probe("f", "file", path=str(path))).answer == "fail"
    path.write_text("")
    assert one(Probe("f", "file", path=str(path))).answer == "fail"
    path.write_text("x")
    assert one(Probe("f", "file", path=str(path), max_age=60)).answer == "pass"
    os.utime(path, (time.time() - 100, time.time() - 100))
    assert one(Probe("f", "file", path=str(path), max_age=60)).answer == "fail"


def test_redis(listener, monkeypatch):
    """PONG passes, also behind AUTH; another answer and a closed connection are down; the password is nowhere."""
    said = []

    def handle(connection):
        while data := connection.recv(512):
            said.append(data)
            connection.sendall(b"+OK\r\n" if b"AUTH" in data else b"+PONG\r\n")

    port = listener(handle)
    assert one(Probe("r", "redis", url=f"redis://127.0.0.1:{port}")).answer == "pass"
    monkeypatch.setenv("REDIS_HERE", f"redis://user:c4n4ry-pw@127.0.0.1:{port}")
    assert one(Probe("r", "redis", url_env="REDIS_HERE")).answer == "pass"
    assert any(b"c4n4ry-pw" in data for data in said)
    assert one(Probe("r", "redis", url_env="REDIS_NOWHERE")).answer == "fail"
    refusing = listener(lambda c: (c.recv(512), c.sendall(b"-NOAUTH c4n4ry-pw wrong\r\n")))
    down = one(Probe("r", "redis", url=f"redis://127.0.0.1:{refusing}"))
    assert down.answer == "fail"
    assert "c4n4ry" not in down.evidence
    assert one(Probe("r", "redis", url=f"redis://127.0.0.1:{listener(lambda c: None)}")).answer == "fail"


def test_redis_that_is_no_double(monkeypatch):
    """A server that speaks the whole protocol, by redis-py's own counterpart, says PONG to the probe."""
    server = TcpFakeServer(("127.0.0.1", 0), server_type="redis")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = server.server_address[1]
    assert one(Probe("r", "redis", url=f"redis://127.0.0.1:{port}/3")).answer == "pass"
    server.shutdown()
    server.server_close()
    assert one(Probe("r", "redis", url=f"redis://127.0.0.1:{port}/3")).answer == "fail"


def test_redis_over_tls(listener, tmp_path, monkeypatch):
    """rediss asks behind TLS: a certificate that is trusted passes, one that is not, one of another host and no TLS are down."""
    cert, key = certificate(tmp_path, "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)

    def handle(connection):
        try:
            with context.wrap_socket(connection, server_side=True) as wire:
                while data := wire.recv(512):
                    wire.sendall(b"+OK\r\n" if b"AUTH" in data else b"+PONG\r\n")
        except OSError:  # the probe did not trust it
            return

    port = listener(handle)
    untrusted = one(Probe("r", "redis", url=f"rediss://:c4n4ry-pw@localhost:{port}"))
    assert (untrusted.answer, "certificate" in untrusted.evidence.lower()) == ("fail", True)
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    assert one(Probe("r", "redis", url=f"rediss://:c4n4ry-pw@localhost:{port}")).answer == "pass"
    other = one(Probe("r", "redis", url=f"rediss://127.0.0.1:{port}"))
    assert (other.answer, "c4n4ry" in other.evidence) == ("fail", False)
    plain = listener(lambda c: (c.recv(512), c.sendall(b"+PONG\r\n")))
    assert one(Probe("r", "redis", url=f"rediss://localhost:{plain}")).answer == "fail"


def certificate(folder, host):
    """(certificate, key) of ``host`` as files, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False).sign(key, hashes.SHA256())
    )  # fmt: skip
    (folder / "cert.pem").write_bytes(made.public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return folder / "cert.pem", folder / "key.pem"


@pytest.mark.postgres("18")
def test_sql(database):
    """Any row passes, false and null and no row do not; a wanted value is compared; a write and a slow query are refused."""
    target = Target(database, source="test")
    assert one(Probe("s", "sql", sql="SELECT 1"), target).answer == "pass"
    assert one(Probe("s", "sql", sql="SELECT 5", expect="5"), target).answer == "pass"
    assert one(Probe("s", "sql", sql="SELECT 5", expect="6"), target).answer == "fail"
    for down in (
        "SELECT false",
        "SELECT NULL",
        "SELECT 1 WHERE false",
        "SELECT * FROM nowhere",
        "CREATE TABLE x ()",
        "SELECT pg_sleep(30)",
    ):
        assert one(Probe("s", "sql", sql=down, timeout=1), target).answer == "fail", down
    assert one(Probe("s", "sql", sql="SELECT 1")).answer == "fail", "no database"


def test_command(tmp_path):
    """Exit 0 passes; another exit code, no such program, and one that does not end with all it has started, are down."""
    assert one(Probe("c", "command", command=["true"])).answer == "pass"
    assert one(Probe("c", "command", command=["sh", "-c", "echo no >&2; exit 3"])).evidence.endswith("no")
    assert one(Probe("c", "command", command=["no-such-program"])).answer == "fail"
    mark = tmp_path / "later"
    late = one(
        Probe("c", "command", command=["sh", "-c", f"(sleep 2; touch {mark}) & sleep 60"], timeout=0.3)
    )
    assert late.answer == "fail"


_MANY = """
import os, sys, time
from lockgate.gate import Probe
from lockgate.gate.probing import ask_probes
words = ["sh", "-c", f"sleep {sys.argv[1]} & sleep {sys.argv[1]}"]
late = [Probe(f"c{n}", "command", command=words, timeout=0.5) for n in range(12)]
found = ask_probes([Probe.python("hangs", lambda: time.sleep(60), timeout=0.5), *late])
print(sorted({c.answer for c in found}), flush=True)
os._exit(0)
"""


def test_no_late_command_is_left_behind(tmp_path):
    """Many programs that are late at once are all ended with what they started, also when the asker ends at once."""
    mark = f"600.{os.getpid()}"
    for _ in range(3):
        out = subprocess.run([sys.executable, "-c", _MANY, mark], capture_output=True, text=True, check=True)
        assert out.stdout == "['fail']\n"
        until(lambda: not [pid for pid in with_word(mark) if pid != os.getpid()])


def test_what_is_not_there_is_said_plainly(tmp_path, monkeypatch):
    """A program, a module and a function that are missing are named, each with a next step of its kind; a module in the working directory is found."""
    program = one(Probe("c", "command", command=["no-such-program"]))
    assert program.evidence == "no-such-program: there is no such program"
    assert "whole path" in program.next
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    module = one(Probe("p", "python", call="no_such_module_here:x"))
    assert module.evidence == "no_such_module_here:x: there is no module 'no_such_module_here'"
    assert str(tmp_path) in module.next
    (tmp_path / "probe_of_this_folder.py").write_text("def up():\n    return True\n")
    assert one(Probe("p", "python", call="probe_of_this_folder:up")).answer == "pass"
    assert "has no 'down'" in one(Probe("p", "python", call="probe_of_this_folder:down")).evidence
    nexts = {one(Probe("x", "tcp", address="127.0.0.1:1")).next, one(Probe("x", "file", path="/none")).next}
    assert len(nexts) == 2


def raises():
    raise RuntimeError("password=c4n4ry")


def exits():
    raise SystemExit(3)


def test_python():
    """What returns passes, False is down, and whatever it raises is down too, without secrets, never a crash."""
    assert one(Probe.python("p", lambda: None)).answer == "pass"
    assert one(Probe.python("p", lambda: False)).answer == "fail"
    assert one(Probe.python("p", exits)).answer == "fail"
    down = one(Probe.python("p", raises))
    assert down.answer == "fail"
    assert "RuntimeError" in down.evidence
    assert "c4n4ry" not in down.evidence
    assert one(Probe("p", "python", call="os:getpid")).answer == "pass"
    assert one(Probe("p", "python", call="no_such_module:x")).answer == "fail"


def test_deadlines_are_each_their_own():
    """Two probes that hang end after their own time, side by side, and hold up nobody."""
    stop = threading.Event()
    begun = time.monotonic()
    conditions = ask_probes(
        [
            Probe.python("a", stop.wait, timeout=0.2),
            Probe.python("b", stop.wait, timeout=0.4),
            Probe.python("c", lambda: 1),
        ]
    )
    elapsed = time.monotonic() - begun
    stop.set()
    assert [c.answer for c in conditions] == ["fail", "fail", "pass"]
    assert "0.2 s" in conditions[0].evidence
    assert elapsed < 5, "one after another, without end, would be longer by far"
