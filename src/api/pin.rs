//! `POST /api/traces/{id}/pin`: keeps a trace, whatever the rules say.

use std::time::Duration;

use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use futures::future::BoxFuture;
use http::{HeaderMap, StatusCode};

use super::Api;
use super::door::Asker;
use super::params::{BadRequest, Params};
use super::reply;
use crate::query::{PinDocument, parse_trace_id};
use crate::runtime::Tenant;
use crate::wire::TraceId;

/// Pins traces, as far as the daemon can.
pub trait Pins: Send + Sync + 'static {
    /// Keeps the trace under the retention class `pinned`. With `keep_for`, only where it is then kept for at least so long.
    fn pin(
        &self,
        tenant: Tenant,
        trace_id: TraceId,
        keep_for: Option<Duration>,
    ) -> BoxFuture<'_, Result<PinDocument, PinError>>;
}

/// Why a trace was not pinned. Nothing was changed, but for [`PinError::Unavailable`]: ask again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// Neither the table nor the log has anything of it.
    #[error("trace not found: nothing keeps it, and the flight recorder does not have it (any more)")]
    NotFound,
    /// It cannot be kept for as long as was asked.
    #[error("{0}")]
    TooLong(String),
    /// The daemon cannot do or confirm it now.
    #[error("{0}")]
    Unavailable(String),
}

impl PinError {
    fn status(&self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::TooLong(_) => StatusCode::CONFLICT,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// `?for=90d` asks for a least time. A browser on another site's behalf is refused.
pub async fn pin(
    State(api): State<Api>,
    asker: Asker,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, reply::Failure> {
    if headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site") {
        return Ok(reply::text(StatusCode::FORBIDDEN, "pins are not taken from other sites\n"));
    }
    let bad = |name, reason: String| BadRequest::Parameter { name, reason };
    let trace_id = parse_trace_id(&id).map_err(|e| bad("trace id", e.to_string()))?;
    let params = Params::parse(query.as_deref());
    let keep_for = params.get("for").map(crate::query::parse_duration).transpose();
    let keep_for = keep_for.map_err(|e| bad("for", e.to_string()))?;
    let _turn = api.turn().await?;
    Ok(match api.pins.pin(asker.tenant().clone(), trace_id, keep_for).await {
        Ok(document) => reply::json(&document),
        Err(error) => reply::text(error.status(), format!("{error}\n")),
    })
}
