"""SARIF 2.1.0, as code scanning reads it."""

from typing import Any
from urllib.parse import quote

from msgspec import json

from lockgate.cli.reports.report import Report
from lockgate.policy.hazard import ERROR, INFO, WARNING
from lockgate.policy.pages import every_hazard
from lockgate.record.reasons import REASONS

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS = {ERROR: "error", WARNING: "warning", INFO: "note"}


def render(report: Report) -> str:
    """One run. Only rules that were met are listed."""
    ids = list(dict.fromkeys(finding.id for finding in report.findings))
    places = {rule: number for number, rule in enumerate(ids)}
    results = [
        {
            "ruleId": finding.id,
            "ruleIndex": places[finding.id],
            "level": _LEVELS.get(finding.severity, "error"),
            "message": {"text": finding.message + (f"\nFix: {finding.fix}" if finding.fix else "")},
            "locations": [_location(report.path(finding.file), finding.line)],
            "partialFingerprints": {"primaryLocationLineHash": print_},
            "properties": {"phase": finding.phase, "evidence": finding.evidence},
        }
        for finding, print_ in zip(report.findings, report.fingerprints(), strict=True)
    ]
    run = {
        "tool": {
            "driver": {
                "name": "lockgate",
                "semanticVersion": report.version,
                "rules": [_rule(rule) for rule in ids],
            }
        },
        "columnKind": "unicodeCodePoints",
        "results": results,
    }
    document = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.format(json.encode(document), indent=2).decode() + "\n"


def _location(path: str, line: int) -> dict[str, Any]:
    # Code scanning refuses a place without a line: the first stands for the whole file.
    return {
        "physicalLocation": {
            "artifactLocation": {"uri": quote(path), "uriBaseId": "%SRCROOT%"},
            "region": {"startLine": max(line, 1)},
        }
    }


def _rule(id: str) -> dict[str, Any]:
    row = every_hazard().get(id)
    if row is not None:
        return {
            "id": id,
            "name": row.name,
            "shortDescription": {"text": row.name},
            "fullDescription": {"text": row.detects},
            "help": {"text": f"{row.effect}\n\nInstead: {row.workaround}"},
            "defaultConfiguration": {"level": _LEVELS[row.severity]},
        }
    reason = REASONS[id]
    return {
        "id": id,
        "shortDescription": {"text": reason.meaning},
        "help": {"text": reason.next},
        "defaultConfiguration": {"level": "error"},
    }
