//! Detectors find resource attributes out, once, at start. One file each.

mod azure;
mod container;
mod ec2;
mod env;
mod gcp;
mod host;
mod kubernetes;
mod metadata;
mod os;
mod process;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt, join_all};
use serde::{Deserialize, Serialize};

use super::config::AttributeValue;
use crate::runtime::Disk;
use crate::runtime::disk::read_text;

/// A resource attribute: key and value.
pub type Detected = (String, AttributeValue);

/// The detectors that exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DetectorKind {
    /// `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME`.
    Env,
    /// `host.name`.
    Host,
    /// `os.type`.
    Os,
    /// `process.…` of this process.
    Process,
    /// `container.id`.
    Container,
    /// `k8s.…` of the pod this process is in, by the downward API.
    Kubernetes,
    /// `cloud.…` and `host.…` of the EC2 instance.
    Ec2,
    /// `cloud.…` and `host.…` of the instance on Google Cloud.
    Gcp,
    /// `cloud.…` and `host.…` of the virtual machine on Azure.
    Azure,
}

impl DetectorKind {
    /// As it is written in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Env => "env",
            Self::Host => "host",
            Self::Os => "os",
            Self::Process => "process",
            Self::Container => "container",
            Self::Kubernetes => "kubernetes",
            Self::Ec2 => "ec2",
            Self::Gcp => "gcp",
            Self::Azure => "azure",
        }
    }
}

/// What went wrong while detecting. It is for the log: what was detected besides holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DetectError {
    /// The variable is not a list of `key=value` pairs; the specification says to discard all of it.
    #[error("OTEL_RESOURCE_ATTRIBUTES is ignored: {0}")]
    ResourceAttributes(String),
    /// The host's name cannot be used.
    #[error("the host has no name in UTF-8")]
    HostName,
    /// There is no container id in what the kernel says.
    #[error("this process is in no container whose id can be found")]
    Container,
    /// Neither variables nor files of the downward API are there.
    #[error("neither variables (POD_NAME …) nor files ({}) say anything of a pod", .0.display())]
    Kubernetes(PathBuf),
    /// A metadata service did not answer, or not as it should.
    #[error("{0}: {1}")]
    Metadata(&'static str, String),
}

/// What detectors look at.
#[derive(Clone, Copy)]
pub struct Machine<'m> {
    /// Looks an environment variable up.
    pub env: &'m (dyn Fn(&str) -> Option<String> + Sync),
    /// Its files,
    pub disk: &'m dyn Disk,
    /// from here on: `/`, but for tests.
    pub root: &'m Path,
}

/// How long a detector may take: those that ask over the network do it side by side.
const TIME_MAX: Duration = Duration::from_secs(3);
/// The longest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

impl Machine<'_> {
    /// A variable that is set and not empty.
    fn variable(&self, name: &str) -> Option<String> {
        (self.env)(name).filter(|value| !value.is_empty())
    }

    /// The text of a file, if there is one; `path` is absolute.
    fn file(&self, path: &Path) -> Option<String> {
        let inside = self.root.join(path.strip_prefix("/").unwrap_or(path));
        read_text(self.disk, &inside, FILE_BYTES_MAX).ok()
    }
}

type Outcome = Result<Vec<Detected>, DetectError>;

/// Runs the detectors. Of several that find the same key, the first in their order counts.
pub async fn detect(kinds: &[DetectorKind], machine: Machine<'_>) -> (Vec<Detected>, Vec<DetectError>) {
    let runs = kinds.iter().map(|kind| run(*kind, machine));
    let mut attributes: Vec<Detected> = Vec::new();
    let mut errors = Vec::new();
    for (found, problems) in join_all(runs).await {
        for (key, value) in found {
            if !attributes.iter().any(|(known, _)| *known == key) {
                attributes.push((key, value));
            }
        }
        errors.extend(problems);
    }
    (attributes, errors)
}

async fn run(kind: DetectorKind, machine: Machine<'_>) -> (Vec<Detected>, Vec<DetectError>) {
    let outcome = match kind {
        DetectorKind::Env => return env::detect(&machine),
        DetectorKind::Os => Ok(os::detect()),
        DetectorKind::Process => Ok(process::detect()),
        DetectorKind::Host => host::detect(),
        DetectorKind::Container => container::detect(&machine),
        DetectorKind::Kubernetes => kubernetes::detect(&machine),
        DetectorKind::Ec2 => in_time(kind, ec2::detect(machine).boxed()).await,
        DetectorKind::Gcp => in_time(kind, gcp::detect(machine).boxed()).await,
        DetectorKind::Azure => in_time(kind, azure::detect(machine).boxed()).await,
    };
    match outcome {
        Ok(found) => (found, Vec::new()),
        Err(error) => (Vec::new(), vec![error]),
    }
}

async fn in_time(kind: DetectorKind, asking: BoxFuture<'_, Outcome>) -> Outcome {
    let late = || format!("no answer within {} s", TIME_MAX.as_secs());
    let answered = tokio::time::timeout(TIME_MAX, asking).await;
    answered.unwrap_or_else(|_| Err(DetectError::Metadata(kind.as_str(), late())))
}

/// An attribute with a text value.
fn text(key: &str, value: impl Into<String>) -> Detected {
    (key.to_owned(), AttributeValue::Str(value.into()))
}
