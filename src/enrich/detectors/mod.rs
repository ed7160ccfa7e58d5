//! Detectors find resource attributes out, once, at start. One file each.

mod env;
mod host;
mod os;

use serde::{Deserialize, Serialize};

/// A resource attribute: key and text value.
pub type Detected = (String, String);

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
}

/// Runs the detectors in their order. Of several that find the same key, the first counts. `env` looks an environment
/// variable up.
pub fn detect(
    kinds: &[DetectorKind],
    env: &dyn Fn(&str) -> Option<String>,
) -> (Vec<Detected>, Vec<DetectError>) {
    let mut attributes: Vec<Detected> = Vec::new();
    let mut errors = Vec::new();
    for kind in kinds {
        let found = match kind {
            DetectorKind::Env => env::detect(env, &mut errors),
            DetectorKind::Host => host::detect(&mut errors),
            DetectorKind::Os => os::detect(),
        };
        for (key, value) in found {
            if !attributes.iter().any(|(known, _)| *known == key) {
                attributes.push((key, value));
            }
        }
    }
    (attributes, errors)
}
