//! Tokens and users that change while it runs, tenants that never see each other, commands that show a token.

use super::support::{Daemon, Start, binary};
use super::*;

pub(super) struct World {
    folder: tempfile::TempDir,
    pub(super) daemon: Daemon,
    pub(super) client: reqwest::Client,
}

/// Makes a token by the command, and gives it with its entry for the file.
pub(super) fn token(args: &[&str]) -> (String, String) {
    let output = binary().args(["token", "new", "--json"]).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    (made["token"].as_str().unwrap().to_owned(), made["entry"].to_string())
}

pub(super) fn file(entries: &[&String]) -> String {
    entries.iter().fold("tokens:\n".to_owned(), |file, entry| format!("{file}  - {entry}\n"))
}

pub(super) fn world(credentials: &str, rest: &str) -> World {
    world_with(credentials, rest, |start| start.env("TRACE_DEBUG", "1"))
}

pub(super) fn world_with(credentials: &str, rest: &str, more: impl FnOnce(Start) -> Start) -> World {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("credentials.yaml");
    write(&path, credentials);
    let config = format!("auth: {{ credentials: {} }}\n{rest}", path.display());
    let daemon = more(Start::new(&folder.path().join("data")).config(&config)).run();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    World { folder, daemon, client }
}

impl World {
    async fn send(&self, number: u64, token: &str, more: &[(&str, &str)]) -> reqwest::Response {
        let authorization = format!("Bearer {token}");
        let headers = [&[("authorization", authorization.as_str())], more].concat();
        post(&self.client, &self.daemon.http, number, &headers).await
    }

    pub(super) async fn ask(&self, path: &str, token: &str) -> (u16, String) {
        ask(&self.client, &format!("{}{path}", self.daemon.api), token).await
    }

    pub(super) async fn send_grpc(&self, number: u64, token: &str) -> Result<(), tonic::Status> {
        let mut client = traffic::connect(&self.daemon.grpc).await.unwrap();
        let mut request =
            tonic::Request::new(traffic::request(traffic::trace(number, Shape::Plain, 2), "shop"));
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        client.export(request).await.map(drop)
    }
}

fn id(number: u64) -> String {
    traffic::hex(&traffic::trace_id(number))
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_never_see_each_other() {
    let (home, home_entry) = token(&[
        "--name", "home", "--tenant", "home", "--scope", "write", "--scope", "read", "--scope", "admin",
    ]);
    let (shop, shop_entry) = token(&[
        "--name", "shop", "--tenant", "shop", "--scope", "write", "--scope", "read", "--scope", "admin",
    ]);
    let (any, any_entry) = token(&["--name", "any", "--scope", "read", "--may-name", "*"]);
    let rest = "store: { flush: { age: 1s } }\n";
    let world = world(&file(&[&home_entry, &shop_entry, &any_entry]), rest);
    world.send_grpc(1, &home).await.unwrap();
    assert_eq!(world.send(2, &shop, &[]).await.status(), 200);

    let check = async || {
        for (token, own, other) in [(&home, 1, 2), (&shop, 2, 1)] {
            for path in ["/api/traces/", "/api/v2/traces/"] {
                let (status, body) = world.ask(&format!("{path}{}", id(own)), token).await;
                assert!(status == 200 && body.contains("shop"), "{path}: {body}");
            }
            assert_eq!(world.ask(&format!("/api/traces/{}", id(other)), token).await.0, 404);
            let empty = world.ask(&format!("/api/v2/traces/{}", id(other)), token).await.1;
            assert_eq!(json(&empty)["trace"]["resourceSpans"], json("[]"));
            assert_eq!(world.ask(&format!("/api/traces/{}/why", id(own)), token).await.0, 200);
            assert_eq!(world.ask(&format!("/api/traces/{}/why", id(other)), token).await.0, 404);
            let pin = world.client.post(format!("{}/api/traces/{}/pin", world.daemon.api, id(other)));
            assert_eq!(pin.bearer_auth(token).send().await.unwrap().status(), 404);
            let found = json(&world.ask("/api/search?q=%7B%7D&limit=100", token).await.1);
            let traces = found["traces"].as_array().unwrap();
            assert_eq!(traces.len(), 1, "{found}");
            // Ids of searches have no leading zeros.
            assert!(id(own).ends_with(traces[0]["traceID"].as_str().unwrap()), "{found}");
            let naming = world.client.get(format!("{}/api/traces/{}", world.daemon.api, id(other)));
            let other_name = if own == 1 { "shop" } else { "home" };
            let naming = naming.bearer_auth(token).header("x-scope-orgid", other_name);
            assert_eq!(naming.send().await.unwrap().status(), 403);
            let status = json(&world.ask("/status", token).await.1);
            let tenants: Vec<_> = status["losses"].as_object().unwrap().keys().cloned().collect();
            assert_eq!(tenants, [if own == 1 { "home" } else { "shop" }]);
            let metrics = world.ask("/metrics", token).await.1;
            assert!(!metrics.contains(&format!("tenant=\"{other_name}\"")), "{metrics}");
        }
    };
    eventually("both are in the ledger of losses", async || {
        let status = json(&world.ask("/status", &any).await.1);
        status["losses"].as_object().is_some_and(|tenants| tenants.len() == 2)
    })
    .await;
    // While they are in the log only, and when they are in the table.
    check().await;
    eventually("both are in the table", async || {
        let status = json(&world.ask("/status", &any).await.1);
        status["store"]["spans"] == 4 && status["sample"]["kept_traces_not_stored"] == 0
    })
    .await;
    check().await;
    let named = world.client.get(format!("{}/api/traces/{}", world.daemon.api, id(2)));
    let named = named.bearer_auth(&any).header("x-scope-orgid", "shop").send().await.unwrap();
    assert_eq!(named.status(), 200);
    assert!(world.folder.path().join("data/store/home/spans").exists());
    assert!(world.folder.path().join("data/store/shop/spans").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_the_flight_recorder_has_is_its_tenants_too() {
    const ALL: [&str; 6] = ["--scope", "write", "--scope", "read", "--scope", "admin"];
    let (home, home_entry) = token(&[&["--name", "home", "--tenant", "home"], &ALL[..]].concat());
    let (shop, shop_entry) = token(&[&["--name", "shop", "--tenant", "shop"], &ALL[..]].concat());
    let rules =
        "version: 1\ndecision: { wait: 1s, after_root: 200ms }\nrules: [{ name: nothing, drop: true }]\n";
    let world = world_with(&file(&[&home_entry, &shop_entry]), "", |start| start.rules(rules));
    assert_eq!(world.send(1, &home, &[]).await.status(), 200);
    // The same id, sent by the other one: two traces.
    assert_eq!(world.send(2, &home, &[]).await.status(), 200);
    assert_eq!(world.send(2, &shop, &[]).await.status(), 200);
    let why =
        async |number: u64, token: &str| world.ask(&format!("/api/traces/{}/why", id(number)), token).await;
    for (number, token) in [(1, &home), (2, &home), (2, &shop)] {
        eventually("it is dropped", async || why(number, token).await.1.contains("\"dropped\"")).await;
        assert_eq!(world.ask(&format!("/api/traces/{}", id(number)), token).await.0, 200);
    }
    assert_eq!(why(1, &shop).await.0, 404);
    assert_eq!(world.ask(&format!("/api/traces/{}", id(1)), &shop).await.0, 404);
    let pin = async |number: u64, token: &str| {
        let url = format!("{}/api/traces/{}/pin", world.daemon.api, id(number));
        world.client.post(url).bearer_auth(token).send().await.unwrap().status().as_u16()
    };
    assert_eq!(pin(1, &shop).await, 404);
    // A pin keeps the trace of who asks, and not the other one of the same id.
    assert_eq!(pin(2, &shop).await, 200);
    let state = async |token: &str| json(&why(2, token).await.1)["state"].clone();
    assert_eq!((state(&shop).await, state(&home).await), ("kept".into(), "dropped".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_why_in_the_requests_own_encoding() {
    let (writer, writer_entry) = token(&["--name", "w", "--tenant", "home", "--scope", "write"]);
    let (reader, reader_entry) = token(&["--name", "r", "--tenant", "home", "--scope", "read"]);
    let world = world(&file(&[&writer_entry, &reader_entry]), "");
    let unknown = world.send(1, "tw_no", &[]).await;
    assert_eq!(unknown.status(), 401);
    assert!(unknown.headers()["www-authenticate"].to_str().unwrap().starts_with("Bearer realm="));
    assert_eq!(unknown.headers()["content-type"], "application/x-protobuf");
    assert_eq!(world.send(1, &reader, &[]).await.status(), 403);
    assert_eq!(world.send(1, &writer, &[("x-scope-orgid", "shop")]).await.status(), 403);
    let missing = world.client.post(format!("{}/v1/traces", world.daemon.http));
    let missing = missing.header("content-type", "application/json").body("{").send().await.unwrap();
    assert_eq!(missing.status(), 401, "before the body is looked at");
    assert_eq!(json(&missing.text().await.unwrap())["code"], 16);
    assert_eq!(world.send_grpc(1, "tw_no").await.unwrap_err().code(), tonic::Code::Unauthenticated);
    let status = world.send_grpc(1, &reader).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::PermissionDenied);
    assert!(status.message().contains("lacks the scope `write`"), "{status:?}");

    // Questions, and what is open.
    let pin = |token: &str| {
        world.client.post(format!("{}/api/traces/1/pin", world.daemon.api)).bearer_auth(token).send()
    };
    assert_eq!(pin(&reader).await.unwrap().status(), 403);
    for (path, token, expected) in [
        ("/api/search", &writer, 403),
        ("/api/search", &reader, 200),
        ("/api/search", &"x".to_owned(), 401),
        ("/status", &writer, 403),
        ("/metrics", &reader, 200),
        ("/metrics", &String::new(), 401),
        ("/ready", &String::new(), 200),
        ("/healthz", &"x".to_owned(), 200),
        ("/nowhere", &String::new(), 401),
    ] {
        assert_eq!(world.ask(path, token).await.0, expected, "{path}");
    }
    let status = json(&world.ask("/status", &reader).await.1);
    assert!(status["trust"]["denied"]["unknown"].as_u64().unwrap() >= 3, "{status}");
    assert_eq!(status["receive"]["refused"]["forbidden"], 3);
    let logs = world.daemon.logs.lock().unwrap().join("\n");
    assert!(logs.contains("not let in"), "{logs}");
    assert!(!logs.contains("tw_no") && !logs.contains(&writer) && !logs.contains(&reader), "{logs}");
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_credentials_take_effect_and_a_broken_file_changes_nothing() {
    let (first, first_entry) = token(&["--name", "first", "--scope", "write", "--scope", "read"]);
    let (second, second_entry) = token(&["--name", "second", "--scope", "read"]);
    let world = world(&file(&[&first_entry]), "");
    let path = world.folder.path().join("credentials.yaml");
    assert_eq!(world.ask("/api/search", &second).await.0, 401);
    write(&path, &file(&[&first_entry, &second_entry]));
    eventually("the new token is good", async || world.ask("/api/search", &second).await.0 == 200).await;

    write(&path, "tokens: [{ name: broken");
    eventually("the problem is told", async || {
        let status = json(&world.ask("/status", &second).await.1);
        status["trust"]["files"]["credentials"]["error"].is_string()
    })
    .await;
    assert_eq!(world.ask("/api/search", &first).await.0, 200);
    std::fs::remove_file(&path).unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(world.ask("/api/search", &first).await.0, 200);

    write(&path, &file(&[&second_entry]));
    eventually("the old token is not", async || world.ask("/api/search", &first).await.0 == 401).await;
    assert_eq!(world.ask("/api/search", &second).await.0, 200);
    let (short, short_entry) = token(&["--name", "short", "--scope", "read", "--expires", "4s"]);
    write(&path, &file(&[&second_entry, &short_entry]));
    eventually("it is good", async || world.ask("/api/search", &short).await.0 == 200).await;
    eventually("and then not any more", async || world.ask("/api/search", &short).await.0 == 401).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_show_the_token_and_speak_tls() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Ca::new(folder.path(), "ca");
    ca.issue("server");
    let (reader, entry) = token(&["--name", "r", "--tenant", "home", "--scope", "read", "--scope", "write"]);
    write(&ca.path("credentials.yaml"), &file(&[&entry]));
    let at = |name: &str| ca.path(name).display().to_string();
    let config = format!(
        "tls: {{ cert: {}, key: {} }}\nauth: {{ credentials: {} }}\n",
        at("server.pem"),
        at("server.key"),
        at("credentials.yaml")
    );
    let daemon = Start::new(&folder.path().join("data")).env("TRACE_DEBUG", "1").config(&config).run();
    let client = http(&ca.pem(), None);
    let authorization = format!("Bearer {reader}");
    let sent = post(&client, &https(&daemon.http), 1, &[("authorization", &authorization)]).await;
    assert_eq!(sent.status(), 200);
    write(&ca.path("token"), &format!("{reader}\n"));
    let url = https(&daemon.api);
    let show = |more: &[&str], env: Option<&str>| {
        let mut command = binary();
        command
            .args(["trace", "show", &id(1), "--url", &url])
            .args(more)
            .envs(env.map(|t| ("TRACEWELL_TOKEN", t)));
        let output = command.output().unwrap();
        let says = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&says).into_owned())
    };
    let (authority, file) = (at("ca.pem"), at("token"));
    for (more, env) in
        [(vec!["--ca", &authority, "--token-file", &file], None), (vec!["--ca", &authority], Some(&*reader))]
    {
        let (code, says) = show(&more, env);
        assert!(code == Some(0) && says.contains("shop"), "{says}");
    }
    let (code, says) = show(&["--ca", &authority], None);
    assert!(
        code == Some(2) && says.contains("does not let us in") && says.contains("--token-file"),
        "{says}"
    );
    assert!(show(&["--ca", &authority, "--tenant", "shop"], Some(&reader)).1.contains("403"));
    assert_eq!(show(&[], Some(&reader)).0, Some(2), "a CA that nobody named is not trusted");
}
