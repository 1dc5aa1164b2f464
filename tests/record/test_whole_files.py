"""Files are whole or not there, and stay inside their folder."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockgate.errors import ConfigError
from lockgate.record import points
from lockgate.record.artifact import SHA_PATTERN, contained, write_atomically
from lockgate.release import artifact

OLD, NEW = b"old\n" * 1000, b"new\n" * 2000


class Fault(BaseException):
    """What the test throws in; not an ``Exception``, as Ctrl-C is none."""


@pytest.fixture
def hook():
    """Set the hook of the points for one test."""
    yield points.install
    points.install(None)


def passed(path: Path, hook: Callable[[object], None]) -> list[str]:
    """The points that one write passes."""
    seen: list[str] = []
    hook(seen.append)
    write_atomically(path, NEW)
    hook(None)
    return seen


@pytest.mark.parametrize("existed", [True, False])
def test_a_fault_at_each_point_leaves_the_old_file_or_the_new_one(tmp_path: Path, hook, existed: bool):
    """An exception at every named point: a reader sees all of the old bytes or all of the new ones, and no rest lies around."""
    names = passed(tmp_path / "x.json", hook)
    assert [name.rsplit(":", 1)[1] for name in names] == ["open", "rename", "done"]
    for at in names:
        folder = tmp_path / at.rsplit(":", 1)[1]
        folder.mkdir()
        path = folder / "x.json"
        if existed:
            path.write_bytes(OLD)

        def throw(name: str, at: str = at) -> None:
            if name == at:
                raise Fault(name)

        hook(throw)
        with pytest.raises(Fault):
            write_atomically(path, NEW)
        hook(None)
        assert [p.name for p in folder.iterdir()] == (["x.json"] if existed or at.endswith("done") else [])
        if path.exists():
            assert path.read_bytes() == (NEW if at.endswith("done") else OLD)


@pytest.mark.parametrize(
    "broken", ["os.fsync", "os.fdopen", "pathlib.Path.chmod", "pathlib.Path.replace", "tempfile.mkstemp"]
)
def test_a_failing_system_call_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
):
    """A full disk at any step: OSError, the old bytes, no rest."""
    path = tmp_path / "x.json"
    path.write_bytes(OLD)

    def fail(*_args: object, **_kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(broken, fail)
        with pytest.raises(OSError, match="No space"):
            write_atomically(path, NEW)
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]
    assert path.read_bytes() == OLD


def test_the_bytes_are_on_disk_before_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The file is synced before it gets its name and the folder after: a crash cannot leave an empty file."""
    order: list[str] = []
    sync, replace = os.fsync, Path.replace

    def synced(descriptor: int) -> None:
        order.append("folder" if Path(f"/proc/self/fd/{descriptor}").is_dir() else "file")
        sync(descriptor)

    def renamed(self: Path, target: Path) -> Path:
        order.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    write_atomically(tmp_path / "x", NEW)
    assert order == ["file", "rename", "folder"]


def test_mode_and_links(tmp_path: Path):
    """The file gets the asked mode, and a link in its place is replaced, never written through."""
    victim = tmp_path / "victim"
    victim.write_bytes(OLD)
    (tmp_path / "x").symlink_to(victim)
    write_atomically(tmp_path / "x", NEW, mode=0o640)
    assert victim.read_bytes() == OLD
    assert not (tmp_path / "x").is_symlink()
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o640


parts = st.lists(st.one_of(st.sampled_from(["..", ".", "", "a", "deploy", "...", "../..", "/etc", "a/../..", "~", "a\\..", "link"]), st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)), max_size=5)  # fmt: skip


@settings(deadline=None, max_examples=200)
@given(parts)
def test_a_path_stays_in_its_folder(tmp_path_factory: pytest.TempPathFactory, names: list[str]):
    """Whatever the parts are: the path is inside the folder once links are resolved, or refused."""
    base = tmp_path_factory.getbasetemp() / "contained"
    base.mkdir(exist_ok=True)
    link = base / "link"
    if not link.is_symlink():
        link.symlink_to("/etc")
    try:
        path = contained(base, *names)
    except ValueError:
        return
    assert os.path.commonpath([base.resolve(), os.path.realpath(path)]) == str(base.resolve())


def test_a_link_to_the_outside_is_seen(tmp_path: Path):
    """A folder that is a link out of the artifacts is refused, one that stays inside is not."""
    (tmp_path / "in").mkdir()
    (tmp_path / "out").symlink_to("/etc")
    (tmp_path / "stay").symlink_to(tmp_path / "in")
    assert contained(tmp_path, "stay", "x") == (tmp_path / "in" / "x").resolve()
    with pytest.raises(ValueError, match="leaves the folder"):
        contained(tmp_path, "out", "passwd")
    with pytest.raises(ValueError, match="leaves the folder"):
        contained(tmp_path, "..")


@pytest.mark.parametrize(
    "sha",
    [
        "",
        "abc",
        "../../etc",
        "abcdef0/..",
        "ABCDEF0",
        "abcdef0\n",
        "abcdef0\0",
        "g" * 40,
        "a" * 65,
        "/abcdef0",
        "abcdef0 ",
        "..%2f..",
        "HEAD",
        "-abcdef0",
        "\uff11\uff12\uff13\uff14\uff15\uff16\uff17",
    ],
)
def test_what_is_no_sha_names_no_folder(tmp_path: Path, sha: str):
    """Only 7 to 64 lower-case hex digits name the folder of a release."""
    assert not SHA_PATTERN.match(sha)
    with pytest.raises(ConfigError) as caught:
        artifact.folder(tmp_path, sha)
    assert (caught.value.code, int(caught.value.exit)) == ("USAGE", 2)


@given(st.from_regex(r"[0-9a-f]{7,64}", fullmatch=True))
def test_a_sha_names_its_folder(sha: str):
    """A right sha gives deploy/<sha> under the root."""
    root = Path("/nowhere/.artifacts")
    assert artifact.folder(root, sha) == root / "deploy" / sha
