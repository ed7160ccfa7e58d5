//! What enrich is told to do.

mod action;
mod redact;
mod value;

pub use action::{Action, ActionConfig, ExtractPattern, Put, Scope, Source, ValueType, compile_pattern};
pub use redact::RedactConfig;
pub use value::AttributeValue;

use super::detectors::DetectorKind;
use super::pods::PodsConfig;

/// The section `enrich` of the configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct EnrichConfig {
    /// Actions in the order in which they are applied.
    pub actions: Vec<ActionConfig>,
    /// Which resource attributes are found out at start.
    pub detectors: Vec<DetectorKind>,
    /// Detected attributes replace those that the sender set.
    pub override_sent: bool,
    /// Redaction of secrets.
    pub redact: RedactConfig,
    /// Routes of server spans that came without.
    pub http_route: RouteConfig,
    /// Kubernetes pods.
    pub kubernetes: PodsConfig,
}

/// Whether server spans without `http.route` are given one, made of their path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RouteConfig {
    /// Off changes nothing.
    pub enabled: bool,
    /// Name such spans after it too, where their name says no more than method and path.
    pub name: bool,
}

impl Default for EnrichConfig {
    /// Redaction, and the environment's attributes. The machine's own name and system are not put on the spans of
    /// others unless somebody asks for it: a gateway is not where the spans come from.
    fn default() -> Self {
        Self {
            actions: Vec::new(),
            detectors: vec![DetectorKind::Env],
            override_sent: false,
            redact: RedactConfig::default(),
            http_route: RouteConfig::default(),
            kubernetes: PodsConfig::default(),
        }
    }
}
