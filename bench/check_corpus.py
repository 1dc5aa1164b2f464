"""`lockgate check` over 1,300 files of about four statements, against squawk-cli: whole processes in turn, best of N.

Cold (nothing remembered), again (nothing changed), and with one file changed among them.

python bench/check_corpus.py --squawk PATH_OF_SQUAWK [--files 1300] [--rounds 5] [--format text]
python bench/check_corpus.py --write FOLDER        # only write the project
"""

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FIRST = 1_700_000_000_000
_TYPES = ("text", "integer", "bigint", "numeric(12,2)", "timestamptz", "boolean", "jsonb", "varchar(40)")


def statements(table: str, number: int, dice: random.Random) -> tuple[str, list[str]]:
    """The head and the statements of file ``number``, about ``table``; a mixture of what teams write."""
    column, kind = f"c{number}", dice.choice(_TYPES)
    turn = number % 13
    if turn == 0:
        return "", [
            f"CREATE TABLE {table} (\n  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,\n  email text NOT NULL,\n"
            f"  state text NOT NULL DEFAULT 'new',\n  created_at timestamptz NOT NULL DEFAULT now()\n)",
            f"CREATE INDEX {table}_created_at ON {table} (created_at)",
            f"COMMENT ON TABLE {table} IS 'what the service keeps of {table}'",
            f"CREATE VIEW {table}_new AS SELECT id, email FROM {table} WHERE state = 'new' AND created_at > now() - interval '1 day'",
        ]
    if turn == 5:
        return "-- lockgate: transaction=off\n", [
            f"CREATE INDEX CONCURRENTLY {table}_{column} ON {table} (email)",
        ]
    if turn == 8:
        return "", [
            f"ALTER TABLE {table} ADD CONSTRAINT {column}_ok CHECK (length(email) > 3) NOT VALID",
            f"ALTER TABLE {table} VALIDATE CONSTRAINT {column}_ok",
            f"COMMENT ON COLUMN {table}.email IS 'checked since {number}'",
            f"GRANT SELECT ON {table} TO reader",
        ]
    if turn == 10:
        return "", [
            f"CREATE FUNCTION touch_{column}() RETURNS trigger LANGUAGE plpgsql AS $$\nBEGIN\n  NEW.created_at := now();\n  RETURN NEW;\nEND $$",
            f"CREATE TRIGGER touch_{column} BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION touch_{column}()",
            f"UPDATE {table} SET state = 'done' WHERE state = 'new' AND created_at < now() - interval '30 days'",
            f"INSERT INTO {table} (email) VALUES ('a@example.org'), ('b@example.org')",
        ]
    return "", [
        f"ALTER TABLE {table} ADD COLUMN {column} {kind}",
        f"ALTER TABLE {table} ALTER COLUMN {column} SET DEFAULT NULL",
        f"CREATE TABLE {table}_{number} (id bigint PRIMARY KEY, parent bigint, note text, {column} {kind})",
        f"CREATE INDEX {table}_{number}_parent ON {table}_{number} (parent)",
        f"COMMENT ON COLUMN {table}.{column} IS 'added by {number}'",
    ][: dice.randint(3, 5)]


def write(root: Path, files: int) -> list[Path]:
    """Write the project; its migrations in order."""
    folder = root / "db" / "migrations"
    folder.mkdir(parents=True)
    dice, ledger, paths = random.Random(7), {}, []
    for number in range(files):
        head, body = statements(f"orders_{number // 13}", number, dice)
        text = head + ";\n\n".join(body) + ";\n"
        path = folder / f"{FIRST + number:013d}_change_{number}.sql"
        path.write_text(text)
        ledger[path.name] = hashlib.sha256(text.encode()).hexdigest()
        paths.append(path)
    (folder / "checksums.json").write_text(
        json.dumps({"schemaVersion": "1", "algorithm": "sha256", "files": ledger})
    )
    return paths


def once(command: list[str], root: Path) -> tuple[float, int]:
    """The wall time of the whole process in seconds, and its largest memory in kilobytes."""
    # As in an installation, modules are compiled once and not in every process; what is remembered stays in the project.
    environ = {
        **os.environ,
        "PYTHONPYCACHEPREFIX": str(root / "bytecode"),
        "XDG_CACHE_HOME": str(root / "cache"),
    }
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    start = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=root, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, used = os.wait4(process.pid, 0)
    took = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode in (0, 1), f"{command[0]} exited {process.returncode}"
    return took, used.ru_maxrss


def change(paths: list[Path], number: int) -> None:
    """Edit one file in the middle, with its entry in the ledger."""
    path = paths[len(paths) // 2 + number]
    path.write_text(f"-- edited {number}\n" + path.read_text())
    ledger = path.parent / "checksums.json"
    entries = json.loads(ledger.read_text())
    entries["files"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    ledger.write_text(json.dumps(entries))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", type=Path)
    parser.add_argument("--squawk")
    parser.add_argument("--files", type=int, default=1300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--format", default="text")
    given = parser.parse_args()
    if given.write:
        write(given.write, given.files)
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        paths = write(root, given.files)
        check = [sys.executable, "-m", "lockgate", "check", "--format", given.format]
        calls = {"cold": [*check, "--no-cache"], "again": check, "one changed": check}
        if given.squawk:
            calls["squawk"] = [given.squawk, *[str(path.relative_to(root)) for path in paths]]
        once(check, root)
        seen: dict[str, list[tuple[float, int]]] = {name: [] for name in calls}
        for number in range(given.rounds):
            for name, command in calls.items():
                if name == "one changed":
                    change(paths, number)
                seen[name].append(once(command, root))
        theirs = min(seen["squawk"])[0] if given.squawk else 0.0
        for name, rounds in seen.items():
            took, memory = min(rounds)[0], max(used for _, used in rounds)
            ratio = f", {took / theirs:.2f} x squawk" if theirs else ""
            print(f"{name}: {took:.3f} s{ratio}, {memory / 1024:.0f} MB")


if __name__ == "__main__":
    main()
