#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::extract::{Query, State};
use axum::routing::get;
use serde_json::json;
use tokio::sync::watch;

use super::*;
use crate::forward::ring::Member;

/// Of each instance its node's address and its own.
type Instances = Vec<(&'static str, &'static str)>;

/// A Consul that knows one service: its index is how often it changed, and it blocks until it is higher than asked for.
#[derive(Clone)]
struct FakeConsul {
    instances: Arc<watch::Sender<(u64, Instances)>>,
    asked: Arc<AtomicU64>,
}

async fn health(
    State(consul): State<FakeConsul>,
    Query(query): Query<std::collections::HashMap<String, String>>,
) -> ([(&'static str, String); 1], axum::Json<serde_json::Value>) {
    consul.asked.fetch_add(1, Ordering::Relaxed);
    assert!(query.contains_key("passing"));
    let asked: u64 = query.get("index").map_or(0, |index| index.parse().unwrap());
    let mut changes = consul.instances.subscribe();
    let (index, instances) = changes.wait_for(|(index, _)| *index > asked).await.unwrap().clone();
    let instances = instances.iter().map(|(node, service)| {
        json!({ "Node": { "Address": node, "Node": "n" }, "Service": { "Address": service, "Port": 4317, "ID": "x" } })
    });
    ([("x-consul-index", index.to_string())], axum::Json(instances.collect()))
}

#[tokio::test]
async fn consul_tells_of_a_change_when_it_happens() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let instances = Arc::new(watch::Sender::new((7, vec![("10.0.0.1", ""), ("10.0.0.2", "10.9.0.2")])));
    let consul = FakeConsul { instances: instances.clone(), asked: Arc::default() };
    let routes = axum::Router::new().route("/v1/health/service/gw", get(health)).with_state(consul.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await });

    let mut source = Source::Consul(Consul::new(base, "gw", None));
    let expected = Ring::new(["10.0.0.1:4317", "10.9.0.2:4317"].map(Member::new));
    assert_eq!(source.look().await, Ok(expected));
    let begun = Instant::now();
    let change = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        instances.send_replace((8, vec![("fd00::1", "")]));
    };
    let (seen, ()) = tokio::join!(source.look(), change);
    assert_eq!(seen, Ok(Ring::new([Member::new("[fd00::1]:4317")])));
    assert!(begun.elapsed() >= Duration::from_millis(300), "it waited for the change");
    assert_eq!(consul.asked.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_source_that_is_not_there_says_so() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut source = Source::Consul(Consul::new("http://127.0.0.1:1".parse().unwrap(), "gw", None));
    let error = source.look().await.unwrap_err();
    assert!(error.starts_with("Consul at 127.0.0.1:1: "), "{error}");
}
