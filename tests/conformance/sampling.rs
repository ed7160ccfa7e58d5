//! Consistent probability sampling, from the wire into what is stored: `th` and `rv` in tracestate.

use std::time::{Duration, Instant};

use super::peer::{ALL, Sent};
use super::{Server, encoded, traffic};
use crate::support::traffic::Shape;

const RULES: &str = r#"
version: 1
decision: { wait: 1s, after_root: 200ms }
rules:
  - { name: errors, when: '{ status = error }', keep: 100% }
  - { name: limited, when: '{ resource.service.name = "limited" }', keep: { per_second: 100 } }
  - { name: half, keep: 50% }
"#;

/// What was sent, and what is stored: nothing where it is dropped.
const CASES: [(&str, &str, Shape, Option<&str>); 9] = [
    // R = `rv`: 9b… is above 80…; th becomes 8, rv and the other vendors stay, `ot` comes first, as it was changed.
    (
        "shop",
        "rojo=1,ot=th:0;rv:9b8233f7e3a151,congo=2",
        Shape::Plain,
        Some("ot=th:8;rv:9b8233f7e3a151,rojo=1,congo=2"),
    ),
    ("shop", "ot=rv:7fffffffffffff", Shape::Plain, None),
    ("shop", "ot=rv:80000000000000", Shape::Plain, Some("ot=th:8;rv:80000000000000")),
    // An upstream that kept less has the last word.
    ("shop", "ot=th:c;rv:d0000000000000,rojo=1", Shape::Plain, Some("ot=th:c;rv:d0000000000000,rojo=1")),
    // A rule about content leaves the threshold as it came,
    ("shop", "rojo=1,ot=th:4;rv:50000000000000", Shape::Error, Some("rojo=1,ot=th:4;rv:50000000000000")),
    ("shop", "", Shape::Error, Some("")),
    // and one whose probability nobody knows takes it out.
    ("limited", "rojo=1,ot=th:4;rv:50000000000000", Shape::Plain, Some("ot=rv:50000000000000,rojo=1")),
    ("limited", "ot=th:4", Shape::Plain, Some("")),
    // What is no threshold is none.
    ("shop", "ot=th:nonsense;rv:f0000000000000", Shape::Plain, Some("ot=th:8;rv:f0000000000000")),
];

#[tokio::test(flavor = "multi_thread")]
async fn thresholds_only_rise_randomness_stays_and_an_unknown_probability_has_none() {
    let server = Server::with_rules(RULES);
    let number = |case: usize, way: usize| 1000 + (case * 10 + way) as u64;
    for (case, (service, tracestate, shape, _)) in CASES.into_iter().enumerate() {
        for (at, way) in ALL.into_iter().enumerate() {
            let mut spans = traffic::trace(number(case, at), shape, 2);
            spans.iter_mut().for_each(|span| span.trace_state = tracestate.into());
            let body = encoded(way, &traffic::request(spans, service));
            assert_eq!(server.send(way, &Sent::body(body)).await.code, 0, "{tracestate}");
        }
    }
    server.daemon.settle(Duration::from_secs(60)).await;
    let began = Instant::now();
    for (case, (_, tracestate, _, expected)) in CASES.into_iter().enumerate() {
        for (at, way) in ALL.into_iter().enumerate() {
            let id = traffic::trace_id(number(case, at));
            let hex = traffic::hex(&id);
            let is_it = |found: &String| found.trim_start_matches('0') == hex.trim_start_matches('0');
            let found = server.daemon.search("{ }", 1000).await.keys().any(is_it);
            assert_eq!(found, expected.is_some(), "{way:?} {tracestate}");
            let Some(expected) = expected else { continue };
            for span in server.spans(&id).await {
                let stored = span["traceState"].as_str().unwrap_or_default();
                assert_eq!(stored, expected, "{way:?} {tracestate}");
            }
        }
    }
    assert!(began.elapsed() < Duration::from_secs(60));
}
