//! The daemon about itself: its logs, its metrics and its status.

pub mod logs;
pub mod metrics;
mod snapshot;
pub mod status;

#[cfg(test)]
mod tests;

pub use snapshot::{MemoryPart, MemoryUse, Snapshot, StoreStats};
