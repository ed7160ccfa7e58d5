//! Faults of the surroundings, seen from outside: each test carries the number of its row in the table of faults, which
//! `tests/README.md` maps to tests. The real binary, real files, real sockets.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "../support/mod.rs"]
mod support;

mod input;
mod log_files;
mod object_store;
mod read_only;
mod rules;

use support::traffic::{self, Client, Shape};

/// A trace whose bytes do not compress: logs and disks fill quickly.
fn noisy(number: u64) -> Vec<opentelemetry_proto::tonic::trace::v1::Span> {
    let mut trace = traffic::trace(number, Shape::Plain, 4);
    let noise: String = (0..400).map(|i| format!("{:016x}", traffic::mix(number << 20 | i))).collect();
    trace[0].attributes.push(traffic::text("noise", &noise));
    trace
}

/// Sends until it is taken, as a sender does that is told to come back.
async fn send_until_taken(client: &mut Client, spans: Vec<opentelemetry_proto::tonic::trace::v1::Span>) {
    let give_up = std::time::Instant::now() + std::time::Duration::from_secs(90);
    while let Err(status) = traffic::send(client, spans.clone(), "shop").await {
        assert_eq!(status.code(), tonic::Code::Unavailable, "{status:?}");
        assert!(std::time::Instant::now() < give_up, "does not recover: {status:?}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

/// Sends noisy traces with these numbers until one is refused; gives those that were acknowledged, and the refusal.
async fn send_until_refused(client: &mut Client, numbers: std::ops::Range<u64>) -> (Vec<u64>, tonic::Status) {
    let mut acknowledged = Vec::new();
    for number in numbers {
        match traffic::send(client, noisy(number), "shop").await {
            Ok(_) => acknowledged.push(number),
            Err(status) => return (acknowledged, status),
        }
    }
    panic!("{} traces and no refusal", acknowledged.len());
}

/// The ids of these traces, as answers show them.
fn ids(numbers: impl IntoIterator<Item = u64>) -> std::collections::BTreeSet<String> {
    numbers.into_iter().map(|number| traffic::hex(&traffic::trace_id(number))).collect()
}
