//! What people keep secret stays out of the log, of `/status` and of `/metrics`, however much the daemon tells.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::credentials::{World, file, token, world_with};
use super::support::Daemon;
use super::*;

/// Gives each place a secret of its own, so that what leaks says where from.
#[derive(Default)]
struct Secrets(BTreeMap<String, &'static str>);

impl Secrets {
    fn of(&mut self, place: &'static str) -> String {
        let secret = format!("Xq{:016x}", traffic::mix(self.0.len() as u64 + 77));
        self.0.insert(secret.clone(), place);
        secret
    }

    /// Nothing of it is there, as it is, in hex or in base64.
    fn are_not_in(&self, what: &str, text: &str) {
        for (secret, place) in &self.0 {
            let hex = traffic::hex(secret.as_bytes());
            // Base64 of it wherever it begins in three bytes.
            let encoded = (0..3).map(|skip| {
                let text = STANDARD.encode([&vec![b' '; skip][..], secret.as_bytes()].concat());
                text[4..20].to_owned()
            });
            for form in [secret.clone(), hex].into_iter().chain(encoded) {
                if let Some(line) = text.lines().find(|line| line.contains(&form)) {
                    panic!("{what} holds the secret of {place}: {line}");
                }
            }
        }
    }
}

/// A request with a secret wherever a sender can put one.
fn request(number: u64, secrets: &mut Secrets) -> ExportTraceServiceRequest {
    let mut spans = traffic::trace(number, Shape::Error, 2);
    let span = &mut spans[0];
    span.name = secrets.of("a span's name");
    span.trace_state = format!("vendor={}", secrets.of("tracestate"));
    span.attributes.push(traffic::text("password", &secrets.of("an attribute that is redacted")));
    span.attributes.push(traffic::text("note", &secrets.of("an attribute that is not")));
    span.attributes.push(traffic::text(&secrets.of("an attribute's key"), "x"));
    let url = format!("https://u:{}@h/?token={}", secrets.of("a URL's user"), secrets.of("a URL's query"));
    span.attributes.push(traffic::text("url.full", &url));
    span.status = Some(opentelemetry_proto::tonic::trace::v1::Status {
        message: secrets.of("a status message"),
        code: 2,
    });
    span.events = vec![Event {
        name: secrets.of("an event's name"),
        attributes: vec![traffic::text("exception.message", &secrets.of("an event's attribute"))],
        ..Event::default()
    }];
    span.links = vec![Link { trace_state: format!("v={}", secrets.of("a link")), ..Link::default() }];
    // Rejected for its id: its name is what a person would be told.
    let mut rejected = traffic::trace(number + 1, Shape::Plain, 1).remove(0);
    rejected.span_id.clear();
    rejected.attributes.push(traffic::text("token", &secrets.of("a rejected span")));
    spans.push(rejected);
    let mut request = traffic::request(spans, "shop");
    let resource = &mut request.resource_spans[0];
    let attribute = traffic::text("host.name", &secrets.of("a resource's attribute"));
    resource.resource.as_mut().unwrap().attributes.push(attribute);
    let name = secrets.of("an instrumentation scope");
    resource.scope_spans[0].scope = Some(InstrumentationScope { name, ..Default::default() });
    request
}

async fn raw(url: &str, bytes: &[u8]) {
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).await.unwrap();
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(2), stream.read_to_end(&mut answer)).await;
}

/// Requests that are taken.
async fn good(world: &World, token: &str, secrets: &mut Secrets) {
    let (http, client) = (&world.daemon.http, &world.client);
    let body = request(1, secrets).encode_to_vec();
    let sent = client.post(format!("{http}/v1/traces")).bearer_auth(token);
    let sent =
        sent.header("content-type", "application/x-protobuf").header("x-api-key", secrets.of("a header"));
    let sent = sent.header("cookie", secrets.of("a cookie")).header("baggage", secrets.of("baggage"));
    let sent =
        sent.header("user-agent", secrets.of("a user agent")).header("x-note", secrets.of("a used header"));
    assert_eq!(sent.body(body).send().await.unwrap().status(), 200);
    let body = serde_json::to_vec(&request(10, secrets)).unwrap();
    let sent =
        client.post(format!("{http}/v1/traces?key={}", secrets.of("a query of OTLP"))).bearer_auth(token);
    let sent = sent.header("content-type", "application/json").body(body).send().await.unwrap();
    assert_eq!(sent.status(), 200);
    let mut grpc = traffic::connect(&world.daemon.grpc).await.unwrap();
    let mut call = tonic::Request::new(request(20, secrets));
    call.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    call.metadata_mut().insert("x-secret", secrets.of("metadata").parse().unwrap());
    grpc.export(call).await.unwrap();
}

/// Requests that are not.
async fn bad(world: &World, token: &str, secrets: &mut Secrets) {
    let (daemon, client): (&Daemon, _) = (&world.daemon, &world.client);
    let post = async |content_type: &str, encoding: &str, body: Vec<u8>| {
        let request = client.post(format!("{}/v1/traces", daemon.http)).bearer_auth(token);
        let request = request.header("content-type", content_type).header("content-encoding", encoding);
        request.body(body).send().await.unwrap().status().as_u16()
    };
    for json in [
        format!(r#"{{"resourceSpans":"{}"}}"#, secrets.of("JSON of a wrong type")),
        format!(
            r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"traceId":"{}"}}]}}]}}]}}"#,
            secrets.of("an id that is no hex")
        ),
        format!(
            r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"kind":"{}"}}]}}]}}]}}"#,
            secrets.of("an enum")
        ),
        format!(
            r#"{{"{}":1,"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"startTimeUnixNano":"{}"}}]}}]}}]}}"#,
            secrets.of("a JSON key"),
            secrets.of("a number")
        ),
        format!(r#"{{"resourceSpans":[ {}"#, secrets.of("torn JSON")),
    ] {
        assert_eq!(post("application/json", "identity", json.into_bytes()).await, 400);
    }
    let garbage = [&[0x0a, 0x20][..], secrets.of("protobuf that is none").as_bytes()].concat();
    assert_eq!(post("application/x-protobuf", "identity", garbage.clone()).await, 400);
    assert_eq!(post("application/x-protobuf", "gzip", garbage.clone()).await, 400);
    assert_eq!(
        post(&format!("text/{}", secrets.of("a content type")), "identity", garbage.clone()).await,
        415
    );
    assert_eq!(post("application/x-protobuf", &secrets.of("an encoding"), garbage).await, 415);
    let path = format!("{}/{}?k={}", daemon.http, secrets.of("a path"), secrets.of("a query"));
    assert_eq!(client.post(path).bearer_auth(token).send().await.unwrap().status(), 404);

    // Credentials that are wrong, each in its own way.
    for shown in [
        format!("Bearer {}", secrets.of("a wrong token")),
        format!(
            "Bearer {}.{}.{}",
            STANDARD.encode(secrets.of("a web token's header")).trim_end_matches('='),
            secrets.of("a web token's claims"),
            secrets.of("a web token's signature")
        ),
        format!(
            "Basic {}",
            STANDARD.encode(format!("{}:{}", secrets.of("a user"), secrets.of("a password")))
        ),
        format!("Digest {}", secrets.of("another scheme")),
        secrets.of("no scheme"),
    ] {
        for url in [format!("{}/v1/traces", daemon.http), format!("{}/api/search", daemon.api)] {
            let request =
                client.post(url).header("authorization", &shown).header("content-type", "application/json");
            assert_eq!(request.send().await.unwrap().status(), 401, "{shown}");
        }
    }
    let named = client.post(format!("{}/v1/traces", daemon.http)).bearer_auth(token);
    let named = named.header("content-type", "application/json");
    let named = named.header("x-scope-orgid", secrets.of("another's tenant")).send().await.unwrap();
    assert_eq!(named.status(), 403);

    // Questions.
    let secret = secrets.of("a question");
    let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    for query in [
        format!("{{ span.password = \"{secret}\" }}"),
        format!("{{ span.password = \"{secret} "),
        format!("{{ {secret} }}"),
    ] {
        world.ask(&format!("/api/search?q={}", encode(&query)), token).await;
    }
    world.ask(&format!("/api/search?tags={}", encode(&format!("password={secret}"))), token).await;
    world.ask(&format!("/api/traces/{}", secrets.of("an id that is none")), token).await;
    world.ask(&format!("/api/search?{0}={0}&limit={0}&start={0}", secrets.of("a parameter")), token).await;

    // What is no request at all.
    for url in [&daemon.grpc, &daemon.http, &daemon.api] {
        let secret = secrets.of("a line that is no request");
        raw(url, format!("{secret} {secret} {secret}\r\n\r\n").as_bytes()).await;
        raw(url, format!("GET / HTTP/1.1\r\n{secret} no colon\r\n\r\n").as_bytes()).await;
        raw(
            url,
            format!("POST /v1/traces HTTP/1.1\r\nhost: x\r\nauthorization: a\0{secret}\r\n\r\n").as_bytes(),
        )
        .await;
        raw(url, format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{secret}{secret}").as_bytes()).await;
    }
    let mut grpc = traffic::connect(&daemon.grpc).await.unwrap();
    let mut call = tonic::Request::new(request(30, secrets));
    call.metadata_mut()
        .insert("authorization", format!("Bearer {}", secrets.of("a token over gRPC")).parse().unwrap());
    assert_eq!(grpc.export(call).await.unwrap_err().code(), tonic::Code::Unauthenticated);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_secret_is_told_at_the_most_talkative_level() {
    let (token, entry) = token(&["--name", "a", "--tenant", "home", "--scope", "write", "--scope", "read"]);
    let rest = "observe: { level: trace, logs: json }\nstore: { flush: { age: 500ms } }\n\
                enrich: { redact: { urls: true, values: [bearer, jwt] }, \
                actions: [{ action: upsert, key: note.of.header, from_header: x-note }] }\n";
    let rules = "version: 1\ndecision: { wait: 1s, after_root: 200ms }\nrules: [{ name: all, keep: 100% }]\n";
    let world = world_with(&file(&[&entry]), rest, |start| start.rules(rules));
    let mut secrets = Secrets::default();
    secrets.0.insert(token.clone(), "the token that is good");
    good(&world, &token, &mut secrets).await;
    bad(&world, &token, &mut secrets).await;
    eventually("they are in the table", async || {
        let status = json(&world.ask("/status", &token).await.1);
        status["store"]["spans"].as_u64().unwrap() >= 4
    })
    .await;
    for path in ["/status", "/metrics"] {
        secrets.are_not_in(path, &world.ask(path, &token).await.1);
    }
    let logs = world.daemon.logs.lock().unwrap().join("\n");
    for level in ["TRACE", "DEBUG"] {
        assert!(logs.contains(level), "it tells less than it could: {logs}");
    }
    secrets.are_not_in("the log", &logs);
    assert!(secrets.0.len() > 50);
}
