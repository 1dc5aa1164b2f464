"""The world around a release in tests: a service on loopback that misbehaves on demand, workers behind commands, a job platform."""

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

TOKEN = "tok-3nCanary-91"
PYTHON = sys.executable

WORKERS = """
import pathlib, sys
state = pathlib.Path(sys.argv[1]); act = sys.argv[2]
log = state.with_suffix(".log")
count = int(state.read_text()) if state.exists() else 3
if act == "before": print(count)
elif act == "pause": state.write_text("0")
elif act == "resume": state.write_text(sys.argv[3] if len(sys.argv) > 3 and sys.argv[3] else "3")
elif act == "status": print(count)
elif act == "deaf": pass
elif act == "broken": sys.exit("the platform does not answer")
with log.open("a") as file: file.write(act + "\\n")
"""
"""Workers as a number in a file: pause, resume and status are real programs."""

JOB = """
import json, os, pathlib, subprocess, sys
folder = pathlib.Path(sys.argv[1]); act = sys.argv[2]
script = json.loads((folder / "job.json").read_text())
def bump(name):
    path = folder / name
    n = int(path.read_text()) if path.exists() else 0
    path.write_text(str(n + 1))
    return n
if act == "start":
    n = bump("starts")
    if script.get("migrate", True):
        subprocess.run([sys.executable, "-m", "lockgate", "up"], env={**os.environ, "DATABASE_URL": os.environ["PRODUCTION_URL"]}, check=False, capture_output=True)
    print(json.dumps({"name": f"job-{n + 1}"}))
elif act == "status":
    words = script["words"]
    word = words[min(bump("polls"), len(words) - 1)]
    if word.startswith("!"):
        sys.exit(word[1:])
    print(word)
elif act == "stop": bump("stops")
elif act == "logs": print("line one\\nline two")
elif act == "inspect": print(json.dumps({"parallelism": script.get("parallelism", 1), "retries": script.get("retries", 0)}))
elif act == "set-image": (folder / "image").write_text(sys.argv[3])
elif act == "read-image": print(script.get("image") or (folder / "image").read_text())
"""
"""A job platform: it starts `lockgate up`, and says of it what the test wants it to say."""


class Service:
    """A web service on loopback. Each path has a list of answers (status, body, headers); the last one stays."""

    def __init__(self) -> None:
        self.release = ""
        self.answers: dict[str, list[tuple[int, str, dict[str, str]]]] = {}
        self.asked: list[tuple[str, str]] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                service.asked.append((self.path, self.headers.get("Authorization", "")))
                key = self.path
                if self.path == "/orders":
                    key = (
                        "authorized"
                        if self.headers.get("Authorization") == f"Bearer {TOKEN}"
                        else "unauthorized"
                    )
                status, body, headers = service.take(key)
                data = body.encode()
                self.send_response(status)
                fields = {"X-Release-Sha": service.release, "Content-Type": "application/json", **headers}
                for name, value in {**fields, "Content-Length": str(len(data))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def take(self, key: str) -> tuple[int, str, dict[str, str]]:
        usual = {
            "/health": (200, '{"status":"pass"}', {}),
            "authorized": (200, '{"orders":[]}', {}),
            "unauthorized": (401, '{"error":"no token"}', {}),
        }
        given = self.answers.get(key)
        if not given:
            return usual.get(key, (404, '{"error":"not found"}', {}))
        return given.pop(0) if len(given) > 1 else given[0]


@contextmanager
def service() -> Iterator[Service]:
    """A running service; it is stopped at the end."""
    made = Service()
    made.thread.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        made.server.server_close()
        made.thread.join(5)


def words(*parts: object) -> str:
    """A command as TOML."""
    return json.dumps([str(p) for p in parts])


def workers_toml(folder: Path, *, pause: str = "pause", status: str = "status", timeout: str = "5s") -> str:
    """``[workers]`` behind the program above, with its state in ``folder``."""
    program, state = folder / "workers.py", folder / "workers.txt"
    program.write_text(WORKERS)
    return f"""
[workers]
provider = "command"
pause = {words(PYTHON, program, state, pause)}
resume = {words(PYTHON, program, state, "resume")}
status = {words(PYTHON, program, state, status)}
timeout = "{timeout}"
poll_interval = "50ms"
"""


def running_workers(folder: Path) -> int:
    """How many workers run."""
    state = folder / "workers.txt"
    return int(state.read_text()) if state.exists() else 3


def job_toml(folder: Path, script: dict[str, object], extra: str = "") -> str:
    """``[job]`` on the platform above, which does what ``script`` says."""
    program = folder / "job.py"
    program.write_text(JOB)
    (folder / "job.json").write_text(json.dumps(script))
    calls = "\n".join(
        f"{name} = {words(PYTHON, program, folder, name)}"
        for name in ("start", "status", "stop", "logs", "inspect")
    )
    return f'[job]\nprovider = "command"\nname = "migrate"\npoll_interval = "20ms"\ntimeout = "3s"\n{calls}\n{extra}\n'


def smoke_toml(service: Service, extra: str = "") -> str:
    """``[smoke]`` on ``service``."""
    return f'[smoke]\nbase_url = "{service.url}"\nprotected = "/orders"\nrelease_header = "X-Release-Sha"\nretry_delay = "20ms"\n{extra}\n'


def rollout_toml(folder: Path) -> str:
    """``[release]`` with a rollout that leaves a line for each of its runs."""
    code = "import sys; open(sys.argv[1],'a').write(sys.argv[2]+'\\n')"
    return f"[release]\nrollout = {words(PYTHON, '-c', code, folder / 'rollouts', '{sha}')}\n"
