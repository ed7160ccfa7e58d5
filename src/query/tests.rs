#![allow(clippy::unwrap_used)]

mod by_id;
mod engine;
pub(crate) mod fixtures;
mod otlp_json;
mod questions;
mod why;
