//! Tempo's look-up and search.

use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode};
use opentelemetry_proto::tonic::trace::v1::TracesData;
use prost::Message;
use serde::ser::{Serialize, SerializeMap, Serializer};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::Api;
use super::door::Asker;
use super::negotiate::{OTLP_JSON_MEDIA_TYPE, TraceForm, trace_form, wants_find_document};
use super::params::{BadRequest, Params};
use super::reply::{self, Failure};
use super::search_json::TempoSearch;
use crate::query::{
    Document, FACTS_HEADER, FIND_MEDIA_TYPE, FindDocument, FoundTrace, Spelling, TraceFacts, parse_trace_id,
};

/// `tempopb.TraceByIDResponse`, as far as we fill it.
#[derive(Clone, PartialEq, Message)]
struct TraceByIdResponse {
    #[prost(message, optional, tag = "1")]
    trace: Option<TracesData>,
    /// 0 complete, 1 partial.
    #[prost(int32, tag = "3")]
    status: i32,
    #[prost(string, tag = "4")]
    message: String,
}

const PARTIAL: &str = "the trace is larger than the limit for one answer; this is a part of it";

impl Api {
    /// Waits for a turn. Questions hold memory, so only so many run at a time.
    pub(super) async fn turn(&self) -> Result<OwnedSemaphorePermit, Failure> {
        match timeout(self.config.wait_max, self.turns.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(Failure::Busy),
        }
    }

    async fn find(&self, asker: &Asker, id: &str) -> Result<Option<FoundTrace>, Failure> {
        let id = parse_trace_id(id)
            .map_err(|e| BadRequest::Parameter { name: "trace id", reason: e.to_string() })?;
        let _turn = self.turn().await?;
        let looked_up = timeout(self.config.trace_time_max, self.engine.trace(asker.tenant(), id)).await;
        Ok(looked_up.map_err(|_| Failure::Deadline)??)
    }
}

/// `GET /api/traces/{id}`: 404 when there is no such trace.
pub async fn trace_v1(
    State(api): State<Api>,
    asker: Asker,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let form = trace_form(&headers, &Params::parse(query.as_deref()));
    let found = api.find(&asker, &id).await?.ok_or(Failure::NotFound)?;
    let facts = found.facts.clone();
    let trace = found.into_otlp();
    let response = match form {
        TraceForm::Protobuf => reply::bytes(StatusCode::OK, reply::PROTOBUF, trace.encode_to_vec()),
        TraceForm::OtlpJson => otlp_json(&trace, Some(&facts)),
        TraceForm::TempoJson => reply::json(&document("batches", &trace, Spelling::Proto)),
    };
    Ok(with_facts(response, &facts))
}

/// Tempo's answers have no room for what else is known: it travels as a header.
fn with_facts(mut response: Response, facts: &TraceFacts) -> Response {
    if let Ok(value) = HeaderValue::from_str(&facts.to_header()) {
        response.headers_mut().insert(FACTS_HEADER, value);
    }
    response
}

/// `GET /api/v2/traces/{id}`: an empty trace when there is none.
pub async fn trace_v2(
    State(api): State<Api>,
    asker: Asker,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let form = trace_form(&headers, &Params::parse(query.as_deref()));
    let found = api.find(&asker, &id).await?;
    let complete = found.as_ref().is_none_or(|f| f.complete);
    let facts = found.as_ref().map(|f| f.facts.clone());
    let trace = found.map(FoundTrace::into_otlp).unwrap_or_default();
    let response = match form {
        TraceForm::OtlpJson => otlp_json(&trace, facts.as_ref()),
        TraceForm::TempoJson => reply::json(&TraceV2 { trace: &trace, complete }),
        TraceForm::Protobuf => {
            let message = if complete { String::new() } else { PARTIAL.to_owned() };
            let answer = TraceByIdResponse { trace: Some(trace), status: i32::from(!complete), message };
            reply::bytes(StatusCode::OK, reply::PROTOBUF, answer.encode_to_vec())
        }
    };
    Ok(match facts {
        Some(facts) => with_facts(response, &facts),
        None => response,
    })
}

fn otlp_json(trace: &TracesData, facts: Option<&TraceFacts>) -> Response {
    let document = Document { facts, ..document("resourceSpans", trace, Spelling::Otlp) };
    reply::json_as(OTLP_JSON_MEDIA_TYPE, &document)
}

fn document<'a>(field: &'static str, trace: &'a TracesData, spelling: Spelling) -> Document<'a> {
    Document { facts: None, field, resource_spans: &trace.resource_spans, spelling }
}

/// `{"trace":{…},"status":"PARTIAL","message":"…"}`; a complete one has no status.
struct TraceV2<'a> {
    trace: &'a TracesData,
    complete: bool,
}

impl Serialize for TraceV2<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("trace", &document("resourceSpans", self.trace, Spelling::Proto))?;
        if !self.complete {
            map.serialize_entry("status", "PARTIAL")?;
            map.serialize_entry("message", PARTIAL)?;
        }
        map.end()
    }
}

/// `GET /api/search`.
pub async fn search(
    State(api): State<Api>,
    asker: Asker,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let mut request = Params::parse(query.as_deref()).search(api.config.limit, api.config.limit_max)?;
    request.time_max = api.config.search_time_max;
    let _turn = api.turn().await?;
    let response = api.engine.search(asker.tenant(), request).await?;
    Ok(if wants_find_document(&headers) {
        reply::json_as(FIND_MEDIA_TYPE, &FindDocument::from(&response))
    } else {
        reply::json(&TempoSearch::from(&response))
    })
}
