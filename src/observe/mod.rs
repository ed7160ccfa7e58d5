//! The daemon about itself: its logs, its metrics and its status.

mod ledger;
pub mod logs;
pub mod metrics;
mod snapshot;
pub mod status;

#[cfg(test)]
mod tests;

pub use ledger::LossLedger;
pub use snapshot::{MemoryPart, MemoryUse, Snapshot, StoreStats};
