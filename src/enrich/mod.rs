//! Edits requests on their wire bytes: detected resource attributes, attribute actions, redaction of secrets; and
//! checks them, so that whatever lies behind may trust what it reads.
//!
//! One walk over the bytes, no structs. A request in which nothing has to change comes out as the same buffer.
//! For one attribute, detectors act first, then actions, then redaction; a value that an action has set from the
//! configuration or hashed is the operator's choice and is not redacted.

mod actions;
mod attributes;
mod check;
mod condition;
mod config;
mod detectors;
mod ends;
mod facts;
mod merge;
mod pods;
mod program;
mod redact;
mod route;
mod rules;
mod script;
mod sender;
mod stats;
mod walk;

use bytes::Bytes;

pub use actions::{ActionKind, hash_value};
pub use condition::Condition;
pub use config::{
    Action, ActionConfig, AttributeValue, EnrichConfig, ExtractPattern, Put, RedactConfig, RouteConfig,
    Scope, Source, ValueType, compile_pattern,
};
pub use detectors::{DetectError, Detected, DetectorKind, Machine, detect};
pub use pods::{PodApi, PodStats, PodWatch, Pods, PodsConfig};
pub use redact::{REDACTED, ValueKind};
pub use sender::Sender;
pub use stats::{EnrichStats, Place, Redacted};

use crate::wire::WireError;
use redact::Replacement;
use rules::Rules;
use stats::Counters;
use walk::Stop;

/// The enrich stage: immutable but for its counters, shared by all requests.
#[derive(Debug)]
pub struct Enricher {
    rules: Rules,
    counters: Counters,
    pods: Option<Pods>,
}

/// A request after enrich.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enriched {
    /// The `ExportTraceServiceRequest`: the buffer that came in if nothing changed.
    pub body: Bytes,
    /// The spans in it.
    pub spans: u64,
    /// The spans that were taken out because their ids are invalid.
    pub rejected: u64,
    /// Why the first of those was taken out, and which it is.
    pub reject_reason: Option<String>,
    /// Redactions: a rule that replaced something in a value counts once for it.
    pub redacted: u64,
}

impl Enricher {
    /// An enricher for this configuration. `detected` are the attributes that [`detect`] found, put on each resource.
    pub fn new(config: &EnrichConfig, detected: &[Detected]) -> Self {
        Self::with_pods(config, detected, None)
    }

    /// The same, which asks these pods for what it knows of a resource.
    pub fn with_pods(config: &EnrichConfig, detected: &[Detected], pods: Option<Pods>) -> Self {
        let rules = Rules::compile(config, detected, pods.clone());
        let counters = Counters::new(rules.redactor.rule_names());
        Self { rules, counters, pods }
    }

    /// The same, replacing secrets by their HMAC under this key.
    pub fn with_hash_key(mut self, key: &[u8]) -> Self {
        self.rules.redactor.replacement = Replacement::keyed(key);
        self
    }

    /// What it has done so far.
    pub fn stats(&self) -> EnrichStats {
        EnrichStats { pods: self.pods.as_ref().map(Pods::stats), ..self.counters.stats() }
    }

    /// [`Enricher::apply_from`] a sender of whom nothing is known.
    pub fn apply(&self, body: Bytes) -> Result<Enriched, WireError> {
        self.apply_from(Sender::default(), body)
    }

    /// Checks and edits a request, an uncompressed `ExportTraceServiceRequest`.
    ///
    /// An error means that the bytes are not one, or break a limit: nothing of it can be accepted.
    pub fn apply_from(&self, sender: Sender<'_>, body: Bytes) -> Result<Enriched, WireError> {
        let sender = self.rules.senders.ask(sender);
        let (body, walked) = match walk::walk(&body, &self.rules, &sender) {
            Ok(walked) => (body, walked),
            Err(Stop::Wire(error)) => return Err(error),
            Err(Stop::Repeated) => {
                let merged = Bytes::from(merge::merge_repeated(&body)?);
                let walked = walk::walk(&merged, &self.rules, &sender).map_err(|stop| match stop {
                    Stop::Wire(error) => error,
                    Stop::Repeated => WireError::Mismatch("a resource or scope"),
                })?;
                (merged, walked)
            }
        };
        let walk::Walked { editor, tally } = walked;
        self.counters.add(&tally.hits, tally.changed);
        Ok(Enriched {
            body: editor.finish(body),
            spans: tally.spans,
            rejected: tally.rejected,
            reject_reason: tally.reject_reason,
            redacted: tally.hits.len() as u64,
        })
    }
}

#[cfg(test)]
mod tests;
