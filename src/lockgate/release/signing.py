"""Ed25519 signatures in DSSE envelopes: approvals that work offline, and signed evidence of a release.

``cryptography`` is an extra (``lockgate[signing]``); it is imported when something is signed or checked.
"""

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec

from lockgate.errors import ConfigError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

APPROVAL_TYPE = "application/vnd.lockgate.approval+json"
STATEMENT_TYPE = "application/vnd.in-toto+json"


def new_key() -> tuple[bytes, str]:
    """A fresh private key (PEM, PKCS 8, not encrypted) and its public key as base64 of the 32 raw bytes."""
    private = _library().Ed25519PrivateKey.generate()
    return _pem(private), public_text(private)


def read_private(path: Path) -> "Ed25519PrivateKey":
    """The Ed25519 private key in the PEM file ``path``. Raises ``ConfigError``."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    library = _library()
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except (ValueError, TypeError):
        raise ConfigError(f"{path} is not an unencrypted private key in PEM form") from None
    if not isinstance(key, library.Ed25519PrivateKey):
        raise ConfigError(f"{path} is not an Ed25519 key", next="lockgate approve --new-key FILE makes one.")
    return cast("Ed25519PrivateKey", key)


def public_text(private: "Ed25519PrivateKey") -> str:
    """The public key of ``private``, base64 of its 32 raw bytes, as ``[approvers.NAME] key`` holds it."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return base64.b64encode(private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()


def sign(payload: bytes, payload_type: str, private: "Ed25519PrivateKey") -> dict[str, Any]:
    """A DSSE envelope around ``payload``."""
    signature = private.sign(_pae(payload_type, payload))
    return {
        "payloadType": payload_type,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [{"keyid": key_id(public_text(private)), "sig": base64.b64encode(signature).decode()}],
    }


def key_id(public: str) -> str:
    """A short name of a public key: the first 16 hex digits of its sha256."""
    return hashlib.sha256(base64.b64decode(public)).hexdigest()[:16]


def opened(envelope: Any, payload_type: str, public: str) -> bytes | None:
    """The payload of ``envelope`` when one of its signatures is that of ``public``; None for anything else."""
    from cryptography.exceptions import InvalidSignature

    library = _library()
    try:
        payload = base64.b64decode(envelope["payload"], validate=True)
        if envelope["payloadType"] != payload_type:
            return None
        key = library.Ed25519PublicKey.from_public_bytes(base64.b64decode(public, validate=True))
        for one in envelope["signatures"]:
            try:
                key.verify(base64.b64decode(one["sig"], validate=True), _pae(payload_type, payload))
            except InvalidSignature:
                continue
            return payload
    except (KeyError, TypeError, ValueError):
        return None
    return None


def claimed(envelope: Any, payload_type: str) -> bytes | None:
    """The payload of ``envelope`` as it says of itself, whoever signed it: for words only, never for a decision."""
    try:
        return (
            base64.b64decode(envelope["payload"], validate=True)
            if envelope["payloadType"] == payload_type
            else None
        )
    except (KeyError, TypeError, ValueError):
        return None


def canonical(value: object) -> bytes:
    """``value`` as JSON with sorted keys and without blanks: the bytes that are signed."""
    return msgspec.json.encode(value, order="sorted")


def _pae(payload_type: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: lengths before contents, so that no two inputs give the same bytes."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def _pem(private: "Ed25519PrivateKey") -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _library() -> Any:
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError:
        raise ConfigError(
            "signatures need the library cryptography", next="pip install 'lockgate[signing]'"
        ) from None
    return ed25519
