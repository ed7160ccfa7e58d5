"""The parts: each yields (what was checked, the problems found)."""

import json
import subprocess
import tempfile
import threading
import time
from collections import defaultdict

from . import compare, object_store, tools, trusted
from .compaction import Compaction
from .daemon import Daemon

TABLE_SECONDS = 30
TABLES_SECONDS_MAX = 480

# Everything that carries an error is kept, and a quarter of the rest: the reader works out which from the trace ids.
RULES_QUARTER = """version: 1
decision: { wait: 2s, after_root: 500ms }
rules:
  - { name: errors, when: '{ status = error }', keep: 100% }
  - { name: quarter, keep: 25% }
"""

# The daemon expires every hour, and deletes files an hour after they left the table: with its clock so much faster both
# happen while engines read. The durations of configuration and rules are of that clock.
FASTER = 100
SECONDS_OF_CHURN = 75
CONFIG_FASTER = """store: { flush: { age: 5m } }
receive: { header_timeout: 1h, body_timeout: 1h }
shutdown: { deadline: 30m }
"""
OTHER_CLASS = "store: { flush: { age: 1s }, storage_class: REDUCED_REDUNDANCY }\n"
RULES_FASTER = """version: 1
decision: { wait: 3m, after_root: 50s }
rules:
  - { name: brief, when: '{ span.http.route = "/brief" }', keep: 100%, retention: brief }
  - { name: errors, when: '{ status = error }', keep: 100%, retention: errors }
  - { name: quarter, keep: 25% }
retention: { default: 3d, errors: 30d, brief: 1s }
"""


def python():
    """OpenTelemetry SDK for Python, OTLP/gRPC and OTLP/HTTP: everything sent comes back."""
    command = [tools.python(), tools.HERE / "python" / "send.py"]
    yield from round_trip("python", command, ["grpc", "http/protobuf"])


def node():
    """OpenTelemetry SDK for Node, OTLP/HTTP with protobuf and with JSON: everything sent comes back."""
    yield from round_trip("node", tools.node(), ["http/protobuf", "http/json"])


def go():
    """OpenTelemetry SDK for Go, OTLP/gRPC with gzip: everything sent comes back."""
    yield from round_trip("go", [tools.go()], ["grpc"])


def duckdb():
    """DuckDB (delta_scan) and deltalake read the table while it is written, and count what was kept."""
    interpreter = tools.python()
    with Daemon(rules=RULES_QUARTER, debug=False) as daemon:
        yield "duckdb and deltalake while the daemon writes", read_tables(interpreter, daemon)
        yield "the daemon ends in order", daemon.stop()


def spark():
    """Spark, DuckDB and deltalake read the table while it is written, expires and is compacted: none lost, none twice."""
    interpreter, environment = tools.spark()
    faster = (tools.faketime(interpreter), FASTER)
    with Daemon(rules=RULES_FASTER, config=CONFIG_FASTER, debug=False, faster=faster) as daemon:
        with Compaction(daemon) as compaction:
            yield "spark, duckdb and deltalake while spans come and go", churn(interpreter, daemon, environment)
        yield from compaction.outcome()
        yield "spark: the daemon ends in order", daemon.stop()


def minio():
    """MinIO as the object store: round trip, the same counts, lifecycle rules, encryption, storage class, versions."""
    interpreter, server = tools.python(), tools.minio()
    with object_store.Minio(server, interpreter) as minio:
        with Daemon(store=f"{minio.url}/all", env=minio.env) as daemon:
            command = [interpreter, tools.HERE / "python" / "send.py"]
            yield "minio: round trip", send_and_compare(daemon, command, "grpc")
            yield "minio: lifecycle rules", minio.lifecycle_problems()
        with Daemon(store=f"{minio.url}/quarter", env=minio.env, rules=RULES_QUARTER, debug=False) as daemon:
            yield "minio: duckdb and deltalake while the daemon writes", read_tables(interpreter, daemon, minio.env)
            yield "minio: the daemon ends in order", daemon.stop()
        minio.keep_versions()
        sealed = {**minio.env, "AWS_SERVER_SIDE_ENCRYPTION": "aws:kms", "AWS_SSE_KMS_KEY_ID": "tracewell-key"}
        with Daemon(store=f"{minio.url}/encrypted", env=sealed, config=OTHER_CLASS) as daemon:
            yield "minio: encrypted, a bucket with versions", send_and_compare(daemon, command, "grpc")
            yield "minio: key and storage class of each data file", minio.encryption_problems()


def trust():
    """OpenTelemetry SDKs for Python, Go and Node through TLS with a token, and with a client certificate; and refused."""
    with trusted.Trusted() as trusted_daemon:
        yield from trusted_daemon.checks(send_and_compare)


PARTS = {part.__name__: part for part in (python, node, go, duckdb, spark, minio, trust)}


def round_trip(name, command, protocols):
    """Each protocol against one daemon; then the daemon has to end in order."""
    with Daemon() as daemon:
        for protocol in protocols:
            yield f"{name} {protocol}", send_and_compare(daemon, command, protocol)
        yield f"{name}: the daemon ends in order", daemon.stop()


def send_and_compare(daemon, command, protocol) -> list[str]:
    """Runs a sender; what `trace show --json` does not give back as it was: first from the daemon, then from the table."""
    out = daemon.path / "sent.json"
    endpoint = daemon.endpoint(protocol)
    command = [*command, "--protocol", protocol, "--endpoint", endpoint, "--out", out]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=daemon.sender_env(), timeout=120)
    if done.returncode != 0:
        return [f"the sender failed: {done.stdout}{done.stderr}"]
    traces = defaultdict(list)
    for span in json.loads(out.read_text())["spans"]:
        traces[span["trace_id"]].append(span)
    found = []
    for trace_id, sent in traces.items():
        document = daemon.show(trace_id)
        wrong = compare.problems(sent, document) if document else [f"trace {trace_id} is not found"]
        found += [f"from the daemon: {problem}" for problem in wrong]
    for trace_id, sent in traces.items():
        found += [f"from the table: {problem}" for problem in in_table(daemon, trace_id, sent)]
    return found


def in_table(daemon, trace_id, sent) -> list[str]:
    """The same from the table alone, as soon as it is there."""
    until = time.monotonic() + TABLE_SECONDS
    while True:
        document = daemon.show(trace_id, from_table=True)
        if document:
            return compare.problems(sent, document)
        if time.monotonic() > until:
            return [f"trace {trace_id} did not come within {TABLE_SECONDS} s"]
        time.sleep(0.5)


def read_tables(interpreter, daemon, env=None) -> list[str]:
    """Sends traces over half a minute while two engines read the table, then compares counts."""
    return with_tables(interpreter, "read.py", daemon, env or {})


def churn(interpreter, daemon, env) -> list[str]:
    """The same for longer, with Spark too, while spans expire."""
    return with_tables(interpreter, "churn.py", daemon, env, "--api", daemon.api, "--seconds", SECONDS_OF_CHURN)


def with_tables(interpreter, program, daemon, env, *more) -> list[str]:
    """Runs a program of tables/; what it finds wrong."""
    command = [interpreter, tools.HERE / "tables" / program, "--store", daemon.store, "--endpoint", daemon.http, *more]
    environment = {**daemon.env, **env, "PYTHONDONTWRITEBYTECODE": "1"}
    # Engines talk on the way: what is wrong comes last.
    with tempfile.TemporaryFile("w+") as said, subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=said, text=True, env=environment
    ) as process:
        timer = threading.Timer(TABLES_SECONDS_MAX, process.kill)
        timer.start()
        for line in process.stdout:
            print(f"   {line}", end="", flush=True)
        process.wait()
        timer.cancel()
        said.seek(0)
        told = said.read().splitlines()[-15:]
    return [] if process.returncode == 0 else [*told, f"{program} ended with {process.returncode}"]
