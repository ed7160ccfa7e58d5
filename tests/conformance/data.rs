//! What is valid, and what comes back of it: ids, times, flags, duplicates, OTLP's JSON.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::{Value, json};

use super::peer::{ALL, Sent, Way};
use super::{Server, encoded, sample, traffic};

fn span(request: &mut ExportTraceServiceRequest, at: usize) -> &mut Span {
    &mut request.resource_spans[0].scope_spans[0].spans[at]
}

async fn take(server: &Server, way: Way, request: &ExportTraceServiceRequest) {
    let got = server.send(way, &Sent::body(encoded(way, request))).await;
    assert_eq!((got.http, got.code, got.partial), (200, 0, None), "{way:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parent_of_zeros_means_a_root() {
    let server = Server::start("{}");
    for (at, way) in ALL.into_iter().enumerate() {
        let number = 10 + at as u64;
        let mut request = sample(number);
        span(&mut request, 0).parent_span_id = vec![0; 8];
        take(&server, way, &request).await;
        let id = traffic::hex(&traffic::trace_id(number));
        // A trace with a root is decided soon after it and is listed by the root's name.
        let found = server.daemon.search("{ rootName = \"GET /items/{id}\" }", 100).await;
        assert!(found.contains_key(&id), "{way:?}: {found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_before_its_start_and_reserved_flags_are_kept() {
    let server = Server::start("{}");
    for (at, way) in ALL.into_iter().enumerate() {
        let number = 20 + at as u64;
        let mut request = sample(number);
        let changed = span(&mut request, 1);
        (changed.start_time_unix_nano, changed.end_time_unix_nano) =
            (changed.end_time_unix_nano, changed.start_time_unix_nano);
        changed.flags = 0xffff_fd01;
        let changed = changed.clone();
        take(&server, way, &request).await;
        let spans = server.spans(&traffic::trace_id(number)).await;
        let back = spans.iter().find(|span| span["name"] == changed.name).expect("the span");
        let number = |key: &str| match &back[key] {
            Value::String(text) => text.parse::<u64>().unwrap(),
            other => other.as_u64().unwrap(),
        };
        assert_eq!(number("startTimeUnixNano"), changed.start_time_unix_nano, "{way:?}");
        assert_eq!(number("endTimeUnixNano"), changed.end_time_unix_nano, "{way:?}");
        assert_eq!(number("flags"), u64::from(changed.flags), "{way:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_is_one_span_to_a_reader() {
    let server = Server::start("{}");
    for (at, way) in ALL.into_iter().enumerate() {
        let number = 30 + at as u64;
        for _ in 0..3 {
            take(&server, way, &sample(number)).await;
        }
        assert_eq!(server.spans(&traffic::trace_id(number)).await.len(), 3, "{way:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_id_of_two_kinds_is_two_spans() {
    let server = Server::start("{}");
    for (at, way) in ALL.into_iter().enumerate() {
        // A client and its server that share an id, as Zipkin has them.
        let number = 35 + at as u64;
        let mut request = sample(number);
        let mut other = span(&mut request, 1).clone();
        (span(&mut request, 1).kind, other.kind) = (3, 2);
        request.resource_spans[0].scope_spans[0].spans.push(other);
        take(&server, way, &request).await;
        take(&server, way, &request).await;
        assert_eq!(server.spans(&traffic::trace_id(number)).await.len(), 4, "{way:?}");
    }
}

/// A request of one span in OTLP's JSON, with these fields beside its ids.
fn in_json(number: u64, fields: Value) -> Vec<u8> {
    let mut span = json!({
        "traceId": traffic::hex(&traffic::trace_id(number)),
        "spanId": "00f067aa0ba902b7",
        "name": "in JSON",
    });
    for (key, value) in fields.as_object().unwrap() {
        span[key] = value.clone();
    }
    let request = json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": [span] }] }] });
    serde_json::to_vec(&request).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn json_ids_are_hex_of_either_case() {
    let server = Server::start("{}");
    let id = traffic::hex(&traffic::trace_id(40)).to_uppercase();
    let got = server
        .send(Way::Json, &Sent::body(in_json(40, json!({ "traceId": id, "spanId": "00F067AA0BA902B7" }))))
        .await;
    assert_eq!((got.http, got.partial), (200, None));
    assert_eq!(server.spans(&traffic::trace_id(40)).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn json_numbers_of_64_bits_are_strings_or_numbers_and_enums_are_integers() {
    let server = Server::start("{}");
    let now = traffic::now_nano();
    for (number, start, end) in
        [(50, json!(now), json!(now + 7)), (51, json!(now.to_string()), json!((now + 7).to_string()))]
    {
        let fields = json!({
            "startTimeUnixNano": start, "endTimeUnixNano": end, "kind": 3, "status": { "code": 2 },
            "attributes": [{ "key": "n", "value": { "intValue": if number == 50 { json!(7) } else { json!("7") } } }],
        });
        let got = server.send(Way::Json, &Sent::body(in_json(number, fields))).await;
        assert_eq!((got.http, got.partial), (200, None));
        let spans = server.spans(&traffic::trace_id(number)).await;
        let found = server
            .daemon
            .search("{ kind = client && status = error && span.n = 7 && duration = 7ns }", 10)
            .await;
        assert!(found.contains_key(&traffic::hex(&traffic::trace_id(number))), "{spans:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn json_fields_nobody_knows_are_ignored_and_bytes_are_base64() {
    let server = Server::start("{}");
    let fields = json!({
        "someDay": { "a": [1, null, "x"] },
        "attributes": [{ "key": "raw", "value": { "bytesValue": "AAECAw==" }, "later": 1 }],
    });
    let got = server.send(Way::Json, &Sent::body(in_json(60, fields))).await;
    assert_eq!((got.http, got.partial), (200, None));
    let spans = server.spans(&traffic::trace_id(60)).await;
    assert_eq!(spans[0]["attributes"][0]["value"]["bytesValue"], "AAECAw==", "{spans:?}");
}
