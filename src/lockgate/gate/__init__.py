"""The gate: may this process start, may traffic flow.

    from lockgate.gate import Contract, check, wait, Gate

Importing this costs next to nothing: plain classes of the standard library's smallest parts; the driver is loaded at
the first check, and nothing is connected to before it. The rest of the face is loaded when it is named.

    Contract, Probe            what an image asks for                       contract.py, probe.py
    Condition, Report          what a check answers                         report.py
    check, wait                ask once, ask until ready or out of time     checking.py
    Gate                       the gate of a running service                service.py
    GateASGI, GateWSGI         middleware                                   asgi.py, wsgi.py
    recycle_pool, recycle_engine, warm_up                                   connections.py
"""

from lockgate.gate.contract import Contract
from lockgate.gate.probe import Probe
from lockgate.gate.report import Answer, Condition, Report

TYPE_CHECKING = False
"""What type checkers take for true; ``typing`` itself would cost more than all the rest of this import."""
if TYPE_CHECKING:
    from lockgate.gate.asgi import GateASGI
    from lockgate.gate.checking import check, wait
    from lockgate.gate.service import Gate
    from lockgate.gate.wsgi import GateWSGI

__all__ = [
    "Answer",
    "Condition",
    "Contract",
    "Gate",
    "GateASGI",
    "GateWSGI",
    "Probe",
    "Report",
    "check",
    "wait",
]

_LATER = {
    "Gate": "service",
    "GateASGI": "asgi",
    "GateWSGI": "wsgi",
    "check": "checking",
    "wait": "checking",
}


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module 'lockgate.gate' has no attribute {name!r}")
    from importlib import import_module

    # No submodule is named like what it gives: the import of one would put the module in the place of the function.
    value: object = getattr(import_module(f"lockgate.gate.{_LATER[name]}"), name)
    globals()[name] = value
    return value
