#![allow(clippy::unwrap_used)]

mod engine;
pub(crate) mod fixtures;
mod otlp_json;
mod questions;
