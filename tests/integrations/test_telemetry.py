"""OpenTelemetry spans: run, step and statement, with what went wrong; nothing is loaded where nobody asked."""

import http.server
import subprocess
import sys
import threading

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from lockgate.config import load
from lockgate.errors import RunFailed
from lockgate.migrations.limits import Limits
from lockgate.migrations.progress import Log
from lockgate.postgres.alarm import Alarm
from lockgate.postgres.target import Target
from lockgate.record import tracing
from lockgate.release.operator import new_identity
from lockgate.release.project import read_files
from lockgate.release.steps import STEPS
from lockgate.release.up import Run
from support.calls import FIRST, Project

pg = pytest.mark.postgres("18")


@pytest.fixture
def spans():
    """Spans that end while the test runs."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.use(provider)
    yield exporter.get_finished_spans
    tracing.use(None)


@pytest.fixture
def project(tmp_path, database):
    """A file of three statements, one of which takes its time, and a concurrent index."""
    made = Project(tmp_path, database)
    made.write(
        "a",
        "CREATE TABLE a (id bigint PRIMARY KEY, x text);\nSELECT pg_sleep(0.3);\nALTER TABLE a ADD COLUMN y text;\n",
    )
    made.write("i", "-- lockgate: transaction=off\nCREATE INDEX CONCURRENTLY a_x ON a (x);\n")
    return made


def up(project, monkeypatch):
    """One run in this process."""
    monkeypatch.chdir(project.root)
    settings = load(None)
    with Alarm() as alarm:
        return _run(project, settings, alarm)


def _run(project, settings, alarm):
    run = Run(
        Target(project.environ["DATABASE_URL"], source="test"), read_files(settings), settings,
        Limits.of(settings.migrations), new_identity("up"), Log(), alarm,
    )  # fmt: skip
    return run.up()


def tree(spans):
    """(name of the parent, name) of every span, in the order of their begin."""
    names = {span.context.span_id: span.name for span in spans}
    ordered = sorted(spans, key=lambda span: (span.start_time, span.end_time * -1))
    return [(names.get(span.parent.span_id, "?") if span.parent else "", span.name) for span in ordered]


@pg
def test_run_step_statement(project, spans, monkeypatch):
    """One span a run, in it one a file, in it one a statement with its own time, kind, file and line; no text of SQL."""
    report = up(project, monkeypatch)
    found = spans()
    first, second = f"migration {FIRST + 1}_a", f"migration {FIRST + 2}_i"
    assert tree(found) == [
        ("", "lockgate up"),
        ("lockgate up", first), (first, "create"), (first, "select"), (first, "alter table"),
        ("lockgate up", second), (second, "index"),
    ]  # fmt: skip
    by_name = {span.name: span for span in found}
    seconds = {name: (s.end_time - s.start_time) / 1e9 for name, s in by_name.items()}
    assert 0.3 <= seconds["select"] <= seconds[first] <= seconds["lockgate up"]
    assert by_name["create"].end_time <= by_name["select"].start_time
    assert by_name["select"].end_time <= by_name["alter table"].start_time
    assert dict(by_name["select"].attributes)["code.line.number"] == 2
    assert by_name["lockgate up"].attributes["lockgate.run.id"] == report.run_id
    assert by_name["lockgate up"].attributes["lockgate.applied"] == 2
    assert "pg_sleep" not in str([dict(s.attributes) for s in found])


@pg
def test_what_failed(project, spans, monkeypatch):
    """The statement that failed bears its SQLSTATE, and file and run are marked as failed with it."""
    project.write("bad", "CREATE TABLE b ();\nALTER TABLE nowhere ADD COLUMN x int;\n")
    with pytest.raises(RunFailed):
        up(project, monkeypatch)
    failed = {s.name: dict(s.attributes) for s in spans() if not s.status.is_ok}
    assert set(failed) == {"lockgate up", f"migration {FIRST + 3}_bad", "alter table"}
    assert failed["alter table"]["db.response.status_code"] == "42P01"
    assert failed["lockgate up"]["error.type"] == "MIGRATION_EXECUTION_FAILED"


def test_nothing_is_loaded():
    """Without the variables neither the command line nor a run imports opentelemetry."""
    code = (
        "import sys, lockgate.cli.main, lockgate.cli.up, lockgate.release.up, lockgate.migrations.apply, lockgate.gate;"
        "print([m for m in sys.modules if m.startswith('opentelemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture
def collector():
    """(URL, requests): a collector that takes traces by OTLP over HTTP."""
    taken = []

    class Taking(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            kinds = {"/v1/traces": ExportTraceServiceRequest, "/v1/metrics": ExportMetricsServiceRequest}
            request = kinds[self.path]()
            data = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                import gzip

                data = gzip.decompress(data)
            request.ParseFromString(data)
            taken.append(request)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Taking)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", taken
    server.shutdown()
    server.server_close()
    thread.join()


@pg
def test_the_command_sends_them(project, collector):
    """With an endpoint set, `up` hands its spans over before it ends, under the parent that CI named; stdout stays JSON."""
    url, taken = collector
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    project.ok(
        "up", "up", OTEL_EXPORTER_OTLP_ENDPOINT=url, TRACEPARENT=parent, OTEL_SERVICE_NAME="shop-migrate"
    )
    resources = [r for request in taken for r in request.resource_spans]
    names = {a.key: a.value.string_value for a in resources[0].resource.attributes}
    assert names["service.name"] == "shop-migrate"
    sent = [span for r in resources for scope in r.scope_spans for span in scope.spans]
    assert {span.name for span in sent} >= {"lockgate up", "create", "select", "index"}
    assert {span.trace_id.hex() for span in sent} == {"0af7651916cd43dd8448eb211c80319c"}


@pg
def test_a_release_is_run_step_file_and_statement(project, collector, database):
    """The spans of a release: in it each of its steps, in the migration step each file, in a file each statement."""
    url, taken = collector
    project.configure('[env.production]\nurl_env = "PRODUCTION_URL"\n')
    project.environ = {"PRODUCTION_URL": database, "OTEL_EXPORTER_OTLP_ENDPOINT": url}
    project.ok("release", "release", "--sha", "5" * 40, "--env", "production")
    sent = [x for request in taken for r in request.resource_spans for scope in r.scope_spans for x in scope.spans]  # fmt: skip
    by_id = {span.span_id: span for span in sent}

    def path(span):
        above = by_id.get(span.parent_span_id)
        return (*path(above), span.name) if above is not None else (span.name,)

    paths = {path(span) for span in sent}
    file = f"migration {FIRST + 1}_a"
    migrate = next(p for p in paths if p[-1] == "alter table")
    assert (migrate[0], migrate[1], migrate[-2:]) == (
        "lockgate release",
        "step migrate",
        (file, "alter table"),
    )
    assert {p[1] for p in paths if len(p) == 2 and p[0] == "lockgate release"} == {f"step {s.name}" for s in STEPS}  # fmt: skip
    (root,) = (span for span in sent if path(span) == ("lockgate release",))
    assert {a.key: a.value.string_value for a in root.attributes}["lockgate.release.sha"] == "5" * 40


@pg
def test_no_run_fails_for_want_of_spans(project):
    """A collector that is not there, or an exporter nobody knows, costs a note and no more."""
    lost = project.run("up", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1", OTEL_EXPORTER_OTLP_TIMEOUT="1")
    assert lost.code == 0, lost.err
    odd = project.run("status", OTEL_TRACES_EXPORTER="pigeon")
    assert odd.code == 0
    assert "pigeon" in odd.err


@pg
def test_figures_by_otlp(project, collector):
    """`metrics --otlp` sends what the exposition has, names dotted, once; a collector that is not there is exit 69."""
    url, taken = collector
    assert project.run("up").code == 0
    project.ok("metrics", "metrics", "--otlp", OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=f"{url}/v1/metrics")
    (request,) = taken
    sent = {m.name: m for r in request.resource_metrics for scope in r.scope_metrics for m in scope.metrics}
    (runs,) = sent["lockgate.migration_runs"].sum.data_points
    assert sent["lockgate.migration_runs"].sum.is_monotonic
    assert runs.as_double == 1
    assert {a.key: a.value.string_value for a in runs.attributes} == {
        "deployment.environment.name": "default", "outcome": "succeeded", "reason": "",
    }  # fmt: skip
    assert sent["lockgate.migration_duration_seconds.count"].sum.data_points[0].as_int == 2
    assert sent["lockgate.up"].gauge.data_points[0].as_double == 1
    lost = project.json(
        "metrics", "--otlp", OTEL_EXPORTER_OTLP_METRICS_ENDPOINT="http://127.0.0.1:1/v1/metrics"
    )
    assert lost.error("UNREACHABLE")["exitCode"] == 69
