//! What must hold, whatever fails. The oracle sees what was sent, what was acknowledged, what the log handed on as durable
//! and what each life reads in it; it is not asked by the code, and knows nothing of how that works.

mod expiry;
mod losses;
mod rows;
mod table;
mod traces;
mod verdicts;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::path::PathBuf;

use tracewell::app::events::Attachment;
use tracewell::log::{Committed, LogReader, Position, Record, RecordKind};
use tracewell::runtime::RequestId;
use tracewell::sample::records::{decode_done, decode_flush, decode_rescue, decode_verdicts};

use crate::disk::base_of;
use crate::load::{Facts, Load, Request, TraceNumber};
pub use expiry::{ClassBytes, Expiry};
use rows::SpanKey;
pub use rows::{Tables, span_ids};
pub use verdicts::Mark;
use verdicts::{Given, Observed};

/// What an invariant's breach is told as.
pub type Breach = String;

/// A request, however often it was sent.
pub struct Sent {
    pub request: Request,
    /// Where its copies are, or were, in the log.
    pub places: Vec<Position>,
    /// Some copy of it was acknowledged.
    pub acknowledged: bool,
    /// When it was sent, each time.
    pub received_unix_nano: Vec<u64>,
}

/// What a durable record holds.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Content {
    Spans(usize),
    Verdicts(Vec<(TraceNumber, Given)>),
    Flush(Vec<TraceNumber>),
    Other,
}

/// The oracle.
#[derive(Default)]
pub struct Oracle {
    pub sent: Vec<Sent>,
    /// Attempts by their request id.
    attempts: HashMap<u64, usize>,
    /// Records known to be durable and not known to be released.
    durable: BTreeMap<Position, Content>,
    /// Records whose bytes a fault of the disk has changed.
    damaged: HashSet<Position>,
    /// A record of the daemon's own was among them.
    pub forgetful: bool,
    observed: HashMap<TraceNumber, Vec<Observed>>,
    /// Verdicts that this life knows.
    known: HashMap<TraceNumber, Given>,
    /// Every verdict ever given to a trace, one for each time that it changed.
    verdicts: HashMap<TraceNumber, Vec<Given>>,
    /// Traces that were decided more than once without a change of mind.
    redecided: HashSet<TraceNumber>,
    observations: u64,
    /// Rows of `spans` that compaction made one with others of the same span.
    joined: HashMap<SpanKey, u64>,
    /// Rows of `spans` that expired.
    expired: HashMap<SpanKey, u64>,
    /// Traces some rows of which expired, in either table.
    expired_traces: HashSet<TraceNumber>,
    pub totals: Totals,
}

/// For the report.
#[derive(Clone, Copy, Default, Debug)]
pub struct Totals {
    pub acknowledged: u64,
    pub kept: u64,
    pub dropped: u64,
    pub decided_anew: u64,
    pub rescued: u64,
    pub damaged_records: u64,
    pub rows: u64,
}

impl Oracle {
    /// A request is new.
    pub fn sends(&mut self, request: Request) -> usize {
        self.sent.push(Sent {
            request,
            places: Vec::new(),
            acknowledged: false,
            received_unix_nano: Vec::new(),
        });
        self.sent.len() - 1
    }

    /// A copy of a request is about to be sent.
    pub fn tries(&mut self, sent: usize, now_unix_nano: u64) -> RequestId {
        let id = self.attempts.len() as u64 + 1;
        self.sent[sent].received_unix_nano.push(now_unix_nano);
        self.attempts.insert(id, sent);
        RequestId(id)
    }

    /// A sender was told that a copy is durable.
    pub fn acknowledges(&mut self, sent: usize) -> Result<(), Breach> {
        let sent = &mut self.sent[sent];
        self.totals.acknowledged += u64::from(!sent.acknowledged);
        sent.acknowledged = true;
        if sent.places.is_empty() {
            return Err("a request was acknowledged that the log never handed on".into());
        }
        Ok(())
    }

    /// The log hands records on as durable.
    pub fn commits(
        &mut self,
        load: &Load,
        records: &[Committed<Attachment>],
        mark: impl Fn(&Attachment) -> Mark,
    ) -> Result<(), Breach> {
        for record in records {
            let content = match &record.attachment {
                Attachment::Spans { request_id, .. } => {
                    Content::Spans(self.place(*request_id, record.position)?)
                }
                Attachment::Verdicts(decided) => {
                    let given = self.given(load, decided)?;
                    let mark = mark(&record.attachment);
                    for (trace, given) in &given {
                        self.decides(load, *trace, given, mark)?;
                    }
                    Content::Verdicts(given)
                }
                Attachment::Rescue(rescued) => {
                    self.rescues(load, rescued)?;
                    Content::Other
                }
                Attachment::Flush(flush) => Content::Flush(flushed(load, &flush.traces)?),
                _ => Content::Other,
            };
            if self.durable.insert(record.position, content).is_some() {
                return Err(format!("position {} was given twice", record.position));
            }
        }
        Ok(())
    }

    fn place(&mut self, id: RequestId, position: Position) -> Result<usize, Breach> {
        let sent = *self.attempts.get(&id.0).ok_or("the log holds a request that nobody sent")?;
        let places = &mut self.sent[sent].places;
        if !places.contains(&position) {
            places.push(position);
        }
        Ok(sent)
    }

    /// A new life begins: what was known in memory is gone.
    pub fn forgets(&mut self) {
        self.observed.clear();
        self.known.clear();
    }

    fn read(&mut self, load: &Load, record: &Record) -> Result<Content, Breach> {
        let malformed =
            |_| format!("the record at {} has a good checksum and no good content", record.position);
        Ok(match record.kind {
            RecordKind::Spans => {
                let meta = record.spans_meta().map_err(|e| e.to_string())?;
                let sent = self.place(meta.request_id, record.position)?;
                self.observes(sent);
                Content::Spans(sent)
            }
            RecordKind::Verdicts => {
                let given = self.given(load, &decode_verdicts(&record.payload).map_err(malformed)?)?;
                for (trace, given) in &given {
                    self.reads_verdict(load, *trace, given)?;
                }
                Content::Verdicts(given)
            }
            RecordKind::Flush => {
                let flush = decode_flush(&record.payload).map_err(malformed)?;
                for flushed in &flush.traces {
                    let trace = load.find(&flushed.tenant, flushed.trace_id).ok_or("a flush of no trace")?;
                    self.reads_verdict(load, trace, &Given::of(flushed))?;
                }
                Content::Flush(flushed(load, &flush.traces)?)
            }
            RecordKind::Rescue => {
                self.rescues(load, &decode_rescue(&record.payload).map_err(malformed)?)?;
                Content::Other
            }
            RecordKind::Done => decode_done(&record.payload).map(|_| Content::Other).map_err(malformed)?,
            _ => Content::Other,
        })
    }

    /// A life has read these records in its log, from its checkpoint on. Everything that was durable is among them, or can
    /// be read, or was released (its file was removed), or was damaged by the disk itself.
    pub fn restarts(
        &mut self,
        load: &Load,
        records: &[Record],
        reader: &LogReader,
        released: impl Fn(Position) -> bool,
        damage: &[(PathBuf, Range<u64>)],
    ) -> Result<(), Breach> {
        self.forgets();
        let mut here = BTreeMap::new();
        for record in records {
            let content = self.read(load, record)?;
            here.insert(record.position, content);
        }
        let hurt = self.hurt(&here, damage);
        let first = here.keys().next().copied();
        let mut before = BTreeMap::new();
        let durable = std::mem::take(&mut self.durable);
        for (position, content) in &durable {
            match here.get(position) {
                Some(read) if read == content => {}
                Some(read) => return Err(format!("at {position} was {content:?}, now {read:?}")),
                None if first.is_none_or(|first| *position < first) && reader.read(*position).is_ok() => {
                    before.insert(*position, content.clone());
                }
                None if released(*position) => {}
                None if hurt.contains(position) => self.damages(*position, content),
                None => return Err(format!("the durable record at {position} is gone: {content:?}")),
            }
        }
        self.durable = here;
        self.durable.append(&mut before);
        Ok(())
    }

    fn damages(&mut self, position: Position, content: &Content) {
        self.totals.damaged_records += u64::from(self.damaged.insert(position));
        self.forgetful |= !matches!(content, Content::Spans(_));
    }

    /// The records that damage touches.
    fn hurt(
        &self,
        here: &BTreeMap<Position, Content>,
        damage: &[(PathBuf, Range<u64>)],
    ) -> HashSet<Position> {
        let mut positions: Vec<Position> = self.durable.keys().chain(here.keys()).copied().collect();
        positions.sort_unstable();
        positions.dedup();
        let mut hurt = HashSet::new();
        for (path, range) in damage {
            let Some(base) = base_of(path) else { continue };
            let (from, to) = (Position(base + range.start), Position(base + range.end));
            let first = positions.partition_point(|p| *p <= from).saturating_sub(1);
            hurt.extend(positions[first..].iter().take_while(|p| **p < to));
        }
        hurt
    }

    /// The disk has changed bytes while a life goes on.
    pub fn suffers(&mut self, damage: &[(PathBuf, Range<u64>)]) {
        let hurt = self.hurt(&BTreeMap::new(), damage);
        for position in hurt {
            if let Some(content) = self.durable.get(&position).cloned() {
                self.damages(position, &content);
            }
        }
    }

    fn observes(&mut self, sent: usize) {
        self.observations += 1;
        for part in &self.sent[sent].request.parts {
            let observed = Observed { number: self.observations, facts: part.facts };
            self.observed.entry(part.trace).or_default().push(observed);
        }
    }

    /// The sampler is about to take in what the log handed on.
    pub fn hands_on(&mut self, records: &[Committed<Attachment>]) {
        for record in records {
            if let Attachment::Spans { request_id, .. } = &record.attachment {
                self.observes(self.attempts[&request_id.0]);
            }
        }
    }

    /// What was observed until now.
    pub fn mark(&self) -> Mark {
        Mark(self.observations)
    }

    /// The facts of a trace that this life had observed by `mark`.
    fn facts(&self, trace: TraceNumber, mark: Mark) -> Facts {
        let observed = self.observed.get(&trace).into_iter().flatten();
        observed.filter(|o| o.number <= mark.0).fold(Facts::NONE, |facts, o| facts.and(o.facts))
    }
}

fn flushed(load: &Load, traces: &[tracewell::sample::records::Decided]) -> Result<Vec<TraceNumber>, Breach> {
    let find = |t: &tracewell::sample::records::Decided| load.find(&t.tenant, t.trace_id);
    traces.iter().map(|t| find(t).ok_or_else(|| "a flush of a trace that nobody sent".to_owned())).collect()
}
