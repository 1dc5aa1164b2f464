"""A Celery worker takes no task before its gate is open: ``gate_worker(app, gate)``."""

from typing import Any

from lockgate.gate.service import Gate


def gate_worker(app: Any, gate: Gate, *, timeout: float = 300.0) -> None:
    """Add a bootstep to the workers of ``app``: wait for ``gate`` before the consumer starts, sign off when it stops.

    A gate that stays closed for ``timeout`` seconds ends the worker with exit code 1, so that the orchestrator sees it.
    """
    from celery.bootsteps import StartStopStep

    class GateStep(StartStopStep):  # type: ignore[misc] # Celery has no types
        """Stands before the consumer, which every blueprint puts last."""

        requires = ("celery.worker.components:Timer",)
        conditional = False

        def start(self, parent: Any) -> None:
            """Block until the gate is open."""
            if not gate.wait(timeout):
                raise SystemExit(1)

        def stop(self, parent: Any) -> None:
            """Sign the instance off."""
            gate.stop()

        terminate = stop

    app.steps["worker"].add(GateStep)
