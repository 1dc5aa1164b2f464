"""OpenTelemetry for the command line, from the variables of its specification. Loaded only where one of them is set."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

FLUSH_MS = 5000
"""Milliseconds that the end of a call waits at most for its spans to be taken."""
_provider: "TracerProvider | None" = None


def start(environ: Mapping[str, str]) -> None:
    """Switch spans on: ``OTEL_TRACES_EXPORTER`` otlp (default where an endpoint is set), console or none.

    A missing package is a note: no run fails for want of its spans.
    """
    global _provider
    wanted = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() or "otlp"
    if wanted == "none" or environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        exporter = _exporter(wanted, environ)
    except ModuleNotFoundError as error:
        sys.stderr.write(
            f"lockgate: no spans: {error.name} is not installed (pip install 'lockgate[otel]')\n"
        )
        return
    if exporter is None:
        sys.stderr.write(
            f"lockgate: no spans: OTEL_TRACES_EXPORTER={wanted!r:.40} is none of otlp, console, none\n"
        )
        return
    from lockgate import __version__
    from lockgate.record.tracing import use

    resource = Resource.create(
        {"service.name": environ.get("OTEL_SERVICE_NAME") or "lockgate", "service.version": __version__}
    )
    _provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    _provider.add_span_processor(BatchSpanProcessor(exporter))
    use(_provider, environ.get("TRACEPARENT", ""))


def _exporter(wanted: str, environ: Mapping[str, str]) -> "SpanExporter | None":
    if wanted == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter(out=sys.stderr)
    if wanted == "otlp":
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        timed = "OTEL_EXPORTER_OTLP_TIMEOUT" in environ or "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT" in environ
        return OTLPSpanExporter() if timed else OTLPSpanExporter(timeout=FLUSH_MS // 1000)
    return None


def stop() -> None:
    """Hand over what there is. Called at the end of the call; never raises, and never in a forked copy."""
    global _provider
    provider, _provider = _provider, None
    if provider is not None:
        try:
            provider.force_flush(FLUSH_MS)
        except Exception as error:
            sys.stderr.write(f"lockgate: the spans were not taken: {type(error).__name__}\n")
