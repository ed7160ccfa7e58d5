//! Which form of an answer a client wants.

use http::HeaderMap;
use http::header::ACCEPT;

use super::params::Params;
use crate::query::FIND_MEDIA_TYPE;

/// OTLP/JSON: hex ids, enums as numbers. Also chosen by `?format=otlp`.
pub const OTLP_JSON_MEDIA_TYPE: &str = "application/vnd.tracewell.otlp+json";

/// The forms of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceForm {
    /// Protobuf.
    Protobuf,
    /// JSON as Tempo has it: base64 ids, enums by name.
    TempoJson,
    /// OTLP/JSON.
    OtlpJson,
}

/// As Tempo decides it: by what `Accept` contains, protobuf first, JSON by default.
pub fn trace_form(headers: &HeaderMap, params: &Params) -> TraceForm {
    if params.get("format") == Some("otlp") || accepts(headers, OTLP_JSON_MEDIA_TYPE) {
        TraceForm::OtlpJson
    } else if accepts(headers, super::reply::PROTOBUF) {
        TraceForm::Protobuf
    } else {
        TraceForm::TempoJson
    }
}

/// Whether a search shall be answered with our own document instead of Tempo's.
pub fn wants_find_document(headers: &HeaderMap) -> bool {
    accepts(headers, FIND_MEDIA_TYPE)
}

fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    headers.get_all(ACCEPT).iter().any(|v| v.to_str().is_ok_and(|v| v.contains(media_type)))
}
