//! What enrich has to do, said again the slow way: on decoded structs, one action after the other.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use super::*;

/// A configuration, and the keys that are secret in it.
pub(super) struct Reference<'a> {
    pub(super) config: &'a EnrichConfig,
    pub(super) detected: &'a [Detected],
    pub(super) secret: &'a dyn Fn(&str) -> bool,
}

impl Reference<'_> {
    pub(super) fn apply(&self, request: &mut ExportTraceServiceRequest) {
        for resource_spans in &mut request.resource_spans {
            let mut attributes =
                resource_spans.resource.take().map(|resource| (resource.attributes.clone(), resource));
            let sent = attributes.as_mut().map(|(sent, _)| std::mem::take(sent));
            let edited = self.resource(sent.unwrap_or_default());
            resource_spans.resource = match attributes {
                Some((_, resource)) => Some(Resource { attributes: edited, ..resource }),
                None if edited.is_empty() => None,
                None => Some(Resource { attributes: edited, ..Resource::default() }),
            };
            for scope_spans in &mut resource_spans.scope_spans {
                scope_spans.scope.iter_mut().for_each(|scope| self.redact(&mut scope.attributes));
                scope_spans.spans.retain(is_valid);
                scope_spans.spans.iter_mut().for_each(|span| self.span(span));
            }
        }
    }

    fn resource(&self, sent: Vec<KeyValue>) -> Vec<KeyValue> {
        let mut edited = Edited(sent.into_iter().map(|attribute| (attribute, false)).collect());
        for (key, value) in self.detected {
            let is_there = edited.0.iter().any(|(attribute, _)| attribute.key == *key);
            if self.config.override_sent || !is_there {
                edited.put(&text(key, value));
            }
        }
        self.actions(Scope::Resource, edited)
    }

    fn span(&self, span: &mut Span) {
        let sent = std::mem::take(&mut span.attributes).into_iter();
        span.attributes =
            self.actions(Scope::Span, Edited(sent.map(|attribute| (attribute, false)).collect()));
        span.events.iter_mut().for_each(|event| self.redact(&mut event.attributes));
        span.links.iter_mut().for_each(|link| self.redact(&mut link.attributes));
    }

    fn actions(&self, scope: Scope, mut edited: Edited) -> Vec<KeyValue> {
        for action in self.config.actions.iter().filter(|action| action.scope == scope) {
            let is_there = edited.0.iter().any(|(attribute, _)| attribute.key == action.key);
            let value = action.value.as_ref().map(|value| AnyValue::decode(&value.encode()[..]).unwrap());
            let wanted = KeyValue { key: action.key.clone(), value, ..KeyValue::default() };
            match action.kind {
                ActionKind::Insert if !is_there => edited.put(&wanted),
                ActionKind::Update if is_there => edited.put(&wanted),
                ActionKind::Insert | ActionKind::Update => {}
                ActionKind::Upsert => edited.put(&wanted),
                ActionKind::Delete => edited.0.retain(|(attribute, _)| attribute.key != action.key),
                ActionKind::Hash => edited.hash(&action.key),
            }
        }
        let redacted = edited.0.into_iter().map(|(mut attribute, is_chosen)| {
            if !is_chosen {
                self.redact(std::slice::from_mut(&mut attribute));
            }
            attribute
        });
        redacted.collect()
    }

    fn redact(&self, attributes: &mut [KeyValue]) {
        for attribute in attributes {
            if (self.secret)(&attribute.key) {
                *attribute = text(&attribute.key, REDACTED);
            } else if let Some(value) = attribute.value.as_mut().and_then(|any| any.value.as_mut()) {
                self.redact_in(value);
            }
        }
    }

    fn redact_in(&self, value: &mut Value) {
        match value {
            Value::KvlistValue(list) => self.redact(&mut list.values),
            Value::ArrayValue(list) => {
                list.values.iter_mut().filter_map(|any| any.value.as_mut()).for_each(|v| self.redact_in(v));
            }
            _ => {}
        }
    }
}

/// Attributes, each with whether an action has chosen its value.
struct Edited(Vec<(KeyValue, bool)>);

impl Edited {
    fn put(&mut self, wanted: &KeyValue) {
        self.0.retain(|(attribute, _)| attribute.key != wanted.key);
        self.0.push((wanted.clone(), true));
    }

    fn hash(&mut self, key: &str) {
        for (attribute, is_chosen) in self.0.iter_mut().filter(|(attribute, _)| attribute.key == key) {
            let any = attribute.value.take().unwrap_or_default().encode_to_vec();
            attribute.value = Some(AnyValue::decode(&hash_value(&any).unwrap()[..]).unwrap());
            *is_chosen = true;
        }
    }
}

fn is_valid(span: &Span) -> bool {
    let is_id = |id: &[u8], length: usize| id.len() == length && id.iter().any(|byte| *byte != 0);
    is_id(&span.trace_id, 16) && is_id(&span.span_id, 8) && matches!(span.parent_span_id.len(), 0 | 8)
}

/// The order of attributes means nothing; no value and an empty value mean the same.
pub(super) fn normalize(request: &mut ExportTraceServiceRequest) {
    for resource_spans in &mut request.resource_spans {
        resource_spans.resource.iter_mut().for_each(|resource| sort(&mut resource.attributes));
        for span in resource_spans.scope_spans.iter_mut().flat_map(|scope_spans| &mut scope_spans.spans) {
            sort(&mut span.attributes);
        }
    }
}

fn sort(attributes: &mut [KeyValue]) {
    attributes.iter_mut().for_each(|attribute| {
        attribute.value.get_or_insert_default();
        attribute.key_strindex = 0;
    });
    attributes.sort_by_cached_key(|attribute| (attribute.key.clone(), format!("{:?}", attribute.value)));
}
