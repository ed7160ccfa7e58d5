//! A small API server that speaks the real protocol of list and watch, over HTTP: pages, a chunked stream of events,
//! bookmarks, versions it has forgotten, and connections that break.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

/// What the server holds, and what it was asked.
#[derive(Default)]
pub(super) struct World {
    pub(super) pods: BTreeMap<String, Value>,
    /// The events so far, each with the version it brought.
    events: Vec<(u64, Value)>,
    version: u64,
    /// Versions up to this one are forgotten.
    forgotten: u64,
    /// The queries of all requests.
    pub(super) asked: Vec<BTreeMap<String, String>>,
    /// The tokens of all requests.
    pub(super) tokens: Vec<String>,
    /// Answers everything with this, if it is there.
    pub(super) broken: Option<StatusCode>,
}

#[derive(Clone)]
pub(super) struct Api {
    pub(super) world: Arc<Mutex<World>>,
    changed: watch::Sender<u64>,
    cuts: watch::Sender<u64>,
}

impl Api {
    pub(super) fn new() -> Self {
        Self { world: Arc::default(), changed: watch::Sender::new(0), cuts: watch::Sender::new(0) }
    }

    pub(super) fn router(&self) -> Router {
        Router::new().route("/api/v1/pods", get(pods)).with_state(self.clone())
    }

    /// Serves on this address; the one it got.
    pub(super) async fn serve(&self, address: &str) -> String {
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = self.router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}")
    }

    /// A pod appears, or changes.
    pub(super) fn put(&self, mut pod: Value) {
        let mut world = self.world.lock();
        world.version += 1;
        pod["metadata"]["resourceVersion"] = json!(world.version.to_string());
        let uid = pod["metadata"]["uid"].as_str().unwrap().to_owned();
        let kind = if world.pods.contains_key(&uid) { "MODIFIED" } else { "ADDED" };
        world.pods.insert(uid, pod.clone());
        self.note(&mut world, json!({ "type": kind, "object": pod }));
    }

    /// A pod is gone.
    pub(super) fn delete(&self, uid: &str) {
        let mut world = self.world.lock();
        world.version += 1;
        let mut pod = world.pods.remove(uid).unwrap();
        pod["metadata"]["resourceVersion"] = json!(world.version.to_string());
        self.note(&mut world, json!({ "type": "DELETED", "object": pod }));
    }

    /// Something else than pods has moved the version on.
    pub(super) fn bookmark(&self) -> u64 {
        let mut world = self.world.lock();
        world.version += 10;
        let version = world.version;
        let object = json!({ "kind": "Pod", "metadata": { "resourceVersion": version.to_string(), "creationTimestamp": null } });
        self.note(&mut world, json!({ "type": "BOOKMARK", "object": object }));
        version
    }

    fn note(&self, world: &mut World, event: Value) {
        let version = world.version;
        world.events.push((version, event));
        self.changed.send_replace(version);
    }

    /// Nobody may watch from a version before the next one.
    pub(super) fn forget(&self) {
        let mut world = self.world.lock();
        world.version += 1;
        world.forgotten = world.version;
        world.events.clear();
    }

    /// All watches break in the middle of an event.
    pub(super) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

async fn pods(State(api): State<Api>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let query = query.unwrap_or_default();
    let query: BTreeMap<String, String> =
        url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let broken = {
        let mut world = api.world.lock();
        world.asked.push(query.clone());
        let token = headers.get("authorization").map_or("", |value| value.to_str().unwrap());
        world.tokens.push(token.to_owned());
        world.broken
    };
    match broken {
        Some(status) => status.into_response(),
        None if query.contains_key("watch") => watch_pods(api, &query),
        None => list(&api.world.lock(), &query),
    }
}

fn list(world: &World, query: &BTreeMap<String, String>) -> Response {
    // Two a page, whatever limit there is: the server may give fewer.
    const PAGE: usize = 2;
    let start: usize = query.get("continue").map_or(0, |token| token.parse().unwrap());
    let node = query.get("fieldSelector").and_then(|selector| selector.strip_prefix("spec.nodeName="));
    let chosen = world.pods.values().filter(|pod| node.is_none_or(|node| pod["spec"]["nodeName"] == node));
    let items: Vec<&Value> = chosen.skip(start).collect();
    let more = if items.len() > PAGE { (start + PAGE).to_string() } else { String::new() };
    let metadata = json!({ "resourceVersion": world.version.to_string(), "continue": more });
    let page = &items[..items.len().min(PAGE)];
    axum::Json(json!({ "kind": "PodList", "apiVersion": "v1", "metadata": metadata, "items": page }))
        .into_response()
}

fn watch_pods(api: Api, query: &BTreeMap<String, String>) -> Response {
    assert_eq!(query["allowWatchBookmarks"], "true");
    let mut seen: u64 = query["resourceVersion"].parse().unwrap();
    let gone = json!({ "type": "ERROR", "object": { "kind": "Status", "code": 410, "reason": "Expired" } });
    let (chunks, stream) = mpsc::channel::<Result<Bytes, std::io::Error>>(16);
    let (mut changed, mut cuts) = (api.changed.subscribe(), api.cuts.subscribe());
    tokio::spawn(async move {
        loop {
            let (new, is_forgotten): (Vec<_>, _) = {
                let world = api.world.lock();
                let new = world.events.iter().filter(|(version, _)| *version > seen).cloned();
                (new.collect(), seen < world.forgotten)
            };
            if cuts.has_changed().unwrap_or(true) {
                return cut(&chunks).await;
            }
            if is_forgotten {
                let _ = chunks.send(Ok(format!("{gone}\n").into())).await;
                return;
            }
            for (version, event) in new {
                seen = version;
                // In two chunks: an event does not end where a chunk does.
                let line = format!("{event}\n");
                let (a, b) = line.split_at(line.len() / 2);
                for part in [a, b] {
                    let _ = chunks.send(Ok(part.to_owned().into())).await;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
            tokio::select! {
                _ = changed.changed() => {}
                _ = cuts.changed() => return cut(&chunks).await,
            }
        }
    });
    let stream = futures::stream::unfold(stream, async |mut stream| Some((stream.recv().await?, stream)));
    Body::from_stream(stream).into_response()
}

/// The connection breaks in the middle of an event.
async fn cut(chunks: &mpsc::Sender<Result<Bytes, std::io::Error>>) {
    let _ = chunks.send(Ok("{\"type\":\"ADDED\",\"obj".into())).await;
    let _ = chunks.send(Err(std::io::Error::other("cut"))).await;
}

/// A running pod with an address of its own, made by the replica set of a deployment.
pub(super) fn pod(name: &str, uid: &str, ip: &str) -> Value {
    json!({
        "metadata": {
            "name": name, "namespace": "shop", "uid": uid,
            "labels": { "app": name, "pod-template-hash": "7d4b9c" },
            "annotations": { "team": "orders", "big": "x".repeat(500) },
            "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-7d4b9c", "controller": true }],
            "managedFields": [{ "manager": "kubelet" }],
        },
        "spec": { "nodeName": "node-a", "containers": [{ "name": "app", "image": "i" }] },
        "status": { "phase": "Running", "podIP": ip, "podIPs": [{ "ip": ip }] },
    })
}
