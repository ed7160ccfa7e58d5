//! The figures of a run, for people and for programs.

use std::time::Duration;

use crate::process::Usage;
use crate::sender::Outcome;
use crate::template::{Kinds, SPANS_PER_REQUEST};

const MIB: f64 = 1_048_576.0;

/// A finished run.
pub struct Report {
    pub label: String,
    pub seed: u64,
    pub request_bytes: u64,
    pub sent: Kinds,
    pub outcome: Outcome,
    pub wall: Duration,
    pub sender_cpu: f64,
    pub settle: f64,
    /// The server's use before, after the last acknowledgement, and after settling.
    pub server: Option<((Usage, Usage), Usage)>,
}

impl Report {
    fn spans(&self) -> u64 {
        self.outcome.requests * SPANS_PER_REQUEST - self.outcome.rejected_spans
    }

    /// Milliseconds within which this share (0 to 1) of the requests was acknowledged.
    fn percentile(&self, share: f64) -> f64 {
        let all = &self.outcome.latencies;
        let index = ((all.len() as f64 * share).ceil() as usize).clamp(1, all.len().max(1)) - 1;
        all.get(index).map_or(0.0, |latency| latency.as_secs_f64() * 1_000.0)
    }

    /// One JSON document.
    pub fn print_json(&self) {
        let server = self.server.map(|((before, acknowledged), settled)| {
            let cpu = settled.cpu_seconds - before.cpu_seconds;
            serde_json::json!({
                "cpu_seconds": cpu,
                "cpu_seconds_until_last_ack": acknowledged.cpu_seconds - before.cpu_seconds,
                "spans_per_cpu_second": self.spans() as f64 / cpu.max(0.01),
                "peak_bytes": settled.peak_bytes,
                "resident_bytes_before": before.resident_bytes,
                "resident_bytes_after": settled.resident_bytes,
            })
        });
        let document = serde_json::json!({
            "label": self.label,
            "seed": self.seed,
            "spans_acknowledged": self.spans(),
            "spans_rejected": self.outcome.rejected_spans,
            "requests_acknowledged": self.outcome.requests,
            "requests_failed": self.outcome.failed,
            "refusals": self.outcome.refusals,
            "request_bytes": self.request_bytes,
            "traces": {
                "sent": self.sent.traces, "errors": self.sent.errors, "slow": self.sent.slow,
                "login": self.sent.login, "any_of_these": self.sent.special,
            },
            "seconds": self.wall.as_secs_f64(),
            "spans_per_second": self.spans() as f64 / self.wall.as_secs_f64(),
            "latency_ms": {
                "p50": self.percentile(0.5), "p90": self.percentile(0.9),
                "p99": self.percentile(0.99), "max": self.percentile(1.0),
            },
            "sender_cpu_seconds": self.sender_cpu,
            "settle_seconds": self.settle,
            "server": server,
        });
        println!("{document:#}");
    }

    /// A table of two columns.
    pub fn print_table(&self) {
        let row = |name: &str, value: String| println!("  {name:<28} {value:>14}");
        println!("{}", self.label);
        row("spans acknowledged", thousands(self.spans() as f64));
        row("spans / s", thousands(self.spans() as f64 / self.wall.as_secs_f64()));
        row("bytes a span", format!("{}", self.request_bytes / SPANS_PER_REQUEST));
        for (name, share) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)] {
            row(&format!("ack {name}"), format!("{:.1} ms", self.percentile(share)));
        }
        row("refused, sent again", thousands(self.outcome.refusals as f64));
        row("spans rejected", thousands(self.outcome.rejected_spans as f64));
        row("requests failed", thousands(self.outcome.failed as f64));
        row("sender CPU", format!("{:.2} s", self.sender_cpu));
        if let Some(((before, acknowledged), settled)) = self.server {
            let cpu = settled.cpu_seconds - before.cpu_seconds;
            row(
                "server CPU until last ack",
                format!("{:.2} s", acknowledged.cpu_seconds - before.cpu_seconds),
            );
            row(&format!("server CPU, {} s later", self.settle), format!("{cpu:.2} s"));
            row("spans / CPU second", thousands(self.spans() as f64 / cpu.max(0.01)));
            row("server peak memory", format!("{:.0} MiB", settled.peak_bytes as f64 / MIB));
            row("server memory at the end", format!("{:.0} MiB", settled.resident_bytes as f64 / MIB));
        }
        row("traces", thousands(self.sent.traces as f64));
        row(
            "  errors / slow / login",
            format!("{} / {} / {}", self.sent.errors, self.sent.slow, self.sent.login),
        );
        row("  any of these", thousands(self.sent.special as f64));
    }
}

/// 1234567.8 → "1 234 568".
fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}
