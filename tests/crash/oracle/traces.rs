//! The table `traces` against the rows of `spans`: what a trace's row says is true of its spans.

use std::collections::{BTreeSet, HashMap};

use opentelemetry_proto::tonic::trace::v1::Span;
use tracewell::store::TraceRow;
use tracewell::wire::SpanId;

use super::rows::{SpanKey, Tables};
use super::{Breach, Oracle};
use crate::load::{ERROR, Load, TraceNumber};

const NANOS_PER_DAY: u64 = 86_400_000_000_000;

/// The spans of one trace that have rows, or had.
#[derive(Default)]
struct Stored<'a> {
    spans: Vec<&'a Span>,
    /// Rows that were ever written of them, and of those with an error.
    rows: u64,
    errors: u64,
}

impl Oracle {
    /// Every span that was ever sent.
    pub(super) fn spans(&self) -> HashMap<SpanKey, &Span> {
        let parts = self.sent.iter().flat_map(|sent| &sent.request.parts);
        let keyed = |trace: TraceNumber, span| (key_of(trace, span), span);
        parts.flat_map(|part| part.spans.iter().map(move |span| keyed(part.trace, span))).collect()
    }

    /// The rows that were ever written of a span: those that are there, that compaction made one with another, that expired.
    pub(super) fn ever_written(&self, tables: &Tables, key: &SpanKey) -> u64 {
        let gone = |map: &HashMap<SpanKey, u64>| map.get(key).copied().unwrap_or(0);
        tables.count(key) + gone(&self.joined) + gone(&self.expired)
    }

    /// Each trace that has spans has rows that are right for them; while a batch may be half-way in the tables (`is_quiet`
    /// is false) they may lack what that adds.
    pub fn checks_trace_rows(&self, load: &Load, tables: &Tables, is_quiet: bool) -> Result<(), Breach> {
        let sent = self.spans();
        let mut traces: HashMap<TraceNumber, Stored<'_>> = HashMap::new();
        for key in tables.spans.keys() {
            let span = sent.get(key).ok_or_else(|| format!("the table has {key:?}, which nobody sent"))?;
            let stored = traces.entry(key.0).or_default();
            let rows = self.ever_written(tables, key);
            stored.spans.push(span);
            stored.rows += rows;
            stored.errors += if is_error(span) { rows } else { 0 };
        }
        if let Some(trace) = tables.traces.keys().find(|trace| {
            !traces.contains_key(trace) && !self.expired_traces.contains(trace) && !self.is_hurt()
        }) {
            return Err(format!("`traces` has a row of trace {trace}, and `spans` has none of it"));
        }
        for (trace, stored) in &traces {
            let none = Vec::new();
            let rows = tables.traces.get(trace).unwrap_or(&none);
            let wrong = |what: String| Err(format!("the rows of trace {trace} {what}: {rows:?}"));
            if let Some(what) = rows.iter().find_map(|row| says_wrong(row, load, *trace)) {
                return wrong(what);
            }
            if self.expired_traces.contains(trace) {
                continue;
            }
            let (_, spans, errors) = tables.counted(*trace);
            let is_exact = is_quiet && !self.is_hurt();
            if spans > stored.rows || errors > stored.errors || (is_exact && spans != stored.rows) {
                return wrong(format!("count {spans} spans of {} that were stored", stored.rows));
            }
            if is_exact && errors != stored.errors {
                return wrong(format!("count {errors} errors of {}", stored.errors));
            }
            if is_exact && let Some(what) = differ(rows, &stored.spans) {
                return wrong(what);
            }
        }
        Ok(())
    }

    /// After compaction has come to its end: one row a span, and one a trace, in each partition.
    pub fn checks_compacted(&self, load: &Load, tables: &Tables) -> Result<(), Breach> {
        let mut days: HashMap<TraceNumber, BTreeSet<u64>> = HashMap::new();
        for sent in &self.sent {
            for part in &sent.request.parts {
                let starts = part.spans.iter().map(|span| span.start_time_unix_nano);
                let received = sent.received_unix_nano.iter().copied();
                days.entry(part.trace).or_default().extend(starts.chain(received).map(|t| t / NANOS_PER_DAY));
            }
        }
        for (key, rows) in &tables.spans {
            let partitions = days[&key.0].len() as u64;
            if super::rows::by_class(rows.iter()).values().any(|rows| *rows > partitions) {
                return Err(format!("{key:?} has rows {rows:?} after compaction"));
            }
        }
        for (trace, rows) in &tables.traces {
            let classes = super::rows::by_class(rows.iter().map(|row| &row.kept.retention));
            if classes.values().any(|rows| *rows > days[trace].len() as u64) {
                let id = load.traces[*trace].id;
                return Err(format!("trace {trace} ({id}) has rows after compaction: {rows:?}"));
            }
        }
        Ok(())
    }

    /// Tables before and after a compaction, whatever came of it: no span and no trace comes or goes, spans have no more
    /// rows than before, and traces' rows count what they counted.
    pub fn compacts(&mut self, before: &Tables, after: &Tables) -> Result<(), Breach> {
        for (key, rows) in &before.spans {
            let (rows, left) = (rows.len() as u64, after.count(key));
            if left == 0 || left > rows {
                return Err(format!("compaction leaves {left} of {rows} rows of {key:?}"));
            }
            if left < rows {
                *self.joined.entry(*key).or_default() += rows - left;
            }
        }
        for (trace, rows) in &before.traces {
            let (was, is) = (before.counted(*trace), after.counted(*trace));
            if (was.1, was.2) != (is.1, is.2) || is.0 > was.0 {
                return Err(format!("compaction turns {rows:?} into {:?}", after.traces.get(trace)));
            }
        }
        let comes = after.spans.keys().find(|key| !before.spans.contains_key(key));
        match comes.map(|key| key.0).or(after.traces.keys().find(|t| !before.traces.contains_key(t)).copied())
        {
            Some(trace) => Err(format!("compaction brings trace {trace}")),
            None => Ok(()),
        }
    }

    /// Bytes that the daemon relies on were changed by the disk: counts may lack what they held.
    pub(super) fn is_hurt(&self) -> bool {
        self.forgetful || !self.damaged.is_empty()
    }
}

pub(super) fn key_of(trace: TraceNumber, span: &Span) -> SpanKey {
    (trace, SpanId::from_slice(&span.span_id).unwrap(), span.kind)
}

fn is_error(span: &Span) -> bool {
    span.status.as_ref().is_some_and(|status| status.code == ERROR)
}

/// What a single row says that cannot be.
fn says_wrong(row: &TraceRow, load: &Load, trace: TraceNumber) -> Option<String> {
    let service = load.traces[trace].service;
    let class = match &*row.kept.rule {
        "errors" => "errors",
        "slow" => "slow",
        "pinned-routes" | "chatty" | "baseline" => "default",
        other => return Some(format!("are kept by {other}")),
    };
    if *row.kept.retention != *class {
        return Some(format!("are of the class {}, by {}", row.kept.retention, row.kept.rule));
    }
    if row.services != [service] {
        return Some(format!("name other services than {service}"));
    }
    let root = row.complete.then_some((service, "step 0"));
    if root != row.root_service_name.as_deref().zip(row.root_name.as_deref()) {
        return Some("name another root".into());
    }
    (row.span_count == 0).then(|| "count no spans".into())
}

/// How rows differ from all the spans of their trace that are stored.
fn differ(rows: &[TraceRow], spans: &[&Span]) -> Option<String> {
    let start = spans.iter().map(|span| span.start_time_unix_nano).min();
    let end = spans.iter().map(|span| span.end_time_unix_nano).max();
    if rows.iter().map(|row| row.start_unix_nano).min() != start {
        return Some(format!("do not start at {start:?}"));
    }
    if rows.iter().map(|row| row.start_unix_nano + row.duration_nano).max() != end {
        return Some(format!("do not end at {end:?}"));
    }
    let has_root = spans.iter().any(|span| span.parent_span_id.is_empty());
    (rows.iter().any(|row| row.complete) != has_root).then(|| format!("and the root, {has_root}"))
}
