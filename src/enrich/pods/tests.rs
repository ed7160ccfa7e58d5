#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod api;
mod secure;

use std::time::{Duration, Instant};

use serde_json::json;

use super::*;
use crate::runtime::{RealDisk, SeededRandom};
use api::{Api, pod};

/// A watch of this server, running.
struct Running {
    pods: Pods,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn config(url: &str) -> PodsConfig {
    PodsConfig {
        enabled: true,
        api: Some(url.to_owned()),
        labels: vec!["app".into(), "missing".into()],
        annotations: vec!["team".into()],
        token_file: "/does/not/exist".into(),
        ..PodsConfig::default()
    }
}

fn run(config: PodsConfig) -> Running {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let pods = Pods::new(&config);
    let api = PodApi::new(&config, &|_| None, Arc::new(RealDisk)).unwrap();
    let random = Arc::new(SeededRandom::new(1));
    let watch = PodWatch { pods: pods.clone(), api, config, random };
    Running { pods, task: tokio::spawn(watch.run(std::future::pending())) }
}

/// Waits until this holds.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(10), "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

impl Running {
    /// The attributes that a resource with these, sent from there, has in the end, sorted.
    fn after(&self, sent: &[(&str, &str)], client: &str) -> String {
        let mut message = Vec::new();
        for (key, value) in sent {
            crate::wire::put_attribute(&mut message, 1, key, AnyView::Str(value));
        }
        let mut list = Attributes::default();
        list.read(&message, 1).unwrap();
        self.pods.edit(&mut list, client.parse().ok());
        let mut shown: Vec<String> = (0..list.len())
            .map(|index| {
                let entry = list.at(index).unwrap();
                let Ok(AnyView::Str(value)) = AnyView::parse(&entry.any) else { panic!("no text") };
                format!("{}={value}", String::from_utf8_lossy(&entry.key))
            })
            .collect();
        shown.sort();
        shown.join(" ")
    }

    fn knows(&self, ip: &str) -> bool {
        self.after(&[], ip).contains("k8s.pod.name=")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_are_listed_page_by_page_and_then_watched() {
    let api = Api::new();
    for n in 1..=5 {
        api.put(pod(&format!("web-{n}"), &format!("uid-{n}"), &format!("10.0.0.{n}")));
    }
    let running = run(config(&api.serve("127.0.0.1:0").await));
    until("all five are known", || running.pods.stats().pods == 5).await;
    let expected = "k8s.container.name=app k8s.deployment.name=web k8s.namespace.name=shop k8s.node.name=node-a \
                    k8s.pod.annotation.team=orders k8s.pod.label.app=web-3 k8s.pod.name=web-3 k8s.pod.uid=uid-3 \
                    k8s.replicaset.name=web-7d4b9c";
    assert_eq!(running.after(&[], "10.0.0.3"), expected);
    assert_eq!(running.after(&[], "::ffff:10.0.0.3"), expected, "an IPv4 address in IPv6's form");
    until("it watches", || running.pods.stats().watches == 1).await;
    api.put(pod("web-6", "uid-6", "fd00::6"));
    until("a new pod is known", || running.knows("fd00::6")).await;
    api.delete("uid-1");
    until("a gone pod is not", || !running.knows("10.0.0.1")).await;
    api.put(pod("web-2", "uid-2", "10.0.9.9"));
    until("a pod has another address", || running.knows("10.0.9.9") && !running.knows("10.0.0.2")).await;
    let stats = running.pods.stats();
    assert_eq!((stats.pods, stats.lists, stats.watches, stats.failures, stats.error), (5, 1, 1, 0, None));
    let lists = api.world.lock().asked.iter().filter(|query| !query.contains_key("watch")).count();
    assert_eq!(lists, 3, "pages of two");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_breaks_goes_on_at_the_last_bookmark() {
    let api = Api::new();
    api.put(pod("web-1", "uid-1", "10.0.0.1"));
    let running = run(config(&api.serve("127.0.0.1:0").await));
    until("it watches", || running.pods.stats().watches == 1).await;
    let version = api.bookmark();
    tokio::time::sleep(Duration::from_millis(100)).await;
    api.cut();
    api.put(pod("web-2", "uid-2", "10.0.0.2"));
    until("what came meanwhile is known", || running.knows("10.0.0.2")).await;
    let last = api.world.lock().asked.last().unwrap().clone();
    assert_eq!(last["resourceVersion"], version.to_string());
    let stats = running.pods.stats();
    assert_eq!((stats.lists, stats.watches, stats.failures), (1, 2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_gone_means_a_new_list() {
    let api = Api::new();
    api.put(pod("web-1", "uid-1", "10.0.0.1"));
    api.put(pod("web-2", "uid-2", "10.0.0.2"));
    let running = run(config(&api.serve("127.0.0.1:0").await));
    until("it watches", || running.pods.stats().watches == 1).await;
    // Its deletion is never told: the list has to show it.
    api.delete("uid-1");
    api.forget();
    api.put(pod("web-3", "uid-3", "10.0.0.3"));
    until("it lists again", || running.pods.stats().lists == 2).await;
    assert!(running.knows("10.0.0.2") && running.knows("10.0.0.3") && !running.knows("10.0.0.1"));
    assert_eq!(running.pods.stats().failures, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_be_asked_is_said_to_and_asked_again() {
    let api = Api::new();
    api.put(pod("web-1", "uid-1", "10.0.0.1"));
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let running = run(config(&format!("http://{free}")));
    until("it fails", || running.pods.stats().failures > 0).await;
    let stats = running.pods.stats();
    assert!(stats.error.unwrap().starts_with("the API server cannot be reached"));
    assert!(!stats.synced);
    assert_eq!(running.after(&[("a", "b")], "10.0.0.1"), "a=b", "requests are served all the same");
    assert_eq!(running.pods.stats().unknown, 1);
    api.world.lock().broken = Some(axum::http::StatusCode::FORBIDDEN);
    api.serve(&free).await;
    let forbidden = "the service account may not list and watch pods (403)";
    until("it is refused", || running.pods.stats().error.as_deref() == Some(forbidden)).await;
    api.world.lock().broken = None;
    until("it comes back", || running.knows("10.0.0.1")).await;
    until("and all is well", || running.pods.stats().error.is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_is_asked_for_and_the_token_is_read_each_time() {
    let dir = tempfile::tempdir().unwrap();
    let token_file = dir.path().join("token");
    std::fs::write(&token_file, "first\n").unwrap();
    let api = Api::new();
    api.put(pod("web-1", "uid-1", "10.0.0.1"));
    let mut other = pod("web-2", "uid-2", "10.0.0.2");
    other["spec"]["nodeName"] = json!("node-b");
    api.put(other);
    let url = api.serve("127.0.0.1:0").await;
    let running =
        run(PodsConfig { node: Some("node-b".into()), token_file: token_file.clone(), ..config(&url) });
    until("it watches", || running.pods.stats().watches == 1).await;
    assert!(running.knows("10.0.0.2") && !running.knows("10.0.0.1"));
    std::fs::write(&token_file, "second").unwrap();
    api.bookmark();
    tokio::time::sleep(Duration::from_millis(50)).await;
    api.cut();
    until("it asks again", || running.pods.stats().watches == 2).await;
    let world = api.world.lock();
    assert_eq!(world.tokens, ["Bearer first", "Bearer first", "Bearer second"]);
    assert!(world.asked.iter().all(|query| query["fieldSelector"] == "spec.nodeName=node-b"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_that_names_its_pod_counts_before_the_sender() {
    let api = Api::new();
    api.put(pod("web-1", "uid-1", "10.0.0.1"));
    api.put(pod("agent", "uid-2", "10.0.0.2"));
    let running = run(config(&api.serve("127.0.0.1:0").await));
    until("both are known", || running.pods.stats().pods == 2).await;
    let by = |sent: &[(&str, &str)]| running.after(sent, "10.0.0.2");
    assert!(by(&[]).contains("k8s.pod.name=agent"));
    assert!(by(&[("k8s.pod.uid", "uid-1")]).contains("k8s.pod.name=web-1"));
    assert!(by(&[("k8s.pod.ip", "10.0.0.1")]).contains("k8s.pod.name=web-1"));
    assert_eq!(by(&[("k8s.pod.uid", "another cluster's")]), "k8s.pod.uid=another cluster's");
    assert_eq!(by(&[("k8s.pod.name", "mine")]), "k8s.pod.name=mine");
    assert!(
        by(&[("k8s.pod.ip", "10.0.0.1"), ("k8s.namespace.name", "sent")]).contains("k8s.namespace.name=sent")
    );
    assert_eq!((running.pods.stats().found, running.pods.stats().unknown), (4, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cache_has_a_bound_in_bytes() {
    let api = Api::new();
    for n in 1..=50 {
        api.put(pod(&format!("web-{n}"), &format!("uid-{n}"), &format!("10.0.0.{n}")));
    }
    let running = run(PodsConfig { cache: 8 << 10, ..config(&api.serve("127.0.0.1:0").await) });
    until("it has listed all", || running.pods.stats().lists == 1).await;
    let stats = running.pods.stats();
    assert!(stats.bytes <= 8 << 10 && stats.pods >= 4, "{stats:?}");
    assert_eq!(stats.pods + stats.refused, 50);
}

#[tokio::test]
async fn a_pod_of_a_cron_job_is_named_after_it_and_what_a_sender_set_stays() {
    let api = Api::new();
    let mut owned = pod("report-29384756-x7k2p", "u1", "10.0.0.7");
    owned["metadata"]["ownerReferences"] =
        json!([{ "apiVersion": "batch/v1", "kind": "Job", "name": "report-29384756", "controller": true }]);
    api.put(owned);
    let running = run(config(&api.serve("127.0.0.1:0").await));
    until("it is known", || running.knows("10.0.0.7")).await;
    let shown = running.after(&[], "10.0.0.7");
    assert!(
        shown.contains("k8s.cronjob.name=report ") && shown.contains("k8s.job.name=report-29384756"),
        "{shown}"
    );
    let shown = running.after(&[("k8s.cronjob.name", "mine")], "10.0.0.7");
    assert!(shown.contains("k8s.cronjob.name=mine ") && !shown.contains("=report "), "{shown}");
}

fn parsed(object: serde_json::Value) -> Pod {
    serde_json::from_value::<object::Object>(object).unwrap().pod(&PodsConfig::default()).unwrap()
}

#[test]
fn addresses_belong_to_pods_that_run_on_a_network_of_their_own() {
    let mut on_host = pod("p", "u", "192.168.0.1");
    on_host["spec"]["hostNetwork"] = json!(true);
    assert!(parsed(on_host).ips.is_empty());
    let mut ended = pod("p", "u", "10.0.0.1");
    ended["status"]["phase"] = json!("Succeeded");
    assert!(parsed(ended).ips.is_empty());
    let mut both = pod("p", "u", "10.0.0.1");
    both["status"]["podIPs"] = json!([{ "ip": "10.0.0.1" }, { "ip": "fd00::1" }]);
    assert_eq!(parsed(both).ips.len(), 2);
    let mut cache = Cache::new(1 << 20);
    cache.put(parsed(pod("old", "u1", "10.0.0.1")));
    cache.put(parsed(pod("new", "u2", "10.0.0.1")));
    cache.remove("u1");
    assert_eq!(
        cache.by_ip("10.0.0.1".parse().unwrap()).unwrap().uid,
        "u2",
        "an address was given to another pod"
    );
    cache.remove("u2");
    assert_eq!(
        (cache.bytes(), cache.len(), cache.by_ip("10.0.0.1".parse().unwrap()).is_none()),
        (0, 0, true)
    );
}

#[test]
fn owners_and_containers_are_named() {
    let shown = |object: serde_json::Value| -> String {
        let pod = parsed(object);
        let pairs = pod.attributes.iter().map(|(key, any)| {
            let Ok(AnyView::Str(value)) = AnyView::parse(any) else { panic!("no text") };
            format!("{}={value} ", String::from_utf8_lossy(key))
        });
        pairs.collect()
    };
    for (kind, expected) in [
        ("StatefulSet", "k8s.statefulset.name=db"),
        ("DaemonSet", "k8s.daemonset.name=db"),
        ("Job", "k8s.job.name=db"),
        ("ReplicaSet", "k8s.replicaset.name=db "),
    ] {
        let mut owned = pod("p", "u", "");
        owned["metadata"]["ownerReferences"] = json!([{ "kind": kind, "name": "db", "controller": true }]);
        let shown = shown(owned);
        assert!(shown.contains(expected) && !shown.contains("deployment"), "{shown}");
    }
    for (job, expected) in [
        ("report-29384756", Some("report")),
        ("a-b-27667920", Some("a-b")),
        ("old-1627667920", Some("old")),
        ("migrate-42", None),
        ("import-20240131", None),
        ("by-hand-x7k2p", None),
        ("29384756", None),
        ("report-+9384756", None),
    ] {
        let mut owned = pod("p", "u", "");
        owned["metadata"]["ownerReferences"] = json!([{ "kind": "Job", "name": job, "controller": true }]);
        let shown = shown(owned);
        let cron_job = shown.split(' ').find_map(|pair| pair.strip_prefix("k8s.cronjob.name="));
        assert_eq!(cron_job, expected, "{job}: {shown}");
        assert!(shown.contains(&format!("k8s.job.name={job} ")), "{shown}");
    }
    let mut two = pod("p", "u", "");
    two["spec"]["containers"] = json!([{ "name": "app" }, { "name": "proxy" }]);
    two["status"]["containerStatuses"] =
        json!([{ "name": "proxy", "containerID": "containerd://abc" }, { "name": "app" }]);
    let two = parsed(two);
    assert!(two.container(None).is_none());
    let (_, any) = two.container(Some("abc")).unwrap();
    assert_eq!(AnyView::parse(any).unwrap(), AnyView::Str("proxy"));
    assert!(two.container(Some("unknown")).is_none());
}

#[test]
fn what_cannot_be_asked_is_said_in_words() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let new = |config: &PodsConfig, host: Option<&str>| {
        let env = |name: &str| host.filter(|_| name == "KUBERNETES_SERVICE_HOST").map(str::to_owned);
        PodApi::new(config, &env, Arc::new(RealDisk)).err().unwrap()
    };
    let none = new(&PodsConfig::default(), None);
    assert!(none.contains("KUBERNETES_SERVICE_HOST is not set"), "{none}");
    let dir = tempfile::tempdir().unwrap();
    let ca_file = dir.path().join("ca.crt");
    let config = PodsConfig { ca_file: ca_file.clone(), ..PodsConfig::default() };
    assert!(new(&config, Some("10.0.0.1")).contains("ca.crt: "));
    std::fs::write(&ca_file, "nothing").unwrap();
    assert!(new(&config, Some("fd00::1")).ends_with("holds no certificates"));
}
