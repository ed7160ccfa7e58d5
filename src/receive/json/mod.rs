//! OTLP/JSON to protobuf, without structs in between: the reader walks the JSON along a table of the messages and
//! writes the fields as it meets them. The output is never longer than the input.
//!
//! The mapping is protobuf's for JSON with OTLP's exceptions (OTLP specification, "JSON Protobuf Encoding"): ids are
//! hex, enums are integers only, keys are lowerCamelCase, unknown keys are ignored.

mod scalar;
mod schema;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use scalar::Scalar;
use schema::{Field, Kind, REQUEST, Schema};

/// Steps of a path shown at each end of a long one.
const PATH_STEPS_SHOWN: usize = 12;

/// A request in protobuf.
#[derive(Debug)]
pub(super) struct Converted {
    /// An `ExportTraceServiceRequest`.
    pub(super) protobuf: Vec<u8>,
    /// Ignored keys that are a known field in snake_case, a common mistake.
    pub(super) snake_case_keys: u64,
}

/// Why JSON is not a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct JsonError {
    /// Where, as `resourceSpans[0].scopeSpans[2]`; empty at the top.
    pub(super) path: String,
    /// What, with line and column. Holds no values of the input.
    pub(super) message: String,
}

/// Converts an `ExportTraceServiceRequest` from JSON to protobuf.
pub(super) fn to_protobuf(json: &[u8]) -> Result<Converted, JsonError> {
    let mut writer =
        Writer { out: Vec::with_capacity(json.len() / 2), path: Vec::with_capacity(32), snake_case_keys: 0 };
    let mut reader = serde_json::Deserializer::from_slice(json);
    let root = Message { schema: &REQUEST, null_allowed: false, writer: &mut writer };
    let result = root.deserialize(&mut reader).and_then(|()| reader.end());
    match result {
        Ok(()) => Ok(Converted { protobuf: writer.out, snake_case_keys: writer.snake_case_keys }),
        Err(error) => Err(JsonError { path: writer.path(), message: error.to_string() }),
    }
}

/// The output, and where in the input we are.
struct Writer {
    out: Vec<u8>,
    /// Not unwound upon an error: it then says where that was.
    path: Vec<Step>,
    snake_case_keys: u64,
}

#[derive(Clone, Copy)]
enum Step {
    Field(&'static str),
    Index(usize),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Index(index) => write!(f, "[{index}]"),
        }
    }
}

impl Writer {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.out.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
    }

    fn tag(&mut self, number: u32, wire_type: u32) {
        self.varint(u64::from(number << 3 | wire_type));
    }

    fn bytes_field(&mut self, number: u32, bytes: &[u8]) {
        self.tag(number, 2);
        self.varint(bytes.len() as u64);
        self.out.extend_from_slice(bytes);
    }

    /// Starts a message; one byte is kept free for its length.
    fn open(&mut self, number: u32) -> usize {
        self.tag(number, 2);
        self.out.push(0);
        self.out.len()
    }

    /// Ends the message that began at `start`, moving it when its length needs more than the byte kept free.
    fn close(&mut self, start: usize) {
        let end = self.out.len();
        self.varint((end - start) as u64);
        let extra = self.out.len() - end - 1;
        let mut length = [0; 10];
        let length = &mut length[..=extra];
        length.copy_from_slice(&self.out[end..]);
        self.out.truncate(end + extra);
        self.out.copy_within(start..end, start + extra);
        self.out[start - 1..start + extra].copy_from_slice(length);
    }

    fn path(&self) -> String {
        let steps = self.path.len();
        let mut path = String::new();
        for (index, step) in self.path.iter().enumerate() {
            if index < PATH_STEPS_SHOWN || index + PATH_STEPS_SHOWN >= steps {
                path.push_str(&step.to_string());
            } else if index == PATH_STEPS_SHOWN {
                path.push('…');
            }
        }
        path.trim_start_matches('.').to_owned()
    }
}

/// Reads one message.
struct Message<'w> {
    schema: &'static Schema,
    null_allowed: bool,
    writer: &'w mut Writer,
}

impl<'de> DeserializeSeed<'de> for Message<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Message<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object ({})", self.schema.name)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut chosen = None;
        while let Some(field) = map.next_key_seed(Key { schema: self.schema, writer: self.writer })? {
            let Some(field) = field else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            self.writer.path.push(Step::Field(field.name));
            let before = self.writer.out.len();
            map.next_value_seed(Value { field, presence: self.schema.oneof, writer: self.writer })?;
            let set = self.writer.out.len() > before;
            if self.schema.oneof && set && chosen.replace(field.name).is_some() {
                return Err(A::Error::custom("a value can be of one type only"));
            }
            self.writer.path.pop();
        }
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        if self.null_allowed { Ok(()) } else { Err(wrong_type(&self, "null")) }
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Err(wrong_type(&self, "a boolean"))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Err(wrong_type(&self, "a number"))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Err(wrong_type(&self, "a number"))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Err(wrong_type(&self, "a number"))
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Err(wrong_type(&self, "a string"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(wrong_type(&self, "an array"))
    }
}

/// serde's own message would quote the value; values may be secret and errors are logged.
fn wrong_type<'de, E: Error>(expected: &impl Visitor<'de>, found: &str) -> E {
    E::custom(format_args!("expected {}, found {found}", expected as &dyn serde::de::Expected))
}

/// Reads a key: the field it names, if that is known.
struct Key<'w> {
    schema: &'static Schema,
    writer: &'w mut Writer,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<&'static Field>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<&'static Field>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        let field = self.schema.field(key);
        if field.is_none() && key.contains('_') && self.schema.field(&lower_camel_case(key)).is_some() {
            self.writer.snake_case_keys += 1;
        }
        Ok(field)
    }
}

fn lower_camel_case(snake_case: &str) -> String {
    let mut words = snake_case.split('_');
    let mut name = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut chars = word.chars();
        name.extend(chars.next().map(|first| first.to_ascii_uppercase()));
        name.push_str(chars.as_str());
    }
    name
}

/// Reads the value of a field and writes it with its tag.
struct Value<'w> {
    field: &'static Field,
    /// Written even when it is the type's default: a field of a oneof, or an element.
    presence: bool,
    writer: &'w mut Writer,
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        match self.field.kind {
            Kind::Message(schema) => {
                let (before, start) = (self.writer.out.len(), self.writer.open(self.field.number));
                let is_null = OptionalMessage(Message { schema, null_allowed: true, writer: self.writer })
                    .deserialize(reader)?;
                if is_null {
                    self.writer.out.truncate(before);
                } else {
                    self.writer.close(start);
                }
                Ok(())
            }
            _ => reader.deserialize_any(self),
        }
    }
}

/// Reads a message or null, and says whether it was null: an unset field differs from an empty message.
struct OptionalMessage<'w>(Message<'w>);

impl<'de> DeserializeSeed<'de> for OptionalMessage<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<bool, D::Error> {
        reader.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for OptionalMessage<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_none<E: Error>(self) -> Result<bool, E> {
        Ok(true)
    }

    fn visit_some<D: Deserializer<'de>>(self, reader: D) -> Result<bool, D::Error> {
        self.0.deserialize(reader).map(|()| false)
    }
}

impl Value<'_> {
    fn scalar<'de, E: Error>(self, scalar: Scalar<'_>) -> Result<(), E>
    where
        Self: Visitor<'de>,
    {
        let found = scalar.name();
        match scalar::write(self.writer, self.field, self.presence, scalar) {
            Ok(()) => Ok(()),
            Err(Some(problem)) => Err(E::custom(problem)),
            Err(None) => Err(wrong_type(&self, found)),
        }
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.field.kind.expected())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.scalar(Scalar::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.scalar(Scalar::Integer(i128::from(value)))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.scalar(Scalar::Integer(i128::from(value)))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.scalar(Scalar::Float(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.scalar(Scalar::Text(value))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(wrong_type(&self, "an object"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let is_element = self.presence;
        if is_element || !matches!(self.field.kind, Kind::Repeated(_) | Kind::Strings) {
            return Err(wrong_type(&self, "an array"));
        }
        let Value { field, writer, .. } = self;
        for index in 0.. {
            writer.path.push(Step::Index(index));
            let more = elements.next_element_seed(Element { field, writer })?;
            writer.path.pop();
            if more.is_none() {
                break;
            }
        }
        Ok(())
    }
}

/// Reads one element of an array and writes it with the field's tag.
struct Element<'w> {
    field: &'static Field,
    writer: &'w mut Writer,
}

impl<'de> DeserializeSeed<'de> for Element<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        if let Kind::Repeated(schema) = self.field.kind {
            let start = self.writer.open(self.field.number);
            // A null among values is an empty value: leaving it out would shift the others.
            Message { schema, null_allowed: true, writer: self.writer }.deserialize(reader)?;
            self.writer.close(start);
            return Ok(());
        }
        reader.deserialize_any(Value { field: self.field, presence: true, writer: self.writer })
    }
}
