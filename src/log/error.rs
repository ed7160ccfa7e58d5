//! What can go wrong, by what the caller does about it.

use std::io;
use std::path::PathBuf;

/// Why the log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The directory or one of its segments cannot be created, listed, opened or synced.
    #[error("cannot open the log at {}: {source}", path.display())]
    Io {
        /// What was being opened.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Why a record was not appended. It is not in the log, and its sender should come back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AppendError {
    /// The disk is full. The log tries again by itself.
    #[error("the log's disk is full")]
    DiskFull,
    /// The log has reached its own limit of bytes.
    #[error("the log has reached its size limit")]
    LimitReached,
    /// The disk fails or is read-only. The log tries again by itself, with a fresh segment.
    #[error("the log's disk fails")]
    Failed,
    /// Too many records wait that nobody waits for ([`submit`](super::LogHandle::submit) only).
    #[error("the log is behind")]
    Busy,
    /// Larger than a record may be ([`frame::PAYLOAD_BYTES_MAX`](super::frame::PAYLOAD_BYTES_MAX)); it will never fit.
    #[error("the record is larger than the log takes")]
    TooLarge,
    /// The log is closed.
    #[error("the log is closed")]
    Closed,
}

/// Why a record cannot be read back.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Its segment was released.
    #[error("the record was released from the log")]
    Released,
    /// No record begins there.
    #[error("no record at this position")]
    Unknown,
    /// It does not have the checksum it was written with, or cannot be decoded.
    #[error("the record is damaged")]
    Damaged,
    /// The disk fails.
    #[error("cannot read the log: {0}")]
    Io(#[from] io::Error),
}

/// Why a payload is not what its kind promises.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecordError {
    /// It is a record of another kind.
    #[error("not a record of spans")]
    WrongKind,
    /// The payload ends early or contradicts itself.
    #[error("malformed record")]
    Malformed,
}
