"""The published JSON Schemas (draft 2020-12) of every JSON that lockgate writes: ``<name>.schema.json``, one a document."""

from pathlib import Path

_FOLDER = Path(__file__).parent
_END = ".schema.json"


def names() -> list[str]:
    """The names of all published schemas."""
    return sorted(path.name.removesuffix(_END) for path in _FOLDER.glob(f"*{_END}"))


def text(name: str) -> str:
    """The schema ``name`` as JSON text. Raises ``FileNotFoundError`` for an unknown one."""
    return (_FOLDER / f"{name}{_END}").read_text("utf-8")
