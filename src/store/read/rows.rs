//! Rows of a scan of spans.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{RecordBatch, StringArray};

use super::columns::{entries, find_entry, long_at, text_at, texts};
use super::full_span::{FullSpan, Kept};
use super::rebuild::full_spans;
use super::request::AttributeScope;
use crate::store::error::StoreError;
use crate::store::schema::AttributeType;
use crate::store::writer::text::{KINDS, STATUS_CODES, value_of_word};
use crate::wire::{SpanId, TraceId};

/// One value of a scanned attribute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ScanValue<'a> {
    /// The attribute is there, its value is not.
    Empty,
    /// A string.
    Str(&'a str),
    /// An integer.
    Int(i64),
    /// A floating point number.
    Double(f64),
    /// A boolean.
    Bool(bool),
    /// Bytes, as base64.
    Bytes(&'a str),
    /// An array or a key-value list, as the OTLP JSON of its `AnyValue`.
    Json(&'a str),
}

impl<'a> ScanValue<'a> {
    fn read(text: Option<&'a str>, kind: AttributeType) -> Option<Self> {
        Some(match kind {
            AttributeType::Empty | AttributeType::Missing => Self::Empty,
            AttributeType::Str => Self::Str(text?),
            AttributeType::Int => Self::Int(text?.parse().ok()?),
            AttributeType::Double => Self::Double(text?.parse().ok()?),
            AttributeType::Bool => Self::Bool(text? == "true"),
            AttributeType::Bytes => Self::Bytes(text?),
            AttributeType::Json => Self::Json(text?),
        })
    }
}

/// A batch of spans from a scan, read row by row. Columns that were not asked for read as absent. Rows count from 0.
#[derive(Clone, Debug)]
pub struct SpanRows {
    batch: RecordBatch,
    retention: Arc<str>,
}

impl SpanRows {
    pub(super) fn new(batch: RecordBatch, retention: Arc<str>) -> Self {
        Self { batch, retention }
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.batch.num_rows()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rows in Arrow's shape.
    pub fn batch(&self) -> &RecordBatch {
        &self.batch
    }

    /// The retention class, the same for all rows of a batch.
    pub fn retention(&self) -> &Arc<str> {
        &self.retention
    }

    /// The trace id.
    pub fn trace_id(&self, row: usize) -> TraceId {
        self.text("trace_id", row).and_then(|id| id.parse().ok()).unwrap_or_default()
    }

    /// The span id.
    pub fn span_id(&self, row: usize) -> SpanId {
        self.text("span_id", row).and_then(|id| id.parse().ok()).unwrap_or_default()
    }

    /// The parent's span id; `None` for a root.
    pub fn parent_span_id(&self, row: usize) -> Option<SpanId> {
        self.text("parent_span_id", row).and_then(|id| id.parse().ok()).filter(SpanId::is_valid)
    }

    /// The start, nanoseconds since the Unix epoch.
    pub fn start_unix_nano(&self, row: usize) -> u64 {
        long_at(&self.batch, "start_time_unix_nano", row) as u64
    }

    /// The duration in nanoseconds; 0 where the end is before the start.
    pub fn duration_nano(&self, row: usize) -> u64 {
        long_at(&self.batch, "duration_nano", row) as u64
    }

    /// The kind (OTLP's number).
    pub fn kind(&self, row: usize) -> i32 {
        value_of_word(&KINDS, self.text("kind", row).unwrap_or_default())
    }

    /// The status code (OTLP's number).
    pub fn status_code(&self, row: usize) -> i32 {
        value_of_word(&STATUS_CODES, self.text("status_code", row).unwrap_or_default())
    }

    /// A string column by its name in the schema: `name`, `service_name`, `status_message`, `scope_name`, `rule` …
    pub fn text(&self, column: &str, row: usize) -> Option<&str> {
        text_at(self.texts(column), row)
    }

    /// A string column as a whole, for loops over many rows.
    pub fn texts(&self, column: &str) -> Option<&StringArray> {
        texts(&self.batch, column)
    }

    /// An integer column by its name in the schema, for example `http_response_status_code`.
    pub fn long(&self, column: &str, row: usize) -> Option<i64> {
        let array = self.batch.column_by_name(column)?;
        array.is_valid(row).then(|| long_at(&self.batch, column, row))
    }

    /// The first attribute of this key, from the maps (`attributes` with `attributes_types`, `resource_attributes` with
    /// `resource_attributes_types`): those must have been asked for.
    pub fn attribute(&self, scope: AttributeScope, key: &str, row: usize) -> Option<ScanValue<'_>> {
        let span = || self.of_map("attributes", "attributes_types", key, row);
        let resource = || self.of_map("resource_attributes", "resource_attributes_types", key, row);
        match scope {
            AttributeScope::Span => span(),
            AttributeScope::Resource => resource(),
            AttributeScope::Any => span().or_else(resource),
        }
    }

    fn of_map(&self, map: &str, types: &str, key: &str, row: usize) -> Option<ScanValue<'_>> {
        let map = self.batch.column_by_name(map)?.as_map_opt()?;
        let at = find_entry(map, row, key)?;
        let code = *self.text(types, row)?.as_bytes().get(at)?;
        let text = text_at(map.values().as_string_opt(), entries(map, row).start + at);
        ScanValue::read(text, AttributeType::from_code(code)?)
    }

    /// Why the span was kept; `None` unless `rule` and `rules_version` were asked for.
    pub fn kept(&self, row: usize) -> Option<Kept> {
        let rules_version = u32::try_from(self.long("rules_version", row)?).ok()?;
        Some(Kept {
            rule: self.text("rule", row)?.into(),
            rules_version,
            retention: Arc::clone(&self.retention),
        })
    }

    /// All spans as OTLP has them. Needs [`crate::store::Projection::All`].
    ///
    /// # Errors
    /// [`crate::store::ErrorKind::Table`] if a column is missing or damaged.
    pub fn full_spans(&self) -> Result<Vec<FullSpan>, StoreError> {
        full_spans(&self.batch, &self.retention)
    }
}
