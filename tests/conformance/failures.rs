//! What a request gets that is not taken.

use std::io::Write;
use std::time::Duration;

use super::peer::{ALL, BINARY, HTTP, Sent, Way};
use super::{Server, encoded, sample, traffic};
use crate::support::traffic::Shape;

const INVALID_ARGUMENT: i32 = 3;
const RESOURCE_EXHAUSTED: i32 = 8;
const UNIMPLEMENTED: i32 = 12;
const UNAVAILABLE: i32 = 14;
const PERMISSION_DENIED: i32 = 7;
const UNAUTHENTICATED: i32 = 16;

#[tokio::test(flavor = "multi_thread")]
async fn bad_data_is_400_with_bad_request_details() {
    let server = Server::start("{}");
    let bad = |way| match way {
        Way::Json => br#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":5}]}]}]}"#.to_vec(),
        _ => encoded(way, &sample(1))[..100].to_vec(),
    };
    for way in ALL {
        let got = server.send(way, &Sent::body(bad(way))).await;
        let failure = got.failure.unwrap();
        assert_eq!(
            (got.http, failure.code),
            (if way == Way::Grpc { 200 } else { 400 }, INVALID_ARGUMENT),
            "{way:?}"
        );
        assert_eq!(failure.details, ["BadRequest"], "{way:?}");
        assert!(!failure.message.is_empty() && got.retry_after.is_none(), "{way:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_4xx_has_a_status_in_the_requests_encoding() {
    let server = Server::start("{}");
    for way in HTTP {
        let good = Sent::body(encoded(way, &sample(1)));
        for (status, sent) in [
            (404, Sent { path: "/v1/spans", ..good.clone() }),
            (405, Sent { method: "PUT", ..good.clone() }),
            (415, Sent { encoding: Some("br"), ..good.clone() }),
            (400, Sent { encoding: Some("gzip"), ..good.clone() }),
        ] {
            let got = server.send(way, &sent).await;
            assert_eq!(got.http, status, "{way:?} {sent:?}");
            assert!(got.failure.is_some_and(|failure| !failure.message.is_empty()), "{way:?} {status}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_method_is_405_and_says_which_is_right() {
    let server = Server::start("{}");
    for method in ["PUT", "DELETE", "PATCH"] {
        let got = server.send(Way::Protobuf, &Sent { method, ..Sent::body("") }).await;
        assert_eq!((got.http, got.allow.as_deref()), (405, Some("POST")), "{method}");
    }
    let got = server.send(Way::Grpc, &Sent { path: "/opentelemetry.Nothing/Export", ..Sent::body("") }).await;
    assert_eq!(got.code, UNIMPLEMENTED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_content_type_is_415() {
    let server = Server::start("{}");
    for content_type in ["text/plain", "application/xml", ""] {
        let sent = Sent { content_type: Some(content_type), ..Sent::body("{}") };
        assert_eq!(server.send(Way::Json, &sent).await.http, 415, "{content_type}");
        assert_eq!(server.send(Way::Grpc, &sent).await.http, 415, "{content_type}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_the_size_limit_is_413_and_is_not_to_be_sent_again() {
    let server = Server::start("receive: { limit: 1MiB, budget: 8MiB }");
    let mut request = sample(1);
    request.resource_spans[0].scope_spans[0].spans[0]
        .attributes
        .push(traffic::text("k", &"x".repeat(2 << 20)));
    for way in ALL {
        let plain = encoded(way, &request);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(&plain).unwrap();
        // After decompression too: compressed it is far below.
        let gzip = Sent { encoding: Some("gzip"), ..Sent::body(gzip.finish().unwrap()) };
        for sent in [Sent::body(plain), gzip] {
            let got = server.send(way, &sent).await;
            let failure = got.failure.unwrap();
            assert_eq!(
                (got.http, failure.code),
                (if way == Way::Grpc { 200 } else { 413 }, RESOURCE_EXHAUSTED),
                "{way:?}"
            );
            assert!(
                !failure.details.contains(&"RetryInfo".to_owned()) && got.retry_after.is_none(),
                "{way:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_full_says_when_to_come_back_and_never_500() {
    // What is pending cannot leave the log, which is soon full.
    let folder = tempfile::tempdir().unwrap();
    let rules = "version: 1\ndecision: { wait: 10m, after_root: 10m }\nrules: [{ name: all, keep: 100% }]\n";
    let start = crate::Start::new(&folder.path().join("data")).rules(rules);
    let daemon = start.config("log: { segment: 1MiB, limit: 4MiB }").run();
    let server = Server { daemon, _folder: folder };
    let noise: String = (0..(1 << 19) / 16).map(|n| format!("{:016x}", traffic::mix(n))).collect();
    let mut refused = None;
    for number in 0..100 {
        let mut spans = traffic::trace(number, Shape::Plain, 2);
        spans[0].attributes.push(traffic::text("noise", &noise));
        let got = server
            .send(Way::Protobuf, &Sent::body(encoded(Way::Protobuf, &traffic::request(spans, "shop"))))
            .await;
        if got.http != 200 {
            refused = Some(got);
            break;
        }
    }
    let refused = refused.expect("a full log");
    assert_eq!((refused.http, refused.code), (503, UNAVAILABLE));
    for way in ALL {
        let got = server.send(way, &Sent::body(encoded(way, &sample(900)))).await;
        let failure = got.failure.unwrap();
        assert_eq!(
            (got.http, failure.code),
            (if way == Way::Grpc { 200 } else { 503 }, UNAVAILABLE),
            "{way:?}"
        );
        assert_eq!(failure.details, ["RetryInfo"], "{way:?}");
        let seconds = got.retry_after.map(|seconds| Duration::from_secs(seconds.parse().unwrap()));
        assert!(way == Way::Grpc || seconds.is_some_and(|wait| !wait.is_zero()), "{way:?}: {seconds:?}");
    }
}

/// A daemon that knows one token for reading and one for ten spans a second.
fn guarded() -> (Server, [String; 2]) {
    let folder = tempfile::tempdir().unwrap();
    let token = |scope: &str| {
        let mut command = crate::support::binary();
        command.args(["token", "new", "--json", "--name", scope, "--tenant", scope, "--scope", scope]);
        let made: serde_json::Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
        (made["token"].as_str().unwrap().to_owned(), made["entry"].to_string())
    };
    let ((reader, a), (writer, b)) = (token("read"), token("write"));
    let path = folder.path().join("credentials.yaml");
    std::fs::write(&path, format!("tokens:\n  - {a}\n  - {b}\n")).unwrap();
    let config = format!(
        "auth: {{ credentials: {} }}\nlimits: {{ default: {{ spans_per_second: 10 }} }}\n",
        path.display()
    );
    let daemon = crate::Start::new(&folder.path().join("data")).config(&config).run();
    (Server { daemon, _folder: folder }, [reader, writer])
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_unknown_gets_401_who_may_not_403_and_who_sends_too_much_429() {
    let (server, [reader, writer]) = guarded();
    let send = async |way: Way, token: &str, spans: usize| {
        let headers = vec![("authorization", format!("Bearer {token}"))];
        let spans = traffic::trace(1, Shape::Plain, spans);
        let body = encoded(way, &traffic::request(spans, "shop"));
        server.send(way, &Sent { headers, ..Sent::body(body) }).await
    };
    let is = |got: &super::Got, way: Way, http: u16, code: i32| {
        let failure = got.failure.as_ref().expect("a google.rpc.Status");
        assert_eq!((got.http, failure.code), (if way == Way::Grpc { 200 } else { http }, code), "{way:?}");
        assert!(!failure.message.is_empty(), "{way:?}");
    };
    for way in ALL {
        is(&send(way, "tw_nobody", 1).await, way, 401, UNAUTHENTICATED);
        let got = send(way, &reader, 1).await;
        is(&got, way, 403, PERMISSION_DENIED);
        assert!(got.retry_after.is_none(), "nothing of that gets better by waiting");
    }
    assert_eq!(send(Way::Protobuf, &writer, 2000).await.http, 200);
    for way in ALL {
        let got = send(way, &writer, 1).await;
        is(&got, way, 429, UNAVAILABLE);
        assert_eq!(got.failure.unwrap().details, ["RetryInfo"], "{way:?}");
        let seconds = got.retry_after.map(|seconds| seconds.parse::<u64>().expect("seconds"));
        assert!(
            way == Way::Grpc || seconds.is_some_and(|seconds| (1..=60).contains(&seconds)),
            "{seconds:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_compression_is_refused_and_names_those_that_are_known() {
    let server = Server::start("{}");
    for way in ALL {
        let got = server.send(way, &Sent { encoding: Some("br"), ..Sent::body("x") }).await;
        let expected = (if way == Way::Grpc { 200 } else { 415 }, UNIMPLEMENTED);
        assert_eq!((got.http, got.code), expected, "{way:?}");
        assert!(got.failure.unwrap().message.contains("gzip, zstd, deflate, snappy, lz4"), "{way:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_nested_deep_is_taken_and_one_too_deep_is_a_clean_400() {
    let server = Server::start("{}");
    for (depth, code) in [(30, 0), (500, INVALID_ARGUMENT), (20_000, INVALID_ARGUMENT)] {
        let json = format!(
            r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"k","value":{}{}{}}}]}}}}]}}"#,
            r#"{"arrayValue":{"values":["#.repeat(depth),
            r#"{"boolValue":true}"#,
            "]}}".repeat(depth)
        );
        assert_eq!(server.send(Way::Json, &Sent::body(json)).await.code, code, "{depth} deep");
        // The same as protobuf: an AnyValue (2) in an ArrayValue (5) in an AnyValue.
        let field = |number: u8, content: Vec<u8>| {
            let mut out = vec![number << 3 | 2];
            prost::encoding::encode_varint(content.len() as u64, &mut out);
            out.extend(content);
            out
        };
        let value = (0..depth).fold(vec![0x10, 1], |value, _| field(5, field(1, value)));
        let attribute = [field(1, b"k".to_vec()), field(2, value)].concat();
        let request = field(1, field(1, field(1, attribute)));
        for way in BINARY {
            assert_eq!(
                server.send(way, &Sent::body(request.clone())).await.code,
                code,
                "{way:?} {depth} deep"
            );
        }
    }
}
