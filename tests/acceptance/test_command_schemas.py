"""The published schemas themselves."""

import json
from importlib.resources import files

import pytest

from lockgate.cli.main import COMMANDS
from lockgate.record import schemas
from support.calls import validator

_OTHER = {
    "api-smoke",
    "error",
    "gate-secrets",
    "gate-signature",
    "incident",
    "index-validate",
    "ledger",
    "migration-artifact",
    "move-verify",
    "readonly-intents",
    "release-artifact",
    "release-bundle",
    "release-recover",
    "release-show",
    "release-workers",
    "schema-signature",
    "up-everywhere",
    "verification-artifact",
}


@pytest.mark.parametrize("name", schemas.names())
def test_schema(name):
    """Each schema is valid draft 2020-12, closed, and describes every field."""
    schema = validator(name).schema
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"].startswith(f"urn:lockgate:schema:{name}:")
    assert schema["$id"].rpartition(":")[2] == schema["properties"]["schemaVersion"]["const"]
    assert schema["additionalProperties"] is False
    assert "schemaVersion" in schema["required"]
    for where, node in fields(schema, name):
        assert node.get("description") or "$ref" in node, f"{where} has no description"


def fields(node: dict, where: str):
    """Every field of a schema, definitions included."""
    for name, child in {**node.get("properties", {}), **node.get("$defs", {})}.items():
        yield f"{where}.{name}", child
        yield from fields(child, f"{where}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            yield from fields(node[key], f"{where}[]")


def test_every_command_has_its_schema():
    """Each command that prints a document of its own has a schema of its name; the demo prints that of release, run that of gate."""
    assert set(schemas.names()) == (set(COMMANDS) - {"demo", "run"}) | _OTHER


def test_schemas_are_in_the_package():
    """The schemas are found as resources of the package, as an installed wheel has them."""
    folder = files("lockgate.record.schemas")
    assert json.loads((folder / "up.schema.json").read_text("utf-8"))["title"] == "lockgate up"
