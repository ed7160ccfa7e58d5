//! `GET /api/traces/{id}/why`: what was decided about a trace, and why.

use axum::extract::{Path, State};
use axum::response::Response;
use tokio::time::timeout;

use super::Api;
use super::door::Asker;
use super::params::BadRequest;
use super::reply::{self, Failure};
use crate::query::parse_trace_id;

/// 404 when neither a verdict nor a span of it is known.
pub async fn why(State(api): State<Api>, asker: Asker, Path(id): Path<String>) -> Result<Response, Failure> {
    let id =
        parse_trace_id(&id).map_err(|e| BadRequest::Parameter { name: "trace id", reason: e.to_string() })?;
    let why = api.why.as_ref().ok_or(Failure::NotFound)?;
    let _turn = api.turn().await?;
    let answer = timeout(api.config.trace_time_max, why.why(asker.tenant(), id)).await;
    let document = answer.map_err(|_| Failure::Deadline)??.ok_or(Failure::NotFound)?;
    Ok(reply::json(&document))
}
