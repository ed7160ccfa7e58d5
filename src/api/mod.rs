//! The HTTP interface: Tempo's look-up and search, and what operators ask. One listener, HTTP/1.1 and h2c.

mod admin;
mod door;
mod negotiate;
mod params;
mod pin;
mod reply;
mod search_json;
mod serve;
mod tempo;
mod why;

pub use admin::Admin;
pub use negotiate::OTLP_JSON_MEDIA_TYPE;
pub use params::{BadRequest, Params};
pub use pin::{PinError, Pins};

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use tokio::sync::Semaphore;

use crate::auth::Gate;
use crate::query::{Engine, RuleTexts, Standings, Why};

/// Bounds of the interface.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    /// Questions to the engine at a time; further ones wait for [`ApiConfig::wait_max`].
    pub queries_max: usize,
    /// How long a question waits for its turn before it is answered with 503.
    pub wait_max: Duration,
    /// Traces of a search that names no limit.
    pub limit: usize,
    /// Traces of a search at most, whatever limit it names.
    pub limit_max: usize,
    /// How long a search looks; then it answers with what it found.
    pub search_time_max: Duration,
    /// How long a look-up by id may take before it is answered with 504.
    pub trace_time_max: Duration,
    /// Connections at a time.
    pub connections_max: usize,
    /// How long a request's head may take to arrive.
    pub header_timeout: Duration,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            queries_max: 8,
            wait_max: Duration::from_secs(10),
            limit: 20,
            limit_max: 1000,
            search_time_max: Duration::from_secs(30),
            trace_time_max: Duration::from_secs(60),
            connections_max: 512,
            header_timeout: Duration::from_secs(10),
        }
    }
}

/// The interface. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    engine: Engine,
    admin: Arc<dyn Admin>,
    pins: Arc<dyn Pins>,
    why: Option<Arc<Why>>,
    config: Arc<ApiConfig>,
    turns: Arc<Semaphore>,
    gate: Option<Arc<Gate>>,
    operators_only: bool,
}

impl Api {
    /// An interface to `engine`, to the daemon's own state by `admin`, and to what keeps traces by `pins`.
    pub fn new(engine: Engine, admin: Arc<dyn Admin>, pins: Arc<dyn Pins>, config: ApiConfig) -> Self {
        let turns = Arc::new(Semaphore::new(config.queries_max.max(1)));
        let (config, gate) = (Arc::new(config), None);
        Self { engine, admin, pins, why: None, config, turns, gate, operators_only: false }
    }

    /// With answers to `why`; without them no trace is known there.
    #[must_use]
    pub fn with_why(self, standings: Arc<dyn Standings>, rules: Arc<dyn RuleTexts>) -> Self {
        let why = Why { engine: self.engine.clone(), standings, rules };
        Self { why: Some(Arc::new(why)), ..self }
    }

    /// Where `gate` says who is let in; without one everybody is, as the default tenant.
    #[must_use]
    pub fn guarded(self, gate: Arc<Gate>) -> Self {
        Self { gate: Some(gate), ..self }
    }

    /// Only what operators and orchestrators ask: an agent has no traces to tell of.
    #[must_use]
    pub fn for_operators(self) -> Self {
        Self { operators_only: true, ..self }
    }

    /// All routes, behind the door.
    pub fn router(&self) -> Router {
        let routes = if self.operators_only { Router::new() } else { Self::questions() };
        routes
            .route("/api/echo", get(admin::echo))
            .route("/api/status/buildinfo", get(admin::build_info))
            .route("/ready", get(admin::ready))
            .route("/healthz", get(admin::healthz))
            .route("/metrics", get(admin::metrics))
            .route("/status", get(admin::status))
            .fallback(admin::not_found)
            .layer(axum::middleware::from_fn_with_state(self.clone(), door::door))
            .with_state(self.clone())
    }

    fn questions() -> Router<Self> {
        Router::new()
            .route("/api/traces/{id}", get(tempo::trace_v1))
            .route("/api/traces/{id}/pin", post(pin::pin))
            .route("/api/traces/{id}/why", get(why::why))
            .route("/api/v2/traces/{id}", get(tempo::trace_v2))
            .route("/api/search", get(tempo::search))
    }
}

#[cfg(test)]
mod tests;
