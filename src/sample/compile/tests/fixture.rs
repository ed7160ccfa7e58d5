//! Small traces of every shape, as requests and decoded.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Otlp;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use proptest::prelude::*;
use prost::Message;

use crate::traceql::{Intrinsic, Kind, Scope, Status as QlStatus, TraceAccess, Value, Values};

pub const TRACE_ID: [u8; 16] = [7; 16];

/// Spans with their resource, in the order they are sent.
#[derive(Debug, Clone)]
pub struct Decoded(Vec<(Vec<KeyValue>, Span)>);

fn any_value(value: Otlp) -> AnyValue {
    AnyValue { value: Some(value) }
}

fn scalar() -> impl Strategy<Value = Otlp> {
    prop_oneof![
        4 => prop::sample::select(vec!["x", "y", "", "/login", "X", "xylophone"])
            .prop_map(|text| Otlp::StringValue(text.to_owned())),
        2 => prop::sample::select(vec![0i64, 1, -5, 5, 1_000_000, i64::MAX]).prop_map(Otlp::IntValue),
        2 => prop::sample::select(vec![0.0f64, 1.0, 2.5, -5.0, f64::NAN]).prop_map(Otlp::DoubleValue),
        1 => any::<bool>().prop_map(Otlp::BoolValue),
    ]
}

fn value() -> impl Strategy<Value = AnyValue> {
    prop_oneof![
        8 => scalar().prop_map(any_value),
        2 => prop::collection::vec(scalar().prop_map(any_value), 0..3)
            .prop_map(|values| any_value(Otlp::ArrayValue(ArrayValue { values }))),
        1 => Just(any_value(Otlp::BytesValue(vec![1]))),
        1 => Just(any_value(Otlp::KvlistValue(KeyValueList::default()))),
        1 => Just(AnyValue { value: None }),
    ]
}

fn attributes(keys: Vec<&'static str>) -> impl Strategy<Value = Vec<KeyValue>> {
    let attribute = (prop::sample::select(keys), value());
    let key_value = |(key, value): (&str, AnyValue)| KeyValue {
        key: key.to_owned(),
        value: Some(value),
        ..KeyValue::default()
    };
    prop::collection::vec(attribute.prop_map(key_value), 0..4)
}

fn span() -> impl Strategy<Value = Span> {
    let scalars = (0..12u64, 0..12u64, 0..7i32, 0..4i32, any::<bool>());
    let texts = prop::sample::select(vec!["x", "y", "", "/login"]);
    (attributes(vec!["a", "b", "c", "other"]), scalars, texts.clone(), texts).prop_map(
        |(attributes, (start, length, kind, code, is_root), name, message)| Span {
            trace_id: TRACE_ID.to_vec(),
            parent_span_id: if is_root { Vec::new() } else { vec![9; 8] },
            name: name.to_owned(),
            kind,
            start_time_unix_nano: start,
            end_time_unix_nano: start + length,
            status: Some(Status { code, message: message.to_owned() }),
            attributes,
            ..Span::default()
        },
    )
}

/// Traces of a few spans of a few resources. Starts differ, so that the root is not a matter of taste.
pub fn trace() -> impl Strategy<Value = Decoded> {
    let spans = prop::collection::vec((attributes(vec!["a", "b", "service.name"]), span()), 1..6);
    spans.prop_map(|mut spans| {
        for (index, (_, span)) in (0u64..).zip(&mut spans) {
            span.span_id = vec![u8::try_from(index).unwrap() + 1; 8];
            span.start_time_unix_nano = span.start_time_unix_nano * 8 + index;
            span.end_time_unix_nano += span.start_time_unix_nano;
        }
        Decoded(spans)
    })
}

/// A trace of a single root with string attributes.
pub fn one_span(attributes: &[(&str, &str)]) -> Decoded {
    let key_value = |(key, text): &(&str, &str)| KeyValue {
        key: (*key).to_owned(),
        value: Some(any_value(Otlp::StringValue((*text).to_owned()))),
        ..KeyValue::default()
    };
    let attributes = attributes.iter().map(key_value).collect();
    Decoded(vec![(
        Vec::new(),
        Span { trace_id: TRACE_ID.to_vec(), span_id: vec![1; 8], attributes, ..Span::default() },
    )])
}

/// The trace spread over so many requests.
pub fn requests_of(trace: &Decoded, requests: usize) -> Vec<Vec<u8>> {
    let chunks = trace.0.chunks(trace.0.len().div_ceil(requests));
    let resource_spans = |(attributes, span): &(Vec<KeyValue>, Span)| ResourceSpans {
        resource: Some(Resource { attributes: attributes.clone(), ..Resource::default() }),
        scope_spans: vec![ScopeSpans { spans: vec![span.clone()], ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    };
    let request = |spans: &[(Vec<KeyValue>, Span)]| ExportTraceServiceRequest {
        resource_spans: spans.iter().map(resource_spans).collect(),
    };
    chunks.map(|spans| request(spans).encode_to_vec()).collect()
}

impl Decoded {
    fn root(&self) -> Option<&(Vec<KeyValue>, Span)> {
        let roots = self.0.iter().filter(|(_, span)| span.parent_span_id.is_empty());
        roots.min_by_key(|(_, span)| span.start_time_unix_nano)
    }

    fn duration(&self) -> u64 {
        let start = self.0.iter().map(|(_, span)| span.start_time_unix_nano).min().unwrap();
        let end = self.0.iter().map(|(_, span)| span.end_time_unix_nano).max().unwrap();
        end - start
    }
}

impl TraceAccess for Decoded {
    fn span_count(&self) -> usize {
        self.0.len()
    }

    fn parent(&self, _: usize) -> Option<usize> {
        None
    }

    fn intrinsic(&self, index: usize, intrinsic: Intrinsic) -> Values<'_> {
        let span = &self.0[index].1;
        let status = span.status.as_ref().unwrap();
        let parent = (!span.parent_span_id.is_empty()).then(|| Value::str("0909090909090909"));
        match intrinsic {
            Intrinsic::Duration => {
                Value::duration(span.end_time_unix_nano - span.start_time_unix_nano).into()
            }
            Intrinsic::Name => Value::str(&span.name).into(),
            Intrinsic::Status => Value::Status(QlStatus::from_otlp(status.code)).into(),
            Intrinsic::StatusMessage => Value::str(&status.message).into(),
            Intrinsic::Kind => Value::Kind(Kind::from_otlp(span.kind)).into(),
            Intrinsic::Parent => parent.into(),
            Intrinsic::RootName => self.root().map(|(_, root)| Value::str(&root.name)).into(),
            Intrinsic::RootServiceName => {
                let service = self.root().map(|(resource, _)| find(resource, "service.name"));
                match service {
                    Some(Values::One(Value::Str(name))) => Value::Str(name).into(),
                    _ => Values::Missing,
                }
            }
            Intrinsic::TraceDuration => Value::duration(self.duration()).into(),
            _ => Values::Missing,
        }
    }

    fn attribute(&self, index: usize, scope: Scope, key: &str) -> Values<'_> {
        let (resource, span) = &self.0[index];
        match scope {
            Scope::Span => find(&span.attributes, key),
            Scope::Resource => find(resource, key),
            _ => Values::Missing,
        }
    }
}

fn find<'a>(attributes: &'a [KeyValue], key: &str) -> Values<'a> {
    let value = attributes.iter().find(|attribute| attribute.key == key).and_then(|a| a.value.as_ref());
    match value.and_then(|value| value.value.as_ref()) {
        Some(Otlp::ArrayValue(array)) => {
            Values::Many(array.values.iter().filter_map(|value| decoded(value.value.as_ref()?)).collect())
        }
        other => other.and_then(decoded).into(),
    }
}

fn decoded(value: &Otlp) -> Option<Value<'_>> {
    Some(match value {
        Otlp::StringValue(text) => Value::str(text),
        Otlp::BoolValue(value) => Value::Bool(*value),
        Otlp::IntValue(value) => Value::Int(*value),
        Otlp::DoubleValue(value) => Value::Float(*value),
        _ => return None,
    })
}
