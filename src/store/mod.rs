//! The open table: Delta over Parquet on object storage.
//!
//! `STORE/<tenant>/spans` has one row a span, `STORE/<tenant>/traces` one row a trace (and batch: late spans add another).

mod backends;
mod checksum;
mod compact;
mod credentials;
mod error;
mod index;
mod inventory;
mod lifecycle;
mod other_types;
pub mod read;
mod retention;
mod rewrite;
pub mod schema;
mod table;
mod values;
mod verify;
mod write;
mod writer;

pub use backends::{Backend, Location};
pub use compact::{
    Compacted, CompactionConfig, CompactionUnit, Compactor, Pace, Reason as CompactionReason, Unpaced,
};
pub use error::{ErrorKind, StoreError};
pub use index::{Disagreement, Index, LocalRuns, Rebuilt, VerifiedIndex};
pub use inventory::{Amount, Inventory, ServiceAmount};
pub use lifecycle::{
    LifecycleLine, LifecycleOutcome, LifecycleState, TAG_RETENTION, apply_lifecycle, compare_lifecycle,
};
pub use read::{
    AttributeScope, FullSpan, HintValue, Kept, Projection, Reader, ReaderConfig, ResourceInfo, ScanHint,
    ScanRequest, ScanValue, ScopeInfo, SpanRows, TraceRow, TracesRequest, Wanted,
};
pub use retention::{Expired, RetentionPolicy};
pub use rewrite::{Fate, Rewritten, RewrittenFile};
pub use schema::TableKind;
pub use verify::{Finding, Problem, Stray, Verified};
pub use write::{LostSpans, Store, StoreConfig, Written, WrittenService};
pub use writer::Records;

#[cfg(test)]
mod tests;
