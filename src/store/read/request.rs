//! What to read.

use std::ops::Range;

use crate::wire::TraceId;

/// Which columns of `spans` to read. Names are those of the schema ([`crate::store::schema`]); unknown ones are left out.
/// `trace_id`, `span_id`, `kind`, `start_time_unix_nano` and `duration_nano` always come along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Projection {
    /// Everything, as [`crate::store::SpanRows::full_spans`] needs it.
    All,
    /// These columns.
    Columns(Vec<String>),
}

/// Where an attribute is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttributeScope {
    /// The span's own (TraceQL's `span.`).
    Span,
    /// The resource's (TraceQL's `resource.`).
    Resource,
    /// The span's, and where it has none the resource's (TraceQL's leading `.`).
    Any,
}

/// A value to compare with.
#[derive(Clone, Debug, PartialEq)]
pub enum HintValue {
    /// A string.
    Str(String),
    /// An integer.
    Int(i64),
    /// A floating point number.
    Double(f64),
    /// A boolean.
    Bool(bool),
}

/// A condition that every wanted span meets. Leaving one out costs time, never a result.
#[derive(Clone, Debug, PartialEq)]
pub enum ScanHint {
    /// The span's name.
    NameEquals(String),
    /// `status.code` (0 unset, 1 ok, 2 error).
    StatusEquals(i32),
    /// `kind` (0 to 5 as in OTLP).
    KindEquals(i32),
    /// The least duration, in nanoseconds.
    MinDurationNano(u64),
    /// The largest duration, in nanoseconds.
    MaxDurationNano(u64),
    /// An attribute's value. Well-known attributes use their columns.
    AttributeEquals {
        /// Where.
        scope: AttributeScope,
        /// Its key, for example `service.name`.
        key: String,
        /// Its value.
        value: HintValue,
    },
    /// Spans of these traces only.
    TraceIds(Vec<TraceId>),
}

/// A scan of `spans`.
#[derive(Clone, Debug)]
pub struct ScanRequest {
    /// Start times of wanted spans, nanoseconds since the Unix epoch.
    pub start_unix_nano: Range<u64>,
    /// The columns to read.
    pub projection: Projection,
    /// Conditions, all of which hold for a wanted span.
    pub hints: Vec<ScanHint>,
}

/// A scan of `traces`.
#[derive(Clone, Debug)]
pub struct TracesRequest {
    /// Start times of wanted traces, nanoseconds since the Unix epoch.
    pub start_unix_nano: Range<u64>,
    /// Only traces with spans of this service.
    pub service: Option<String>,
    /// Only traces at least this long.
    pub min_duration_nano: Option<u64>,
    /// Only traces with at least one span in error.
    pub with_errors: bool,
    /// Only these traces.
    pub trace_ids: Option<Vec<TraceId>>,
}

impl TracesRequest {
    /// Every row.
    pub fn all() -> Self {
        Self {
            start_unix_nano: 0..u64::MAX,
            service: None,
            min_duration_nano: None,
            with_errors: false,
            trace_ids: None,
        }
    }
}
