#![allow(clippy::unwrap_used)]

use clap::CommandFactory;

use super::client::{FindQuestion, Source, SourceArgs};
use super::*;

#[test]
fn the_command_tree_is_sound() {
    Cli::command().debug_assert();
    assert_eq!(Cli::try_parse_from(["tracewell", "trase"]).unwrap_err().exit_code(), 2);
}

fn source(url: &str) -> SourceArgs {
    SourceArgs { url: url.into(), store: None, access: Box::default() }
}

async fn complaint(url: &str) -> String {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let question = FindQuestion { query: "{ }".into(), range: None, limit: 1 };
    let source = match Source::open(&source(url)) {
        Ok(source) => source,
        Err(error) => return format!("{error:#}"),
    };
    format!("{:#}", source.find(&question).await.unwrap_err())
}

#[tokio::test]
async fn a_daemon_that_is_not_there_is_told_apart_from_a_wrong_url() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let free = listener.local_addr().unwrap();
    drop(listener);
    let error = complaint(&format!("http://{free}")).await;
    assert!(error.starts_with(&format!("cannot reach http://{free}: ")), "{error}");
    assert!(error.contains("is tracewell running?"), "{error}");
    assert!(complaint("localhost:3200").await.contains("http://127.0.0.1:3200"));
    assert!(complaint("nonsense").await.contains("is not a URL"));
}
