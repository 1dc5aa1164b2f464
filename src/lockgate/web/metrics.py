"""Figures of all environments as Prometheus text. The names are a contract; they stand in one table."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from lockgate.gate.parity import Parity
    from lockgate.postgres.metrics import Figures

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Watched(NamedTuple):
    """One environment at one moment. ``pending`` is None where the files could not be read; ``parity`` where it has no regions."""

    name: str
    figures: "Figures"
    pending: int | None = None
    parity: "Parity | None" = None


class _Gauge(NamedTuple):
    metric: str
    help: str
    labels: tuple[str, ...]
    counter: bool = False


TABLE: dict[str, _Gauge] = {
    "runs": _Gauge("lockgate_migration_runs", "Runs by how they ended.", ("outcome", "reason"), True),
    "revision": _Gauge(
        "lockgate_schema_revision_info", "The newest applied revision.", ("region", "revision")
    ),
    "mismatch": _Gauge(
        "lockgate_revision_mismatch", "Live instances outside the window of the schema.", ("service", "kind")
    ),
    "attempts": _Gauge(
        "lockgate_bootstrap_attempts",
        "Starts of services by how they ended.",
        ("service", "outcome", "reason"),
        True,
    ),
    "lock_victims": _Gauge(
        "lockgate_lock_victims", "Sessions that waited behind statements which were cancelled for it.", ()
    ),
    "lock_failures": _Gauge("lockgate_lock_failures", "Files rolled back for a lock.", ("reason",), True),
    "backup_age": _Gauge("lockgate_backup_age_seconds", "Age of the newest backup.", ()),
    "drill_age": _Gauge("lockgate_restore_drill_age_seconds", "Age of the newest restore drill.", ()),
    "read_only": _Gauge("lockgate_read_only_mode", "1 while services refuse writes.", ()),
    "instances": _Gauge("lockgate_instances", "Live instances.", ("service", "release")),
    "move_rows": _Gauge("lockgate_move_migrated_rows", "Rows copied by a move.", ("move",), True),
    "move_checksum_ok": _Gauge("lockgate_move_checksum_ok", "1 once both sides were found equal.", ("move",)),
    "move_dual_write_fail": _Gauge("lockgate_move_dual_write_fail", "Keys in quarantine.", ("move",), True),
    "move_lag": _Gauge(
        "lockgate_move_lag_seconds", "Age of the oldest captured write that the other side lacks.", ("move",)
    ),
    "intents": _Gauge("lockgate_write_intents", "Writes queued in read-only mode that wait.", ("state",)),
    "move_cutover": _Gauge("lockgate_move_cutover_seconds", "How long the cutover held writes.", ("move",)),
    "index_delta_s_diff": _Gauge("lockgate_index_delta_s_diff", "Mean change of delta-S at the last look at an index: of its watch, or of its validation.", ("index",)),
    "index_lambda_state": _Gauge("lockgate_index_lambda_state", "Gold queries in each state of lambda at the last look at an index.", ("index", "state")),
    "index_info": _Gauge("lockgate_index_live_info", "The generation that serves.", ("index", "generation", "index_hash")),
    "index_swap": _Gauge("lockgate_index_swap_seconds", "How long the last swap took.", ("index",)),
}  # fmt: skip
"""Figure → metric. A counter's name gets `_total`."""

_PARITY = (
    "revision",
    "historyDigest",
    "schemaDigest",
    "compatFloor",
    "indexHashes",
    "indexSpecs",
    "indexContents",
    "indexCounts",
    "secrets",
)


class _Collected(Collector):
    def __init__(self, watched: Iterable[Watched]) -> None:
        self.watched = list(watched)

    def collect(self) -> Iterator[Metric]:
        """Every family once, over all environments."""
        yield self._reached()
        for name, row in TABLE.items():
            labels = ["env", *row.labels]
            make = CounterMetricFamily if row.counter else GaugeMetricFamily
            family = make(row.metric, row.help, labels=labels)
            for env in self.watched:
                for figure in env.figures.rows:
                    if figure.name == name:
                        given: Mapping[str, str] = {"region": "", **figure.labels}
                        family.add_metric([env.name, *(given[label] for label in row.labels)], figure.value)
            if name == "revision":
                self._add_regions(family)
            yield family
        yield self._durations()
        yield self._lock_waits()
        yield self._waits()
        yield self._pending()
        yield from self._parity()

    def _add_regions(self, family: "CounterMetricFamily | GaugeMetricFamily") -> None:
        for env in self.watched:
            for region, seen in env.parity.regions.items() if env.parity is not None else ():
                if seen.answer not in ("unreachable", "unknown"):
                    family.add_metric([env.name, region, seen.revision], 1)

    def _reached(self) -> Metric:
        family = GaugeMetricFamily(
            "lockgate_up", "1 when the database of the environment could be read.", labels=["env"]
        )
        for env in self.watched:
            family.add_metric([env.name], float(env.figures.reached))
        return family

    def _durations(self) -> Metric:
        family = SummaryMetricFamily(
            "lockgate_migration_duration_seconds",
            "How long migrations took.",
            labels=["env", "phase", "outcome"],
        )
        for env in self.watched:
            sums = {
                (f.labels["phase"], f.labels["outcome"]): f.value
                for f in env.figures.rows
                if f.name == "migration_duration_sum"
            }
            for figure in env.figures.rows:
                if figure.name == "migration_duration_count":
                    key = (figure.labels["phase"], figure.labels["outcome"])
                    family.add_metric([env.name, *key], int(figure.value), sums[key])
        return family

    def _lock_waits(self) -> Metric:
        family = SummaryMetricFamily(
            "lockgate_lock_wait_seconds",
            "How long runs that waited for locks stood in queues.",
            labels=["env"],
        )
        for env in self.watched:
            found = {f.name: f.value for f in env.figures.rows}
            if "lock_wait_count" in found:
                family.add_metric([env.name], int(found["lock_wait_count"]), found["lock_wait_sum"])
        return family

    def _waits(self) -> Metric:
        family = HistogramMetricFamily(
            "lockgate_bootstrap_wait_seconds", "How long starts waited for the gate.", labels=["env"]
        )
        for env in self.watched:
            found = {f.name: f.value for f in env.figures.rows if f.name in ("wait_count", "wait_sum")}
            if "wait_count" in found:
                buckets = sorted(
                    (float(f.labels["le"]), f.value) for f in env.figures.rows if f.name == "wait_bucket"
                )
                told = [(f"{le:g}", value) for le, value in buckets] + [("+Inf", found["wait_count"])]
                family.add_metric([env.name], told, found["wait_sum"])
        return family

    def _pending(self) -> Metric:
        family = GaugeMetricFamily(
            "lockgate_pending_migrations", "Files that are not applied.", labels=["env"]
        )
        for env in self.watched:
            if env.pending is not None and env.figures.reached:
                family.add_metric([env.name], env.pending)
        return family

    def _parity(self) -> Iterator[Metric]:
        same = GaugeMetricFamily(
            "lockgate_parity_ok", "1 when all reached regions are equal in this.", labels=["env", "kind"]
        )
        gone = GaugeMetricFamily(
            "lockgate_parity_unreachable", "Regions that could not be read.", labels=["env"]
        )
        for env in self.watched:
            if env.parity is not None:
                differing = {difference.field for difference in env.parity.differences}
                for kind in _PARITY:
                    same.add_metric([env.name, kind], float(kind not in differing))
                gone.add_metric(
                    [env.name],
                    sum(r.answer in ("unreachable", "unknown") for r in env.parity.regions.values()),
                )
        yield same
        yield gone


def families(watched: Iterable[Watched]) -> Iterator[Metric]:
    """Every metric with its samples, in the order of the exposition."""
    return _Collected(watched).collect()


def exposition(watched: Iterable[Watched]) -> bytes:
    """All figures in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Collected(watched))
    return generate_latest(registry)
