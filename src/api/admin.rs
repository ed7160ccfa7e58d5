//! What operators and orchestrators ask.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use super::Api;
use super::door::Asker;
use super::reply;
use crate::runtime::Tenant;

/// The daemon's own state, as far as it is told over HTTP.
pub trait Admin: Send + Sync + 'static {
    /// Whether it does its work; if not, why.
    ///
    /// # Errors
    /// The reason, in words for people: it is the body of a 503.
    fn ready(&self) -> Result<(), String>;

    /// The document of `/status`; of what is told by tenant, only that of `tenant`, if one is given.
    fn status(&self, tenant: Option<&Tenant>) -> Value;

    /// The text of `/metrics`, in OpenMetrics; of what is told by tenant, only that of `tenant`, if one is given.
    fn metrics(&self, tenant: Option<&Tenant>) -> String;
}

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub async fn echo() -> Response {
    reply::text(StatusCode::OK, "echo")
}

pub async fn healthz() -> Response {
    reply::text(StatusCode::OK, "ok\n")
}

pub async fn ready(State(api): State<Api>) -> Response {
    match api.admin.ready() {
        Ok(()) => reply::text(StatusCode::OK, "ready\n"),
        Err(reason) => reply::text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")),
    }
}

pub async fn metrics(State(api): State<Api>, asker: Asker) -> Response {
    reply::bytes(StatusCode::OK, OPEN_METRICS, api.admin.metrics(asker.confined_to()))
}

pub async fn status(State(api): State<Api>, asker: Asker) -> Response {
    reply::json(&api.admin.status(asker.confined_to()))
}

/// In Tempo's shape; clients read the version.
pub async fn build_info() -> Response {
    reply::json(&json!({
        "version": env!("CARGO_PKG_VERSION"),
        "revision": "",
        "branch": "",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
    }))
}

pub async fn not_found(uri: http::Uri) -> Response {
    reply::text(StatusCode::NOT_FOUND, format!("nothing is served at {}\n", uri.path()))
}
