//! Validated sections. `Default` is what holds where nothing is configured; `config/tracewell.yaml` says the same. Sections
//! that are given a share of the memory have none: it depends on the machine.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

const KIB: u64 = 1 << 10;
const MIB: u64 = KIB << 10;
const GIB: u64 = MIB << 10;

/// The memory that everything may take, and the parts of it that no other section names. What the other sections say is
/// part of it too; the program itself, its threads and connections come on top.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemorySection {
    /// All parts together, in bytes.
    pub limit: u64,
    /// What was noted of requests and waits for the sampler, in bytes.
    pub notes: u64,
    /// Records of spans that wait for the disk, in bytes; the sampler's own records may take as much again.
    pub log_queue: u64,
    /// Records of the log kept for readers, in bytes.
    pub log_cache: u64,
    /// Spans that questions hold, in bytes as they are read.
    pub questions: u64,
    /// The flight recorder's index of segments that is not on the disk yet, in bytes.
    pub recorder: u64,
    /// The loss ledger's accounts, in bytes.
    pub losses: u64,
    /// Decisions on their way into the ledger, in bytes.
    pub ledger: u64,
    /// What is known of the runs of the table's index, in bytes.
    pub directories: u64,
}

/// Limits of the OTLP receivers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiveSection {
    /// The largest request accepted, in bytes, after decompression too.
    pub limit: u64,
    /// The most bytes of requests in flight, at least twice `limit`; over it senders are told to come back.
    pub budget: u64,
    /// How long a client may take to send a request's headers.
    pub header_timeout: Duration,
    /// How long a client may take to send a request's body.
    pub body_timeout: Duration,
    /// The most connections open at once, on each of the two ports.
    pub connections: usize,
    /// HTTP/2, and browsers.
    pub peers: super::PeersSection,
}

/// Where kept spans go, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSection {
    /// `file:///…`, `s3://…`, `gs://…` or `az://…`; `None` is the folder `store` inside the data directory.
    pub url: Option<Url>,
    /// Kept spans are written when so many bytes of them have gathered,
    pub flush_bytes: u64,
    /// or when the oldest has waited so long.
    pub flush_age: Duration,
    /// Put lifecycle rules on the bucket as a backstop for expiry (S3 only).
    pub lifecycle: bool,
    /// The storage class of data files, as the store calls it; `None` is the bucket's.
    pub storage_class: Option<String>,
    /// Columns of `spans` for attributes (`span.KEY`, `resource.KEY`) beside those that every table has, and their types (`text`,
    /// `long`).
    pub columns: Vec<(String, String)>,
}

/// The log on local disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSection {
    /// Bytes of one segment file.
    pub segment: u64,
    /// The most bytes of all segments; at the limit senders are told to come back.
    pub limit: u64,
}

impl Default for LogSection {
    fn default() -> Self {
        Self { segment: 64 * MIB, limit: 20 * GIB }
    }
}

/// The flight recorder: how much of the log is kept although nothing needs it any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecorderSection {
    /// How far it reaches back.
    pub age: Duration,
    /// The most bytes it takes.
    pub size: u64,
}

impl Default for RecorderSection {
    fn default() -> Self {
        Self { age: Duration::from_secs(15 * 60), size: 10 * GIB }
    }
}

/// Memory of the sampling stage. The rules themselves come from the rules file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleSection {
    /// The most bytes of the index of undecided traces; over it the oldest are decided early.
    pub index: u64,
    /// The most bytes of remembered decisions, for spans that come late.
    pub decisions: u64,
}

/// The ledger of decisions: what was decided about traces the log has forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecisionsSection {
    /// How long a decision is known.
    pub keep: Duration,
    /// The most bytes it takes on disk.
    pub size: u64,
}

impl Default for DecisionsSection {
    fn default() -> Self {
        Self { keep: Duration::from_secs(24 * 3600), size: GIB }
    }
}

/// Compaction: the table's small files become few large ones.
#[derive(Debug, Clone, PartialEq)]
pub struct CompactionSection {
    /// Whether this daemon does it.
    pub enabled: bool,
    /// How much of one core it may take, more than 0 and at most 1.
    pub cpu_share: f64,
    /// The size that files shall have, in bytes.
    pub target: u64,
    /// So many small files of about one size are merged before their hour is over.
    pub gather: usize,
    /// How long after its end a day is over.
    pub settle: Duration,
    /// The most memory that a merge takes, in bytes.
    pub memory: u64,
}

impl Default for CompactionSection {
    fn default() -> Self {
        Self {
            enabled: true,
            cpu_share: 0.25,
            target: 256 * MIB,
            gather: 16,
            settle: Duration::from_secs(3 * 3600),
            memory: 192 * MIB,
        }
    }
}

/// Bounds of questions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuerySection {
    /// How long one question may take.
    pub timeout: Duration,
    /// The most questions answered at once; others wait.
    pub concurrency: usize,
    /// Traces of a search that names no limit.
    pub limit: usize,
    /// The highest limit a search may name.
    pub limit_max: usize,
    /// The most bytes of table files' footers held in memory.
    pub cache: u64,
    /// The most bytes that copies of the tables' index take in the data directory.
    pub index: u64,
}

/// How the daemon reports on itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObserveSection {
    /// The form of its own logs.
    pub logs: LogFormat,
    /// The least severe level logged.
    pub level: LogLevel,
}

/// The form of the daemon's own logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Readable on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// One JSON object a line.
    Json,
    /// Readable text.
    Text,
}

/// A level of the daemon's own logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What failed.
    Error,
    /// What somebody should look at.
    Warn,
    /// What happened.
    #[default]
    Info,
    /// How it happened.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// The level as `tracing` filters name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// How the daemon ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShutdownSection {
    /// How long answering and flushing may take after SIGTERM.
    pub deadline: Duration,
}

impl Default for ShutdownSection {
    fn default() -> Self {
        Self { deadline: Duration::from_secs(20) }
    }
}
