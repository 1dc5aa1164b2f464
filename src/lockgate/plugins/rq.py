"""An RQ worker takes no job before its gate is open: ``gated(Worker, gate)("queue", connection=redis).work()``."""

from typing import Any

from lockgate.gate.service import Gate


def gated(worker: type[Any], gate: Gate, *, timeout: float = 300.0) -> type[Any]:
    """A worker class that waits for ``gate`` before it works, and signs off when it has ended.

    A gate that stays closed for ``timeout`` seconds ends the worker with exit code 1, so that the orchestrator sees it; one
    that closes later lets the job in hand end and takes no other.
    """

    class GatedWorker(worker):  # type: ignore[misc] # whichever class the caller works with
        """Takes jobs while the gate is open."""

        def work(self, *arguments: Any, **options: Any) -> Any:
            """Wait for the gate, then work."""
            if not gate.wait(timeout):
                raise SystemExit(1)
            try:
                return super().work(*arguments, **options)
            finally:
                gate.stop()

        def dequeue_job_and_maintain_ttl(self, *arguments: Any, **options: Any) -> Any:
            """Wait until the gate is open again, then take the next job."""
            if not gate.wait(timeout):
                raise SystemExit(1)
            return super().dequeue_job_and_maintain_ttl(*arguments, **options)

    return GatedWorker
