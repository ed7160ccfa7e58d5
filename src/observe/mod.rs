//! The daemon about itself: its logs, its metrics and its status.

mod enrich;
mod export;
mod fleet;
mod forward;
pub mod logs;
mod losses;
pub mod metrics;
mod receive;
mod snapshot;
pub mod status;
mod trust;

#[cfg(test)]
mod tests;

pub use export::ExportStats;
pub use fleet::FleetStats;
pub use forward::{ForwardStats, LaneStats};
pub use losses::LossLedger;
pub use snapshot::{MemoryPart, MemoryUse, Snapshot, StoreStats};
pub use trust::TrustNow;
