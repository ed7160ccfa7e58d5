//! What can be set.

use std::path::{Path, PathBuf};
use std::time::Duration;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

/// The log's settings, validated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogConfig {
    /// Where the segments lie; created if missing.
    pub dir: PathBuf,
    /// A segment is followed by the next when it would grow beyond this, in bytes.
    pub segment_bytes: u64,
    /// What all segments may take on disk, in bytes. At the limit spans are refused; the small records that let the log
    /// shrink again may go an eighth beyond.
    pub limit_bytes: u64,
    /// Spans are refused while the file system has less than this free (or a twentieth of its size, if that is less), so
    /// that the records that let the log shrink again still fit. Bytes.
    pub reserve_bytes: u64,
    /// What may wait for the disk, in bytes.
    pub queue_bytes: usize,
    /// What decompressed records the readers may keep, in bytes.
    pub cache_bytes: usize,
    /// How long a refusal holds before the disk is tried again with new spans.
    pub retry_after: Duration,
    /// What is kept although nothing needs it any more.
    pub recorder: Recorder,
    /// What the recorder's index may take in memory, in bytes: half of it of the segment that is being written, half of those
    /// that wait for the disk.
    pub recorder_bytes: usize,
}

/// The flight recorder: segments that nothing needs any more stay until they are older than `age` or the log is larger
/// than `size_bytes`, whichever comes first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Recorder {
    /// Kept at most this long after the last write.
    pub age: Duration,
    /// Kept while the whole log takes at most this, in bytes.
    pub size_bytes: u64,
}

impl Default for Recorder {
    fn default() -> Self {
        Self { age: Duration::from_secs(15 * 60), size_bytes: 10 * GIB }
    }
}

impl LogConfig {
    /// The defaults, for a data directory: segments in its folder `log`.
    pub fn new(data_dir: &Path) -> Self {
        Self {
            dir: data_dir.join("log"),
            segment_bytes: 64 * MIB,
            limit_bytes: 32 * GIB,
            reserve_bytes: 64 * MIB,
            queue_bytes: (32 * MIB) as usize,
            cache_bytes: (32 * MIB) as usize,
            retry_after: Duration::from_millis(250),
            recorder: Recorder::default(),
            recorder_bytes: (32 * MIB) as usize,
        }
    }
}
