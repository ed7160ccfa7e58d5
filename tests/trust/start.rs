//! What does not start, and Unix sockets.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use super::support::Start;
use super::*;

#[test]
fn it_does_not_listen_where_others_reach_it_unless_told_whom_to_let_in() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = super::support::binary();
    command.args(["run", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--api", "0.0.0.0:0", "--data"]);
    let output = command.arg(folder.path().join("data")).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let says = String::from_utf8_lossy(&output.stderr).into_owned();
    for words in
        ["flag --api", "0.0.0.0:0 can be reached from other machines", "auth:", "--insecure", "127.0.0.1:0"]
    {
        assert!(says.contains(words), "{words}: {says}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn told_so_it_listens_for_everybody() {
    let folder = tempfile::tempdir().unwrap();
    let start = Start::new(&folder.path().join("data")).config("insecure: true\n");
    let daemon = start.run();
    assert_eq!(daemon.get("/healthz").await.0, 200);
}

#[test]
fn files_that_cannot_be_used_are_an_error_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Ca::new(folder.path(), "ca");
    ca.issue("one");
    ca.issue("two");
    write(&ca.path("tokens.yaml"), "tokens: [{ name: a, sha256: 00, scopes: [write] }]");
    let at = |name: &str| ca.path(name).display().to_string();
    let (one, two, none, tokens) = (at("one.pem"), at("two.key"), at("none.pem"), at("tokens.yaml"));
    for (config, words) in [
        (
            format!("tls: {{ cert: {one}, key: {two} }}"),
            "two.key: this key does not belong to the certificate",
        ),
        (format!("tls: {{ cert: {none}, key: {two} }}"), "none.pem: cannot be read"),
        (format!("auth: {{ credentials: {tokens} }}"), "token `a`: `sha256` is not 64 hexadecimal digits"),
        (format!("auth: {{ credentials: {none} }}"), "none.pem"),
    ] {
        let (code, says) = Start::new(&folder.path().join("data")).config(&config).run_to_failure();
        assert_eq!(code, Some(2), "{says}");
        assert!(says.contains(words), "{words}: {says}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unix_sockets_are_served_replaced_when_stale_and_removed_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let socket = |name: &str| folder.path().join(name);
    // What a run that was killed leaves behind: a file that nobody answers on.
    drop(UnixListener::bind(socket("http.sock")).unwrap());
    write(&socket("config.yaml"), "socket_mode: \"0600\"\n");
    let run = |data: &str| {
        let mut command = super::support::binary();
        command.arg("run").arg("--data").arg(folder.path().join(data));
        for name in ["grpc", "http", "api"] {
            command.arg(format!("--{name}=unix://{}", socket(&format!("{name}.sock")).display()));
        }
        command.env("TRACEWELL_CONFIG", socket("config.yaml")).stdout(std::process::Stdio::null());
        command
    };
    let mut daemon = run("data").stderr(std::process::Stdio::null()).spawn().unwrap();
    let client = |name: &str| {
        let _ = rustls::crypto::ring::default_provider().install_default();
        reqwest::Client::builder().unix_socket(socket(name)).build().unwrap()
    };
    eventually("it is ready", async || {
        client("api.sock").get("http://here/ready").send().await.is_ok_and(|answer| answer.status() == 200)
    })
    .await;
    let mode = std::fs::metadata(socket("http.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(post(&client("http.sock"), "http://here", 1, &[]).await.status(), 200);
    let id = traffic::hex(&traffic::trace_id(1));
    let found = client("api.sock").get(format!("http://here/api/traces/{id}")).send().await.unwrap();
    assert_eq!(found.status(), 200);

    let second = run("other").output().unwrap();
    assert_eq!(second.status.code(), Some(2), "the sockets are in use");
    assert!(String::from_utf8_lossy(&second.stderr).contains("grpc.sock"), "it names the socket");

    let pid = rustix::process::Pid::from_raw(daemon.id() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(daemon.wait().unwrap().success());
    for name in ["grpc.sock", "http.sock", "api.sock"] {
        assert!(!socket(name).exists(), "{name} is left behind");
    }
}
