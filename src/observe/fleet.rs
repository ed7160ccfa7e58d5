//! A gateway's part in a fleet.

use serde_json::{Value, json};

/// What a gateway knows of the fleet, at one moment. Counts are since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FleetStats {
    /// Its own name.
    pub own: String,
    /// Whether it is leaving.
    pub draining: bool,
    /// Whether the members have not changed for a while: then nobody asks anybody.
    pub settled: bool,
    /// The members, and what each is doing.
    pub gateways: Vec<(String, &'static str)>,
    /// Traces remembered that are here.
    pub traces_here: u64,
    /// Traces remembered that are elsewhere.
    pub traces_elsewhere: u64,
    /// Traces that another gateway was asked about.
    pub claimed_traces: u64,
    /// Spans handed over to the gateway that has their trace.
    pub handed_over_spans: u64,
    /// Requests put off because another gateway did not answer.
    pub put_off_requests: u64,
}

/// `fleet` in `/status`.
pub(super) fn status(stats: &FleetStats) -> Value {
    let gateways = stats.gateways.iter().map(|(name, state)| json!({ "name": name, "state": state }));
    json!({
        "self": stats.own,
        "draining": stats.draining,
        "settled": stats.settled,
        "gateways": gateways.collect::<Vec<_>>(),
        "traces_here": stats.traces_here,
        "traces_elsewhere": stats.traces_elsewhere,
        "claimed_traces": stats.claimed_traces,
        "handed_over_spans": stats.handed_over_spans,
        "put_off_requests": stats.put_off_requests,
    })
}
