//! Which Kubernetes pod a resource belongs to: by `k8s.pod.uid` or `k8s.pod.ip` of the resource, or where it names no
//! pod, by the address it was sent from. What is known of pods comes from the API server, by list and watch.

mod cache;
mod object;
mod watch;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use super::attributes::Attributes;
use crate::wire::AnyView;
use cache::Cache;
pub(super) use object::Pod;
pub use watch::{PodApi, PodWatch};

const LABEL: &str = "k8s.pod.label.";
const ANNOTATION: &str = "k8s.pod.annotation.";

/// Whether and how pods are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodsConfig {
    /// Off asks nobody.
    pub enabled: bool,
    /// The API server; `None`: that of the cluster this process is in, by its environment.
    pub api: Option<String>,
    /// Only the pods of this node.
    pub node: Option<String>,
    /// Which labels become attributes `k8s.pod.label.…`,
    pub labels: Vec<String>,
    /// and which annotations `k8s.pod.annotation.…`.
    pub annotations: Vec<String>,
    /// The most that is kept of pods, in bytes; further ones are not known.
    pub cache: u64,
    /// The file with the service account's token. It is read again for each request: tokens change.
    pub token_file: PathBuf,
    /// The file with the certificates of the API server's issuer.
    pub ca_file: PathBuf,
}

impl Default for PodsConfig {
    fn default() -> Self {
        let account = PathBuf::from("/var/run/secrets/kubernetes.io/serviceaccount");
        Self {
            enabled: false,
            api: None,
            node: None,
            labels: Vec::new(),
            annotations: Vec::new(),
            cache: 32 << 20,
            token_file: account.join("token"),
            ca_file: account.join("ca.crt"),
        }
    }
}

/// The attributes that a pod may give, but for labels and annotations.
const KEYS: [&str; 11] = [
    "k8s.namespace.name",
    "k8s.pod.name",
    "k8s.pod.uid",
    "k8s.node.name",
    "k8s.container.name",
    "k8s.deployment.name",
    "k8s.replicaset.name",
    "k8s.statefulset.name",
    "k8s.daemonset.name",
    "k8s.job.name",
    "k8s.cronjob.name",
];

/// The pods known so far; shared by those who ask and the one who watches. Cheap to clone.
#[derive(Clone)]
pub struct Pods(Arc<Shared>);

struct Shared {
    keys: Vec<String>,
    cache: RwLock<Cache>,
    last_error: Mutex<Option<String>>,
    lists: AtomicU64,
    watches: AtomicU64,
    failures: AtomicU64,
    found: AtomicU64,
    unknown: AtomicU64,
}

/// Pods in numbers, since the start where they are counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodStats {
    /// Pods known.
    pub pods: u64,
    /// What they take, in bytes.
    pub bytes: u64,
    /// Changes of pods that did not fit.
    pub refused: u64,
    /// Whether the API server has listed all pods once.
    pub synced: bool,
    /// Complete lists.
    pub lists: u64,
    /// Watches begun.
    pub watches: u64,
    /// Lists and watches that failed.
    pub failures: u64,
    /// Resources whose pod was found,
    pub found: u64,
    /// and others.
    pub unknown: u64,
    /// What is wrong now; nothing where all is well.
    pub error: Option<String>,
}

impl Pods {
    /// None yet.
    pub fn new(config: &PodsConfig) -> Self {
        let labels = config.labels.iter().map(|name| format!("{LABEL}{name}"));
        let annotations = config.annotations.iter().map(|name| format!("{ANNOTATION}{name}"));
        Self(Arc::new(Shared {
            keys: KEYS.iter().map(|key| (*key).to_owned()).chain(labels).chain(annotations).collect(),
            cache: RwLock::new(Cache::new(usize::try_from(config.cache).unwrap_or(usize::MAX))),
            last_error: Mutex::new(None),
            lists: AtomicU64::new(0),
            watches: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            found: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
        }))
    }

    /// How things are.
    pub fn stats(&self) -> PodStats {
        let shared = &*self.0;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let cache = shared.cache.read();
        PodStats {
            pods: cache.len() as u64,
            bytes: cache.bytes() as u64,
            refused: cache.refused(),
            synced: count(&shared.lists) > 0,
            lists: count(&shared.lists),
            watches: count(&shared.watches),
            failures: count(&shared.failures),
            found: count(&shared.found),
            unknown: count(&shared.unknown),
            error: shared.last_error.lock().clone(),
        }
    }

    /// The keys of all attributes that may be added.
    pub(super) fn written_keys(&self) -> Vec<&[u8]> {
        self.0.keys.iter().map(String::as_bytes).collect()
    }

    /// Adds what is known of the pod to the attributes of a resource; what the sender has set stays.
    pub(super) fn edit(&self, resource: &mut Attributes<'_>, client: Option<IpAddr>) {
        let Some(pod) = self.pod_of(resource, client) else {
            self.0.unknown.fetch_add(1, Ordering::Relaxed);
            return;
        };
        self.0.found.fetch_add(1, Ordering::Relaxed);
        let container = text_of(resource, b"container.id").and_then(|id| pod.container(Some(id)));
        let container = container.or_else(|| pod.container(None)).cloned();
        let attributes = pod.attributes.iter().chain(container.as_ref());
        for (key, any) in attributes {
            if !resource.has(key) {
                resource.put(Cow::Owned(key.to_vec()), Cow::Owned(any.to_vec()), false);
            }
        }
    }

    /// A pod that the resource names itself counts before the one that sent it, which may be an agent.
    fn pod_of(&self, resource: &Attributes<'_>, client: Option<IpAddr>) -> Option<Arc<Pod>> {
        let cache = self.0.cache.read();
        if let Some(uid) = text_of(resource, b"k8s.pod.uid") {
            return cache.by_uid(uid);
        }
        if let Some(ip) = text_of(resource, b"k8s.pod.ip") {
            return cache.by_ip(ip.parse().ok()?);
        }
        if resource.has(b"k8s.pod.name") {
            return None;
        }
        cache.by_ip(client?)
    }
}

fn text_of<'l>(list: &'l Attributes<'_>, key: &[u8]) -> Option<&'l str> {
    match AnyView::parse(&list.get(key)?.any) {
        Ok(AnyView::Str(text)) if !text.is_empty() => Some(text),
        _ => None,
    }
}

impl fmt::Debug for Pods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pods").field(&self.0.cache.read().len()).finish()
    }
}
