"""The same figures through OpenTelemetry, sent once by OTLP over HTTP. Needs the extra ``otel``."""

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from lockgate.web.metrics import Watched, families

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Observation
    from opentelemetry.sdk.metrics.export import MetricExporter
    from prometheus_client.core import Metric


def names_of(family: "Metric") -> "list[tuple[str, str, bool]]":
    """(sample of Prometheus, instrument of OpenTelemetry, whether it only grows) of a family; buckets stay with Prometheus."""
    dotted = family.name.replace("lockgate_", "lockgate.", 1)
    if family.type == "counter":
        return [(f"{family.name}_total", dotted, True)]
    if family.type in ("summary", "histogram"):
        return [(f"{family.name}_{part}", f"{dotted}.{part}", True) for part in ("count", "sum")]
    return [(family.name, dotted, False)]


def push(watched: Iterable[Watched], exporter: "MetricExporter") -> bool:
    """Send every figure once; False when the collector did not take them."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricExportResult

    from lockgate import __version__

    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    meter = provider.get_meter("lockgate", __version__)
    for family in families(watched):
        for sample, name, grows in names_of(family):
            make = meter.create_observable_counter if grows else meter.create_observable_gauge
            make(name, [_observed(family, sample)], description=family.documentation)
    data = reader.get_metrics_data()
    provider.shutdown()
    return data is None or exporter.export(data) is MetricExportResult.SUCCESS


def _observed(family: "Metric", sample: str) -> "Callable[[CallbackOptions], Iterator[Observation]]":
    from opentelemetry.metrics import Observation

    def observe(options: "CallbackOptions") -> "Iterator[Observation]":
        for one in family.samples:
            if one.name == sample:
                labels = {
                    ("deployment.environment.name" if k == "env" else k): v for k, v in one.labels.items()
                }
                yield Observation(one.value, labels)

    return observe
