//! OTLP's messages as JSON, in two spellings.
//!
//! * [`Spelling::Otlp`]: OTLP/JSON (<https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>): ids in lower hex, enums as numbers.
//! * [`Spelling::Proto`]: plain proto3 JSON as Tempo answers: ids in base64, enums by name.
//!
//! In both: lowerCamelCase names, 64-bit integers as strings, bytes as base64, zero values left out (except the value
//! chosen in an `AnyValue`), `NaN` and `Infinity` as strings. Written straight from the structs, without a tree between.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, EntityRef, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::facts::TraceFacts;

/// How ids and enums are spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spelling {
    /// Hex ids, numbers for enums.
    Otlp,
    /// Base64 ids, names for enums.
    Proto,
}

/// A message to be written in a spelling: wraps any of OTLP's structs.
#[derive(Clone, Copy, Debug)]
pub struct Json<'a, T>(pub &'a T, pub Spelling);

/// A document of spans: `{"resourceSpans":[…]}`, or `{"batches":[…]}` as Tempo's first interface has it.
#[derive(Clone, Copy, Debug)]
pub struct Document<'a> {
    /// What is known beside them, as the field `tracewell`: readers of OTLP pass over fields they do not know.
    pub facts: Option<&'a TraceFacts>,
    /// The name of the field of spans.
    pub field: &'static str,
    /// Its content.
    pub resource_spans: &'a [ResourceSpans],
    /// How it is spelled.
    pub spelling: Spelling,
}

impl Serialize for Document<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(facts) = self.facts {
            map.serialize_entry("tracewell", facts)?;
        }
        map.serialize_entry(self.field, &List(self.resource_spans, self.spelling))?;
        map.end()
    }
}

/// Writes the fields of one message, leaving out what is zero.
struct Fields<M> {
    map: M,
    spelling: Spelling,
}

impl<M: SerializeMap> Fields<M> {
    fn text(&mut self, name: &'static str, value: &str) -> Result<(), M::Error> {
        if value.is_empty() { Ok(()) } else { self.map.serialize_entry(name, value) }
    }

    fn texts(&mut self, name: &'static str, values: &[String]) -> Result<(), M::Error> {
        if values.is_empty() { Ok(()) } else { self.map.serialize_entry(name, values) }
    }

    fn u32(&mut self, name: &'static str, value: u32) -> Result<(), M::Error> {
        if value == 0 { Ok(()) } else { self.map.serialize_entry(name, &value) }
    }

    fn u64(&mut self, name: &'static str, value: u64) -> Result<(), M::Error> {
        if value == 0 { Ok(()) } else { self.map.serialize_entry(name, &value.to_string()) }
    }

    fn id(&mut self, name: &'static str, id: &[u8]) -> Result<(), M::Error> {
        let text = match self.spelling {
            Spelling::Otlp => hex::encode(id),
            Spelling::Proto => BASE64.encode(id),
        };
        self.text(name, &text)
    }

    fn choice(
        &mut self,
        name: &'static str,
        number: i32,
        word: Option<&'static str>,
    ) -> Result<(), M::Error> {
        match (number, self.spelling, word) {
            (0, _, _) => Ok(()),
            (_, Spelling::Proto, Some(word)) => self.map.serialize_entry(name, word),
            _ => self.map.serialize_entry(name, &number),
        }
    }

    fn message<T>(&mut self, name: &'static str, value: Option<&T>) -> Result<(), M::Error>
    where
        for<'b> Json<'b, T>: Serialize,
    {
        value.map_or(Ok(()), |value| self.map.serialize_entry(name, &Json(value, self.spelling)))
    }

    fn list<T>(&mut self, name: &'static str, values: &[T]) -> Result<(), M::Error>
    where
        for<'b> Json<'b, T>: Serialize,
    {
        if values.is_empty() { Ok(()) } else { self.map.serialize_entry(name, &List(values, self.spelling)) }
    }
}

/// A list of messages.
struct List<'a, T>(&'a [T], Spelling);

impl<T> Serialize for List<'_, T>
where
    for<'b> Json<'b, T>: Serialize,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|item| Json(item, self.1)))
    }
}

/// Implements `Serialize` for one message by the fields it has.
macro_rules! message {
    ($type:ty, |$m:ident, $f:ident| $($write:expr);+ $(;)?) => {
        impl Serialize for Json<'_, $type> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let $m = self.0;
                let mut $f = Fields { map: serializer.serialize_map(None)?, spelling: self.1 };
                $($write?;)+
                $f.map.end()
            }
        }
    };
}

message!(ResourceSpans, |m, f|
    f.message("resource", m.resource.as_ref());
    f.list("scopeSpans", &m.scope_spans);
    f.text("schemaUrl", &m.schema_url);
);

message!(ScopeSpans, |m, f|
    f.message("scope", m.scope.as_ref());
    f.list("spans", &m.spans);
    f.text("schemaUrl", &m.schema_url);
);

message!(Resource, |m, f|
    f.list("attributes", &m.attributes);
    f.u32("droppedAttributesCount", m.dropped_attributes_count);
    f.list("entityRefs", &m.entity_refs);
);

message!(EntityRef, |m, f|
    f.text("schemaUrl", &m.schema_url);
    f.text("type", &m.r#type);
    f.texts("idKeys", &m.id_keys);
    f.texts("descriptionKeys", &m.description_keys);
);

message!(InstrumentationScope, |m, f|
    f.text("name", &m.name);
    f.text("version", &m.version);
    f.list("attributes", &m.attributes);
    f.u32("droppedAttributesCount", m.dropped_attributes_count);
);

message!(Span, |m, f|
    f.id("traceId", &m.trace_id);
    f.id("spanId", &m.span_id);
    f.text("traceState", &m.trace_state);
    f.id("parentSpanId", &m.parent_span_id);
    f.u32("flags", m.flags);
    f.text("name", &m.name);
    f.choice("kind", m.kind, SpanKind::try_from(m.kind).ok().map(|k| k.as_str_name()));
    f.u64("startTimeUnixNano", m.start_time_unix_nano);
    f.u64("endTimeUnixNano", m.end_time_unix_nano);
    f.list("attributes", &m.attributes);
    f.u32("droppedAttributesCount", m.dropped_attributes_count);
    f.list("events", &m.events);
    f.u32("droppedEventsCount", m.dropped_events_count);
    f.list("links", &m.links);
    f.u32("droppedLinksCount", m.dropped_links_count);
    f.message("status", m.status.as_ref());
);

message!(Event, |m, f|
    f.u64("timeUnixNano", m.time_unix_nano);
    f.text("name", &m.name);
    f.list("attributes", &m.attributes);
    f.u32("droppedAttributesCount", m.dropped_attributes_count);
);

message!(Link, |m, f|
    f.id("traceId", &m.trace_id);
    f.id("spanId", &m.span_id);
    f.text("traceState", &m.trace_state);
    f.list("attributes", &m.attributes);
    f.u32("droppedAttributesCount", m.dropped_attributes_count);
    f.u32("flags", m.flags);
);

message!(Status, |m, f|
    f.text("message", &m.message);
    f.choice("code", m.code, StatusCode::try_from(m.code).ok().map(|c| c.as_str_name()));
);

message!(KeyValue, |m, f|
    f.map.serialize_entry("key", &m.key);
    f.message("value", m.value.as_ref());
);

impl Serialize for Json<'_, AnyValue> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match &self.0.value {
            None => {}
            Some(Value::StringValue(v)) => map.serialize_entry("stringValue", v)?,
            Some(Value::BoolValue(v)) => map.serialize_entry("boolValue", v)?,
            Some(Value::IntValue(v)) => map.serialize_entry("intValue", &v.to_string())?,
            Some(Value::DoubleValue(v)) => map.serialize_entry("doubleValue", &Double(*v))?,
            Some(Value::BytesValue(v)) => map.serialize_entry("bytesValue", &BASE64.encode(v))?,
            Some(Value::ArrayValue(v)) => {
                map.serialize_entry("arrayValue", &Values(&v.values[..], self.1))?
            }
            Some(Value::KvlistValue(v)) => {
                map.serialize_entry("kvlistValue", &Values(&v.values[..], self.1))?
            }
            Some(Value::StringValueStrindex(v)) => map.serialize_entry("stringValueStrindex", v)?,
        }
        map.end()
    }
}

/// `{"values":[…]}`, the body of an array or a list.
struct Values<'a, T>(&'a [T], Spelling);

impl<T> Serialize for Values<'_, T>
where
    for<'b> Json<'b, T>: Serialize,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if !self.0.is_empty() {
            map.serialize_entry("values", &List(self.0, self.1))?;
        }
        map.end()
    }
}

/// A double as proto3 JSON: what no JSON number can say is a string.
struct Double(f64);

impl Serialize for Double {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            d if d.is_nan() => serializer.serialize_str("NaN"),
            d if d == f64::INFINITY => serializer.serialize_str("Infinity"),
            d if d == f64::NEG_INFINITY => serializer.serialize_str("-Infinity"),
            d => serializer.serialize_f64(d),
        }
    }
}
