//! Edits requests on their wire bytes: detected resource attributes, attribute actions, redaction of secrets; and
//! checks them, so that whatever lies behind may trust what it reads.
//!
//! One walk over the bytes, no structs. A request in which nothing has to change comes out as the same buffer.
//! For one attribute, detectors act first, then actions, then redaction; a value that an action has set or hashed is
//! the operator's choice and is not redacted.

mod actions;
mod check;
mod config;
mod detectors;
mod merge;
mod program;
mod redact;
mod walk;

use bytes::Bytes;

pub use actions::{ActionKind, hash_value};
pub use config::{ActionConfig, AttributeValue, EnrichConfig, RedactConfig, Scope};
pub use detectors::{DetectError, Detected, DetectorKind, detect};
pub use redact::REDACTED;

use crate::wire::{AnyView, WireError, put_any};
use program::{Programs, Step};
use redact::Matcher;
use walk::Stop;

/// The enrich stage: immutable, shared by all requests.
#[derive(Debug)]
pub struct Enricher {
    rules: Rules,
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
    /// The attribute values that were redacted.
    pub redacted: u64,
}

/// The configuration, compiled.
#[derive(Debug)]
struct Rules {
    resource: Programs,
    span: Programs,
    secrets: Matcher,
}

impl Enricher {
    /// An enricher for this configuration. `detected` are the attributes that [`detect`] found, put on each resource.
    pub fn new(config: &EnrichConfig, detected: &[Detected]) -> Self {
        let secrets = Matcher::compile(&config.redact);
        let kind = if config.override_sent { ActionKind::Upsert } else { ActionKind::Insert };
        let detected = detected.iter().map(|(key, value)| {
            let value = if secrets.is_secret(key.as_bytes()) { REDACTED } else { value };
            Step { kind, key: key.clone(), value: text_value(value) }
        });
        let configured = |scope| {
            let actions = config.actions.iter().filter(move |action| action.scope == scope);
            actions.map(|action| Step {
                kind: action.kind,
                key: action.key.clone(),
                value: action.value.as_ref().map(AttributeValue::encode).unwrap_or_default(),
            })
        };
        let resource: Vec<_> = detected.chain(configured(Scope::Resource)).collect();
        let span: Vec<_> = configured(Scope::Span).collect();
        let resource = Programs::compile(&resource, walk::RESOURCE_ATTRIBUTES);
        let span = Programs::compile(&span, walk::SPAN_ATTRIBUTES);
        Self { rules: Rules { resource, span, secrets } }
    }

    /// Checks and edits a request, an uncompressed `ExportTraceServiceRequest`.
    ///
    /// An error means that the bytes are not one, or break a limit: nothing of it can be accepted.
    pub fn apply(&self, body: Bytes) -> Result<Enriched, WireError> {
        let (body, walked) = match walk::walk(&body, &self.rules) {
            Ok(walked) => (body, walked),
            Err(Stop::Wire(error)) => return Err(error),
            Err(Stop::Repeated) => {
                let merged = Bytes::from(merge::merge_repeated(&body)?);
                let walked = walk::walk(&merged, &self.rules).map_err(|stop| match stop {
                    Stop::Wire(error) => error,
                    Stop::Repeated => WireError::Mismatch("a resource or scope"),
                })?;
                (merged, walked)
            }
        };
        let walk::Walked { editor, tally } = walked;
        Ok(Enriched {
            body: editor.finish(body),
            spans: tally.spans,
            rejected: tally.rejected,
            reject_reason: tally.reject_reason,
            redacted: tally.redacted,
        })
    }
}

fn text_value(text: &str) -> Vec<u8> {
    let mut any = Vec::new();
    put_any(&mut any, AnyView::Str(text));
    any
}

#[cfg(test)]
mod tests;
