#![allow(clippy::unwrap_used)]

mod fields;
mod fixture;
mod random;
mod spansets;
