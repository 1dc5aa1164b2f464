"""OpenTelemetry spans of a run, its steps and its statements; nothing at all where nobody asked for them.

The one thing that other rooms do is to ask ``tracing()``, which is None unless somebody switched it on: the command line from
the variables of the OpenTelemetry specification (cli/telemetry.py), a program by ``use(provider)``. Only then opentelemetry
is imported. Spans of what has ended are written afterwards with the times that were measured, because the statements of a
file travel in one round trip.

The text of statements stays out: it may hold data. What is told is kind, file, line and SQLSTATE.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from opentelemetry.trace import Span, TracerProvider

Value = str | int | float | bool
_PARENT: "ContextVar[Any]" = ContextVar("lockgate_span", default=None)


class Past(NamedTuple):
    """What has ended: times are of the monotonic clock; ``error`` is a reason code or SQLSTATE, "" when it went well."""

    name: str
    begun: float
    ended: float
    attributes: Mapping[str, Value] = {}
    error: str = ""
    children: "Sequence[Past]" = ()


class Tracing:
    """Spans on one tracer. ``context`` is the parent of the outermost ones, such as that of a CI job."""

    def __init__(self, tracer: Any, context: Any = None) -> None:
        self._tracer = tracer
        self._context = context
        self._epoch = time.time_ns() - time.monotonic_ns()

    @contextmanager
    def span(self, name: str, attributes: Mapping[str, Value]) -> "Iterator[Span]":
        """A span around the block; what the block raises is noted by its code and goes on."""
        span = self._tracer.start_span(name, context=self._parent(), attributes=dict(attributes))
        token = _PARENT.set(span)
        try:
            yield span
        except BaseException as error:
            _fail(span, str(getattr(error, "code", "") or type(error).__name__))
            sqlstate = getattr(error, "details", {}).get("sqlstate")
            if isinstance(sqlstate, str) and sqlstate:
                span.set_attribute("db.response.status_code", sqlstate)
            raise
        finally:
            _PARENT.reset(token)
            span.end()

    def past(self, one: Past) -> None:
        """Write what has ended, and its parts, under the span that is open."""
        self._write(one, self._parent())

    def _write(self, one: Past, context: Any) -> None:
        from opentelemetry.trace import set_span_in_context

        span = self._tracer.start_span(
            one.name, context=context, start_time=self._at(one.begun), attributes=dict(one.attributes)
        )
        for child in one.children:
            self._write(child, set_span_in_context(span))
        if one.error:
            _fail(span, one.error)
        span.end(self._at(one.ended))

    def _parent(self) -> Any:
        from opentelemetry.trace import set_span_in_context

        span = _PARENT.get()
        return self._context if span is None else set_span_in_context(span)

    def _at(self, clock: float) -> int:
        return self._epoch + round(clock * 1e9)


def _fail(span: Any, code: str) -> None:
    from opentelemetry.trace import Status, StatusCode

    span.set_attribute("error.type", code)
    span.set_status(Status(StatusCode.ERROR, code))


_tracing: Tracing | None = None


def tracing() -> Tracing | None:
    """The tracing that somebody switched on, or None."""
    return _tracing


def use(provider: "TracerProvider | None", traceparent: str = "") -> None:
    """Write spans to ``provider`` from now on; None switches them off. ``traceparent`` is a W3C parent of all of them."""
    global _tracing
    if provider is None:
        _tracing = None
        return
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    from lockgate import __version__

    context = TraceContextTextMapPropagator().extract({"traceparent": traceparent}) if traceparent else None
    _tracing = Tracing(provider.get_tracer("lockgate", __version__), context)


def span(name: str, attributes: Mapping[str, Value]) -> "AbstractContextManager[Span | None]":
    """A span around a block where tracing is on, else nothing."""
    return nullcontext() if _tracing is None else _tracing.span(name, attributes)
