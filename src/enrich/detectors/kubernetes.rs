//! The pod this process is in, as the downward API tells it: environment variables by the names that are in use, and
//! files of a `downwardAPI` volume at `/etc/podinfo` (or `TRACEWELL_PODINFO`), named after their fields.
//! <https://kubernetes.io/docs/concepts/workloads/pods/downward-api/>

use std::path::{Path, PathBuf};

use super::{DetectError, Detected, Machine, Outcome, text};

/// Attributes, the variables that may hold each, and the file.
const FIELDS: [(&str, &[&str], &str); 7] = [
    ("k8s.pod.name", &["K8S_POD_NAME", "POD_NAME", "MY_POD_NAME"], "name"),
    ("k8s.namespace.name", &["K8S_NAMESPACE", "POD_NAMESPACE", "MY_POD_NAMESPACE"], "namespace"),
    ("k8s.pod.uid", &["K8S_POD_UID", "POD_UID", "MY_POD_UID"], "uid"),
    ("k8s.pod.ip", &["K8S_POD_IP", "POD_IP", "MY_POD_IP"], "ip"),
    ("k8s.node.name", &["K8S_NODE_NAME", "NODE_NAME", "MY_NODE_NAME"], "node"),
    ("k8s.container.name", &["K8S_CONTAINER_NAME", "CONTAINER_NAME"], "container"),
    ("k8s.cluster.name", &["K8S_CLUSTER_NAME", "CLUSTER_NAME"], "cluster"),
];

/// Where every pod finds its namespace, unless it has no service account.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

pub(super) fn detect(machine: &Machine<'_>) -> Outcome {
    let dir = PathBuf::from(machine.variable("TRACEWELL_PODINFO").unwrap_or_else(|| "/etc/podinfo".into()));
    let in_file =
        |path: &Path| machine.file(path).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let mut found = Vec::new();
    for (key, variables, file) in FIELDS {
        let variable = variables.iter().find_map(|name| machine.variable(name));
        let value = variable.or_else(|| in_file(&dir.join(file)));
        let value = value.or_else(|| in_file(Path::new(NAMESPACE_FILE)).filter(|_| file == "namespace"));
        found.extend(value.map(|value| text(key, value)));
    }
    let labels = machine.file(&dir.join("labels")).unwrap_or_default();
    found.extend(labels.lines().filter_map(label));
    if found.is_empty() { Err(DetectError::Kubernetes(dir)) } else { Ok(found) }
}

/// A line of the file `labels`: `key="value"`, the value quoted as in Go.
fn label(line: &str) -> Option<Detected> {
    let (key, quoted) = line.split_once('=')?;
    // Labels' values are letters, digits, `-`, `_` and `.`: no escapes to undo.
    let value = quoted.trim().strip_prefix('"')?.strip_suffix('"')?;
    Some(text(&format!("k8s.pod.label.{key}"), value))
}
