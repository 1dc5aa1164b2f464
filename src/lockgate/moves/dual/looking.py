"""What waits in the outbox of a move that the application writes, for who only wants to know: no table has to fit for that."""

from collections.abc import Mapping
from contextlib import closing

from lockgate.moves.dual import declaration
from lockgate.moves.dual.pair import Urls, bare_pair
from lockgate.moves.stages import Stage
from lockgate.postgres.moves.ledger import MoveRow
from lockgate.stores.side import Side
from lockgate.stores.speaking import speak
from lockgate.stores.table import Table


def missing(row: MoveRow, environ: Mapping[str, str]) -> str:
    """The variable that is needed and is not set; "" where all are."""
    return next((v for v in _variables(row) if not environ.get(v)), "")


def backlog(row: MoveRow, environ: Mapping[str, str]) -> tuple[int, int]:
    """(operations that wait on the side that serves, those of them whose second leg failed before). Raises ``LockgateError``."""
    urls = [environ[v] for v in _variables(row)]
    if len(urls) == 1:
        speaker = speak(urls[0], f"move {row.name} status", "source")
        with closing(speaker):
            table = Table(_of(row, "source", "table"), (), (), 0, speaker.engine, 0, "")
            return Side(speaker, row.name, table, (), (), ()).backlog()
    names = (_of(row, "source", "table"), _of(row, "target", "table"))
    with bare_pair(names, row.name, Urls(urls[0], urls[1]), "status") as pair:
        return pair.target.backlog()


def _variables(row: MoveRow) -> list[str]:
    """The variables with the URLs that are needed: of the source as long as it serves, then of both, since two sides of one database name their tables otherwise."""
    sides = ["source"]
    if row.declaration.get("kind") == declaration.KIND and row.stage in (Stage.CUT_OVER, Stage.TAIL):
        sides.append("target")
    return [_of(row, side, "url_env") for side in sides]


def _of(row: MoveRow, side: str, word: str) -> str:
    part = row.declaration.get(side)
    return str(part.get(word) or "") if isinstance(part, dict) else ""
