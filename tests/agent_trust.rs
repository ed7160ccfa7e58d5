//! From agents to gateways with TLS, tokens and client certificates: what is wrong is told and costs time, no spans; once it is
//! mended, they arrive without a restart.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod support;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use support::certs::Ca;
use support::traffic::{self, Shape};
use support::{Daemon, Start, binary};
use tracewell::forward::client::{Client, ClientOptions};
use tracewell::forward::fleet::{CLAIM, Claim, Claimed};
use tracewell::forward::ring::Member;
use tracewell::runtime::Tenant;
use tracewell::wire::TraceId;

const MINUTE: Duration = Duration::from_secs(60);
const RULES: &str =
    "version: 1\ndecision: { wait: 1s, after_root: 300ms }\nrules: [{ name: all, keep: 100% }]\n";

fn port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A token and its entry in the file of credentials.
fn token(args: &[&str]) -> (String, String) {
    let output = binary().args(["token", "new", "--json"]).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let made: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    (made["token"].as_str().unwrap().to_owned(), made["entry"].to_string())
}

/// A gateway with a certificate, its operators' port in the clear; these further keys of `tls`, and these of `auth`.
fn gateway(folder: &Path, ca: &Ca, port: u16, tls: &str, auth: &str) -> Start {
    ca.issue("gateway");
    let at = |name: &str| ca.path(name).display().to_string();
    let config = format!(
        "role: gateway\nstore: {{ flush: {{ age: 200ms }} }}\n\
         tls: {{ cert: {}, key: {}, client_ca: {}, {tls} api: {{ enabled: false, client_auth: none }} }}\n\
         auth: {{ status: open, {auth} }}\n",
        at("gateway.pem"),
        at("gateway.key"),
        at("ca.pem"),
    );
    let mut start = Start::new(&folder.join("gateway").join("data")).rules(RULES).config(&config);
    start.grpc = Some(format!("127.0.0.1:{port}"));
    start
}

fn agent(folder: &Path, port: u16, more: &str) -> Daemon {
    let config = format!("role: agent\ngateways: {{ static: ['127.0.0.1:{port}'], {more} }}\n");
    Start::new(&folder.join("agent").join("data")).config(&config).run()
}

async fn send(agent: &Daemon, numbers: std::ops::Range<u64>) {
    let mut client = traffic::connect(&agent.grpc).await.unwrap();
    let spans = numbers.flat_map(|number| traffic::trace(number, Shape::Plain, 4)).collect();
    traffic::send(&mut client, spans, "shop").await.unwrap();
}

/// The gateway has stored so many spans of a tenant.
async fn stored(gateway: &Daemon, tenant: &str, spans: u64) {
    gateway
        .status_when("stored", MINUTE, |status| status["losses"][tenant]["stored"].as_u64() == Some(spans))
        .await;
}

/// The spans wait in the agent's log, and it says why: in `/status` and in its log.
async fn waits(agent: &Daemon, spans: u64, why: &str) {
    let status = agent
        .status_when(why, MINUTE, |status| {
            let trouble = status["forward"]["gateways"][0]["trouble"].as_str();
            trouble.is_some_and(|says| says.contains(why)) && status["forward"]["outstanding_spans"] == spans
        })
        .await;
    assert_eq!(status["forward"]["refused_spans"], 0, "{status}");
    let told = |line: &String| line.contains("spans are not taken") && line.contains(why);
    let begun = Instant::now();
    while !agent.logs.lock().unwrap().iter().any(told) {
        assert!(begun.elapsed() < MINUTE, "the log says so too: {why}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn all_arrived(agent: &Daemon) {
    agent
        .status_when("everything is forwarded", MINUTE, |status| {
            let forward = &status["forward"];
            forward["outstanding_spans"] == 0 && forward["gateways"][0]["trouble"].is_null()
        })
        .await;
    assert!(agent.has_logged("takes spans again"));
}

fn write(path: &Path, text: &str) {
    let temporary = path.with_extension("new");
    std::fs::write(&temporary, text).unwrap();
    std::fs::rename(temporary, path).unwrap();
}

struct World {
    folder: tempfile::TempDir,
    ca: Ca,
    port: u16,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ca = Ca::new(&folder.path().join("ca"), "ca");
        Self { folder, ca, port: port() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_is_told_and_never_shown_and_spans_arrive_once_its_file_is_right() {
    let world = World::new();
    let (good, entry) = token(&["--name", "agent", "--tenant", "home", "--scope", "write"]);
    let (reader, reader_entry) = token(&["--name", "reader", "--scope", "read"]);
    write(&world.path("credentials"), &format!("tokens:\n  - {entry}\n  - {reader_entry}\n"));
    let auth = format!("credentials: {}", world.path("credentials").display());
    let gateway = gateway(world.folder.path(), &world.ca, world.port, "", &auth).run();

    let (ca, file) = (world.ca.path("ca.pem"), world.path("token"));
    write(&file, "not-a-token-of-theirs\n");
    let more = format!("tls: {{ ca: {} }}, token_file: {}", ca.display(), file.display());
    let agent = agent(world.folder.path(), world.port, &more);
    send(&agent, 0..10).await;
    waits(&agent, 40, "this token is not known here").await;
    write(&file, &reader);
    agent
        .status_when("the scope is named", MINUTE, |status| {
            let trouble = status["forward"]["gateways"][0]["trouble"].as_str().unwrap_or_default();
            trouble.contains("lacks the scope `write`")
        })
        .await;
    write(&file, &good);
    all_arrived(&agent).await;
    stored(&gateway, "home", 40).await;

    // It is taken away while the agent runs; the connection is the same all the time.
    write(&world.path("credentials"), &format!("tokens:\n  - {reader_entry}\n"));
    gateway.status_when("the new file is in force", MINUTE, |status| status["trust"]["tokens"] == 1).await;
    send(&agent, 10..20).await;
    agent
        .status_when("they wait", MINUTE, |status| {
            let forward = &status["forward"];
            forward["outstanding_spans"] == 40 && forward["gateways"][0]["trouble"].is_string()
        })
        .await;
    write(&world.path("credentials"), &format!("tokens:\n  - {entry}\n"));
    all_arrived(&agent).await;
    stored(&gateway, "home", 80).await;

    let (_, metrics) = agent.get("/metrics").await;
    let status = agent.json("/status").await.to_string();
    for secret in [good.as_str(), "not-a-token-of-theirs"] {
        assert!(!agent.has_logged(secret) && !gateway.has_logged(secret), "a token in the logs");
        assert!(!status.contains(secret) && !metrics.contains(secret), "a token is shown");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_of_another_ca_gets_nothing_until_the_right_ca_is_in_the_file() {
    let world = World::new();
    let gateway = gateway(world.folder.path(), &world.ca, world.port, "", "").run();
    let other = Ca::new(&world.path("other"), "other");
    let file = world.path("trusted.pem");
    write(&file, &other.pem());
    let agent = agent(world.folder.path(), world.port, &format!("tls: {{ ca: {} }}", file.display()));
    send(&agent, 0..10).await;
    waits(&agent, 40, "its certificate is signed by none of the CAs in").await;
    write(&file, &world.ca.pem());
    all_arrived(&agent).await;
    stored(&gateway, "default", 40).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_of_another_name_gets_nothing_and_neither_does_one_without_tls() {
    let world = World::new();
    let _gateway = gateway(world.folder.path(), &world.ca, world.port, "", "").run();
    let ca = world.ca.path("ca.pem");
    let named = format!("tls: {{ ca: {}, server_name: elsewhere.example }}", ca.display());
    let named = agent(&world.path("named"), world.port, &named);
    send(&named, 0..10).await;
    waits(&named, 40, "its certificate is for another name than elsewhere.example").await;
    // In the clear to a port that speaks TLS, and the other way round.
    let clear = agent(&world.path("clear"), world.port, "");
    send(&clear, 0..10).await;
    waits(&clear, 40, "connection").await;
    let plain_port = port();
    let mut plain = Start::new(&world.path("plain").join("data")).rules(RULES);
    plain.grpc = Some(format!("127.0.0.1:{plain_port}"));
    let _plain = plain.run();
    let secure = agent(&world.path("secure"), plain_port, &format!("tls: {{ ca: {} }}", ca.display()));
    send(&secure, 0..10).await;
    waits(&secure, 40, "it does not speak TLS").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_follows_its_files_and_the_last_good_one_stays() {
    let world = World::new();
    let auth = "certificates: [{ common_name: agent, tenant: home, scopes: [write] }]";
    let start = gateway(world.folder.path(), &world.ca, world.port, "client_auth: required,", auth);
    let gateway = start.run();
    let other = Ca::new(&world.path("other"), "other");
    let (cert, key) = (world.path("agent.pem"), world.path("agent.key"));
    let show = |(certificate, its_key): (String, String)| {
        write(&key, &its_key);
        write(&cert, &certificate);
    };
    show(other.pair("agent"));
    let tls = [&world.ca.path("ca.pem"), &cert, &key].map(|path| path.display().to_string());
    let more = format!("tls: {{ ca: {}, cert: {}, key: {} }}", tls[0], tls[1], tls[2]);
    let agent = agent(world.folder.path(), world.port, &more);
    send(&agent, 0..10).await;
    waits(&agent, 40, "does not accept our certificate").await;
    show(world.ca.pair("somebody"));
    agent
        .status_when("nobody's certificate", MINUTE, |status| {
            let trouble = status["forward"]["gateways"][0]["trouble"].as_str().unwrap_or_default();
            trouble.contains("this client certificate is nobody's here")
        })
        .await;
    show(world.ca.pair("agent"));
    gateway.kill();
    let gateway = start.run();
    all_arrived(&agent).await;
    stored(&gateway, "home", 40).await;

    // Nonsense in the file: whoever has to connect again goes on with what was good.
    gateway.kill();
    write(&cert, "nonsense");
    let gateway = start.run();
    send(&agent, 10..20).await;
    all_arrived(&agent).await;
    stored(&gateway, "home", 80).await;
    assert!(agent.has_logged("the last good ones are used"));
}

/// Two gateways in a fleet that ask for tokens, and speak to each other with one of their own.
async fn guarded_fleet(world: &World, auth: &str, fleet_token: &str) -> [Daemon; 2] {
    write(&world.path("fleet-token"), fleet_token);
    let ports = [world.port, port()];
    let members = ports.map(|port| format!("'127.0.0.1:{port}'")).join(", ");
    ports.map(|port| {
        let config = format!(
            "role: gateway\nstore: {{ flush: {{ age: 200ms }} }}\nauth: {{ status: open, {auth} }}\n\
             gateways: {{ static: [{members}], self: '127.0.0.1:{port}', settle: 1s, token_file: {} }}\n",
            world.path("fleet-token").display()
        );
        let folder = world.path(&format!("gateway-{port}"));
        let mut start = Start::new(&folder.join("data")).rules(RULES).config(&config);
        start.grpc = Some(format!("127.0.0.1:{port}"));
        start.run()
    })
}

/// What a claim of a trace is answered: the gRPC status, and the message.
async fn claim(address: &str, token: &str, by: Option<&str>, of: &str) -> (String, Vec<u8>) {
    let claim = Claim {
        asker: Member::new("127.0.0.1:1"),
        tenant: Tenant::new(of).unwrap(),
        trace_ids: vec![TraceId(traffic::trace_id(1))],
        only_asks: true,
    };
    let client = Client::new(address, ClientOptions::default(), tokio::runtime::Handle::current());
    let mut metadata = vec![(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}")).unwrap())];
    metadata.extend(by.map(|tenant| (TENANT, HeaderValue::from_str(tenant).unwrap())));
    let answer = client.call(CLAIM, &metadata, &[claim.encode()]).await.unwrap();
    (answer.headers["grpc-status"].to_str().unwrap().to_owned(), answer.message.to_vec())
}

const TENANT: HeaderName = HeaderName::from_static("x-scope-orgid");

#[tokio::test(flavor = "multi_thread")]
async fn gateways_hand_over_each_tenants_spans_and_nobody_claims_for_a_tenant_that_is_not_his() {
    let world = World::new();
    let (home, home_entry) = token(&["--name", "home", "--tenant", "home", "--scope", "write"]);
    let (anybody, entry) = token(&["--name", "anybody", "--scope", "write"]);
    let fleet = ["--name", "fleet", "--tenant", "ops", "--scope", "write", "--may-name", "*"];
    let (fleet, fleet_entry) = token(&fleet);
    let entries = format!("tokens:\n  - {home_entry}\n  - {entry}\n  - {fleet_entry}\n");
    write(&world.path("credentials"), &entries);
    let auth = format!("credentials: {}", world.path("credentials").display());
    let gateways = guarded_fleet(&world, &auth, &fleet).await;
    // Everything to one of them: half of it is the other's.
    for (token, numbers) in [(&home, 0..20), (&anybody, 20..40)] {
        let mut client = traffic::connect(&gateways[0].grpc).await.unwrap();
        let spans = numbers.flat_map(|number| traffic::trace(number, Shape::Plain, 4)).collect();
        let authorization = format!("Bearer {token}").parse().unwrap();
        let mut request = tonic::Request::new(traffic::request(spans, "shop"));
        request.metadata_mut().insert("authorization", authorization);
        client.export(request).await.unwrap();
    }
    let received = async |tenant: &str| {
        let mut sum = 0;
        for gateway in &gateways {
            sum += gateway.json("/status").await["losses"][tenant]["received"].as_u64().unwrap_or_default();
        }
        sum
    };
    let begun = Instant::now();
    while received("home").await + received("default").await + received("ops").await < 160 {
        assert!(begun.elapsed() < MINUTE, "not all of it is received");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!([received("home").await, received("default").await], [80, 80]);
    let handed_over = gateways[0].json("/status").await["fleet"]["handed_over_spans"].as_u64().unwrap();
    assert!((1..160).contains(&handed_over), "{handed_over}");

    let address = format!("127.0.0.1:{}", world.port);
    let status = async |token: &str, by, of| claim(&address, token, by, of).await.0;
    assert_eq!(status(&home, None, "home").await, "0");
    assert_eq!(status(&home, None, "default").await, "3", "its call is for its own tenant");
    assert_eq!(status(&home, Some("default"), "default").await, "7", "it may not name that one");
    assert_eq!(status(&fleet, Some("default"), "default").await, "0");
    assert_eq!(status("nobody", None, "default").await, "16");
    let (_, answer) = claim(&address, &home, None, "home").await;
    assert_eq!(Claimed::decode(&answer).unwrap().0.len(), 1);
}
