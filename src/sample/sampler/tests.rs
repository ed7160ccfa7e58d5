#![allow(clippy::unwrap_used)]

//! The sampler against a model: records are a list, a crash is a new sampler fed with a prefix of that list, the table is
//! a map by batch id.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;

use super::*;
use crate::sample::StoredSpans;
use crate::sample::records::{
    Done, Flush, decode_done, decode_flush, decode_rescue, decode_verdicts, encode_done, encode_flush,
    encode_verdicts,
};
use crate::sample::services::UNKNOWN_SERVICE;
use crate::sample::{LiveFilter, LiveState, parse_rules};
use crate::wire::TraceId;

mod ledger;

const RULES: &str = "
version: 1
decision: { wait: 10s, after_root: 2s }
rules:
  - { name: errors, when: '{ status = error }', keep: 100%, retention: errors }
  - { name: rest, drop: true }
retention: { default: 3d, errors: 30d }
";

fn rulebook() -> Arc<Rulebook> {
    Arc::new(Rulebook::new(parse_rules(RULES).unwrap(), false))
}

fn config() -> SamplerConfig {
    SamplerConfig::default()
}

fn id(number: u8) -> TraceId {
    TraceId([number; 16])
}

fn second(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn body(trace: u8, error: bool, root: bool) -> Vec<u8> {
    let span = Span {
        trace_id: vec![trace; 16],
        span_id: vec![1; 8],
        parent_span_id: if root { vec![] } else { vec![2; 8] },
        start_time_unix_nano: 1_000,
        end_time_unix_nano: 2_000,
        status: error.then(|| Status { code: 2, ..Default::default() }),
        ..Default::default()
    };
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..Default::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..Default::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

const AT_ONCE: BatchPolicy = BatchPolicy { bytes: u64::MAX, age: Duration::ZERO };

#[derive(Clone)]
enum Rec {
    Spans(Vec<u8>),
    Verdicts(Vec<u8>),
    Flush(Vec<u8>),
    Done(Vec<u8>),
    Rescue(Vec<u8>),
}

type Written = Vec<(TraceId, Vec<Position>)>;

fn flush_record(flush: &Flush) -> Rec {
    Rec::Flush(encode_flush(flush.batch, &flush.traces))
}

/// The daemon around the sampler, in miniature.
struct World {
    rulebook: Arc<Rulebook>,
    log: Vec<Rec>,
    sampler: Sampler,
    table: BTreeMap<u64, Written>,
    to_write: Vec<Arc<Batch>>,
    now: Duration,
}

impl World {
    fn new() -> Self {
        let rulebook = rulebook();
        let mut sampler = Sampler::new(config(), rulebook.clone());
        sampler.go_live();
        let now = second(1000);
        Self { rulebook, log: Vec::new(), sampler, table: BTreeMap::new(), to_write: Vec::new(), now }
    }

    /// Commits a record and applies it, as the daemon does.
    fn commit(&mut self, rec: Rec) {
        self.log.push(rec);
        let position = Position(self.log.len() as u64);
        let rec = self.log.last().unwrap().clone();
        self.apply(position, &rec);
    }

    fn apply(&mut self, position: Position, rec: &Rec) {
        match rec {
            Rec::Spans(body) => {
                let notes = self.rulebook.scan(body).unwrap();
                self.sampler.observe(position, &Tenant::default(), &notes, self.now, Duration::ZERO);
            }
            Rec::Verdicts(payload) => {
                self.sampler.apply_verdicts(position, &decode_verdicts(payload).unwrap(), self.now);
            }
            Rec::Flush(payload) => {
                let batch = self.sampler.apply_flush(position, &decode_flush(payload).unwrap());
                self.to_write.push(batch);
            }
            Rec::Rescue(payload) => {
                self.sampler.apply_rescue(position, &decode_rescue(payload).unwrap(), self.now);
            }
            Rec::Done(payload) => self.sampler.apply_done(position, &decode_done(payload).unwrap()),
        }
    }

    fn spans(&mut self, trace: u8, error: bool, root: bool) {
        self.commit(Rec::Spans(body(trace, error, root)));
    }

    fn decide(&mut self) {
        while let Some(decided) = self.sampler.tick(self.now) {
            self.commit(Rec::Verdicts(encode_verdicts(&decided)));
        }
    }

    fn plan(&mut self) -> bool {
        let planned = self.sampler.next_batch(self.now, AT_ONCE);
        planned.map(|flush| self.commit(flush_record(&flush))).is_some()
    }

    /// Writes one batch to the table: nothing happens if it is there already, but it must be the same.
    fn write(&mut self) -> Option<Vec<u8>> {
        let batch = self.to_write.pop()?;
        let rows: Written = batch.traces.iter().map(|t| (t.trace_id, t.places.to_vec())).collect();
        let there = self.table.entry(batch.id).or_insert_with(|| rows.clone());
        assert_eq!(*there, rows, "batch {} came again with other places", batch.id);
        let stored = batch.traces.iter().map(|trace| StoredSpans {
            tenant: trace.tenant.clone(),
            service: UNKNOWN_SERVICE.into(),
            stored: trace.places.len() as u64,
            duplicates: 0,
        });
        Some(encode_done(&Done { batch: batch.id, stored: stored.collect() }))
    }

    fn store(&mut self) {
        if let Some(done) = self.write() {
            self.commit(Rec::Done(done));
        }
    }

    /// Dies, loses what was not committed (here: nothing on its way), and reads the log from `from` on.
    fn crash(&mut self, from: usize) {
        self.sampler = Sampler::new(config(), self.rulebook.clone());
        self.to_write.clear();
        for (index, rec) in self.log.clone().iter().enumerate().skip(from) {
            self.apply(Position(index as u64 + 1), rec);
        }
        self.to_write = self.sampler.go_live();
    }

    fn settle(&mut self) {
        for _ in 0..20 {
            self.now += second(11);
            self.decide();
            self.plan();
            self.store();
        }
        let stats = self.sampler.stats();
        assert_eq!((stats.pending_traces, stats.kept_traces_not_stored), (0, 0));
        for one in self.sampler.accounts() {
            assert_eq!(one.account.outstanding(), 0, "{one:?}");
            assert_eq!(one.account.damaged, 0, "{one:?}");
        }
    }

    /// All places in the table by trace; each place once.
    fn stored(&self) -> BTreeMap<TraceId, Vec<Position>> {
        let mut stored: BTreeMap<TraceId, Vec<Position>> = BTreeMap::new();
        for (trace, places) in self.table.values().flatten() {
            stored.entry(*trace).or_default().extend(places);
        }
        for (trace, places) in &mut stored {
            places.sort();
            let count = places.len();
            places.dedup();
            assert_eq!(places.len(), count, "{trace} is stored twice");
        }
        stored
    }

    fn live(&self, trace: u8) -> Vec<LiveState> {
        let filter = LiveFilter::trace(Tenant::default(), id(trace));
        self.sampler.live(&filter).into_iter().map(|t| t.state).collect()
    }
}

#[test]
fn a_trace_is_decided_when_it_is_due_and_sooner_after_its_root() {
    let mut world = World::new();
    world.spans(1, true, false);
    world.spans(2, true, true);
    world.now += second(1);
    assert_eq!(world.sampler.tick(world.now), None);
    world.now += second(1);
    let decided = world.sampler.tick(world.now).unwrap();
    assert_eq!(decided.iter().map(|d| d.trace_id).collect::<Vec<_>>(), [id(2)]);
    world.now += second(8);
    let decided = world.sampler.tick(world.now).unwrap();
    assert_eq!(
        decided.iter().map(|d| (d.trace_id, &*d.verdict.rule)).collect::<Vec<_>>(),
        [(id(1), "errors")]
    );
}

#[test]
fn a_verdict_acts_when_it_is_committed_and_spans_in_between_belong_to_the_trace() {
    let mut world = World::new();
    world.spans(1, true, true);
    world.now += second(3);
    let decided = world.sampler.tick(world.now).unwrap();
    assert_eq!(world.live(1), [LiveState::Pending]);
    world.spans(1, false, false);
    world.commit(Rec::Verdicts(encode_verdicts(&decided)));
    assert!(matches!(world.live(1)[..], [LiveState::Kept(_)]));
    world.settle();
    assert_eq!(world.stored()[&id(1)], [Position(1), Position(2)]);
}

#[test]
fn late_spans_inherit_the_verdict_live_and_after_a_restart() {
    let mut world = World::new();
    world.spans(1, true, true);
    world.spans(2, false, true);
    world.now += second(3);
    world.decide();
    world.plan();
    world.spans(1, false, false);
    world.store();
    world.crash(0);
    world.spans(1, false, false);
    world.spans(2, true, false);
    world.settle();
    assert_eq!(world.stored().keys().collect::<Vec<_>>(), [&id(1)]);
    assert_eq!(world.stored()[&id(1)].len(), 3);
    assert_eq!(world.sampler.stats().late_spans_dropped, 1);
}

#[test]
fn a_verdict_is_recorded_again_behind_late_spans_so_that_it_outlives_the_first_records_segment() {
    let mut world = World::new();
    world.spans(1, true, true);
    world.spans(2, false, true);
    world.now += second(3);
    world.decide();
    world.plan();
    world.store();
    let released = world.log.len();
    // Alone, these would be decided the other way round.
    world.spans(1, false, false);
    world.spans(2, true, false);
    world.decide();
    world.crash(released);
    world.settle();
    assert_eq!(world.stored().keys().collect::<Vec<_>>(), [&id(1)]);
    assert_eq!(world.stored()[&id(1)], [Position(1), Position(released as u64 + 1)]);
}

#[test]
fn a_giant_trace_is_decided_at_once() {
    let mut sampler = Sampler::new(config(), rulebook());
    let mut notes = rulebook().scan(&body(1, true, false)).unwrap();
    notes.traces[0].bytes = 20 << 20;
    for position in 1..=2 {
        assert_eq!(sampler.tick(second(1)), None);
        sampler.observe(Position(position), &Tenant::default(), &notes, second(1), Duration::ZERO);
    }
    assert_eq!(sampler.tick(second(1)).unwrap()[0].trace_id, id(1));
}

#[test]
fn a_trace_scanned_under_the_rules_before_is_decided_by_them() {
    let mut world = World::new();
    let scanned_before = world.rulebook.scan(&body(1, true, true)).unwrap();
    let drop_all =
        "version: 1\ndecision: { wait: 10s, after_root: 2s }\nrules: [{ name: all, drop: true }]\n";
    world.rulebook.install(parse_rules(drop_all).unwrap());
    world.spans(2, true, true);
    world.now += second(3);
    world.decide();
    world.sampler.observe(Position(9), &Tenant::default(), &scanned_before, world.now, Duration::ZERO);
    world.now += second(3);
    let decided = world.sampler.tick(world.now).unwrap();
    assert_eq!(decided.iter().map(|d| &*d.verdict.rule).collect::<Vec<_>>(), ["errors"]);
}

#[test]
fn a_batch_that_was_under_way_comes_again_under_its_id() {
    let mut world = World::new();
    world.spans(1, true, true);
    world.now += second(3);
    world.decide();
    world.plan();
    let id_before = world.to_write[0].id;
    world.write();
    world.crash(0);
    assert_eq!(world.to_write.iter().map(|b| b.id).collect::<Vec<_>>(), [id_before]);
    assert!(!world.plan(), "one batch at a time");
    world.store();
    world.spans(3, true, true);
    world.settle();
    assert_eq!(world.table.len(), 2);
    assert_eq!(world.stored().len(), 2);
}

#[test]
fn no_batch_id_comes_again_when_the_log_has_forgotten_all_batches() {
    let mut world = World::new();
    world.spans(1, true, true);
    world.settle();
    let stored = *world.table.keys().next().unwrap();
    world.spans(2, false, true);
    world.settle();
    // Everything but the last record was released.
    world.crash(world.log.len() - 1);
    world.spans(3, true, true);
    world.settle();
    assert!(world.table.keys().all(|id| *id >= stored));
    assert_eq!(world.stored().keys().collect::<Vec<_>>(), [&id(1), &id(3)]);
}

#[test]
fn a_flush_that_was_refused_and_is_there_all_the_same_changes_nothing() {
    let mut world = World::new();
    world.spans(1, true, true);
    world.now += second(3);
    world.decide();
    let refused = world.sampler.next_batch(world.now, AT_ONCE).unwrap();
    world.sampler.flush_refused();
    world.log.push(flush_record(&refused));
    world.spans(2, true, true);
    world.now += second(3);
    world.decide();
    let again = world.sampler.next_batch(world.now, AT_ONCE).unwrap();
    assert_eq!(again, refused);
    assert_eq!(world.sampler.next_batch(world.now, AT_ONCE), None, "it is on its way");
    world.commit(flush_record(&again));
    world.crash(0);
    world.settle();
    assert_eq!(world.stored().keys().collect::<Vec<_>>(), [&id(1), &id(2)]);
}

#[test]
fn a_flush_whose_verdict_is_in_a_segment_that_is_gone_still_makes_the_same_batch() {
    let mut world = World::new();
    world.spans(1, true, true);
    world.now += second(3);
    world.decide();
    world.plan();
    world.store();
    let released = world.log.len();
    world.spans(1, false, false);
    world.plan();
    world.write();
    // The first records are gone with their segment: replay sees a pending trace, then its flush.
    world.crash(released);
    world.settle();
    assert_eq!(world.stored()[&id(1)], [Position(1), Position(released as u64 + 1)]);
}

#[test]
fn the_log_is_needed_from_the_first_place_of_what_is_pending_or_not_stored() {
    let mut world = World::new();
    world.spans(1, true, true);
    world.spans(2, false, true);
    assert_eq!(world.sampler.low_watermark(), Position(1));
    world.now += second(3);
    world.decide();
    assert_eq!(world.sampler.low_watermark(), Position(1), "kept, not stored");
    world.plan();
    assert_eq!(world.sampler.low_watermark(), Position(1), "in a batch under way");
    world.store();
    assert_eq!(world.sampler.low_watermark(), Position(world.log.len() as u64));
}

#[test]
fn beyond_the_bound_the_oldest_are_decided_early_and_counted() {
    let mut sampler = Sampler::new(SamplerConfig { index_bytes_max: 20_000, ..config() }, rulebook());
    sampler.go_live();
    let rules = rulebook();
    for trace in 1..=200u8 {
        let notes = rules.scan(&body(trace, trace % 2 == 0, false)).unwrap();
        sampler.observe(Position(trace.into()), &Tenant::default(), &notes, second(1), Duration::ZERO);
    }
    assert!(sampler.stats().index_bytes > 20_000);
    let decided = sampler.tick(second(1)).unwrap();
    assert!(decided.len() > 10 && decided.len() < 200, "{}", decided.len());
    assert!(decided.iter().all(|d| d.verdict.early));
    assert_eq!(decided[0].trace_id, id(1), "the oldest first");
    sampler.apply_verdicts(Position(1000), &decided, second(1));
    assert_eq!(sampler.stats().decided_early, decided.len() as u64);
}

#[test]
fn debug_keeps_what_the_rules_drop() {
    let mut sampler = Sampler::new(SamplerConfig { debug: true, ..config() }, rulebook());
    sampler.observe(
        Position(1),
        &Tenant::default(),
        &rulebook().scan(&body(1, false, true)).unwrap(),
        second(1),
        Duration::ZERO,
    );
    let decided = sampler.tick(second(4)).unwrap();
    assert!(decided[0].verdict.keep && decided[0].verdict.debug);
}

/// Random histories with crashes at every kind of moment: whatever happens, in the end every place of every kept trace is
/// in the table once, and of a dropped one none.
#[test]
fn however_it_is_interrupted_every_kept_place_is_stored_once() {
    for seed in 0..400 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut world = World::new();
        let mut first_error: BTreeMap<u8, bool> = BTreeMap::new();
        let mut places: BTreeMap<TraceId, Vec<Position>> = BTreeMap::new();
        for _ in 0..rng.usize(20..120) {
            match rng.u8(0..20) {
                0..9 => {
                    // The first span says whether it is an error: later ones must not change the verdict.
                    let trace = rng.u8(1..30);
                    let error = *first_error.entry(trace).or_insert_with(|| rng.bool());
                    world.spans(trace, error, rng.u8(0..4) == 0);
                    places.entry(id(trace)).or_default().push(Position(world.log.len() as u64));
                }
                9..12 => world.now += second(rng.u64(0..6)),
                12..14 => world.decide(),
                14 => drop(world.plan()),
                15 => drop(world.write()),
                16..18 => world.store(),
                18 => world.crash(0),
                // What is not needed any more was released with its segment.
                _ => world.crash(usize::try_from(world.sampler.low_watermark().0).unwrap().saturating_sub(1)),
            }
            // A batch that was written but not marked as done is only found again by a restart.
            if world.to_write.is_empty() && !world.sampler.in_flight.is_empty() {
                world.crash(0);
            }
        }
        world.settle();
        places.retain(|trace, _| first_error[&trace.0[0]]);
        assert_eq!(world.stored(), places, "seed {seed}");
    }
}
