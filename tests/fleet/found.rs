//! What gateways have in the end, from their files: every span in the log, every verdict, every row of the table. And what is
//! wrong with it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use futures::TryStreamExt;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use tracewell::log::{Log, LogConfig, Opened, Record, RecordKind};
use tracewell::runtime::{RealDisk, SystemClock, Tenant};
use tracewell::sample::records::{decode_rescue, decode_verdicts};
use tracewell::store::{Location, Projection, Reader, ReaderConfig, ScanRequest};

use crate::support::traffic::{Span, hex};

type Id = Vec<u8>;

/// What should become of a trace.
pub struct Fate {
    pub spans: BTreeSet<Id>,
    pub is_kept: bool,
}

/// Trace → what should become of it.
pub type Sent = HashMap<Id, Fate>;

/// The ids of spans.
pub fn ids(spans: &[Span]) -> BTreeSet<Id> {
    spans.iter().map(|span| span.span_id.clone()).collect()
}

/// What one gateway has.
#[derive(Default, Clone)]
pub struct Found {
    name: String,
    /// Trace → its spans in the log, and how often each is there: what was not acknowledged in time comes again.
    logged: HashMap<Id, BTreeMap<Id, u64>>,
    /// Trace → what was decided in the end.
    verdicts: HashMap<Id, bool>,
    /// Trace → its spans in the table, and how many rows they have.
    rows: HashMap<Id, BTreeMap<Id, u64>>,
    /// What its loss ledger says.
    losses: serde_json::Value,
}

impl Found {
    /// Reads the files of a gateway that has ended.
    pub async fn read(port: u16, data: &Path, losses: serde_json::Value) -> Self {
        let mut found = Self { name: port.to_string(), losses, ..Self::default() };
        let clock = Arc::new(SystemClock::new());
        let opened = Log::open::<()>(Arc::new(RealDisk), clock.clone(), LogConfig::new(data));
        let Opened { replay, .. } = opened.unwrap();
        let outcome = replay.outcome();
        replay.for_each(|record| found.record(&record));
        outcome.check().unwrap();
        let location = Location::configured(None, data).unwrap();
        found.table(&Reader::new(location, clock, ReaderConfig::default())).await;
        found
    }

    fn record(&mut self, record: &Record) {
        match record.kind {
            RecordKind::Spans => {
                let request = ExportTraceServiceRequest::decode(record.spans().unwrap().body).unwrap();
                let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
                for span in scopes.flat_map(|scope| scope.spans) {
                    *self.logged.entry(span.trace_id).or_default().entry(span.span_id).or_default() += 1;
                }
            }
            RecordKind::Verdicts => {
                for decided in decode_verdicts(&record.payload).unwrap() {
                    self.verdicts.insert(decided.trace_id.0.to_vec(), decided.verdict.keep);
                }
            }
            RecordKind::Rescue => {
                for rescued in decode_rescue(&record.payload).unwrap() {
                    self.verdicts.insert(rescued.trace_id.0.to_vec(), rescued.verdict.keep);
                }
            }
            _ => {}
        }
    }

    async fn table(&mut self, reader: &Reader) {
        let request = ScanRequest {
            start_unix_nano: 0..u64::MAX,
            projection: Projection::Columns(Vec::new()),
            hints: Vec::new(),
        };
        let mut batches = reader.scan(&Tenant::default(), request).await.unwrap();
        while let Some(batch) = batches.try_next().await.unwrap() {
            for row in 0..batch.len() {
                let trace = self.rows.entry(batch.trace_id(row).0.to_vec()).or_default();
                *trace.entry(batch.span_id(row).0.to_vec()).or_default() += 1;
            }
        }
    }

    /// How many traces came here.
    pub fn traces(&self) -> usize {
        self.logged.len()
    }

    fn spans_logged(&self, of: impl Fn(&Id) -> bool) -> u64 {
        self.logged.iter().filter(|(trace, _)| of(trace)).flat_map(|(_, spans)| spans.values()).sum()
    }

    fn rows(&self) -> u64 {
        self.rows.values().flat_map(BTreeMap::values).sum()
    }

    fn loss(&self, column: &str) -> u64 {
        self.losses[column].as_u64().unwrap_or_default()
    }

    /// Its loss ledger against its files: exact, or something was lost without being counted.
    fn balance(&self) -> Vec<String> {
        let dropped = self.spans_logged(|trace| self.verdicts.get(trace) == Some(&false));
        let columns = [
            ("received", self.loss("received"), self.spans_logged(|_| true)),
            ("stored", self.loss("stored"), self.rows()),
            ("dropped and not rescued", self.loss("dropped") - self.loss("rescued"), dropped),
            ("damaged", self.loss("damaged"), 0),
            ("outstanding", self.loss("outstanding"), 0),
        ];
        let wrong = columns.iter().filter(|(_, says, has)| says != has);
        wrong
            .map(|(column, says, has)| format!("{} says {says} {column}, and has {has}", self.name))
            .collect()
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = self.verdicts.values().filter(|is_kept| **is_kept).count();
        let again = |spans: &BTreeMap<Id, u64>| spans.values().any(|times| *times > 1);
        write!(
            f,
            "{}: {} traces, {} spans ({} traces with spans that came again), {kept} traces kept, {} rows, {} spans rescued",
            self.name,
            self.traces(),
            self.spans_logged(|_| true),
            self.logged.values().filter(|spans| again(spans)).count(),
            self.rows(),
            self.loss("rescued"),
        )
    }
}

/// What is wrong: a line for each trace and gateway.
pub fn breaches(sent: &Sent, found: &[Found]) -> Vec<String> {
    let mut wrong: Vec<_> = sent.iter().flat_map(|(trace, fate)| of_trace(trace, fate, found)).collect();
    for gateway in found {
        wrong.extend(gateway.balance());
        let everything = gateway.logged.keys().chain(gateway.verdicts.keys()).chain(gateway.rows.keys());
        let unknown: BTreeSet<_> = everything.filter(|trace| !sent.contains_key(*trace)).collect();
        wrong.extend(
            unknown.iter().map(|trace| format!("{} has {}, which nobody sent", gateway.name, hex(trace))),
        );
    }
    wrong
}

fn of_trace(trace: &Id, fate: &Fate, found: &[Found]) -> Vec<String> {
    let id = hex(trace);
    let with = |has: fn(&Found, &Id) -> bool| -> Vec<&Found> {
        found.iter().filter(|gateway| has(gateway, trace)).collect()
    };
    let names =
        |gateways: &[&Found]| gateways.iter().map(|one| one.name.clone()).collect::<Vec<_>>().join(", ");
    let taken = with(|gateway, trace| gateway.logged.contains_key(trace));
    let decided = with(|gateway, trace| gateway.verdicts.contains_key(trace));
    let stored = with(|gateway, trace| gateway.rows.contains_key(trace));
    let [gateway] = taken[..] else {
        return match taken.len() {
            0 => vec![format!("{id} is lost: no gateway has it")],
            _ => vec![format!(
                "{id} is split: {} have spans of it, {} decided",
                names(&taken),
                names(&decided)
            )],
        };
    };
    let mut wrong = Vec::new();
    if !gateway.logged[trace].keys().eq(&fate.spans) {
        wrong.push(format!("{id}: {} has {} of its spans", gateway.name, gateway.logged[trace].len()));
    }
    if decided.len() != 1 || gateway.verdicts.get(trace) != Some(&fate.is_kept) {
        let verdict = gateway.verdicts.get(trace);
        wrong.push(format!("{id}: decided by {:?}, {verdict:?}, not {}", names(&decided), fate.is_kept));
    }
    match (fate.is_kept, &stored[..]) {
        (false, []) => {}
        (true, [only]) if only.rows[trace].keys().eq(&fate.spans) => {}
        (is_kept, stored) => {
            let rows: Vec<_> = stored.iter().map(|gateway| gateway.rows[trace].len()).collect();
            wrong.push(format!("{id}, kept: {is_kept}: rows {rows:?} at {:?}", names(stored)));
        }
    }
    wrong
}

/// A trace of two spans at the first of two gateways, and one that it dropped.
fn right() -> (Sent, [Found; 2]) {
    let spans = |first: u8| -> BTreeSet<Id> { [vec![first], vec![first + 1]].into() };
    let once = |first: u8| -> BTreeMap<Id, u64> { spans(first).into_iter().map(|id| (id, 1)).collect() };
    let fate = |first: u8, is_kept| Fate { spans: spans(first), is_kept };
    let sent = [(vec![1], fate(10, true)), (vec![2], fate(20, false))].into();
    let one = Found {
        name: "one".into(),
        logged: [(vec![1], once(10)), (vec![2], once(20))].into(),
        verdicts: [(vec![1], true), (vec![2], false)].into(),
        rows: [(vec![1], once(10))].into(),
        losses: serde_json::json!({ "received": 4, "stored": 2, "dropped": 2 }),
    };
    (sent, [one, Found { name: "two".into(), ..Found::default() }])
}

/// What the change does to what is right.
fn told(change: impl FnOnce(&mut [Found; 2])) -> String {
    let (sent, mut found) = right();
    change(&mut found);
    breaches(&sent, &found).join("\n")
}

#[test]
fn what_is_wrong_is_seen() {
    assert_eq!(told(|_| {}), "");
    let lost = |found: &mut [Found; 2]| drop(found[0].logged.remove(&vec![2]));
    assert!(told(lost).contains("02 is lost"));
    let one_span = |found: &mut [Found; 2]| drop(found[0].logged.get_mut(&vec![1]).unwrap().pop_first());
    assert!(told(one_span).contains("01: one has 1 of its spans"));
    let split = |found: &mut [Found; 2]| {
        let span = found[0].logged.get_mut(&vec![2]).unwrap().pop_first().unwrap();
        found[1].logged.insert(vec![2], [span].into());
    };
    assert!(told(split).contains("02 is split: one, two have spans"));
    let twice = |found: &mut [Found; 2]| {
        found[1].verdicts.insert(vec![2], false);
    };
    assert!(told(twice).contains("02: decided by \"one, two\""));
    let other = |found: &mut [Found; 2]| {
        found[0].verdicts.insert(vec![1], false);
    };
    assert!(told(other).contains("01: decided by \"one\", Some(false), not true"));
    let row = |found: &mut [Found; 2]| drop(found[0].rows.get_mut(&vec![1]).unwrap().pop_first());
    assert!(told(row).contains("01, kept: true: rows [1]"));
    let kept = |found: &mut [Found; 2]| drop(found[1].rows.insert(vec![2], [(vec![20], 1)].into()));
    assert!(told(kept).contains("02, kept: false: rows [1] at \"two\""));
    let uncounted = |found: &mut [Found; 2]| found[0].losses["dropped"] = 1.into();
    assert!(told(uncounted).contains("one says 1 dropped and not rescued, and has 2"));
    let invented = |found: &mut [Found; 2]| {
        found[1].verdicts.insert(vec![9], false);
    };
    assert!(told(invented).contains("two has 09, which nobody sent"));
}
