//! A pod as the API server describes it, and what of it becomes attributes.
//! <https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/>

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;

use super::{ANNOTATION, LABEL, PodsConfig};
use crate::wire::{AnyView, put_any};

/// A key and an encoded `AnyValue`.
pub(in crate::enrich) type Pair = (Box<[u8]>, Box<[u8]>);

/// What is kept of a pod.
#[derive(Debug)]
pub(in crate::enrich) struct Pod {
    pub(super) uid: String,
    /// Its own addresses, while it has some.
    pub(super) ips: Vec<IpAddr>,
    /// Its attributes, ready to be written.
    pub(super) attributes: Vec<Pair>,
    /// `k8s.container.name` of each container, and its id where it has one.
    containers: Vec<(Option<String>, Pair)>,
}

/// The fields that are looked at.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Object {
    pub(super) metadata: Metadata,
    spec: Spec,
    status: Status,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Metadata {
    name: String,
    namespace: String,
    uid: String,
    pub(super) resource_version: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    owner_references: Vec<Owner>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Owner {
    kind: String,
    name: String,
    controller: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    node_name: String,
    host_network: bool,
    containers: Vec<Container>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Container {
    name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    phase: String,
    #[serde(rename = "podIP")]
    pod_ip: String,
    #[serde(rename = "podIPs")]
    pod_ips: Vec<PodIp>,
    container_statuses: Vec<ContainerStatus>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PodIp {
    ip: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ContainerStatus {
    name: String,
    #[serde(rename = "containerID")]
    container_id: String,
}

impl Object {
    /// What is kept; `None` for what has no id.
    pub(super) fn pod(self, config: &PodsConfig) -> Option<Pod> {
        if self.metadata.uid.is_empty() {
            return None;
        }
        let mut attributes = Vec::new();
        let mut add = |key: &str, value: &str| {
            if !value.is_empty() {
                attributes.push(pair(key, value));
            }
        };
        let Metadata { name, namespace, uid, labels, annotations, owner_references, .. } = &self.metadata;
        add("k8s.namespace.name", namespace);
        add("k8s.pod.name", name);
        add("k8s.pod.uid", uid);
        add("k8s.node.name", &self.spec.node_name);
        if let Some(owner) =
            owner_references.iter().find(|owner| owner.controller).or(owner_references.first())
        {
            match owner.kind.as_str() {
                "ReplicaSet" => {
                    add("k8s.replicaset.name", &owner.name);
                    add("k8s.deployment.name", deployment_of(&owner.name, labels.get("pod-template-hash")));
                }
                "StatefulSet" => add("k8s.statefulset.name", &owner.name),
                "DaemonSet" => add("k8s.daemonset.name", &owner.name),
                "Job" => {
                    add("k8s.job.name", &owner.name);
                    add("k8s.cronjob.name", cron_job_of(&owner.name));
                }
                _ => {}
            }
        }
        for (chosen, all, prefix) in
            [(&config.labels, labels, LABEL), (&config.annotations, annotations, ANNOTATION)]
        {
            for name in chosen {
                add(&format!("{prefix}{name}"), all.get(name).map_or("", String::as_str));
            }
        }
        Some(Pod { uid: uid.clone(), ips: self.ips(), attributes, containers: self.containers() })
    }

    /// None for a pod on its node's network, whose addresses are the node's, and for one that has ended, whose addresses
    /// may be another's by now.
    fn ips(&self) -> Vec<IpAddr> {
        if self.spec.host_network || matches!(self.status.phase.as_str(), "Succeeded" | "Failed") {
            return Vec::new();
        }
        let all = self.status.pod_ips.iter().map(|ip| &ip.ip).chain([&self.status.pod_ip]);
        let mut ips: Vec<IpAddr> = all.filter_map(|ip| ip.parse().ok()).collect();
        ips.sort_unstable();
        ips.dedup();
        ips
    }

    fn containers(&self) -> Vec<(Option<String>, Pair)> {
        let id_of = |name: &str| {
            let status = self.status.container_statuses.iter().find(|status| status.name == name)?;
            // `containerd://ID`
            status.container_id.split_once("://").map(|(_, id)| id.to_owned())
        };
        let containers = self.spec.containers.iter();
        containers
            .map(|container| (id_of(&container.name), pair("k8s.container.name", &container.name)))
            .collect()
    }
}

impl Pod {
    /// The name of the container with this id; without one, of the only container there is.
    pub(super) fn container(&self, id: Option<&str>) -> Option<&Pair> {
        match (id, &self.containers[..]) {
            (Some(id), all) => {
                all.iter().find(|(known, _)| known.as_deref() == Some(id)).map(|(_, pair)| pair)
            }
            (None, [(_, only)]) => Some(only),
            (None, _) => None,
        }
    }

    /// What it takes in memory, about.
    pub(super) fn bytes(&self) -> usize {
        const ENTRY: usize = 160;
        let pair = |(key, any): &Pair| key.len() + any.len() + 48;
        let containers =
            self.containers.iter().map(|(id, name)| id.as_ref().map_or(0, String::len) + pair(name) + 24);
        let attributes = self.attributes.iter().map(pair);
        ENTRY
            + 2 * self.uid.len()
            + self.ips.len() * 80
            + attributes.sum::<usize>()
            + containers.sum::<usize>()
    }
}

/// A deployment's replica sets are named after it and the hash of their template.
fn deployment_of<'s>(replica_set: &'s str, hash: Option<&String>) -> &'s str {
    let by_hash = hash.and_then(|hash| replica_set.strip_suffix(hash.as_str())?.strip_suffix('-'));
    by_hash.unwrap_or_default()
}

/// A cron job's jobs are named after it and when they were due: minutes since the Unix epoch, before Kubernetes 1.21 seconds.
/// Times before 2017 are other numbers that people put behind names: a date like 20240131 is a smaller one.
fn cron_job_of(job: &str) -> &str {
    const SINCE_MINUTES: u64 = 25_000_000;
    let Some((name, due)) = job.rsplit_once('-') else { return "" };
    let is_time = due.bytes().all(|byte| byte.is_ascii_digit())
        && match (due.len(), due.parse::<u64>()) {
            (8, Ok(minutes)) => minutes >= SINCE_MINUTES,
            (10, Ok(seconds)) => seconds >= SINCE_MINUTES * 60,
            _ => false,
        };
    if is_time { name } else { "" }
}

fn pair(key: &str, value: &str) -> Pair {
    let mut any = Vec::new();
    put_any(&mut any, AnyView::Str(value));
    (key.as_bytes().into(), any.into())
}
