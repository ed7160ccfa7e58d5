//! The open table: Delta over Parquet on object storage.
//!
//! `STORE/<tenant>/spans` has one row a span, `STORE/<tenant>/traces` one row a trace (and batch: late spans add another).

mod backends;
mod error;
mod lifecycle;
pub mod read;
pub mod schema;
mod table;
mod values;
mod write;
mod writer;

pub use backends::{Backend, Location};
pub use error::{ErrorKind, StoreError};
pub use read::{
    FullSpan, Projection, Reader, ReaderConfig, ResourceInfo, ScanHint, ScanRequest, ScanValue, ScopeInfo, SpanRows, TraceRow,
    Wanted,
};
pub use write::{Store, StoreConfig, Written};
pub use writer::Records;
