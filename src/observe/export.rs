//! What goes on to other backends, beside the store.

use prometheus_client::registry::{Registry, Unit};
use serde_json::{Value, json};

use super::metrics::{CounterBy, GaugeBy};

/// One backend, at one moment. Counts are since the start:
/// `put + resumed = sent + refused + dropped (but for the disk) + unreadable + pending`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExportStats {
    /// Its name.
    pub name: String,
    /// Spans put into its log.
    pub put_spans: u64,
    /// Spans that were waiting at the start.
    pub resumed_spans: u64,
    /// Spans that wait now, or are under way.
    pub pending_spans: u64,
    /// What of its log is not settled, in bytes.
    pub pending_bytes: u64,
    /// How long ago the oldest of them was put into the log, as far as it is known, in milliseconds.
    pub oldest_pending_ms: u64,
    /// What its log takes on the disk, in bytes.
    pub log_bytes: u64,
    /// What it takes in memory, in bytes.
    pub memory_bytes: u64,
    /// Spans acknowledged.
    pub sent_spans: u64,
    /// Requests acknowledged.
    pub sent_requests: u64,
    /// Their size before compression, in bytes.
    pub sent_bytes: u64,
    /// Tries that were, or will be, repeated.
    pub retries: u64,
    /// Spans refused for good.
    pub refused_spans: u64,
    /// Spans dropped because the queue was full.
    pub dropped_size_spans: u64,
    /// Spans dropped because they had waited for too long.
    pub dropped_age_spans: u64,
    /// Spans dropped because the log could not be written.
    pub dropped_disk_spans: u64,
    /// Spans that the log has lost.
    pub unreadable_spans: u64,
    /// Why it takes nothing at the moment.
    pub trouble: Option<String>,
    /// Why it refused spans for good, or they were dropped, the last time.
    pub last_refusal: Option<String>,
}

impl ExportStats {
    fn dropped(&self) -> u64 {
        self.dropped_size_spans + self.dropped_age_spans + self.dropped_disk_spans + self.unreadable_spans
    }
}

/// `export` in `/status`.
pub(super) fn status(all: &[ExportStats]) -> Value {
    let one = |stats: &ExportStats| {
        json!({
            "name": stats.name,
            "put_spans": stats.put_spans,
            "resumed_spans": stats.resumed_spans,
            "pending_spans": stats.pending_spans,
            "pending_bytes": stats.pending_bytes,
            "oldest_pending_seconds": stats.oldest_pending_ms as f64 / 1e3,
            "log_bytes": stats.log_bytes,
            "memory_bytes": stats.memory_bytes,
            "sent_spans": stats.sent_spans,
            "sent_requests": stats.sent_requests,
            "sent_bytes": stats.sent_bytes,
            "retries": stats.retries,
            "refused_spans": stats.refused_spans,
            "dropped_spans": {
                "queue_size": stats.dropped_size_spans,
                "queue_age": stats.dropped_age_spans,
                "disk": stats.dropped_disk_spans,
                "unreadable": stats.unreadable_spans,
            },
            "trouble": stats.trouble,
            "last_refusal": stats.last_refusal,
        })
    };
    Value::Array(all.iter().map(one).collect())
}

/// The families `tracewell_export_…`, by backend.
pub(super) fn register(registry: &mut Registry, all: &[ExportStats]) {
    let by = |value: fn(&ExportStats) -> u64| {
        CounterBy::new("target", all.iter().map(|one| (one.name.as_str(), value(one))))
    };
    let gauge = |value| GaugeBy(by(value));
    let mut counter = |name: &str, help: &str, value| registry.register(name, help, by(value));
    counter("tracewell_export_put_spans", "Kept spans put into the log of a backend", |one| one.put_spans);
    counter("tracewell_export_sent_spans", "Spans acknowledged by a backend", |one| one.sent_spans);
    counter("tracewell_export_sent_requests", "Requests acknowledged", |one| one.sent_requests);
    counter("tracewell_export_retries", "Tries that are repeated", |one| one.retries);
    let help = "Spans that a backend will never take";
    counter("tracewell_export_refused_spans", help, |one| one.refused_spans);
    let help = "Spans dropped: the queue was full or too old, or its log could not be written or read";
    counter("tracewell_export_dropped_spans", help, ExportStats::dropped);
    let help = "Requests acknowledged, before compression";
    registry.register_with_unit("tracewell_export_sent", help, Unit::Bytes, by(|one| one.sent_bytes));
    let help = "Spans that wait or are under way";
    registry.register("tracewell_export_pending_spans", help, gauge(|one| one.pending_spans));
    let help = "What of a backend's log is not settled";
    registry.register_with_unit(
        "tracewell_export_pending",
        help,
        Unit::Bytes,
        gauge(|one| one.pending_bytes),
    );
    let help = "How long ago the oldest span that waits was put into the log";
    let age = gauge(|one| one.oldest_pending_ms / 1000);
    registry.register_with_unit("tracewell_export_oldest_pending", help, Unit::Seconds, age);
    let help = "What a backend's log takes on the disk";
    registry.register_with_unit("tracewell_export_log", help, Unit::Bytes, gauge(|one| one.log_bytes));
    let help = "Whether a backend takes nothing at the moment (1) or not (0)";
    registry.register("tracewell_export_failing", help, gauge(|one| one.trouble.is_some().into()));
}
