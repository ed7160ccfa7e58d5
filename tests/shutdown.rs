//! SIGTERM ends it in order, a second one at once; nothing acknowledged is lost either way.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod support;

use std::time::Duration;

use support::Start;
use support::traffic::{self, Shape};

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_flushes_and_exits_0_and_the_spans_are_in_the_table() {
    let folder = tempfile::tempdir().unwrap();
    let start = Start::new(&folder.path().join("data")).env("TRACE_DEBUG", "1");
    let daemon = start.run();
    let mut client = traffic::connect(&daemon.grpc).await.unwrap();
    for number in 0..20 {
        traffic::send(&mut client, traffic::trace(number, Shape::Plain, 3), "shop").await.unwrap();
    }
    let status = daemon.terminate(Duration::from_secs(30));
    assert_eq!(status.code(), Some(0));

    let again = start.run();
    let found = again.search("{}", 100).await;
    assert_eq!(found.len(), 20);
    assert!(found.values().all(|spans| spans.len() == 3), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_sigterm_exits_at_once_and_still_nothing_acknowledged_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let start = Start::new(&folder.path().join("data")).env("TRACE_DEBUG", "1");
    let mut daemon = start.run();
    let mut client = traffic::connect(&daemon.grpc).await.unwrap();
    for number in 0..20 {
        traffic::send(&mut client, traffic::trace(number, Shape::Plain, 3), "shop").await.unwrap();
    }
    daemon.signal(rustix::process::Signal::TERM);
    daemon.signal(rustix::process::Signal::TERM);
    daemon.wait(Duration::from_secs(5));

    let again = start.run();
    assert_eq!(again.search("{}", 100).await.len(), 20);
}
