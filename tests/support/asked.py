"""lockgate in a process that asks at a point of its way, and goes on when the test answers."""

import json
from pathlib import Path

from faults.relay import Line
from support.calls import Project, Running

RUNNER = Path(__file__).resolve().parents[1] / "faults" / "runner.py"


def start_asking(project: Project, point: str, line: Line, *arguments: str, **environ: str) -> Running:
    """Start lockgate for programs; at its first ``point`` it reports to ``line`` and waits for the answer."""
    fault = json.dumps({"kind": "ask", "at": 1, "name": point, "control": line.path})
    return project.python(str(RUNNER), *arguments, "--format", "json", **environ, FAULT=fault)
