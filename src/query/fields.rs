//! The values of a query's fields on a span that matched, as attributes of the answer.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Otlp;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};

use super::access::AssembledTrace;
use crate::traceql::{Attribute, FieldExpr, Intrinsic, Literal, Query, Scope, TraceAccess, Value, Values};

/// Attribute and intrinsic fields that a query names, each once, without those that every answer has anyway.
pub fn told(query: &Query) -> Vec<&FieldExpr> {
    let always = |field: &&FieldExpr| match field {
        FieldExpr::Attribute(attribute) => !attribute.parent,
        FieldExpr::Intrinsic(intrinsic, _) => {
            matches!(intrinsic, Intrinsic::Status | Intrinsic::StatusMessage | Intrinsic::Kind)
        }
        _ => false,
    };
    query.fields().into_iter().filter(always).collect()
}

/// The span's values of these fields; those it does not have are left out.
pub fn values(fields: &[&FieldExpr], trace: &AssembledTrace, span: usize) -> Vec<KeyValue> {
    let value = |field: &&FieldExpr| match field {
        FieldExpr::Attribute(attribute) => {
            any_value(&of_attribute(attribute, trace, span)).map(|v| key_value(&attribute.name, v))
        }
        FieldExpr::Intrinsic(intrinsic, _) => {
            any_value(&trace.intrinsic(span, *intrinsic)).map(|v| key_value(&intrinsic.word(), v))
        }
        _ => None,
    };
    fields.iter().filter_map(value).collect()
}

fn of_attribute<'t>(attribute: &Attribute, trace: &'t AssembledTrace, span: usize) -> Values<'t> {
    if attribute.scope != Scope::Unscoped {
        return trace.attribute(span, attribute.scope, &attribute.name);
    }
    [Scope::Span, Scope::Resource, Scope::Event, Scope::Link, Scope::Instrumentation]
        .into_iter()
        .map(|scope| trace.attribute(span, scope, &attribute.name))
        .find(|values| !values.is_missing())
        .unwrap_or_default()
}

/// An attribute.
pub fn key_value(key: &str, value: AnyValue) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(value), key_strindex: 0 }
}

fn any_value(values: &Values<'_>) -> Option<AnyValue> {
    let value = match values {
        Values::Missing => return None,
        Values::One(value) => of_literal(&value.to_literal()),
        Values::Many(many) => {
            let values = many.iter().map(|v: &Value<'_>| of_literal(&v.to_literal())).collect();
            AnyValue { value: Some(Otlp::ArrayValue(ArrayValue { values })) }
        }
    };
    Some(value)
}

/// A constant as OTLP has it; durations in nanoseconds, status and kind by name.
pub fn of_literal(literal: &Literal) -> AnyValue {
    let value = match literal {
        Literal::Str(text) => Otlp::StringValue(text.clone()),
        Literal::Int(value) | Literal::Duration(value) => Otlp::IntValue(*value),
        Literal::Float(value) => Otlp::DoubleValue(*value),
        Literal::Bool(value) => Otlp::BoolValue(*value),
        Literal::Nil => return AnyValue { value: None },
        Literal::Status(status) => Otlp::StringValue(status.word().to_owned()),
        Literal::Kind(kind) => Otlp::StringValue(kind.word().to_owned()),
    };
    AnyValue { value: Some(value) }
}
