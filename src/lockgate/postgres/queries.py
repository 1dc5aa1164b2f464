"""SQL longer than a line lives in a ``.sql`` file beside the code and is read once."""

from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent / "sql"


@cache
def query(name: str) -> str:
    """The SQL of ``sql/<name>.sql``, without the comment lines at its top. Raises ``FileNotFoundError``.

    A line ``-- include NAME`` stands for the SQL of that file.
    """
    lines = (_FOLDER / f"{name}.sql").read_text("utf-8").splitlines()
    while lines and lines[0].startswith("--"):
        lines.pop(0)
    return "\n".join(query(line.split()[2]) if line.startswith("-- include ") else line for line in lines)
