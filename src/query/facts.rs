//! What is known of a trace beside its spans: the field `tracewell` of `trace show --json` and of OTLP/JSON answers, and
//! the header [`FACTS_HEADER`] of every answer with a trace.
//!
//! Its fields are stable: fields and words may be added, none is renamed or removed.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

/// The header that says what is known of a trace: [`TraceFacts`] as JSON, in ASCII.
pub const FACTS_HEADER: &str = "tracewell-trace";

/// Where spans were read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TraceSource {
    /// The table: they are kept.
    Store,
    /// The log: they are kept and on their way into the table, or wait for their verdict.
    Log,
    /// The flight recorder: the log still has them, though nothing keeps them.
    Recorder,
}

/// What was decided about a trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// It is kept.
    Kept,
    /// It was dropped.
    Dropped,
    /// It waits for its verdict.
    Pending,
    /// Nobody remembers: it was dropped, or has expired.
    #[default]
    Unknown,
}

/// What is known of a trace beside its spans.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TraceFacts {
    /// Where the spans were read from, as far as they are needed: a span that the table has is not counted elsewhere.
    pub sources: Vec<TraceSource>,
    /// What was decided.
    pub decision: Decision,
    /// The rule that decided; null while that is open or not known.
    pub rule: Option<String>,
    /// The version of the rules that it stands in; null likewise.
    pub rules_version: Option<u32>,
    /// The retention class of a kept trace.
    pub retention: Option<String>,
    /// False when there may be more spans than these: the trace is larger than an answer may be, or a part of the flight
    /// recorder could not be searched.
    pub complete: bool,
}

impl TraceFacts {
    /// As the header's value: JSON, with everything beyond ASCII escaped.
    pub fn to_header(&self) -> String {
        let json = serde_json::to_string(self).unwrap_or_default();
        let mut out = String::with_capacity(json.len());
        let mut units = [0; 2];
        for c in json.chars() {
            if matches!(c, ' '..='~') {
                out.push(c);
                continue;
            }
            for unit in c.encode_utf16(&mut units) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
        out
    }

    /// From the header's value; `None` if it is none.
    pub fn from_header(value: &str) -> Option<Self> {
        serde_json::from_str(value).ok()
    }
}
