//! What enrich has to do, said again the slow way: on decoded structs, one action after the other.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use super::conditions::Decoded;
use super::edited::Edited;
use super::*;
use crate::enrich::redact::Redactor;
use crate::enrich::route::{name_of, route_of};

/// A configuration, and the keys that are secret in it.
pub(super) struct Reference<'a> {
    pub(super) config: &'a EnrichConfig,
    pub(super) detected: &'a [Detected],
    pub(super) secret: &'a dyn Fn(&str) -> bool,
    pub(super) redactor: &'a Redactor,
    pub(super) sender: Sender<'a>,
}

impl Reference<'_> {
    pub(super) fn apply(&self, request: &mut ExportTraceServiceRequest) {
        for resource_spans in &mut request.resource_spans {
            let sent = resource_spans.resource.clone();
            let edited = self.resource(sent.clone().unwrap_or_default().attributes);
            let attributes = self.finished(edited.clone());
            resource_spans.resource = match sent {
                Some(resource) => Some(Resource { attributes, ..resource }),
                None if attributes.is_empty() => None,
                None => Some(Resource { attributes, ..Resource::default() }),
            };
            for scope_spans in &mut resource_spans.scope_spans {
                let mut known = Decoded { resource: edited.plain(), ..Decoded::default() };
                scope_spans.scope = self.scope(scope_spans.scope.take(), &mut known);
                scope_spans.spans.retain(is_valid);
                scope_spans.spans.iter_mut().for_each(|span| self.span(span, &mut known));
            }
        }
    }

    fn resource(&self, sent: Vec<KeyValue>) -> Edited {
        let mut edited = Edited::new(sent);
        for (key, value) in self.detected {
            if self.config.override_sent || !edited.has(key) {
                edited.put(key, AnyValue::decode(&value.encode()[..]).ok(), true);
            }
        }
        let mut known = Decoded { resource: edited.plain(), ..Decoded::default() };
        for action in self.actions(Scope::Resource) {
            self.act(action, &mut edited, &known);
            known.resource = edited.plain();
        }
        edited
    }

    fn scope(&self, sent: Option<InstrumentationScope>, known: &mut Decoded) -> Option<InstrumentationScope> {
        known.scope = sent.clone().unwrap_or_default();
        let mut edited = Edited::new(known.scope.attributes.clone());
        for action in self.actions(Scope::Scope) {
            self.act(action, &mut edited, known);
            known.scope.attributes = edited.plain();
        }
        let attributes = self.finished(edited);
        match sent {
            Some(scope) => Some(InstrumentationScope { attributes, ..scope }),
            None if attributes.is_empty() => None,
            None => Some(InstrumentationScope { attributes, ..InstrumentationScope::default() }),
        }
    }

    fn span(&self, span: &mut Span, known: &mut Decoded) {
        known.span = span.clone();
        let mut edited = Edited::new(span.attributes.clone());
        for action in self.actions(Scope::Span) {
            self.act(action, &mut edited, known);
            known.span.attributes = edited.plain();
        }
        if self.config.http_route.enabled && span.kind == 2 && !edited.has("http.route") {
            self.route(span, &mut edited);
        }
        for event in &mut span.events {
            let mut edited = Edited::new(std::mem::take(&mut event.attributes));
            self.actions(Scope::Event).for_each(|action| self.act(action, &mut edited, known));
            event.attributes = self.finished(edited);
            self.clean_name(&mut event.name);
        }
        span.attributes = self.finished(edited);
        span.links.iter_mut().for_each(|link| self.redact(&mut link.attributes));
        self.clean_name(&mut span.name);
        if self.redactor.reads_messages {
            span.status.iter_mut().for_each(|status| self.clean(&mut status.message));
        }
    }

    fn route(&self, span: &mut Span, edited: &mut Edited) {
        let text_of = |key: &str| {
            let value = edited.plain().into_iter().find(|attribute| attribute.key == key)?.value?.value?;
            if let Value::StringValue(text) = value { Some(text) } else { None }
        };
        let Some(target) = text_of("url.path").or_else(|| text_of("http.target")) else { return };
        let Some(route) = route_of(&target) else { return };
        let method = text_of("http.request.method").or_else(|| text_of("http.method")).unwrap_or_default();
        if self.config.http_route.name
            && let Some(name) = name_of(&span.name, &method, &target, &route)
        {
            span.name = name;
        }
        edited.put("http.route", text("", &route).value, false);
    }

    fn actions(&self, scope: Scope) -> impl Iterator<Item = &ActionConfig> {
        self.config.actions.iter().filter(move |action| action.scope == scope)
    }

    fn act(&self, action: &ActionConfig, edited: &mut Edited, known: &Decoded) {
        if action.when.as_ref().is_none_or(|when| known.fulfils(when)) {
            edited.act(&action.action, self.sender);
        }
    }

    /// The attributes without secrets, but for those that an action has chosen.
    fn finished(&self, edited: Edited) -> Vec<KeyValue> {
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
                let any = attribute.value.take().unwrap_or_default().encode_to_vec();
                let replaced = self.redactor.replacement.of_value(&any);
                let any = replaced.map_or(any, |value| value.into_owned());
                *attribute = KeyValue {
                    key: attribute.key.clone(),
                    value: Some(AnyValue::decode(&any[..]).unwrap()),
                    ..KeyValue::default()
                };
                continue;
            }
            match attribute.value.as_mut().and_then(|any| any.value.as_mut()) {
                Some(Value::StringValue(value)) => {
                    if let Some(cleaned) = self.redactor.clean_value(attribute.key.as_bytes(), value, |_| {})
                    {
                        *attribute = text(&attribute.key, &cleaned);
                    }
                }
                Some(value) => self.redact_in(value),
                None => {}
            }
        }
    }

    fn redact_in(&self, value: &mut Value) {
        match value {
            Value::KvlistValue(list) => self.redact(&mut list.values),
            Value::ArrayValue(list) => {
                list.values.iter_mut().filter_map(|any| any.value.as_mut()).for_each(|v| self.redact_in(v));
            }
            Value::StringValue(text) => self.clean(text),
            _ => {}
        }
    }

    fn clean(&self, text: &mut String) {
        if let Some(cleaned) = self.redactor.clean_text(text, |_| {}) {
            *text = cleaned;
        }
    }

    fn clean_name(&self, name: &mut String) {
        if self.redactor.reads_names {
            self.clean(name);
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
        for scope_spans in &mut resource_spans.scope_spans {
            scope_spans.scope.iter_mut().for_each(|scope| sort(&mut scope.attributes));
            for span in &mut scope_spans.spans {
                sort(&mut span.attributes);
                span.events.iter_mut().for_each(|event| sort(&mut event.attributes));
            }
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
