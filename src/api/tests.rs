#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, StatusCode};
use opentelemetry_proto::tonic::trace::v1::TracesData;
use prost::Message;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::*;
use crate::query::tests::fixtures::*;
use crate::query::{FACTS_HEADER, PinDocument, PinOutcome, TraceFacts};
use crate::runtime::Tenant;
use crate::sample::LiveState;
use crate::wire::TraceId;

struct FakeAdmin;

impl Admin for FakeAdmin {
    fn ready(&self) -> Result<(), String> {
        Err("the log is being replayed".into())
    }

    fn status(&self, _: Option<&Tenant>) -> Value {
        json!({"state": "starting"})
    }

    fn metrics(&self, _: Option<&Tenant>) -> String {
        "# EOF\n".into()
    }
}

/// Pins trace 1, unless for longer than a day.
struct FakePins;

impl Pins for FakePins {
    fn pin(
        &self,
        _: Tenant,
        trace_id: TraceId,
        keep_for: Option<Duration>,
    ) -> BoxFuture<'_, Result<PinDocument, PinError>> {
        let rescued = PinDocument {
            trace_id: trace_id.to_string(),
            outcome: PinOutcome::Rescued,
            rule: "pin".into(),
            retention: "pinned".into(),
            retention_seconds: Some(86_400),
            dropped_by: Some("baseline".into()),
            spans: Some(2),
            complete: true,
        };
        let answer = match keep_for {
            _ if trace_id.to_string() != ID => Err(PinError::NotFound),
            Some(asked) if asked > Duration::from_secs(86_400) => {
                Err(PinError::TooLong("a day at most".into()))
            }
            _ => Ok(rescued),
        };
        async move { answer }.boxed()
    }
}

fn api(world: &World) -> Api {
    Api::new(world.engine.clone(), Arc::new(FakeAdmin), Arc::new(FakePins), ApiConfig::default())
}

async fn get_as(world: &World, path: &str, accept: &str) -> (StatusCode, Vec<u8>) {
    let request = Request::get(path).header("accept", accept).body(Body::empty()).unwrap();
    let response = api(world).router().oneshot(request).await.unwrap();
    let status = response.status();
    (status, to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec())
}

async fn get(world: &World, path: &str) -> (StatusCode, String) {
    let (status, body) = get_as(world, path, "*/*").await;
    (status, String::from_utf8(body).unwrap())
}

async fn json(world: &World, path: &str) -> Value {
    let (status, body) = get(world, path).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    serde_json::from_str(&body).unwrap()
}

fn world() -> World {
    let world = World::new();
    let root = with(span(1, 1, 0, 0, 1_500 * MS), &[text("http.route", "/x y")]);
    world.log(&request("cart", vec![root, failed(span(1, 2, 1, 5, 7))]), LiveState::Pending);
    world
}

const ID: &str = "01010101010101010101010101010101";

#[tokio::test(flavor = "multi_thread")]
async fn search_answers_in_tempos_shape() {
    let world = world();
    let expected = json!({
        "traces": [{
            "traceID": ID,
            "rootServiceName": "cart",
            "rootTraceName": "span 1",
            "startTimeUnixNano": "1795244400000000000",
            "durationMs": 1500,
            "spanSet": {
                "spans": [{
                    "spanID": "0202020202020202",
                    "name": "span 2",
                    "startTimeUnixNano": "1795244400000000005",
                    "durationNanos": "7",
                    "attributes": [{"key": "status", "value": {"stringValue": "error"}}],
                }],
                "matched": 1,
            },
            "spanSets": [{
                "spans": [{
                    "spanID": "0202020202020202",
                    "name": "span 2",
                    "startTimeUnixNano": "1795244400000000005",
                    "durationNanos": "7",
                    "attributes": [{"key": "status", "value": {"stringValue": "error"}}],
                }],
                "matched": 1,
            }],
            "serviceStats": {"cart": {"spanCount": 2, "errorCount": 1}},
        }],
        "metrics": {"inspectedTraces": 1, "inspectedSpans": "2", "completedJobs": 1, "totalJobs": 1},
    });
    assert_eq!(json(&world, "/api/search?q=%7Bstatus%3Derror%7D").await, expected);
    let old = "/api/search?tags=service.name%3Dcart%20error%3Dtrue&minDuration=1s&maxDuration=2s&limit=3";
    assert_eq!(json(&world, old).await["traces"][0]["traceID"], ID);
    let quoted = "/api/search?tags=http.route%3D%22%2Fx%20y%22";
    assert_eq!(json(&world, quoted).await["traces"][0]["traceID"], ID);
    let nothing = json(&world, "/api/search?q=%7Bname%3D%22none%22%7D").await;
    assert_eq!(nothing["traces"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_search_document_is_stable() {
    let (_, body) = get_as(&world(), "/api/search", crate::query::FIND_MEDIA_TYPE).await;
    let expected = json!({
        "traces": [{
            "traceId": ID,
            "startTime": "2026-11-21T07:00:00Z",
            "startTimeUnixNano": "1795244400000000000",
            "durationNano": 1_500_000_000,
            "rootService": "cart",
            "rootName": "span 1",
            "spanCount": 2,
            "errorCount": 1,
            "matchedCount": 2,
            "services": {"cart": {"spanCount": 2, "errorCount": 1}},
            "rule": null,
            "retention": null,
        }],
        "complete": true,
        "inspectedTraces": 1,
        "inspectedSpans": 2,
    });
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_searches_are_refused_with_words() {
    let world = World::new();
    for (path, words) in [
        ("/api/search?q=%7B%20status%20%3D%20%7D", "invalid TraceQL query: line 1, column 12: "),
        ("/api/search?limit=0", "invalid limit: "),
        ("/api/search?limit=-1", "invalid limit: "),
        ("/api/search?start=10&end=10", "invalid end: "),
        ("/api/search?start=10", "invalid start: "),
        ("/api/search?start=x&end=10", "invalid start: "),
        ("/api/search?q=%7B%7D&tags=a%3Db", "invalid q: "),
        ("/api/search?tags=novalue", "invalid tags: "),
        ("/api/search?tags=a%3D%22open", "invalid tags: "),
        ("/api/search?minDuration=5", "invalid minDuration: "),
        ("/api/traces/xyz", "invalid trace id: `x` is not a hexadecimal digit"),
    ] {
        let (status, body) = get(&world, path).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path:.60}");
        assert!(body.starts_with(words), "{path:.60}: {body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_comes_in_the_form_asked_for() {
    let world = world();
    let v1 = json(&world, &format!("/api/traces/{ID}")).await;
    let span = &v1["batches"][0]["scopeSpans"][0]["spans"][0];
    assert_eq!(span["traceId"], "AQEBAQEBAQEBAQEBAQEBAQ==");
    assert_eq!(span["kind"], "SPAN_KIND_SERVER");
    let v2 = json(&world, &format!("/api/v2/traces/{ID}")).await;
    assert_eq!(v2["trace"]["resourceSpans"], v1["batches"]);
    assert_eq!(v2.as_object().unwrap().len(), 1);

    let otlp = json(&world, &format!("/api/traces/{}?format=otlp", &ID[1..])).await;
    assert_eq!(otlp["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["traceId"], ID);
    let (_, by_accept) = get_as(&world, &format!("/api/v2/traces/{ID}"), OTLP_JSON_MEDIA_TYPE).await;
    assert_eq!(serde_json::from_slice::<Value>(&by_accept).unwrap(), otlp);

    let (_, protobuf) = get_as(&world, &format!("/api/traces/{ID}"), "application/protobuf").await;
    let trace = TracesData::decode(&protobuf[..]).unwrap();
    assert_eq!(trace.resource_spans[0].scope_spans[0].spans.len(), 2);
    let (_, v2) = get_as(&world, &format!("/api/v2/traces/{ID}"), "application/protobuf").await;
    // Field 1 of the answer is the trace.
    assert_eq!((v2[0], &v2[v2.len() - protobuf.len()..]), (0x0a, &protobuf[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_that_is_not_there_is_404_in_v1_and_empty_in_v2() {
    let world = World::new();
    assert_eq!(get(&world, "/api/traces/1").await.0, StatusCode::NOT_FOUND);
    assert_eq!(json(&world, "/api/v2/traces/1").await, json!({"trace": {"resourceSpans": []}}));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_of_a_trace_travels_in_a_header_and_in_our_own_json() {
    let world = World::new();
    world.record(&Tenant::default(), &request("cart", vec![span(1, 1, 0, 0, SECOND)]));
    let dropped = crate::sample::Verdict {
        keep: false,
        rule: "größe".into(),
        rules_version: 3,
        ..crate::sample::Verdict::clone(&verdict())
    };
    world.remember(&Tenant::default(), trace_id(1), dropped);
    let facts = json!({
        "sources": ["recorder"],
        "decision": "dropped",
        "rule": "größe",
        "rulesVersion": 3,
        "retention": null,
        "complete": true,
    });
    for path in ["/api/traces/", "/api/v2/traces/"] {
        let request = Request::get(format!("{path}{ID}")).body(Body::empty()).unwrap();
        let response = api(&world).router().oneshot(request).await.unwrap();
        let header = response.headers()[FACTS_HEADER].to_str().unwrap().to_owned();
        assert_eq!(serde_json::from_str::<Value>(&header).unwrap(), facts);
        assert_eq!(TraceFacts::from_header(&header).unwrap().rule.as_deref(), Some("größe"));
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let tempo: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(tempo.as_object().unwrap().len(), 1, "Tempo's shape stays: {tempo}");
        let otlp = json(&world, &format!("{path}{ID}?format=otlp")).await;
        assert_eq!(otlp["tracewell"], facts);
        assert_eq!(otlp["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_is_a_post_and_says_what_it_did() {
    let world = World::new();
    let post = async |path: String, site: &str| {
        let request = Request::post(path).header("sec-fetch-site", site).body(Body::empty()).unwrap();
        let response = api(&world).router().oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    };
    let pin = format!("/api/traces/{ID}/pin");
    let (status, body) = post(format!("{pin}?for=24h"), "none").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let expected = json!({
        "traceId": ID,
        "outcome": "rescued",
        "rule": "pin",
        "retention": "pinned",
        "retentionSeconds": 86_400,
        "droppedBy": "baseline",
        "spans": 2,
        "complete": true,
    });
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), expected);
    let too_long = post(format!("{pin}?for=2d"), "none").await;
    assert_eq!(too_long, (StatusCode::CONFLICT, "a day at most\n".into()));
    assert_eq!(post("/api/traces/2/pin".into(), "none").await.0, StatusCode::NOT_FOUND);
    let (status, body) = post(format!("{pin}?for=soon"), "none").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(body.starts_with("invalid for: `soon` is not a duration"), "{body}");
    assert_eq!(post("/api/traces/xyz/pin".into(), "none").await.0, StatusCode::BAD_REQUEST);
    assert_eq!(post(pin.clone(), "cross-site").await.0, StatusCode::FORBIDDEN);
    assert_eq!(get(&world, &pin).await.0, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_get_their_answers() {
    let world = World::new();
    assert_eq!(get(&world, "/api/echo").await, (StatusCode::OK, "echo".into()));
    assert_eq!(get(&world, "/healthz").await.0, StatusCode::OK);
    let (status, reason) = get(&world, "/ready").await;
    assert_eq!(
        (status, reason.as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "not ready: the log is being replayed\n")
    );
    assert_eq!(json(&world, "/status").await, json!({"state": "starting"}));
    assert_eq!(get(&world, "/metrics").await.1, "# EOF\n");
    assert_eq!(json(&world, "/api/status/buildinfo").await["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(get(&world, "/nowhere").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_listener_speaks_both_versions_of_http_and_stops_when_told() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let world = World::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/api/echo", listener.local_addr().unwrap());
    let (api, stop) = (api(&world), CancellationToken::new());
    let stopped = stop.clone();
    let server = tokio::spawn(async move { api.serve(listener, stopped).await });

    let http1 = reqwest::Client::builder().no_proxy().build().unwrap();
    let http2 = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    for (client, version) in [(&http1, http::Version::HTTP_11), (&http2, http::Version::HTTP_2)] {
        let response = client.get(&url).send().await.unwrap();
        assert_eq!(response.version(), version);
        assert_eq!(response.text().await.unwrap(), "echo");
        // The longest URL there is arrives, to be refused by its own words.
        let long = url.replace("echo", "search?q=") + &"%7B".repeat(21 * 1024);
        assert_eq!(client.get(long).send().await.unwrap().status(), StatusCode::BAD_REQUEST);
    }
    // Both clients keep their connections open; idle ones do not hold up the end.
    stop.cancel();
    tokio::time::timeout(std::time::Duration::from_secs(5), server).await.unwrap().unwrap();
    assert!(http1.get(&url).send().await.is_err());
}

#[test]
fn a_query_that_is_too_long_is_refused_before_it_is_parsed() {
    let long = format!("q=%7B%7D{}", "%20".repeat(128 * 1024));
    let error = Params::parse(Some(&long)).search(20, 1_000).unwrap_err();
    assert_eq!(error.to_string(), "invalid TraceQL query: it has 131074 bytes, at most 131072 are taken");
}
