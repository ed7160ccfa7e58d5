//! Tracewell: an OpenTelemetry-compatible trace collector.
//!
//! Data flows one way: receive → enrich → log → sample → store → query. `ARCHITECTURE.md` says where everything is.

pub mod api;
pub mod app;
pub mod auth;
pub mod cli;
pub mod config;
pub mod enrich;
pub mod forward;
pub mod ledger;
pub mod log;
pub mod observe;
pub mod query;
pub mod receive;
pub mod rules_source;
pub mod runtime;
pub mod sample;
pub mod store;
pub mod traceql;
pub mod wire;
