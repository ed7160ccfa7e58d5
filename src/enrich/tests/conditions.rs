//! Conditions over decoded structs.

use opentelemetry_proto::tonic::common::v1::InstrumentationScope;

use super::*;
use crate::traceql::{Intrinsic, Kind, Scope as Of, SpanAccess, Status, Value as Found, Values};

/// A span with what is around it.
#[derive(Default)]
pub(super) struct Decoded {
    pub(super) resource: Vec<KeyValue>,
    pub(super) scope: InstrumentationScope,
    pub(super) span: Span,
}

impl Decoded {
    pub(super) fn fulfils(&self, condition: &Condition) -> bool {
        crate::traceql::matches(condition.expr(), self)
    }
}

impl SpanAccess for Decoded {
    fn intrinsic(&self, intrinsic: Intrinsic) -> Values<'_> {
        match intrinsic {
            Intrinsic::Name => Found::str(&self.span.name).into(),
            Intrinsic::Kind => Found::Kind(Kind::from_otlp(self.span.kind)).into(),
            Intrinsic::Status => {
                let code = self.span.status.as_ref().map_or(0, |status| status.code);
                Found::Status(Status::from_otlp(code)).into()
            }
            Intrinsic::EventName => {
                many(self.span.events.iter().map(|event| Found::str(&event.name)).collect())
            }
            Intrinsic::InstrumentationName => Found::str(&self.scope.name).into(),
            other => panic!("no generated condition asks for {other:?}"),
        }
    }

    fn attribute(&self, scope: Of, key: &str) -> Values<'_> {
        match scope {
            Of::Span => first(&self.span.attributes, key),
            Of::Resource => first(&self.resource, key),
            Of::Instrumentation => first(&self.scope.attributes, key),
            Of::Event => gathered(self.span.events.iter().map(|event| first(&event.attributes, key))),
            Of::Link => gathered(self.span.links.iter().map(|link| first(&link.attributes, key))),
            Of::Unscoped => Values::Missing,
        }
    }
}

fn first<'a>(attributes: &'a [KeyValue], key: &str) -> Values<'a> {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    match found.and_then(|attribute| attribute.value.as_ref()?.value.as_ref()) {
        Some(Value::ArrayValue(list)) => {
            Values::Many(list.values.iter().filter_map(|any| scalar(any.value.as_ref()?)).collect())
        }
        Some(value) => scalar(value).into(),
        None => Values::Missing,
    }
}

fn scalar(value: &Value) -> Option<Found<'_>> {
    Some(match value {
        Value::StringValue(text) => Found::str(text),
        Value::BoolValue(value) => Found::Bool(*value),
        Value::IntValue(value) => Found::Int(*value),
        Value::DoubleValue(value) => Found::Float(*value),
        _ => return None,
    })
}

fn gathered<'a>(each: impl Iterator<Item = Values<'a>>) -> Values<'a> {
    many(each.flat_map(|values| values.as_slice().to_vec()).collect())
}

fn many(values: Vec<Found<'_>>) -> Values<'_> {
    if values.is_empty() { Values::Missing } else { Values::Many(values) }
}
