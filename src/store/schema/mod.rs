//! The columns of the two tables. One list a table drives the Arrow schema, Delta's metadata and the reader.
//!
//! Attributes are a map of strings in the order sent, plus `…_types`: a character for each entry that says what the
//! string was (see [`AttributeType`]), so that SQL reads plain text and OTLP comes back exactly. What a map cannot hold
//! (a key twice, above all) is also kept as raw protobuf in `…_raw`, null otherwise.

mod layout;
mod well_known;

pub(super) use layout::ATTRIBUTE_METADATA;
pub use layout::{ADDED_MAX, AddedColumn, Layout};
pub use well_known::{WELL_KNOWN, WellKnown, WellKnownScope, well_known};

use std::sync::{Arc, LazyLock};

use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use serde_json::{Value, json};

/// What an entry of an attribute map was in OTLP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum AttributeType {
    /// `string_value`
    Str = b's',
    /// `int_value`, decimal.
    Int = b'i',
    /// `double_value`; `NaN`, `Infinity`, `-Infinity` where it is not a number.
    Double = b'd',
    /// `bool_value`: `true` or `false`.
    Bool = b'b',
    /// `bytes_value`, base64.
    Bytes = b'y',
    /// `array_value` or `kvlist_value`: OTLP JSON of the `AnyValue`.
    Json = b'j',
    /// An `AnyValue` without a value; null in the map.
    Empty = b'n',
    /// No `AnyValue` at all; null in the map.
    Missing = b'0',
}

impl AttributeType {
    /// The type of this character.
    pub fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            b's' => Self::Str,
            b'i' => Self::Int,
            b'd' => Self::Double,
            b'b' => Self::Bool,
            b'y' => Self::Bytes,
            b'j' => Self::Json,
            b'n' => Self::Empty,
            b'0' => Self::Missing,
            _ => return None,
        })
    }
}

/// The type of a column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ColumnType {
    /// A string.
    Text,
    /// A 64-bit integer; unsigned 64-bit numbers of OTLP keep their bits.
    Long,
    /// A 64-bit floating point number.
    Double,
    /// A boolean.
    Bool,
    /// Bytes.
    Binary,
    /// Microseconds since the Unix epoch, UTC.
    Timestamp,
    /// A day. Partition columns only.
    Date,
    /// A map of strings to nullable strings.
    Map,
    /// A list of strings.
    TextList,
    /// A list of these structs.
    Structs(&'static [Column]),
}

/// A column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: ColumnType,
    /// Whether it can be null.
    pub nullable: bool,
}

const fn required(name: &'static str, kind: ColumnType) -> Column {
    Column { name, kind, nullable: false }
}

const fn optional(name: &'static str, kind: ColumnType) -> Column {
    Column { name, kind, nullable: true }
}

use ColumnType::{Binary, Bool, Date, Double, Long, Map, Structs, Text, TextList, Timestamp};

const EVENT: &[Column] = &[
    required("time", Timestamp),
    required("time_unix_nano", Long),
    required("name", Text),
    required("attributes", Map),
    required("attributes_types", Text),
    optional("attributes_raw", Binary),
    required("dropped_attributes_count", Long),
];

const LINK: &[Column] = &[
    required("trace_id", Text),
    required("span_id", Text),
    optional("trace_state", Text),
    required("flags", Long),
    required("attributes", Map),
    required("attributes_types", Text),
    optional("attributes_raw", Binary),
    required("dropped_attributes_count", Long),
];

const SPAN_SCALARS: &[Column] = &[
    required("trace_id", Text),
    required("span_id", Text),
    optional("parent_span_id", Text),
    required("start_time", Timestamp),
    required("start_time_unix_nano", Long),
    // Only where it is not `start_time_unix_nano + duration_nano`: the end is before the start.
    optional("end_time_unix_nano", Long),
    required("duration_nano", Long),
    required("name", Text),
    required("kind", Text),
    required("status_code", Text),
    optional("status_message", Text),
    optional("service_name", Text),
    optional("trace_state", Text),
    required("flags", Long),
    required("dropped_attributes_count", Long),
    required("dropped_events_count", Long),
    required("dropped_links_count", Long),
    required("adjusted_count", Double),
    required("rule", Text),
    required("rules_version", Long),
];

const SPAN_NESTED: &[Column] = &[
    required("attributes", Map),
    required("attributes_types", Text),
    optional("attributes_raw", Binary),
    required("resource_attributes", Map),
    required("resource_attributes_types", Text),
    // The whole Resource message, where the map cannot hold it.
    optional("resource_raw", Binary),
    required("resource_dropped_attributes_count", Long),
    optional("resource_schema_url", Text),
    required("scope_name", Text),
    optional("scope_version", Text),
    required("scope_attributes", Map),
    required("scope_attributes_types", Text),
    // The whole InstrumentationScope message, where the map cannot hold it.
    optional("scope_raw", Binary),
    required("scope_dropped_attributes_count", Long),
    optional("scope_schema_url", Text),
    required("events", Structs(EVENT)),
    required("links", Structs(LINK)),
];

const TRACES: &[Column] = &[
    required("trace_id", Text),
    required("start_time", Timestamp),
    required("start_time_unix_nano", Long),
    required("duration_nano", Long),
    optional("root_service_name", Text),
    optional("root_name", Text),
    required("span_count", Long),
    required("error_count", Long),
    required("services", TextList),
    required("rule", Text),
    required("rules_version", Long),
    required("complete", Bool),
];

/// The columns both tables are partitioned by; they are in the paths, not in the files.
pub const PARTITION_COLUMNS: [Column; 2] = [required("retention", Text), required("date", Date)];

/// One of the two tables.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TableKind {
    /// One row a span.
    Spans,
    /// One row a trace and batch.
    Traces,
}

impl TableKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Spans, Self::Traces];

    /// The name of its folder.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Spans => "spans",
            Self::Traces => "traces",
        }
    }

    /// Its columns in the files, in order; a table may have more, see [`Layout`].
    pub fn columns(self) -> &'static [Column] {
        match self {
            Self::Spans => Layout::standard().columns(self),
            Self::Traces => TRACES,
        }
    }

    /// Columns with minimum and maximum in the table's log.
    pub fn statistics(self) -> &'static [&'static str] {
        match self {
            Self::Spans => &["trace_id", "start_time", "duration_nano", "service_name"],
            Self::Traces => &["trace_id", "start_time", "duration_nano", "error_count"],
        }
    }

    /// The Arrow schema of its files.
    pub fn arrow(self) -> &'static SchemaRef {
        static OF_TRACES: LazyLock<SchemaRef> = LazyLock::new(|| Arc::new(arrow_schema(TRACES)));
        match self {
            Self::Spans => Layout::standard().arrow(self),
            Self::Traces => &OF_TRACES,
        }
    }

    /// Delta's `schemaString`.
    pub fn delta_schema(self) -> String {
        let columns = self.columns().iter().chain(&PARTITION_COLUMNS);
        json!({ "type": "struct", "fields": columns.map(delta_field).collect::<Vec<_>>() }).to_string()
    }
}

/// The columns of `spans` with these for attributes.
fn span_columns(typed: impl Iterator<Item = Column>) -> Vec<Column> {
    SPAN_SCALARS.iter().copied().chain(typed).chain(SPAN_NESTED.iter().copied()).collect()
}

fn arrow_schema(columns: &[Column]) -> Schema {
    Schema::new(arrow_fields(columns))
}

/// The Arrow fields of columns.
pub(super) fn arrow_fields(columns: &[Column]) -> Fields {
    columns.iter().map(|c| Field::new(c.name, arrow_type(c.kind), c.nullable)).collect()
}

fn arrow_type(kind: ColumnType) -> DataType {
    match kind {
        Text => DataType::Utf8,
        Long => DataType::Int64,
        Double => DataType::Float64,
        Bool => DataType::Boolean,
        Binary => DataType::Binary,
        Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Date => DataType::Date32,
        Map => DataType::Map(map_entries_field(), false),
        TextList => DataType::List(Arc::new(Field::new("element", DataType::Utf8, false))),
        Structs(columns) => DataType::List(structs_field(columns)),
    }
}

/// The field of a map's entries, named as Delta's readers expect it.
pub(super) fn map_entries_field() -> Arc<Field> {
    Arc::new(Field::new("key_value", DataType::Struct(map_entry_fields()), false))
}

/// Key and value of a map's entry.
pub(super) fn map_entry_fields() -> Fields {
    vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true)].into()
}

/// The field of the items of a list of structs.
pub(super) fn structs_field(columns: &[Column]) -> Arc<Field> {
    Arc::new(Field::new("element", DataType::Struct(arrow_fields(columns)), false))
}

/// A field as Delta's protocol writes it ("Schema Serialization Format").
pub(super) fn delta_field(column: &Column) -> Value {
    json!({ "name": column.name, "type": delta_type(column.kind), "nullable": column.nullable, "metadata": {} })
}

fn delta_type(kind: ColumnType) -> Value {
    match kind {
        Text => json!("string"),
        Long => json!("long"),
        Double => json!("double"),
        Bool => json!("boolean"),
        Binary => json!("binary"),
        Timestamp => json!("timestamp"),
        Date => json!("date"),
        Map => {
            json!({ "type": "map", "keyType": "string", "valueType": "string", "valueContainsNull": true })
        }
        TextList => json!({ "type": "array", "elementType": "string", "containsNull": false }),
        Structs(columns) => {
            let fields: Vec<_> = columns.iter().map(delta_field).collect();
            json!({ "type": "array", "elementType": { "type": "struct", "fields": fields }, "containsNull": false })
        }
    }
}

#[cfg(test)]
mod tests;
