#![allow(clippy::unwrap_used)]

use std::num::NonZeroUsize;
use std::path::Path;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use super::*;
use crate::log::{Encoded, Log, LogConfig, Opened, Position, SpansMeta};
use crate::runtime::disk::testing::MemDisk;
use crate::runtime::{RequestId, SystemClock, Tasks};
use crate::sample::RuleSet;

/// A log on a disk in memory, and who finds traces in it.
pub(in crate::app) struct World {
    log: Opened<()>,
    pub(in crate::app) finder: Finder,
}

pub(in crate::app) fn verdict(rule: &str) -> Arc<Verdict> {
    Arc::new(Verdict { retention: "pinned".into(), ..crate::sample::testing::verdict(rule) })
}

pub(in crate::app) fn id(n: u8) -> TraceId {
    TraceId([n; 16])
}

fn span(trace: u8, start: u64) -> Span {
    Span {
        trace_id: id(trace).0.to_vec(),
        span_id: start.to_be_bytes().to_vec(),
        start_time_unix_nano: start,
        end_time_unix_nano: start + 10,
        ..Span::default()
    }
}

impl World {
    pub(in crate::app) fn new() -> Self {
        let config = LogConfig { reserve_bytes: 0, ..LogConfig::new(Path::new("/data")) };
        let log =
            Log::open::<()>(Arc::new(MemDisk::default()), Arc::new(SystemClock::new()), config).unwrap();
        let finder = Finder {
            recorder: log.recorder.clone(),
            records: log.reader.clone(),
            rulebook: Arc::new(Rulebook::new(RuleSet::built_in(), false)),
            pool: CpuPool::new(Tasks::new(tokio::runtime::Handle::current()), NonZeroUsize::MIN),
        };
        Self { log, finder }
    }

    /// Logs a request with a span of each of these traces, which the index is told of.
    pub(in crate::app) fn put(&mut self, tenant: &Tenant, traces: &[(u8, u64)]) -> Position {
        let spans = traces.iter().map(|(trace, start)| span(*trace, *start)).collect();
        let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
        let body = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        let meta = SpansMeta {
            tenant: tenant.clone(),
            request_id: RequestId(1),
            received_unix_nano: 1,
            rules_version: 1,
        };
        self.log.handle.submit(Encoded::spans(&meta, &body), ()).unwrap();
        let mut position = Position(0);
        self.log.writer.step(|done| position = done[0].position, drop);
        let ids: Vec<TraceId> = traces.iter().map(|(trace, _)| id(*trace)).collect();
        self.finder.recorder.add(position, tenant, &ids);
        position
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_is_found_whole_with_its_measures() {
    let mut world = World::new();
    let tenant = Tenant::default();
    let first = world.put(&tenant, &[(1, 500), (2, 1)]);
    world.put(&tenant, &[(2, 2)]);
    let second = world.put(&tenant, &[(1, 100), (1, 700)]);
    let found = world.finder.find(&tenant, id(1), verdict("pin")).await.unwrap();
    let trace = found.trace;
    assert!(found.complete);
    assert_eq!(trace.places[..], [first, second]);
    assert_eq!((trace.spans, trace.start_unix_nano, trace.end_unix_nano), (3, 100, 710));
    let raw: usize = [500, 100, 700].map(|start| span(1, start).encoded_len()).iter().sum();
    assert_eq!(trace.bytes, raw as u64);
    assert_eq!(&*trace.verdict.rule, "pin");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_only_looks_right_is_passed_over() {
    let mut world = World::new();
    let (tenant, other) = (Tenant::default(), Tenant::new("other").unwrap());
    let theirs = world.put(&other, &[(1, 1)]);
    let without = world.put(&tenant, &[(2, 1)]);
    // As if fingerprints were equal.
    world.finder.recorder.add(theirs, &tenant, &[id(1)]);
    world.finder.recorder.add(without, &tenant, &[id(1)]);
    let found = world.finder.find(&tenant, id(1), verdict("pin")).await;
    assert!(matches!(found, Err(FindError::NotThere { searched: true })));
    let ours = world.put(&tenant, &[(1, 1)]);
    let found = world.finder.find(&tenant, id(1), verdict("pin")).await.unwrap();
    assert_eq!(found.trace.places[..], [ours]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_beyond_the_bound_is_left_out_and_said_to_be() {
    let mut world = World::new();
    let tenant = Tenant::default();
    for start in 0..=PLACES_MAX as u64 {
        world.put(&tenant, &[(1, start)]);
    }
    let found = world.finder.find(&tenant, id(1), verdict("pin")).await.unwrap();
    assert_eq!((found.trace.places.len(), found.complete), (PLACES_MAX, false));
}
