"""Sends traces for a while, reads the table all the while with DuckDB and deltalake, and compares what is in it with
what the rules keep: traces with an error, and of the others those whose id is in the upper quarter (consistent
probability sampling, 25 %). Ends with 1 and says why when anything is wrong."""

import argparse
import gzip
import os
import secrets
import sys
import threading
import time
import urllib.request
from pathlib import Path

import duckdb
import duckdb_ext
from deltalake import DeltaTable, QueryBuilder
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

SECONDS = 25
REQUESTS_PER_SECOND = 8
TRACES_PER_REQUEST = 20
SPANS_PER_TRACE = 6
# Every so many traces has an error.
ERROR_EVERY = 25
PROBABILITY = 0.25
# Low 56 bits of a trace id from which on it is kept.
THRESHOLD = int((1 - PROBABILITY) * 2**56)
PATIENCE_SECONDS = 60
READS_MIN = 5

SUMS = "SELECT count(*), count(DISTINCT span_id), count(DISTINCT trace_id), sum(adjusted_count) FROM {spans}"
BY_TRACE = "SELECT trace_id, count(*) FROM {spans} GROUP BY trace_id"
TRACES = "SELECT count(DISTINCT trace_id) FROM {traces}"


class Ledger:
    """What was acknowledged, of it what the rules keep, and how many spans that stands for."""

    def __init__(self):
        self.lock = threading.Lock()
        self.sent_traces, self.kept, self.adjusted = 0, {}, 0.0
        self.number = 0

    def kept_spans(self):
        with self.lock:
            return sum(self.kept.values())


def request(ledger):
    """A request, and what of it is kept: {trace id: spans}, and its adjusted count."""
    message, kept, adjusted = ExportTraceServiceRequest(), {}, 0.0
    group = message.resource_spans.add()
    group.resource.attributes.add(key="service.name").value.string_value = "peer-table"
    scope = group.scope_spans.add()
    for _ in range(TRACES_PER_REQUEST):
        trace_id, spans = secrets.token_bytes(16), []
        ledger.number += 1
        failed = ledger.number % ERROR_EVERY == 0
        now = time.time_ns()
        for index in range(SPANS_PER_TRACE):
            span = scope.spans.add(trace_id=trace_id, span_id=secrets.token_bytes(8), name=f"step {index}", kind=2)
            span.parent_span_id = spans[0] if spans else b""
            span.start_time_unix_nano, span.end_time_unix_nano = now - 5_000_000, now - index * 1_000
            span.attributes.add(key="http.route").value.string_value = "/items"
            span.attributes.add(key="n").value.int_value = index
            spans.append(span.span_id)
        if failed:
            scope.spans[-1].status.code = 2
        if failed or int.from_bytes(trace_id[-7:], "big") >= THRESHOLD:
            kept[trace_id.hex()] = SPANS_PER_TRACE
            adjusted += SPANS_PER_TRACE * (1.0 if failed else 1 / PROBABILITY)
    return message.SerializeToString(), kept, adjusted


def send(endpoint, ledger, stop, errors):
    until = time.monotonic() + SECONDS
    try:
        while time.monotonic() < until and not stop.is_set():
            body, kept, adjusted = request(ledger)
            # Counted before it is acknowledged: a reader may see it first.
            with ledger.lock:
                ledger.sent_traces += TRACES_PER_REQUEST
                ledger.kept |= kept
                ledger.adjusted += adjusted
            headers = {"content-type": "application/x-protobuf", "content-encoding": "gzip"}
            post = urllib.request.Request(f"http://{endpoint}/v1/traces", gzip.compress(body, 1), headers)
            with urllib.request.urlopen(post, timeout=30) as answer:
                if answer.status != 200:
                    raise RuntimeError(f"HTTP {answer.status}")
            time.sleep(1 / REQUESTS_PER_SECOND)
    except Exception as error:
        errors.append(f"sending: {error!r}")


class DuckDb:
    name = "duckdb"

    def __init__(self, store):
        self.store = store
        self.connection = duckdb.connect()
        extensions = Path(next(iter(duckdb_ext.__path__)))
        for name in ["httpfs", "delta"] if store.startswith("s3://") else ["delta"]:
            found = next(extensions.rglob(f"{name}.duckdb_extension"))
            self.connection.execute(f"LOAD '{found}'")
        if store.startswith("s3://"):
            endpoint = os.environ["AWS_ENDPOINT_URL"].removeprefix("http://")
            self.connection.execute(
                f"CREATE SECRET (TYPE s3, KEY_ID '{os.environ['AWS_ACCESS_KEY_ID']}', "
                f"SECRET '{os.environ['AWS_SECRET_ACCESS_KEY']}', REGION '{os.environ['AWS_REGION']}', "
                f"ENDPOINT '{endpoint}', URL_STYLE 'path', USE_SSL false)"
            )

    def rows(self, sql):
        tables = {name: f"delta_scan('{self.store}/default/{name}')" for name in ("spans", "traces")}
        return self.connection.execute(sql.format(**tables)).fetchall()


class DeltaLake:
    name = "deltalake"

    def __init__(self, store):
        self.store = store
        self.options = {key: value for key, value in os.environ.items() if key.startswith("AWS_")}

    def rows(self, sql):
        query = QueryBuilder()
        for name in ("spans", "traces"):
            if "{" + name + "}" in sql:
                query.register(name, DeltaTable(f"{self.store}/default/{name}", storage_options=self.options))
        table = query.execute(sql.format(spans="spans", traces="traces")).read_all()
        columns = [table.column(index).to_pylist() for index in range(table.num_columns)]
        return list(zip(*columns))

    def exists(self):
        return DeltaTable.is_deltatable(f"{self.store}/default/spans", storage_options=self.options)


def read(engine, ledger, stop, errors, reads):
    """Reads until told to stop: counts only grow, no span is there twice, none that is not kept."""
    before = 0
    try:
        while not stop.is_set():
            spans, ids, _, _ = engine.rows(SUMS)[0]
            kept = ledger.kept_spans()
            if spans != ids:
                errors.append(f"{engine.name}: {spans} spans, but {ids} span ids")
            if not before <= spans <= kept:
                errors.append(f"{engine.name}: {spans} spans after {before}, while {kept} are kept")
            before = spans
            reads[engine.name] = reads.get(engine.name, 0) + 1
            time.sleep(0.2)
    except Exception as error:
        errors.append(f"{engine.name} while the daemon writes: {error!r}")


def wait(what, until):
    """Waits until it is so; whether it came to be."""
    while not until():
        if time.monotonic() > wait.deadline:
            return False
        time.sleep(0.3)
    return True


def final(engine, ledger, errors):
    """What is there when all is written."""
    complete = wait("all", lambda: engine.rows(SUMS)[0][0] >= ledger.kept_spans())
    spans, ids, traces, adjusted = engine.rows(SUMS)[0]
    by_trace = dict(engine.rows(BY_TRACE))
    told = f"{engine.name}: {spans} spans of {traces} traces, adjusted count {adjusted}"
    print(told, flush=True)
    if not complete or by_trace != ledger.kept or spans != ids:
        missing, extra = ledger.kept.keys() - by_trace.keys(), by_trace.keys() - ledger.kept.keys()
        partial = [t for t in ledger.kept.keys() & by_trace.keys() if by_trace[t] != ledger.kept[t]]
        errors.append(
            f"{engine.name}: {spans} spans ({ids} ids) instead of {ledger.kept_spans()}; "
            f"{len(missing)} traces missing, {len(extra)} that rules drop, {len(partial)} not whole"
        )
    if adjusted is None or abs(adjusted - ledger.adjusted) > 1e-6 * ledger.adjusted:
        errors.append(f"{engine.name}: adjusted counts sum up to {adjusted} instead of {ledger.adjusted}")
    if (rows := engine.rows(TRACES)[0][0]) != len(ledger.kept):
        errors.append(f"{engine.name}: {rows} traces in the traces table instead of {len(ledger.kept)}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--store", required=True)
    parser.add_argument("--endpoint", required=True, help="OTLP/HTTP, host:port")
    args = parser.parse_args()
    ledger, stop, errors, reads = Ledger(), threading.Event(), [], {}
    wait.deadline = time.monotonic() + SECONDS + PATIENCE_SECONDS

    sender = threading.Thread(target=send, args=(args.endpoint, ledger, stop, errors))
    sender.start()
    # Engines are given no table that is not there yet.
    if not wait("the table", DeltaLake(args.store).exists):
        errors.append("there is no table")
    engines = [DuckDb(args.store), DeltaLake(args.store)]
    readers = [threading.Thread(target=read, args=(engine, ledger, stop, errors, reads)) for engine in engines]
    for thread in readers if not errors else []:
        thread.start()
    sender.join()
    stop.set()
    for thread in readers:
        if thread.ident:
            thread.join()
    print(f"sent {ledger.sent_traces} traces, of them {len(ledger.kept)} kept; reads meanwhile: {reads}", flush=True)
    for engine in engines if not errors else []:
        if reads.get(engine.name, 0) < READS_MIN:
            errors.append(f"{engine.name}: only {reads.get(engine.name, 0)} reads")
        final(engine, ledger, errors)
    if errors:
        sys.exit("\n".join(errors))


if __name__ == "__main__":
    main()
