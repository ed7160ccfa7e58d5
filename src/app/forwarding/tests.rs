#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use super::couriers::{Clients, ToGateway};
use super::*;
use crate::forward::client::ClientOptions;
use crate::forward::state::States;
use crate::log::{Encoded, Log, LogConfig, Opened, SpansMeta};
use crate::receive::{Accepted, ExportRequest, Ingest, Protocol, ReceiveConfig, Receiver, Refusal};
use crate::runtime::{RealDisk, RequestId, SystemClock, SystemRandom};

/// A gateway that keeps what it takes: span name → how often. It does what a span's name says.
#[derive(Default)]
struct Keeper {
    spans: Mutex<BTreeMap<String, u32>>,
    later_until: Mutex<Option<Instant>>,
}

fn names(body: &[u8]) -> Vec<String> {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    let scopes = request.resource_spans.into_iter().flat_map(|of_resource| of_resource.scope_spans);
    scopes.flat_map(|scope| scope.spans).map(|span| span.name).collect()
}

impl Ingest for Keeper {
    async fn ingest(&self, request: ExportRequest) -> Result<Accepted, Refusal> {
        let names = names(&request.body);
        if names.iter().any(|name| name == "poison") {
            return Err(Refusal::Malformed("poison".into()));
        }
        if self.later_until.lock().is_some_and(|until| Instant::now() < until) {
            let (retry_after, reason) = (Duration::from_millis(700), "later".into());
            return Err(Refusal::Overloaded { retry_after, reason });
        }
        let rejected_spans = names.iter().filter(|name| *name == "bad").count() as u64;
        let mut spans = self.spans.lock();
        names.into_iter().filter(|name| name != "bad").for_each(|name| *spans.entry(name).or_default() += 1);
        Ok(Accepted { rejected_spans, message: String::new() })
    }
}

/// A gateway on a socket of its own.
struct Gateway {
    member: Member,
    keeper: Arc<Keeper>,
    serving: AbortHandle,
}

impl Gateway {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let member = Member::new(&listener.local_addr().unwrap().to_string());
        let keeper = Arc::new(Keeper::default());
        let clock = Arc::new(SystemClock::new());
        let handle = tokio::runtime::Handle::current();
        let receiver = Receiver::new(ReceiveConfig::default(), keeper.clone(), clock, handle).unwrap();
        let serve = receiver.serve(Protocol::Grpc, listener, Default::default());
        Self { member, keeper, serving: tokio::spawn(serve).abort_handle() }
    }

    fn spans(&self) -> BTreeMap<String, u32> {
        self.keeper.spans.lock().clone()
    }
}

/// A log and its forwarding, as in an agent.
struct Rig {
    log: OutgoingLog,
    forwarding: Forwarding,
    rings: watch::Sender<Arc<Ring>>,
    room: Arc<Semaphore>,
    sent: u64,
}

impl Rig {
    fn new(folder: &std::path::Path, members: &[&Gateway], queue_bytes: usize) -> Self {
        let ring = Ring::new(members.iter().map(|gateway| gateway.member.clone()));
        let (disk, clock) = (Arc::new(RealDisk), Arc::new(SystemClock::new()));
        let opened = Log::open::<Outgoing>(disk.clone(), clock, LogConfig::new(folder)).unwrap();
        let Opened { handle: log, writer, reader, .. } = opened;
        let tasks = Tasks::new(tokio::runtime::Handle::current());
        let (rings, ring_now) = watch::channel(Arc::new(ring.clone()));
        let clients = Clients::new(ClientOptions::default(), tasks.runtime(), States::default());
        let in_courier = ring_now.clone();
        let couriers: Couriers = Arc::new(move |member: &Member| -> Arc<dyn Courier> {
            let (clients, ring) = (clients.clone(), in_courier.clone());
            Arc::new(ToGateway { member: member.clone(), clients, ring })
        });
        let lane = LaneConfig { queue_bytes, request_bytes: 2000, concurrency: 2 };
        let config = ForwardingConfig { data: folder.to_path_buf(), id: "test".into(), lane };
        let random = Arc::new(SystemRandom);
        let forwarding =
            Forwarding::new(config, disk, tasks.clone(), random, (log.clone(), reader), &ring, couriers);
        let (commits, to_split) = mpsc::channel(COMMITS_MAX);
        drop(tasks.thread("log", move || {
            writer.run(|committed| drop(commits.blocking_send(committed)));
        }));
        drop(tasks.spawn("splitter", forwarding.splitter(to_split, ring_now).run(Shutdown::new())));
        Self { log, forwarding, rings, room: Arc::new(Semaphore::new(1 << 20)), sent: 0 }
    }

    /// One record with a span of this name and trace.
    async fn put(&mut self, name: &str, trace: u8) {
        let span = Span { trace_id: vec![trace; 16], name: name.into(), ..Span::default() };
        let scope = ScopeSpans { spans: vec![span], ..ScopeSpans::default() };
        let of_resource = ResourceSpans { scope_spans: vec![scope], ..ResourceSpans::default() };
        let body = ExportTraceServiceRequest { resource_spans: vec![of_resource] }.encode_to_vec();
        let (tenant, request_id) = (Tenant::default(), RequestId(self.sent));
        let meta = SpansMeta { tenant: tenant.clone(), request_id, received_unix_nano: 1, rules_version: 0 };
        let encoded = Encoded::spans(&meta, &body);
        let room = Arc::new(self.room.clone().try_acquire_many_owned(body.len() as u32).unwrap());
        let body = Some((body.into(), room));
        self.log.append(encoded, Outgoing { tenant, received_unix_nano: 1, spans: 1, body }).await.unwrap();
        self.sent += 1;
    }

    fn ring(&self, members: &[&Gateway]) {
        self.rings.send_replace(Arc::new(Ring::new(members.iter().map(|gateway| gateway.member.clone()))));
    }

    async fn done(&self) {
        let begun = Instant::now();
        while !self.forwarding.is_done() {
            assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", self.forwarding.sums());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_refused_for_good_spoils_no_other_and_is_counted() {
    let (folder, gateway) = (tempfile::tempdir().unwrap(), Gateway::start().await);
    let mut rig = Rig::new(folder.path(), &[&gateway], 1 << 20);
    for number in 0..60u8 {
        let name = match number % 20 {
            7 => "poison".to_owned(),
            9 => "bad".to_owned(),
            _ => format!("span-{number}"),
        };
        rig.put(&name, number + 1).await;
    }
    rig.done().await;
    let spans = gateway.spans();
    assert_eq!((spans.len(), spans.values().max()), (54, Some(&1)));
    let sums = rig.forwarding.sums();
    assert_eq!((sums.received, sums.forwarded, sums.refused, sums.outstanding()), (60, 54, 6, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_told_to_come_back_later_comes_back_later() {
    let (folder, gateway) = (tempfile::tempdir().unwrap(), Gateway::start().await);
    *gateway.keeper.later_until.lock() = Some(Instant::now() + Duration::from_millis(300));
    let mut rig = Rig::new(folder.path(), &[&gateway], 1 << 20);
    let begun = Instant::now();
    rig.put("span", 1).await;
    rig.done().await;
    assert!(begun.elapsed() >= Duration::from_millis(700), "{:?}", begun.elapsed());
    assert_eq!(rig.forwarding.sums().retries, 1, "no sooner than asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_gateway_that_is_gone_did_not_take_goes_to_the_others_also_from_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let (stays, goes) = (Gateway::start().await, Gateway::start().await);
    goes.serving.abort();
    // A queue of a few parcels: most of it has to be read again, by the ring of the time when it was written.
    let mut rig = Rig::new(folder.path(), &[&stays, &goes], 2000);
    for number in 0..200u8 {
        rig.put(&format!("span-{number}"), number + 1).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let before = stays.spans().len();
    assert!((50..150).contains(&before), "{before}");
    rig.ring(&[&stays]);
    rig.done().await;
    let spans = stays.spans();
    assert_eq!((spans.len(), spans.values().max()), (200, Some(&1)));
    assert_eq!(rig.forwarding.sums().outstanding(), 0);
    // Its lane ends.
    let begun = Instant::now();
    while rig.forwarding.lanes().len() > 1 {
        assert!(begun.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_nobody_is_known_spans_wait_and_go_to_whoever_comes() {
    let (folder, gateway) = (tempfile::tempdir().unwrap(), Gateway::start().await);
    let mut rig = Rig::new(folder.path(), &[], 1000);
    for number in 0..50u8 {
        rig.put(&format!("span-{number}"), number + 1).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(rig.forwarding.sums().outstanding(), 50);
    rig.ring(&[&gateway]);
    rig.done().await;
    assert_eq!(gateway.spans().len(), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_holds_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (up, down) = (Gateway::start().await, Gateway::start().await);
    down.serving.abort();
    let mut rig = Rig::new(folder.path(), &[&up, &down], 2000);
    for number in 0..100u8 {
        rig.put(&format!("span-{number}"), number + 1).await;
    }
    let begun = Instant::now();
    // Until the one that is up has all of its share: what is under way when a lane stops goes again.
    let end = rig.log.stats().durable;
    while !rig.forwarding.lanes().iter().any(|lane| lane.with_queue(|queue| queue.is_done_up_to(end))) {
        assert!(begun.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let settled = up.spans().len();
    rig.log.close();
    rig.forwarding.stop().await;
    drop(rig);
    // The one that was down is no member any more: its share is known by the ring that was written down.
    let again = Rig::new(folder.path(), &[&up], 2000);
    again.done().await;
    let spans = up.spans();
    assert_eq!((spans.len(), spans.values().max()), (100, Some(&1)), "{settled} before");
    assert_eq!(again.forwarding.sums().resumed as usize, 100 - settled);
}
