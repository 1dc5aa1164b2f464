"""Names that are others than they look: cut by the server at 63 bytes, or spelled outside Unicode NFC."""

import re
import unicodedata

from lockgate.postgres.script.statement import ScriptError

LONG_NAME = re.compile(rb"[^\s\"'();,.\x00-\x1f]{64,}|\"(?:[^\"]|\"\"){64,}\"")


def bad_name(text: str, raw: bytes) -> ScriptError | None:
    """The first such name of ``text`` (``raw`` in UTF-8), if any; scanned only where there may be one."""
    if LONG_NAME.search(raw) is None and (text.isascii() or unicodedata.is_normalized("NFC", text)):
        return None
    import postgast  # the scanner comes with 60 ms of protobuf descriptors, and few files need it

    token_of = postgast.pg_query_pb2.Token.Value
    kinds = {token_of("IDENT"), token_of("UIDENT")}
    for token in postgast.scan(text).tokens:
        if token.token not in kinds:
            continue
        word = raw[token.start : token.end].decode()
        name = word[1:-1].replace('""', '"') if word.startswith('"') else word
        line = raw.count(b"\n", 0, token.start) + 1
        if len(name.encode()) > 63:
            return ScriptError(
                "FILE_IDENTIFIER",
                line,
                f"the name {name[:40]}... has {len(name.encode())} bytes; the server keeps 63",
            )
        if not unicodedata.is_normalized("NFC", name):
            return ScriptError(
                "FILE_IDENTIFIER",
                line,
                f"the name {name} is not in Unicode NFC, so it is another name than the one it looks like",
            )
    return None
