//! What goes on to others: each receiver's lane, and what became of the spans.

use serde_json::{Value, json};

/// What was forwarded, at one moment. Counts are since the start: `received + resumed = forwarded + refused + outstanding`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForwardStats {
    /// Spans that came into the log.
    pub received: u64,
    /// Spans that came before the start, and were read from the log again.
    pub resumed: u64,
    /// Spans acknowledged by their receivers.
    pub forwarded: u64,
    /// Spans that their receivers will never take.
    pub refused: u64,
    /// Spans on their way.
    pub outstanding: u64,
    /// Spans that head sampling did not pass on. They are not among those received.
    pub sampled_out: u64,
    /// Each receiver.
    pub lanes: Vec<LaneStats>,
}

/// One receiver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaneStats {
    /// Its name; `(nobody)` has what no gateway was there for.
    pub name: String,
    /// Whether it is a member, leaving, or has left: then others get what waits for it.
    pub state: &'static str,
    /// What waits for it or is under way, in memory, in bytes.
    pub queue_bytes: u64,
    /// How much of the log is not settled for it, in bytes.
    pub behind_bytes: u64,
    /// How long ago the oldest of that came in, as far as it is known, in milliseconds.
    pub behind_ms: u64,
    /// Spans acknowledged.
    pub sent_spans: u64,
    /// Requests acknowledged.
    pub sent_requests: u64,
    /// Their size before compression.
    pub sent_bytes: u64,
    /// Tries that were, or will be, repeated.
    pub retries: u64,
    /// Spans refused for good.
    pub refused_spans: u64,
    /// Records that could not be read back from the log.
    pub unreadable_records: u64,
    /// Why it takes nothing at the moment.
    pub trouble: Option<String>,
}

/// `forward` in `/status`.
pub(super) fn status(stats: &ForwardStats) -> Value {
    let lanes = stats.lanes.iter().map(|lane| {
        json!({
            "name": lane.name,
            "state": lane.state,
            "queue_bytes": lane.queue_bytes,
            "behind_bytes": lane.behind_bytes,
            "behind_seconds": lane.behind_ms as f64 / 1e3,
            "sent_spans": lane.sent_spans,
            "sent_requests": lane.sent_requests,
            "sent_bytes": lane.sent_bytes,
            "retries": lane.retries,
            "refused_spans": lane.refused_spans,
            "unreadable_records": lane.unreadable_records,
            "trouble": lane.trouble,
        })
    });
    json!({
        "received_spans": stats.received,
        "resumed_spans": stats.resumed,
        "forwarded_spans": stats.forwarded,
        "refused_spans": stats.refused,
        "outstanding_spans": stats.outstanding,
        "sampled_out_spans": stats.sampled_out,
        "gateways": lanes.collect::<Vec<_>>(),
    })
}
