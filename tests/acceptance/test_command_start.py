"""What a command imports: it starts as fast as what it does not need allows."""

import json
import subprocess
import sys

import pytest

from support.calls import Project

pytestmark = pytest.mark.postgres("18")

_PROBE = """
import json, sys
sys.argv = ["lockgate", *sys.argv[1:]]
from lockgate.cli.main import main
try:
    main()
finally:
    print(json.dumps(sorted(m for m in sys.modules if "." not in m or m.startswith("lockgate."))), file=sys.stderr)
"""


def imported(project: Project, *arguments: str, code: int = 0) -> set[str]:
    """The modules in memory at the end of a command."""
    import os

    done = subprocess.run(
        [sys.executable, "-c", _PROBE, *arguments],
        cwd=project.root,
        env={**os.environ, **project.environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize("arguments", [["--version"], ["--help"]], ids=" ".join)
def test_version_and_help_import_nothing(tmp_path, arguments):
    """--version and --help load neither the driver nor the parser, msgspec or rich, and no command's module."""
    modules = imported(Project(tmp_path), *arguments)
    assert not modules & {"psycopg", "postgast", "rich", "msgspec", "tomllib", "asyncio", "google"}
    assert not {
        m for m in modules if m.startswith(("lockgate.migrations", "lockgate.postgres", "lockgate.release"))
    }


def test_check_needs_no_driver_and_help_of_a_command_nothing(shop: Project):
    """check judges files without the driver, rich, protobuf and formats that were not asked for; help loads no engine."""
    modules = imported(shop, "check")
    assert not modules & {"psycopg", "rich", "google", "postgast", "lockgate.cli.reports.sarif"}
    assert not imported(shop, "up", "--help") & {"psycopg", "postgast", "rich"}
    assert not imported(shop, "new", "next") & {"psycopg", "postgast", "rich"}


def test_nothing_to_do_needs_no_parser(shop: Project):
    """status, and up with nothing to do, load neither the parser, nor what reads its trees, nor rich (in a pipe)."""
    shop.ok("up", "up")
    for arguments in (["status"], ["status", "--format", "json"], ["up"], ["up", "--format", "json"]):
        modules = imported(shop, *arguments)
        assert not modules & {"postgast", "google", "rich"}, arguments
        assert not {
            m for m in modules if m.startswith(("lockgate.postgres.tree", "lockgate.postgres.script"))
        }, arguments


def test_importing_the_package_does_nothing(tmp_path):
    """`import lockgate` loads nothing but itself: there is no migration at application start."""
    code = "import sys; before = set(sys.modules); import lockgate; print(sorted(set(sys.modules) - before))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "['lockgate']"
