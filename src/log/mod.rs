//! The durable log: segments, group commit, replay.
//!
//! Everything received goes through here before it is acknowledged, and everything behind it can be rebuilt by reading
//! it again. Records are opaque to the log and have a [`Position`], a byte offset over all segments that is never
//! given twice. One thread writes: it takes what has gathered, writes it at once, syncs once, hands it on in log order
//! and acknowledges. The bytes on disk are described in [`frame`].

mod active;
mod buffers;
mod cache;
mod config;
mod error;
pub mod frame;
mod handle;
mod open;
mod pace;
mod queue;
mod reader;
mod record;
mod recorder;
mod replay;
mod scan;
mod segments;
mod shared;
mod tail;
mod writer;

#[cfg(test)]
mod tests;

pub use config::{LogConfig, Recorder};
pub use error::{AppendError, LogError, ReadError, RecordError};
pub use handle::LogHandle;
pub use open::{Log, Opened};
pub use reader::LogReader;
pub use record::{Encoded, Position, Record, RecordKind, SpansMeta, SpansRecord};
pub use recorder::{PLACES_MAX, Recorded, RecorderIndex, RecorderStats};
pub use replay::{Replay, ReplayOutcome};
pub use shared::LogStats;
pub use tail::Tail;
pub use writer::{Committed, LogWriter, Refused};
