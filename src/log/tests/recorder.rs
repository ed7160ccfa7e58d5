//! Where traces lie in the log: against a model that remembers everything.

use std::collections::{BTreeMap, BTreeSet};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::wire::TraceId;

type Traces = Vec<u8>;

fn tenant(n: u8) -> Tenant {
    Tenant::new(["acme", "globex", "initech"][usize::from(n % 3)]).unwrap()
}

fn id(n: u8) -> TraceId {
    TraceId([n + 1; 16])
}

fn body(traces: &[u8], noise: usize) -> Vec<u8> {
    let spans = traces.iter().map(|n| Span { trace_id: id(*n).0.to_vec(), ..Span::default() });
    let scope_spans = vec![ScopeSpans { spans: spans.collect(), ..ScopeSpans::default() }];
    // What does not compress, so that segments fill up.
    let mut state = noise as u64 | 1;
    let noise = (0..noise).map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b'!' + (state >> 58) as u8)
    });
    let resource_spans =
        vec![ResourceSpans { scope_spans, schema_url: noise.collect(), ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

/// A log whose index is kept as the daemon keeps it, and what it should know.
struct Indexed {
    rig: Rig,
    places: BTreeMap<(u8, u8), BTreeSet<Position>>,
}

impl Indexed {
    fn new(segment_bytes: u64) -> Self {
        let recorder = Recorder { age: Duration::ZERO, size_bytes: 0 };
        let rig = Rig::new(LogConfig { segment_bytes, recorder, ..config() });
        Self { rig, places: BTreeMap::new() }
    }

    fn put(&mut self, of: u8, traces: &[u8], noise: usize) -> Position {
        let meta = SpansMeta { tenant: tenant(of), ..meta(1) };
        let position = self.rig.put(&Encoded::spans(&meta, &body(traces, noise))).unwrap();
        let unique: BTreeSet<u8> = traces.iter().copied().collect();
        let ids: Vec<TraceId> = unique.iter().map(|n| id(*n)).collect();
        self.rig.log.recorder.add(position, &tenant(of), &ids);
        for trace in unique {
            self.places.entry((of % 3, trace)).or_default().insert(position);
        }
        position
    }

    fn work(&self) {
        while self.rig.log.recorder.step() {}
    }

    fn find(&self, of: u8, trace: u8) -> Recorded {
        self.rig.log.recorder.find(&tenant(of), &id(trace))
    }

    fn expected(&self, of: u8, trace: u8) -> Vec<Position> {
        let oldest = self.rig.stats().oldest;
        let places = self.places.get(&(of, trace)).into_iter().flatten().copied();
        places.filter(|place| *place >= oldest).collect()
    }

    /// All that is found was there; and all that was there is found, where the index says so.
    fn check(&self) -> bool {
        let mut complete = true;
        for (of, trace) in (0..3).flat_map(|of| (0..30).map(move |trace| (of, trace))) {
            let (found, expected) = (self.find(of, trace), self.expected(of, trace));
            if found.complete {
                assert_eq!(found.places, expected, "tenant {of}, trace {trace}");
            } else {
                complete = false;
                assert!(found.places.iter().all(|place| expected.contains(place)));
            }
        }
        complete
    }

    fn restart(&mut self, kept: f64) {
        self.rig = self.rig.restarted(kept);
    }

    fn sidecars(&self) -> Vec<PathBuf> {
        let paths = self.rig.disk.paths().into_iter();
        paths.filter(|path| path.extension().is_some_and(|e| e != "seg")).collect()
    }

    fn segments(&self) -> usize {
        self.rig.disk.paths().iter().filter(|path| path.extension().is_some_and(|e| e == "seg")).count()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Put(u8, Traces, usize),
    Control,
    Work,
    Single,
    Release(f64),
    Restart(f64),
    Damage { file: usize, at: usize },
    Cut { file: usize, to: f64 },
    Lose { file: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        16 => (0..3u8, prop::collection::vec(0..30u8, 1..6), 0..900usize).prop_map(|(t, s, n)| Step::Put(t, s, n)),
        2 => Just(Step::Control),
        2 => Just(Step::Work),
        2 => Just(Step::Single),
        1 => (0.0..1.0f64).prop_map(Step::Release),
        1 => (0.0..=1.0f64).prop_map(Step::Restart),
        1 => (0..20usize, 0..9_000usize).prop_map(|(file, at)| Step::Damage { file, at }),
        1 => (0..20usize, 0.0..1.0f64).prop_map(|(file, to)| Step::Cut { file, to }),
        1 => (0..20usize).prop_map(|file| Step::Lose { file }),
    ]
}

fn apply(indexed: &mut Indexed, step: &Step) {
    let sidecar = |indexed: &Indexed, file: usize| indexed.sidecars().into_iter().nth(file);
    match step {
        Step::Put(of, traces, noise) => drop(indexed.put(*of, traces, *noise)),
        Step::Control => drop(indexed.rig.put(&control(1)).unwrap()),
        Step::Work => indexed.work(),
        Step::Single => drop(indexed.rig.log.recorder.step()),
        Step::Release(share) => {
            let below = Position((indexed.rig.stats().durable.0 as f64 * share) as u64);
            indexed.rig.log.handle.release(below).unwrap();
        }
        Step::Restart(kept) => indexed.restart(*kept),
        Step::Damage { file, at } => {
            let Some(path) = sidecar(indexed, *file) else { return };
            let mut bytes = indexed.rig.disk.get(&path);
            let at = at % bytes.len().max(1);
            bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 0x55);
            indexed.rig.disk.put(&path, &bytes);
        }
        Step::Cut { file, to } => {
            let Some(path) = sidecar(indexed, *file) else { return };
            let mut bytes = indexed.rig.disk.get(&path);
            bytes.truncate((bytes.len() as f64 * to) as usize);
            indexed.rig.disk.put(&path, &bytes);
        }
        Step::Lose { file } => {
            if let Some(path) = sidecar(indexed, *file) {
                crate::runtime::Disk::remove(&indexed.rig.disk, &path).unwrap();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever is lost or damaged: nothing is found that is not there, and what is missed is admitted; and once the work is
    /// done, everything is found.
    #[test]
    fn the_index_knows_every_place(steps in prop::collection::vec(step(), 1..80)) {
        let mut indexed = Indexed::new(3_000);
        for step in &steps {
            apply(&mut indexed, step);
        }
        indexed.check();
        indexed.work();
        // Damage in a page shows when the page is read; then it is made again.
        indexed.check();
        indexed.work();
        assert!(indexed.check(), "something is still not indexed");
        let behind = indexed.sidecars().len();
        assert!(behind <= indexed.segments(), "{behind} files for {} segments", indexed.segments());
    }
}

#[test]
fn a_trace_in_many_segments_is_found_in_all_of_them() {
    let mut indexed = Indexed::new(4_000);
    let places: Vec<Position> = (0..60).map(|n| indexed.put(0, &[7, n % 20 + 8], 800)).collect();
    assert!(indexed.segments() > 12);
    assert_eq!(indexed.find(0, 7), Recorded { places: places.clone(), complete: true }, "from memory");
    indexed.work();
    assert_eq!(indexed.sidecars().len(), indexed.segments() - 1, "all but the one being written");
    assert_eq!(indexed.find(0, 7), Recorded { places, complete: true }, "from files");
    assert_eq!(indexed.find(1, 7), Recorded { places: Vec::new(), complete: true }, "another tenant");
}

#[test]
fn after_a_crash_what_was_being_written_is_indexed_again_and_the_rest_is_not() {
    let mut indexed = Indexed::new(4_000);
    for n in 0..40 {
        indexed.put(n % 3, &[n % 30], 800);
    }
    indexed.work();
    // The names of the files were synced with the next segment's.
    indexed.put(0, &[3], 3_500);
    indexed.restart(1.0);
    let recorder = indexed.rig.log.recorder.clone();
    assert!(!indexed.check(), "not everything is indexed yet");
    let before = recorder.stats();
    assert!(before.missing >= 1 && before.written > 5, "{before:?}");
    indexed.put(1, &[4], 100);
    indexed.work();
    assert!(indexed.check());
    assert_eq!(recorder.stats().rebuilt, before.missing);
    assert_eq!(recorder.stats().missing, 0);
}

#[test]
fn the_newest_segment_is_indexed_again_first() {
    let mut indexed = Indexed::new(4_000);
    let places: Vec<Position> = (0..30).map(|_| indexed.put(0, &[7], 800)).collect();
    indexed.restart(0.0);
    assert!(indexed.rig.log.recorder.step());
    let found = indexed.find(0, 7);
    assert!(!found.complete && !found.places.is_empty());
    assert!(places.ends_with(&found.places), "{found:?}");
}

#[test]
fn a_sidecar_goes_with_its_segment_and_orphans_are_swept() {
    let mut indexed = Indexed::new(4_000);
    for n in 0..30 {
        indexed.put(0, &[n], 800);
    }
    indexed.work();
    let orphans = indexed.sidecars();
    let end = indexed.rig.stats().durable;
    indexed.rig.log.handle.release(end).unwrap();
    assert_eq!((indexed.sidecars(), indexed.segments()), (Vec::new(), 1));
    assert_eq!(indexed.rig.log.recorder.stats().written, 0);
    for orphan in &orphans {
        indexed.rig.disk.put(orphan, b"left behind");
        indexed.rig.disk.put(&orphan.with_extension("idx.tmp"), b"never finished");
    }
    indexed.restart(0.0);
    assert_eq!(indexed.sidecars(), Vec::<PathBuf>::new());
}

#[test]
fn a_full_disk_only_delays_the_files() {
    let mut indexed = Indexed::new(40_000);
    indexed.put(0, &[1], 39_000);
    indexed.put(0, &[1], 39_000);
    let used: usize = indexed.rig.disk.paths().iter().map(|path| indexed.rig.disk.get(path).len()).sum();
    indexed.rig.disk.faults(|f| (f.capacity, f.tells_space) = (used as u64 + 5_000, false));
    assert!(indexed.rig.log.recorder.step());
    assert!(!indexed.rig.log.recorder.step(), "the disk is left alone for a while");
    assert!(indexed.check() && indexed.sidecars().is_empty(), "found in memory");
    indexed.rig.disk.faults(|f| f.capacity = 1 << 40);
    indexed.rig.clock.advance(Duration::from_secs(61));
    indexed.work();
    assert!(indexed.check());
    assert_eq!(indexed.sidecars().len(), 1);
}

#[test]
fn a_segment_of_absurdly_many_traces_is_indexed_in_part_and_says_so() {
    let mut indexed = Indexed::new(480);
    // Ten entries fit; and thirty traces that all look alike compress well.
    indexed.put(0, &(0..30).collect::<Traces>(), 0);
    indexed.put(0, &[1], 400);
    let check = |indexed: &Indexed| {
        let found: usize = (0..30).map(|trace| indexed.find(0, trace).places.len()).sum();
        assert!((10..30).contains(&found), "{found}");
        assert!((0..30).all(|trace| !indexed.find(0, trace).complete));
    };
    check(&indexed);
    indexed.work();
    check(&indexed);
    indexed.restart(0.0);
    indexed.work();
    check(&indexed);
    assert!(indexed.rig.log.recorder.stats().memory_bytes < 100_000);
}

/// Ends the thread that works beside a test, also when the test fails.
#[derive(Default)]
struct StopOnDrop(Arc<std::sync::atomic::AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn adding_releasing_writing_and_finding_at_once_loses_nothing() {
    let mut indexed = Indexed::new(3_000);
    let recorder = indexed.rig.log.recorder.clone();
    let stop = StopOnDrop::default();
    let stopped = Arc::clone(&stop.0);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                recorder.step();
                std::thread::yield_now();
            }
        });
        let _when_this_ends = stop;
        for n in 0..300u32 {
            indexed.put(0, &[(n % 30) as u8], 500);
            let found = indexed.find(0, (n % 30) as u8);
            assert!(found.complete, "{n}");
            assert_eq!(found.places, indexed.expected(0, (n % 30) as u8));
            if n % 50 == 49 {
                let below = Position(indexed.rig.stats().durable.0 - 9_000);
                indexed.rig.log.handle.release(below).unwrap();
            }
        }
    });
    indexed.work();
    assert!(indexed.check());
}
