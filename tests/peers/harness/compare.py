"""Compares what a sender wrote down with OTLP JSON, field by field."""

import base64
import json
import math
import struct

# A detector may add these to a resource.
DETECTED = {"host.name", "os.type"}


def parse(text):
    """JSON, in which -0 stays a negative zero."""
    return json.loads(text, parse_int=lambda digits: -0.0 if digits == "-0" else int(digits))


def problems(sent: list[dict], document: dict) -> list[str]:
    """What of the spans sent is not in the document as it was, and what else is."""
    found, wrong = {}, []
    for span in spans(document):
        if span["span_id"] in found:
            wrong.append(f"span {span['span_id']} is there twice")
        found[span["span_id"]] = span
    for span in map(canonical, sent):
        name = f"{span['name']} ({span['span_id']})"
        got = found.pop(span["span_id"], None)
        if got is None:
            wrong.append(f"{name} is missing")
            continue
        for key in DETECTED - span["resource"]["attributes"].keys():
            got["resource"]["attributes"].pop(key, None)
        wrong += [f"{name}{difference}" for difference in differences(span, got)]
    wrong += [f"{span['name']} ({span['span_id']}) was never sent" for span in found.values()]
    return wrong


def differences(want, got, path="") -> list[str]:
    """Paths at which two values differ, and how."""
    if isinstance(want, dict) and isinstance(got, dict):
        found = [f"{path}.{key} is lost (was {short(want[key])})" for key in want.keys() - got.keys()]
        found += [f"{path}.{key} is new ({short(got[key])})" for key in got.keys() - want.keys()]
        for key in want.keys() & got.keys():
            found += differences(want[key], got[key], f"{path}.{key}")
        return found
    if isinstance(want, list) and isinstance(got, list) and len(want) == len(got):
        return [d for index, pair in enumerate(zip(want, got)) for d in differences(*pair, f"{path}[{index}]")]
    return [] if want == got and type(want) is type(got) else [f"{path}: {short(want)} became {short(got)}"]


def short(value) -> str:
    text = repr(value)
    return text if len(text) < 120 else f"{text[:110]}… ({len(text)} characters)"


def canonical(span: dict) -> dict:
    """A sender's span with values that compare: doubles by their bits."""

    def value(of):
        kind, *rest = of
        if kind == "double":
            return [kind, bits(float(rest[0]))]
        if kind == "array":
            return [kind, [value(item) for item in rest[0]]]
        if kind == "kvlist":
            return [kind, attributes(rest[0])]
        return [kind, *rest]

    def attributes(of):
        return {key: value(v) for key, v in of.items()}

    def within(of):
        return {**of, "attributes": attributes(of["attributes"])}

    return {
        **within(span),
        "events": [within(event) for event in span["events"]],
        "links": [within(link) for link in span["links"]],
        "resource": within(span["resource"]),
        "scope": within(span["scope"]),
    }


def bits(number: float) -> str:
    return "nan" if math.isnan(number) else struct.pack(">d", number).hex()


def spans(document: dict):
    """The spans of OTLP JSON, in the sender's form."""
    for group in document.get("resourceSpans", []):
        resource = {
            "attributes": attributes(group.get("resource", {}).get("attributes")),
            "schema_url": group.get("schemaUrl", ""),
        }
        for scoped in group.get("scopeSpans", []):
            scope = scoped.get("scope", {})
            about = {
                "name": scope.get("name", ""),
                "version": scope.get("version", ""),
                "schema_url": scoped.get("schemaUrl", ""),
                "attributes": attributes(scope.get("attributes")),
            }
            for span in scoped.get("spans", []):
                yield {**read(span), "resource": {**resource, "attributes": dict(resource["attributes"])}, "scope": about}


def read(span: dict) -> dict:
    status = span.get("status") or {}
    return {
        "trace_id": span.get("traceId", ""),
        "span_id": span.get("spanId", ""),
        "parent_span_id": span.get("parentSpanId", ""),
        "trace_state": span.get("traceState", ""),
        "flags": span.get("flags", 0),
        "name": span.get("name", ""),
        "kind": span.get("kind", 0),
        "start": str(span.get("startTimeUnixNano", "0")),
        "end": str(span.get("endTimeUnixNano", "0")),
        "attributes": attributes(span.get("attributes")),
        "dropped_attributes": span.get("droppedAttributesCount", 0),
        "events": [
            {
                "name": event.get("name", ""),
                "time": str(event.get("timeUnixNano", "0")),
                "attributes": attributes(event.get("attributes")),
                "dropped_attributes": event.get("droppedAttributesCount", 0),
            }
            for event in span.get("events", [])
        ],
        "dropped_events": span.get("droppedEventsCount", 0),
        "links": [
            {
                "trace_id": link.get("traceId", ""),
                "span_id": link.get("spanId", ""),
                "trace_state": link.get("traceState", ""),
                "flags": link.get("flags", 0),
                "attributes": attributes(link.get("attributes")),
                "dropped_attributes": link.get("droppedAttributesCount", 0),
            }
            for link in span.get("links", [])
        ],
        "dropped_links": span.get("droppedLinksCount", 0),
        "status": {"code": status.get("code", 0), "message": status.get("message", "")},
    }


def attributes(of) -> dict:
    found = {}
    for attribute in of or []:
        key = attribute.get("key", "")
        if key in found:
            raise ValueError(f"the attribute {key} is there twice")
        found[key] = value(attribute.get("value"))
    return found


def value(of) -> list:
    if not of:
        return ["empty"]
    (kind, content), *more = of.items()
    if more:
        raise ValueError(f"a value of several kinds: {of}")
    match kind:
        case "stringValue":
            return ["string", content]
        case "boolValue":
            return ["bool", content]
        case "intValue":
            return ["int", str(content)]
        case "doubleValue":
            return ["double", bits(float(content))]
        case "bytesValue":
            return ["bytes", base64.b64decode(content, validate=True).hex()]
        case "arrayValue":
            return ["array", [value(item) for item in (content or {}).get("values", [])]]
        case "kvlistValue":
            return ["kvlist", attributes((content or {}).get("values"))]
    raise ValueError(f"a value of an unknown kind: {kind}")
