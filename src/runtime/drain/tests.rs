#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use parking_lot::Mutex;

use super::*;

#[tokio::test]
async fn every_step_gets_its_turn_in_order() {
    let order = Arc::new(Mutex::new(Vec::new()));
    let note = |name: &'static str, result: Result<(), &'static str>| {
        let order = Arc::clone(&order);
        async move {
            order.lock().push(name);
            result
        }
    };
    let mut drain = Drain::new();
    drain.step("receive", note("receive", Ok(())));
    drain.step("store", note("store", Err("no bucket")));
    drain.step("stuck", std::future::pending::<Result<(), &str>>());
    drain.step("log", note("log", Ok(())));
    let report = drain.run(Duration::from_millis(20)).await;
    assert_eq!(*order.lock(), ["receive", "store", "log"]);
    assert!(!report.is_clean());
    assert_eq!(report.to_string(), "receive: done, store: no bucket, stuck: not finished in time, log: done");
}

#[tokio::test]
async fn a_child_stops_with_its_parent_or_alone() {
    let shutdown = Shutdown::new();
    let (early, late) = (shutdown.child(), shutdown.child());
    early.begin();
    early.begun().await;
    assert!(!shutdown.has_begun() && !late.has_begun());
    shutdown.begin();
    late.begun_owned().await;
    assert!(late.has_begun());
}
