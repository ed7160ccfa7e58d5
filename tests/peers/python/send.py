"""Sends traces with the OpenTelemetry SDK for Python and writes down, from the SDK's own span objects, what it sent."""

import argparse
import json
import time

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

HAS_IS_REMOTE, IS_REMOTE = 0x100, 0x200
ATTRIBUTES_MAX = 40

# Every type of attribute that the SDK lets pass.
EVERY_TYPE = {
    "string": "text",
    "string.empty": "",
    "string.unicode": "žluťoučký kůň 雨傘 🦀 \u0000 \" \\ \n",
    "string.long": "x" * 10_000,
    "bool.true": True,
    "bool.false": False,
    "int": 42,
    "int.zero": 0,
    "int.negative": -7,
    "int.beyond.2^53": 2**53 + 1,
    "int.max": 2**63 - 1,
    "int.min": -(2**63),
    "double": 3.141592653589793,
    "double.whole": 1.0,
    "double.tiny": 5e-324,
    "double.huge": 1.7976931348623157e308,
    "double.negative.zero": -0.0,
    "double.infinity": float("inf"),
    "double.nan": float("nan"),
    "array.string": ["a", "", "雨傘"],
    "array.bool": [True, False],
    "array.int": [1, -1, 2**53 + 1],
    "array.double": [0.5, -2.0, 1e300],
    "array.empty": [],
    "bytes": bytes(range(256)),
    "ключ": "a key that is not ASCII",
    "http.route": "/login",
    "http.response.status_code": 404,
    "db.system.name": "postgresql",
}


class WritesDown(SpanExporter):
    """Hands spans on to the real exporter, and remembers those it took."""

    def __init__(self, exporter):
        self.exporter, self.spans = exporter, []

    def export(self, spans):
        result = self.exporter.export(spans)
        if result is not SpanExportResult.SUCCESS:
            raise SystemExit(f"export failed: {result}")
        self.spans.extend(spans)
        return result

    def shutdown(self):
        self.exporter.shutdown()


def value(v):
    if v is None:
        return ["empty"]
    if isinstance(v, bool):
        return ["bool", v]
    if isinstance(v, str):
        return ["string", v]
    if isinstance(v, int):
        return ["int", str(v)]
    if isinstance(v, float):
        return ["double", repr(v)]
    if isinstance(v, bytes):
        return ["bytes", v.hex()]
    if hasattr(v, "items"):
        return ["kvlist", attributes(v)]
    return ["array", [value(item) for item in v]]


def attributes(of):
    return {key: value(v) for key, v in (of or {}).items()}


def flags(context):
    """The exporter tells remoteness only, not the W3C flags."""
    return HAS_IS_REMOTE | (IS_REMOTE if context is not None and context.is_remote else 0)


def written(span):
    context, scope = span.get_span_context(), span.instrumentation_scope
    return {
        "trace_id": f"{context.trace_id:032x}",
        "span_id": f"{context.span_id:016x}",
        "parent_span_id": f"{span.parent.span_id:016x}" if span.parent else "",
        "trace_state": context.trace_state.to_header(),
        "flags": flags(span.parent),
        "name": span.name,
        "kind": span.kind.value + 1,
        "start": str(span.start_time),
        "end": str(span.end_time),
        "attributes": attributes(span.attributes),
        "dropped_attributes": span.dropped_attributes,
        "events": [
            {
                "name": event.name,
                "time": str(event.timestamp),
                "attributes": attributes(event.attributes),
                "dropped_attributes": event.dropped_attributes,
            }
            for event in span.events
        ],
        "dropped_events": span.dropped_events,
        "links": [
            {
                "trace_id": f"{link.context.trace_id:032x}",
                "span_id": f"{link.context.span_id:016x}",
                "trace_state": "",  # The exporter does not send it.
                "flags": flags(link.context),
                "attributes": attributes(link.attributes),
                "dropped_attributes": link.dropped_attributes,
            }
            for link in span.links
        ],
        "dropped_links": span.dropped_links,
        "status": {"code": span.status.status_code.value, "message": span.status.description or ""},
        "resource": {"attributes": attributes(span.resource.attributes), "schema_url": span.resource.schema_url},
        "scope": {
            "name": scope.name,
            "version": scope.version or "",
            "schema_url": scope.schema_url or "",
            "attributes": attributes(scope.attributes),
        },
    }


def remote_parent():
    state = TraceState([("congo", "t61rcWkgMzE"), ("rojo", "00f067aa0ba902b7")])
    ids = trace.get_tracer_provider().id_generator
    context = SpanContext(ids.generate_trace_id(), ids.generate_span_id(), True, TraceFlags(1), state)
    return trace.set_span_in_context(NonRecordingSpan(context))


def tell(provider):
    """Two traces: one whose parent is elsewhere, and one with a root that links to it."""
    scope_attributes = {"scope.string": "s", "scope.int": 2**53 + 1, "scope.array": ["a", "b"]}
    one = provider.get_tracer("peer.scope.one", "1.2.3", "https://opentelemetry.io/schemas/1.36.0", scope_attributes)
    two = provider.get_tracer("peer.scope.two")

    with one.start_as_current_span("away", context=remote_parent(), kind=SpanKind.SERVER, attributes=EVERY_TYPE) as away:
        away.add_event("every type", EVERY_TYPE)
        away.add_event("none", {}, timestamp=time.time_ns() - 5)
        for kind in SpanKind:
            with two.start_as_current_span(f"kind {kind.name} — ünïcode", kind=kind) as child:
                child.set_attribute("kind", kind.name)
        try:
            with one.start_as_current_span("fails"):
                raise ValueError("broken on purpose: „quotes“\nand lines")
        except ValueError:
            pass
        with two.start_as_current_span("fine") as fine:
            fine.set_status(Status(StatusCode.OK))
        with two.start_as_current_span("too much") as much:
            much.set_attributes({f"k{n}": n for n in range(ATTRIBUTES_MAX + 7)})

    links = [Link(away.get_span_context(), EVERY_TYPE), Link(remote_link(), {})]
    with one.start_as_current_span("root", kind=SpanKind.CONSUMER, links=links) as root:
        deep(two, 30)
        root.set_status(Status(StatusCode.ERROR, "gave up"))
    instant = two.start_span("instant", start_time=time.time_ns() - 123_456_789)
    instant.end(instant.start_time)


def remote_link():
    return SpanContext(2**127 + 5, 2**63 + 9, True, TraceFlags(0), TraceState())


def deep(tracer, levels):
    with tracer.start_as_current_span(f"level {levels}"):
        if levels > 1:
            deep(tracer, levels - 1)


def exporter(protocol, endpoint):
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        return OTLPSpanExporter(endpoint=endpoint, insecure=endpoint.startswith("http://"))
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--protocol", choices=["grpc", "http/protobuf"], required=True)
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()

    resource = Resource.create(
        {"service.name": "peer-python", "service.version": "1.0", "r.int": 2**53 + 1, "r.double": 0.1, "r.bool": True,
         "r.array": ["x", "雨傘"], "r.unicode": "žluť"},
        "https://opentelemetry.io/schemas/1.37.0",
    )
    remembers = WritesDown(exporter(args.protocol, args.endpoint))
    provider = TracerProvider(resource=resource, span_limits=SpanLimits(max_span_attributes=ATTRIBUTES_MAX))
    provider.add_span_processor(SimpleSpanProcessor(remembers))
    trace.set_tracer_provider(provider)
    tell(provider)
    provider.shutdown()
    with open(args.out, "w", encoding="utf-8") as out:
        json.dump({"spans": [written(span) for span in remembers.spans]}, out, ensure_ascii=False, indent=1)


if __name__ == "__main__":
    main()
