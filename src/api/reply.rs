//! Answers.

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, VARY};
use serde::Serialize;

use super::params::BadRequest;
use crate::query::QueryError;

/// JSON's media type.
pub const JSON: &str = "application/json";
/// Protobuf's media type.
pub const PROTOBUF: &str = "application/protobuf";

/// Plain text.
pub fn text(status: StatusCode, body: impl Into<Body>) -> Response {
    bytes(status, "text/plain; charset=utf-8", body)
}

/// A body of a media type. What it is depends on `Accept`, which caches are told.
pub fn bytes(status: StatusCode, media_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
    response
}

/// A document as JSON.
pub fn json(document: &impl Serialize) -> Response {
    json_as(JSON, document)
}

/// A document as JSON, of a media type of its own.
pub fn json_as(media_type: &'static str, document: &impl Serialize) -> Response {
    match serde_json::to_vec(document) {
        Ok(body) => bytes(StatusCode::OK, media_type, body),
        Err(error) => {
            tracing::error!(%error, "an answer cannot be written as JSON");
            text(StatusCode::INTERNAL_SERVER_ERROR, "the answer cannot be written\n")
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The request is wrong.
    #[error(transparent)]
    BadRequest(#[from] BadRequest),
    /// There is no such trace.
    #[error("trace not found")]
    NotFound,
    /// Too many questions at once.
    #[error("too many queries at once; try again in a moment")]
    Busy,
    /// It took too long.
    #[error("the trace could not be read in time")]
    Deadline,
    /// The table or the log cannot be read.
    #[error(transparent)]
    Query(#[from] QueryError),
}

impl Failure {
    fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Deadline => StatusCode::GATEWAY_TIMEOUT,
            Self::Query(QueryError::Store(error)) if error.is_transient() => StatusCode::SERVICE_UNAVAILABLE,
            Self::Query(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl axum::response::IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = self.status();
        if status.is_server_error() {
            tracing::warn!(error = %self, "a query failed");
        }
        let mut response = text(status, format!("{self}\n"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
