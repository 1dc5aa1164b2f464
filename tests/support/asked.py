"""lockgate in a process that asks at a point of its way, and goes on when the test answers."""

import json
import os
import subprocess
import sys
from pathlib import Path

from faults.relay import Line
from support.calls import Project

RUNNER = Path(__file__).resolve().parents[1] / "faults" / "runner.py"


def start_asking(project: Project, point: str, line: Line, *arguments: str, **environ: str) -> "subprocess.Popen[str]":  # fmt: skip
    """Start lockgate for programs; at its first ``point`` it reports to ``line`` and waits for the answer."""
    fault = json.dumps({"kind": "ask", "at": 1, "name": point, "control": line.path})
    return subprocess.Popen(
        [sys.executable, str(RUNNER), *arguments, "--format", "json"],
        cwd=project.root,
        env={**os.environ, **project.environ, **environ, "FAULT": fault},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
