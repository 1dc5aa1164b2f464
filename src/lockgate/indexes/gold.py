"""Gold sets: documents, queries with paraphrases, graded judgements. Ids are joined, and a wrong join is refused.

The folder has BEIR's layout: ``corpus.jsonl`` (``_id``, ``title``, ``text``), ``queries.jsonl`` (``_id``, ``text``) and
``qrels.tsv`` (query, document, grade; TREC's four columns are read too). A query may list its paraphrases
(``"paraphrases": [...]``, which get the ids ``<qid>#1``, ``<qid>#2`` ...), or be one
(``"paraphrase_of": "<qid>"``); both may stand in ``metadata`` as well.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from lockgate.errors import ConfigError
from lockgate.stores.canonical import digest_of

CORPUS, QUERIES, QRELS = "corpus.jsonl", "queries.jsonl", "qrels.tsv"
_QRELS_PLACES = (QRELS, "qrels.txt", "qrels/test.tsv")


class GoldError(ConfigError):
    """A gold set cannot be read or joined; the message names file, line and the fix."""

    default_reason = "GOLD_SET"


class GoldSet(msgspec.Struct, frozen=True):
    """One gold set, joined.

    ``documents`` and ``queries`` map ids to text, in the order of the files. ``judgements`` maps a query to its
    documents' grades (0 and below: not relevant). ``paraphrases`` maps a query to the ids of its paraphrases, whose
    judgements are those of the query. ``digest`` freezes all of it.
    """

    documents: dict[str, str]
    queries: dict[str, str]
    judgements: dict[str, dict[str, int]]
    paraphrases: dict[str, tuple[str, ...]]
    digest: str

    def origin(self, qid: str) -> str:
        """The query that ``qid`` is a paraphrase of; ``qid`` itself for any other."""
        return self._origins.get(qid, qid)

    @property
    def _origins(self) -> dict[str, str]:
        return {p: q for q, many in self.paraphrases.items() for p in many}

    @property
    def judged(self) -> tuple[str, ...]:
        """The queries with at least one relevant document, paraphrases left out."""
        return tuple(q for q, grades in self.judgements.items() if any(g > 0 for g in grades.values()))


def read_gold(folder: Path) -> GoldSet:
    """Read and join a gold set. Raises ``GoldError`` for what is missing, malformed or does not join."""
    if not folder.is_dir():
        raise GoldError(f"{folder}: there is no such folder")
    documents = read_documents(folder / CORPUS)
    queries, paraphrases = _queries(folder / QUERIES)
    path = next((folder / place for place in _QRELS_PLACES if (folder / place).is_file()), folder / QRELS)
    judgements = _judgements(path, documents, queries, {p for many in paraphrases.values() for p in many})
    return GoldSet(
        documents, queries, judgements, paraphrases, _frozen(documents, queries, judgements, paraphrases)
    )


def _frozen(
    documents: dict[str, str],
    queries: dict[str, str],
    judgements: dict[str, dict[str, int]],
    paraphrases: dict[str, tuple[str, ...]],
) -> str:
    return digest_of(
        "lockgate:gold:1",
        [[d, text] for d, text in sorted(documents.items())],
        [[q, text] for q, text in sorted(queries.items())],
        [[q, d, grade] for q, grades in sorted(judgements.items()) for d, grade in sorted(grades.items())],
        [[q, *many] for q, many in sorted(paraphrases.items())],
    )


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    if not path.is_file():
        raise GoldError(
            f"{path}: there is no such file",
            next=f"A gold set is a folder with {CORPUS}, {QUERIES} and {QRELS}; lockgate gold lint DIR checks one.",
        )
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise GoldError(f"{path}: byte {error.start} is not UTF-8", next="Save the file as UTF-8.") from None
    except OSError as error:
        raise GoldError(f"{path}: {error.strerror}") from None
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, line.rstrip("\r")


def _objects(path: Path) -> Iterator[tuple[int, dict[str, Any], str]]:
    for number, line in _lines(path):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise GoldError(f"{path}:{number}: not JSON: {error}") from None
        if not isinstance(row, dict):
            raise GoldError(f"{path}:{number}: not a JSON object")
        name = row.get("_id", row.get("id"))
        if not isinstance(name, str | int) or isinstance(name, bool) or str(name) == "":
            raise GoldError(f"{path}:{number}: `_id` is missing", next="Give every line a text `_id`.")
        yield number, row, str(name)


def _text(path: Path, number: int, row: dict[str, Any], key: str, *, needed: bool) -> str:
    value = row.get(key)
    if value is None and not needed:
        return ""
    if not isinstance(value, str) or (needed and not value.strip()):
        raise GoldError(f"{path}:{number}: `{key}` is not a text")
    return value


def read_documents(path: Path) -> dict[str, str]:
    """The documents of a corpus file, id to text, in its order. Raises ``GoldError``."""
    found: dict[str, str] = {}
    for number, row, name in _objects(path):
        if name in found:
            raise GoldError(
                f"{path}:{number}: document {name!r} stands there twice",
                next="Give each document its own `_id`.",
            )
        title = _text(path, number, row, "title", needed=False)
        text = _text(path, number, row, "text", needed=False)
        found[name] = f"{title}\n{text}" if title and text else title or text
    if not found:
        raise GoldError(f"{path}: holds no document")
    return found


def _queries(path: Path) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    found: dict[str, str] = {}
    of: dict[str, list[str]] = {}
    origins: list[tuple[int, str, str]] = []

    def add(number: int, name: str, text: str) -> None:
        if name in found:
            raise GoldError(
                f"{path}:{number}: query {name!r} stands there twice", next="Give each query its own `_id`."
            )
        found[name] = text

    for number, row, name in _objects(path):
        add(number, name, _text(path, number, row, "text", needed=True))
        meta = row.get("metadata")
        more = meta if isinstance(meta, dict) else {}
        listed = row.get("paraphrases", more.get("paraphrases", []))
        if not isinstance(listed, list) or not all(isinstance(p, str) and p.strip() for p in listed):
            raise GoldError(f"{path}:{number}: `paraphrases` is not a list of texts")
        for place, text in enumerate(listed, 1):
            add(number, f"{name}#{place}", text)
            of.setdefault(name, []).append(f"{name}#{place}")
        origin = row.get("paraphrase_of", more.get("paraphrase_of"))
        if origin is not None:
            origins.append((number, str(origin), name))
    for number, origin, name in origins:
        if origin not in found or origin in {p for _, _, p in origins}:
            raise GoldError(
                f"{path}:{number}: `paraphrase_of` names {origin!r}, which is no query of its own"
            )
        of.setdefault(origin, []).append(name)
    if not found:
        raise GoldError(f"{path}: holds no query")
    return found, {q: tuple(many) for q, many in of.items()}


def _judgements(
    path: Path, documents: dict[str, str], queries: dict[str, str], paraphrases: set[str]
) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for number, line in _lines(path):
        cells = line.split("\t") if "\t" in line else line.split()
        cells = [cell.strip() for cell in cells]
        if len(cells) == 4:
            cells = [cells[0], cells[2], cells[3]]
        if len(cells) != 3:
            raise GoldError(
                f"{path}:{number}: {len(cells)} columns, not query, document, grade",
                next="Write query-id, corpus-id, score separated by tabs, or TREC's four columns.",
            )
        try:
            grade = float(cells[2])
            whole = int(grade)
            if whole != grade:
                raise ValueError
        except (ValueError, OverflowError):
            if not found and number == 1:
                continue  # BEIR's head line
            raise GoldError(f"{path}:{number}: the grade {cells[2]!r} is not a whole number") from None
        qid, doc = cells[0], cells[1]
        if qid not in queries:
            raise GoldError(
                f"{path}:{number}: query {qid!r} is not in {QUERIES}",
                next="Judgements and queries are of two different sets, or ids were changed; mend the join.",
            )
        if doc not in documents:
            raise GoldError(
                f"{path}:{number}: document {doc!r} is not in {CORPUS}",
                next="Judgements and documents are of two different sets, or ids were changed; mend the join.",
            )
        if qid in paraphrases:
            raise GoldError(f"{path}:{number}: {qid!r} is a paraphrase; judge its query instead")
        grades = found.setdefault(qid, {})
        if doc in grades and grades[doc] != whole:
            raise GoldError(f"{path}:{number}: {qid!r} and {doc!r} are judged twice, with two grades")
        grades[doc] = whole
    if not found:
        raise GoldError(f"{path}: holds no judgement")
    return found
