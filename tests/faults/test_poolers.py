"""PgBouncer between lockgate and PostgreSQL (rows 24 and 25)."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from faults import invariants, look
from faults.drive import CANARY, Project
from faults.look import effects, execute, history, needs, value
from faults.shapes import SHAPES
from support.processes import until

SMALL = SHAPES["small"]
TWO = SHAPES["two files"]
pytestmark = look.SERVERS


@pytest.fixture
def pgbouncer(server, folder: Path, fresh: Callable[[], str]) -> Iterator[Callable[[str], tuple[str, str]]]:  # type: ignore[no-untyped-def]
    """A function that starts PgBouncer in a pool mode before a fresh database: the URL through it, and the direct one."""
    import shutil

    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    needs(program, "pgbouncer")
    owner = Path(f"/proc/{server.pid}").stat()
    path = server.url().split("@", 1)[1].split(":", 1)[0].replace("%2F", "/")
    children: list[subprocess.Popen[bytes]] = []

    def start(mode: str) -> tuple[str, str]:
        direct = fresh()
        name = direct.rsplit("/", 1)[1]
        place = folder / f"pool{len(children)}"
        place.mkdir(mode=0o700)
        (place / "ini").write_text(
            f"[databases]\n{name} = host={path} port=5432 dbname={name} user=postgres\n[pgbouncer]\npool_mode = {mode}\n"
            f"listen_addr =\nunix_socket_dir = {place}\nlisten_port = 6432\nauth_type = any\ndefault_pool_size = 5\n"
            "ignore_startup_parameters = extra_float_digits\nserver_reset_query =\n"
        )
        options: dict[str, object] = {}
        if os.getuid() == 0:
            for one in (place, place / "ini"):
                os.chown(one, owner.st_uid, owner.st_gid)
            options = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
        log = (folder / f"log{len(children)}").open("wb")
        children.append(
            subprocess.Popen([str(program), str(place / "ini")], stdout=log, stderr=log, cwd="/", **options)
        )  # type: ignore[call-overload]
        log.close()
        through = f"postgresql://postgres:{CANARY}@{str(place).replace('/', '%2F')}:6432/{name}"

        def ready() -> bool:
            assert children[-1].poll() is None, (folder / f"log{len(children) - 1}").read_text()
            try:
                psycopg.connect(through, connect_timeout=2).close()
            except psycopg.OperationalError:
                return False
            return True

        until(ready)
        return through, direct

    yield start
    for child in children:
        child.kill()  # SIGQUIT is ignored where the suite runs in the background of a shell
        child.wait()


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_a_pooler_that_shares_sessions_is_refused(
    pgbouncer: Callable[[str], tuple[str, str]], project: Project, mode: str
) -> None:
    """Behind a transaction or statement pooler session locks do not hold: refused with POOLED_CONNECTION, nothing done."""
    project.write(*SMALL.files)
    through, direct = pgbouncer(mode)
    refused = project.run(through)
    assert (refused.code, refused.reason) == (4, "POOLED_CONNECTION"), refused
    assert "PostgreSQL itself" in refused.document["next"]
    assert value(direct, "SELECT to_regnamespace('lockgate')") is None
    execute(
        direct,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    invariants.after_rerun(direct, SMALL, project.run(direct))


def test_a_pooler_that_keeps_sessions_is_noted(
    pgbouncer: Callable[[str], tuple[str, str]], project: Project
) -> None:
    """Behind a session pooler the run works, every setting read back, and a note says that a proxy stands between."""
    project.write(*TWO.files)
    through, direct = pgbouncer("session")
    ended = project.run(through)
    assert ended.code == 0, ended
    assert any("proxy" in note for note in ended.document["notes"])
    assert history(direct) == [file.revision for file in TWO.files]
    assert effects(direct) == [file.revision for file in TWO.files]


def test_a_move_refuses_a_pooler_that_shares_sessions(pgbouncer: Callable[[str], tuple[str, str]]) -> None:
    """A data move rests on session locks too: behind a transaction pooler it is refused before anything is done."""
    from lockgate.errors import LockgateError
    from lockgate.moves.declaration import Declaration, Source, TargetSide
    from lockgate.moves.opened import Where, opened
    from lockgate.postgres.target import Target

    through, direct = pgbouncer("transaction")
    execute(direct, "CREATE TABLE item (id int PRIMARY KEY)")
    declared = Declaration(Source("item"), TargetSide("item_new", "", True), name="items")
    with (
        pytest.raises(LockgateError) as caught,
        opened(declared, Where(Target(through, source="test"), None), "test"),
    ):
        pass
    assert caught.value.code == "POOLED_CONNECTION"
    assert value(direct, "SELECT to_regnamespace('lockgate')") is None
