"""The declared graph of `lockgate bootstrap`: steps, what each needs, and how long it may take."""

from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter

import msgspec

KINDS = ("secrets", "roles", "extensions", "migrations", "indexes", "probes", "gate", "parity", "command")
"""What a step may be."""


class BootstrapStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[bootstrap.NAME]``: one condition that has to hold before an environment is up."""

    kind: str
    needs: tuple[str, ...] = ()
    deadline: str = "10min"
    extensions: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    contract: str = ""
    indexes: tuple[str, ...] = ()
    probes: tuple[Mapping[str, object], ...] = ()
    command: tuple[str, ...] = ()


_DEMANDS = {
    "secrets": "secrets",
    "extensions": "extensions",
    "indexes": "indexes",
    "probes": "probes",
    "gate": "contract",
    "command": "command",
}


def bootstrap_problems(steps: Mapping[str, BootstrapStep]) -> list[str]:
    """What is wrong with the graph, each naming its key: kinds, missing parts, unknown needs, a cycle."""
    found = []
    for name, step in steps.items():
        where = f"bootstrap.{name}"
        if step.kind not in KINDS:
            found.append(f"{where}.kind = {step.kind!r:.80} is none of {', '.join(KINDS)}")
        for kind, part in _DEMANDS.items():
            if (step.kind == kind) != bool(getattr(step, part)):
                found.append(
                    f"{where}.{part} {'is missing' if step.kind == kind else f'belongs to a step of kind {kind}'}"
                )
        found += [
            f"{where}.needs: there is no step {other!r:.80}" for other in step.needs if other not in steps
        ]
    try:
        TopologicalSorter({name: step.needs for name, step in steps.items()}).prepare()
    except CycleError as cycle:
        found.append(
            f"bootstrap: the steps need each other in a circle: {' -> '.join(reversed(cycle.args[1]))}"
        )
    return found


def order(steps: Mapping[str, BootstrapStep]) -> tuple[str, ...]:
    """The names in an order that respects every need, the same on every machine. The graph has no problems."""
    done: list[str] = []
    while len(done) < len(steps):
        done.append(next(n for n, step in steps.items() if n not in done and set(step.needs) <= set(done)))
    return tuple(done)
