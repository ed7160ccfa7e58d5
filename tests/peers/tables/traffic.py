"""Traces for the tables, and what of them the rules keep: traces with an error, and of the others those whose id is in the
upper quarter (consistent probability sampling, 25 %); of the brief route all."""

import gzip
import secrets
import threading
import time
import urllib.request
from collections import defaultdict

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

REQUESTS_PER_SECOND = 8
TRACES_PER_REQUEST = 20
SPANS_PER_TRACE = 6
# Every so many traces has an error.
ERROR_EVERY = 25
PROBABILITY = 0.25
# Low 56 bits of a trace id from which on it is kept.
THRESHOLD = int((1 - PROBABILITY) * 2**56)
ROUTE = "/items"
ROUTE_BRIEF = "/brief"


class Ledger:
    """What was sent and of it what the rules keep, {trace id: spans}, and how many spans that stands for; both by service.
    Of each service one sampled trace and its start, Unix nanoseconds."""

    def __init__(self):
        self.lock = threading.Lock()
        self.number, self.sent_traces = 0, 0
        self.kept, self.adjusted, self.sample = defaultdict(dict), defaultdict(float), {}

    def kept_spans(self, service):
        with self.lock:
            return sum(self.kept[service].values())

    def add(self, service, kept, adjusted):
        with self.lock:
            self.sent_traces += TRACES_PER_REQUEST
            self.kept[service] |= kept
            self.adjusted[service] += adjusted


def request(ledger, service, route):
    """A request, and what of it is kept: {trace id: spans}, and its adjusted count."""
    message, kept, adjusted = ExportTraceServiceRequest(), {}, 0.0
    group = message.resource_spans.add()
    group.resource.attributes.add(key="service.name").value.string_value = service
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
            span.attributes.add(key="http.route").value.string_value = route
            span.attributes.add(key="n").value.int_value = index
            event = span.events.add(name=f"event {index}", time_unix_nano=now - 1_000_000)
            event.attributes.add(key="n").value.int_value = index
            spans.append(span.span_id)
        if failed:
            scope.spans[-1].status.code = 2
        sampled = not failed and route != ROUTE_BRIEF
        if not sampled or int.from_bytes(trace_id[-7:], "big") >= THRESHOLD:
            kept[trace_id.hex()] = SPANS_PER_TRACE
            if sampled:
                ledger.sample[service] = (trace_id.hex(), now - 5_000_000)
            adjusted += SPANS_PER_TRACE * (1 / PROBABILITY if sampled else 1.0)
    return message.SerializeToString(), kept, adjusted


def send(endpoint, ledger, services, seconds, stop, errors):
    """Sends requests for a while, of these services ({name: route}) in turn."""
    until, turns = time.monotonic() + seconds, list(services.items())
    try:
        while time.monotonic() < until and not stop.is_set():
            turns.append(turns.pop(0))
            service, route = turns[-1]
            body, kept, adjusted = request(ledger, service, route)
            # Counted before it is acknowledged: a reader may see it first.
            ledger.add(service, kept, adjusted)
            headers = {"content-type": "application/x-protobuf", "content-encoding": "gzip"}
            post = urllib.request.Request(f"http://{endpoint}/v1/traces", gzip.compress(body, 1), headers)
            with urllib.request.urlopen(post, timeout=30) as answer:
                if answer.status != 200:
                    raise RuntimeError(f"HTTP {answer.status}")
            time.sleep(1 / REQUESTS_PER_SECOND)
    except Exception as error:
        errors.append(f"sending: {error!r}")
