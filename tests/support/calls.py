"""lockgate as a user calls it: a real process in a project folder, its answer taken apart."""

import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from jsonschema import Draft202012Validator

from lockgate.migrations.ledger import write_ledger
from lockgate.record import schemas
from support import forked

COMMAND = [sys.executable, "-m", "lockgate"]
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x9b]")
FIRST = 1_700_000_000_000
"""The first revision of a project made by tests."""
Running: TypeAlias = "subprocess.Popen[str] | forked.Process"


class Answer(NamedTuple):
    """What a finished process left."""

    code: int
    out: str
    err: str

    def document(self, schema: str) -> dict[str, Any]:
        """The one JSON document on stdout, valid by the published schema ``schema``; anything else there fails."""
        document = json.loads(self.out)  # refuses a second document behind the first
        validate(schema, document)
        return document

    def error(self, code: str) -> dict[str, Any]:
        """The error document; its reason code is ``code`` and its exit code that of the process."""
        document = self.document("error")
        assert document["reasonCode"] == code, document
        assert document["exitCode"] == self.code, document
        assert document["next"], "an error names the next command"
        assert code in self.err, "people read it on stderr"
        return document


@cache
def validator(schema: str) -> Draft202012Validator:
    """The validator of the published schema ``schema``."""
    loaded = json.loads(schemas.text(schema))
    Draft202012Validator.check_schema(loaded)
    return Draft202012Validator(loaded)


def validate(schema: str, document: object) -> None:
    """Fail with every breach, where ``document`` is not what the published schema says."""
    wrong = [
        f"{'/'.join(map(str, e.absolute_path)) or '(root)'}: {e.message}"
        for e in validator(schema).iter_errors(document)
    ]
    assert not wrong, f"{schema}: " + "; ".join(wrong)


class Project:
    """A project folder with migrations, and the command ``lockgate`` in it."""

    cold = False
    """Whether each process is started as a user's is, with nothing imported."""
    modules: tuple[str, ...] = ()
    """What its processes import beside ``forked.LIBRARIES``, and is costly."""

    def __init__(self, root: Path, url: str | None = None) -> None:
        self.root = root
        self.directory = root / "db" / "migrations"
        self.environ = {} if url is None else {"DATABASE_URL": url}
        self.written = 0

    def write(self, name: str, sql: str, revision: int | None = None) -> str:
        """Write the next migration (or that of ``revision``) and enter everything into the ledger; its revision."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.written += 1
        number = FIRST + self.written if revision is None else revision
        (self.directory / f"{number:013d}_{name}.sql").write_text(sql, "utf-8")
        self.lock()
        return f"{number:013d}"

    def lock(self) -> None:
        """Write the ledger from the files that are there."""
        import hashlib

        write_ledger(
            self.directory,
            {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in self.directory.glob("*.sql")},
        )

    def configure(self, text: str) -> None:
        """Write ``lockgate.toml``."""
        (self.root / "lockgate.toml").write_text(text, "utf-8")

    def start(self, *arguments: str, **environ: str) -> Running:
        """Start ``lockgate`` with these arguments."""
        return self.python("-m", "lockgate", *arguments, **environ)

    def python(self, *arguments: str, **environ: str) -> Running:
        """Start Python with these arguments: forked, where that makes no difference."""
        env = {**os.environ, **self.environ, **environ}
        if not self.cold and forked.same_start(env):
            return forked.nursery(*self.modules).start(arguments, cwd=self.root, env=env)
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=self.root,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **environ: str) -> Answer:
        """Run ``lockgate`` to its end."""
        return finish(self.start(*arguments, **environ))

    def text(self, *arguments: str, **environ: str) -> Answer:
        """Run it for people: a pipe never gets a control code."""
        answer = self.run(*arguments, **environ)
        assert not CONTROL.search(answer.out + answer.err), repr(answer)
        return answer

    def json(self, *arguments: str, **environ: str) -> Answer:
        """Run it for programs."""
        return self.run(*arguments, "--format", "json", **environ)

    def ok(self, schema: str, *arguments: str, **environ: str) -> dict[str, Any]:
        """Run it for programs, successfully: the document, which is valid by ``schema``."""
        answer = self.json(*arguments, **environ)
        assert answer.code == 0, answer
        return answer.document(schema)

    def artifact(self, sha: str) -> dict[str, Any]:
        """``migration.json`` of a release, valid by its schema."""
        document = json.loads(
            (self.root / ".artifacts" / "deploy" / sha / "migration.json").read_text("utf-8")
        )
        validate("migration-artifact", document)
        return document


def finish(process: Running, seconds: float = 60) -> Answer:
    """Wait for the end of ``process`` and take its output."""
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"not within {seconds} s; stdout: {out} stderr: {err}") from None
    return Answer(process.returncode, out, err)
