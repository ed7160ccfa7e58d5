//! A gateway among others: whose the traces of a request are is settled before any of it is logged, and what belongs elsewhere
//! is handed over.

mod asking;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use http::{HeaderMap, HeaderValue};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::forwarding::couriers::{Clients, named};
use super::membership::Gateways;
use crate::forward::answer::Outcome;
use crate::forward::fleet::{Answer, Before, CLAIM, Claim, Claimed, Fleet, HANDOVER, Place};
use crate::forward::ring::{Member, Ring};
use crate::forward::split::{split, trace_ids};
use crate::forward::state::{GatewayState, STATE};
use crate::log::{Record, RecordKind};
use crate::observe::FleetStats;
use crate::receive::{ExportRequest, Refusal};
use crate::runtime::disk::{read_bounded, write_atomic};
use crate::runtime::{Clock, Disk, Shutdown, Tasks, Tenant};
use crate::sample::records::decode_verdicts;
use crate::sample::{Fingerprint, Notes, Rulebook};
use crate::wire::TraceId;

/// When senders are told to come back while another gateway does not answer.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How often time goes on for what is remembered.
const TURN: Duration = Duration::from_millis(500);
/// How often it is written down who the members are, also when nothing has changed: so long, about, a gateway was away.
const WRITE_EVERY: Duration = Duration::from_secs(5);
/// What was before the start has a time too.
const BEFORE_START: Duration = Duration::from_secs(24 * 3600);
/// Thousands of members.
const BEFORE_BYTES_MAX: u64 = 4 << 20;

/// Counts since the start.
#[derive(Debug, Default)]
pub struct FleetCounters {
    /// Traces asked about.
    pub claimed: AtomicU64,
    /// Spans handed over.
    pub handed_over: AtomicU64,
    /// Requests that had to be put off because another gateway did not answer.
    pub put_off: AtomicU64,
}

/// This gateway's part in the fleet.
pub struct InFleet {
    own: Member,
    fleet: Mutex<Fleet>,
    clients: Clients,
    gateways: Gateways,
    clock: Arc<dyn Clock>,
    rulebook: Arc<Rulebook>,
    settle: Duration,
    draining: AtomicBool,
    /// Where it is written down who the members are.
    file: (Arc<dyn Disk>, PathBuf),
    pub counters: FleetCounters,
}

/// Which part of a request stays here.
#[derive(Debug, PartialEq, Eq)]
pub enum Stays {
    /// All of it.
    All,
    /// These spans; the others are durable elsewhere.
    Part(Bytes),
}

/// Traces by whom they are with.
type ByMember = BTreeMap<Member, Vec<TraceId>>;

impl InFleet {
    /// A gateway that has just started. `bytes_max` bounds what it remembers of traces; `file` says who the members were when
    /// it was last alive, and is kept up to date.
    pub fn new(
        own: Member,
        (clients, gateways): (Clients, Gateways),
        clock: Arc<dyn Clock>,
        rulebook: Arc<Rulebook>,
        settle: Duration,
        bytes_max: usize,
        file: (Arc<dyn Disk>, PathBuf),
    ) -> Arc<Self> {
        let ring = Ring::clone(&gateways.ring.borrow());
        let (window, now) = (rulebook.current().wait() + settle, clock.monotonic() + BEFORE_START);
        let mut fleet = Fleet::new(own.clone(), ring, window, bytes_max, now);
        let read = read_bounded(&*file.0, &file.1, BEFORE_BYTES_MAX).ok();
        let before = read.and_then(|bytes| Before::decode(&bytes));
        if let Some(rings) = before.and_then(|before| before.resumed(&own, window, clock.now_unix_nano())) {
            tracing::info!(rings = rings.len(), "back in the fleet after a moment");
            fleet.resume(rings, now);
        }
        Arc::new(Self {
            own,
            fleet: Mutex::new(fleet),
            clients,
            gateways,
            clock,
            rulebook,
            settle,
            draining: AtomicBool::new(false),
            file,
            counters: FleetCounters::default(),
        })
    }

    /// Follows the ring and the clock until shutdown.
    pub async fn run(self: Arc<Self>, tasks: Tasks, stop: Shutdown) {
        let mut ring: watch::Receiver<Arc<Ring>> = self.gateways.ring.clone();
        let mut written: Option<Duration> = None;
        loop {
            let has_changed = ring.has_changed().unwrap_or(false);
            let current = Ring::clone(&ring.borrow_and_update());
            let now = self.clock.monotonic() + BEFORE_START;
            {
                let mut fleet = self.fleet.lock();
                fleet.follow(current, now);
                fleet.turn(self.window(), now);
            }
            if has_changed || written.is_none_or(|at| now.saturating_sub(at) >= WRITE_EVERY) {
                let this = self.clone();
                let _a_panic_is_seen_elsewhere = tasks.blocking("fleet file", move || this.write(now)).await;
                written = Some(now);
            }
            tokio::select! {
                () = tokio::time::sleep(TURN) => {}
                _ = ring.changed() => {}
                () = stop.begun() => return,
            }
        }
    }

    /// Writes down who the members are.
    fn write(&self, now: Duration) {
        let rings = self.fleet.lock().ages(now);
        let before = Before { own: self.own.clone(), at_unix_nano: self.clock.now_unix_nano(), rings };
        let (disk, path) = &self.file;
        if let Err(error) = write_atomic(&**disk, path, &before.encode()) {
            tracing::warn!(path = %path.display(), %error, "cannot write down who the gateways are");
        }
    }

    /// How long a trace waits for its verdict at most.
    pub fn wait(&self) -> Duration {
        self.rulebook.current().wait()
    }

    /// For how long traces and changes of the ring are remembered.
    pub fn window(&self) -> Duration {
        self.rulebook.current().wait() + self.settle
    }

    /// These traces are here: they are in the log.
    pub fn remember<'a>(&self, tenant: &Tenant, traces: impl Iterator<Item = &'a TraceId>) {
        let seed = Fingerprint::seed(tenant);
        let mut fleet = self.fleet.lock();
        traces.for_each(|id| fleet.take(Fingerprint::seeded(seed, id)));
    }

    /// The same of a trace whose verdict is known from before.
    pub fn remember_decided(&self, trace: Fingerprint) {
        self.fleet.lock().take(trace);
    }

    /// The same for a record that is read again at the start, unless it is older than anybody asks about.
    pub fn remember_record(&self, record: &Record) {
        if record.kind == RecordKind::Verdicts {
            // Those of traces whose spans lie before what is read again.
            for decided in decode_verdicts(&record.payload).unwrap_or_default() {
                self.remember_decided(Fingerprint::of(&decided.tenant, &decided.trace_id));
            }
        }
        if record.kind != RecordKind::Spans {
            return;
        }
        let (Ok(meta), window) = (record.spans_meta(), self.window()) else { return };
        let age = self.clock.now_unix_nano().saturating_sub(meta.received_unix_nano);
        if Duration::from_nanos(age) > window {
            return;
        }
        let ids = record.spans().ok().and_then(|spans| trace_ids(&spans.body).ok());
        self.remember(&meta.tenant, ids.unwrap_or_default().iter());
    }

    /// From now on this gateway only finishes what it has.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.clients.states.heard(&self.own, GatewayState::Draining);
    }

    /// Whether it is leaving.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Adds to an answer what this gateway is doing.
    pub fn announce(&self, headers: &mut HeaderMap) {
        let state = if self.is_draining() { GatewayState::Draining } else { GatewayState::Serving };
        headers.insert(STATE, state.value());
    }

    /// Answers another gateway's claim; `None` for another method. Who may not name a tenant learns nothing of its traces, and
    /// moves none of them.
    pub async fn call(&self, path: &str, tenant: &Tenant, message: &Bytes) -> Option<Result<Bytes, Refusal>> {
        if path != CLAIM {
            return None;
        }
        let claim = match Claim::decode(message) {
            Ok(claim) if claim.tenant == *tenant => claim,
            Ok(claim) => {
                let reason = format!("a claim for the traces of {} by a call for {tenant}", claim.tenant);
                return Some(Err(Refusal::Malformed(reason)));
            }
            Err(error) => return Some(Err(Refusal::Malformed(error.to_string()))),
        };
        if !claim.only_asks {
            self.look_around(tenant, claim.trace_ids.iter(), &claim.asker).await;
        }
        Some(Ok(Claimed(self.answers(&claim)).encode()))
    }

    fn answers(&self, claim: &Claim) -> Vec<Answer> {
        let seed = Fingerprint::seed(&claim.tenant);
        let mut fleet = self.fleet.lock();
        let has_left = |member: &Member| self.clients.states.has_left(member);
        let answer = |id: &TraceId| {
            let trace = Fingerprint::seeded(seed, id);
            if !claim.only_asks {
                return fleet.claim(trace, id, &claim.asker, has_left);
            }
            match fleet.tell(trace, has_left) {
                Some(member) if *member == self.own => Answer::Mine,
                Some(member) if *member != claim.asker => Answer::Theirs(member.clone()),
                _ => Answer::Yours,
            }
        };
        claim.trace_ids.iter().map(answer).collect()
    }

    /// Settles whose the traces of a request are, and hands over what belongs elsewhere. `request` is as it was received: those
    /// who get a part of it do all that is done to requests themselves.
    ///
    /// # Errors
    /// If another gateway does not answer: nothing was taken here, and the sender is to come back.
    pub async fn settle(&self, request: &ExportRequest, notes: &Notes) -> Result<Stays, Refusal> {
        let ids = notes.traces.iter().map(|note| &note.trace_id);
        if request.origin.headers.contains_key(HANDOVER) {
            self.remember(&request.tenant, ids);
            return Ok(Stays::All);
        }
        self.look_around(&request.tenant, ids.clone(), &self.own).await;
        let (mut elsewhere, asked) = self.place(&request.tenant, ids);
        let answers = asked.into_iter().map(|(arbiter, ids)| self.ask(&request.tenant, arbiter, ids));
        for answered in join_all(answers).await {
            for (member, ids) in answered.map_err(|why| self.put_off(why))? {
                elsewhere.entry(member).or_default().extend(ids);
            }
        }
        if elsewhere.is_empty() {
            return Ok(Stays::All);
        }
        self.hand_over(request, &elsewhere).await
    }

    fn put_off(&self, reason: String) -> Refusal {
        self.counters.put_off.fetch_add(1, Ordering::Relaxed);
        Refusal::Unavailable { retry_after: RETRY_AFTER, reason }
    }

    /// Which traces are elsewhere, and whom to ask about which.
    fn place<'a>(&self, tenant: &Tenant, ids: impl Iterator<Item = &'a TraceId>) -> (ByMember, ByMember) {
        let (mut elsewhere, mut asked) = (ByMember::new(), ByMember::new());
        let seed = Fingerprint::seed(tenant);
        let states = &self.clients.states;
        let mut fleet = self.fleet.lock();
        for id in ids {
            match fleet.place(Fingerprint::seeded(seed, id), id, |member| states.has_left(member)) {
                Place::Mine => {}
                Place::With(member) => elsewhere.entry(member).or_default().push(*id),
                Place::Ask(member) => asked.entry(member).or_default().push(*id),
            }
        }
        (elsewhere, asked)
    }

    /// Sends each part to whom it belongs, and waits until it is durable there.
    async fn hand_over(&self, request: &ExportRequest, elsewhere: &ByMember) -> Result<Stays, Refusal> {
        let members: Vec<&Member> = elsewhere.keys().collect();
        let mut owners: hashbrown::HashMap<_, _, foldhash::fast::RandomState> = Default::default();
        for (index, ids) in elsewhere.values().enumerate() {
            owners.extend(ids.iter().map(|id| (id.0, index + 1)));
        }
        // What has no valid id stays: it is refused here.
        let owner = |id: &[u8]| owners.get::<[u8]>(id).copied().unwrap_or(0);
        let parts = split(&request.body, owner).map_err(|error| Refusal::Malformed(error.to_string()))?;
        let mut mine = Bytes::new();
        let mut sent = Vec::new();
        for part in parts {
            match part.owner.checked_sub(1) {
                None => mine = part.body,
                Some(index) => sent.push((members[index], part.body, part.spans)),
            }
        }
        let own = HeaderValue::from_str(self.own.as_str()).unwrap_or(HeaderValue::from_static("gateway"));
        // Here it is known whose they are, also where the credential that gateways share is somebody else's.
        let metadata = [(HANDOVER, own), named(&request.tenant)];
        let sent = sent.iter().map(|(member, body, spans)| async {
            let pieces = std::slice::from_ref(body);
            let outcome = self.clients.export(member, &request.tenant, &metadata, pieces).await;
            self.handed_over(member, *spans, outcome)
        });
        join_all(sent).await.into_iter().collect::<Result<(), _>>()?;
        Ok(Stays::Part(mine))
    }

    fn handed_over(&self, member: &Member, spans: u32, outcome: Outcome) -> Result<(), Refusal> {
        match outcome {
            Outcome::Taken { .. } => {
                self.counters.handed_over.fetch_add(spans.into(), Ordering::Relaxed);
                Ok(())
            }
            Outcome::Refused { reason } => Err(Refusal::Malformed(format!("gateway {member}: {reason}"))),
            Outcome::Later { reason, .. } => {
                Err(self.put_off(format!("gateway {member}, which has some of these traces: {reason}")))
            }
        }
    }

    /// What is known of the fleet, for operators.
    pub fn stats(&self) -> FleetStats {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let states = &self.clients.states;
        let state = |member: &Member| match (states.has_left(member), states.leaves(member)) {
            (true, _) => "left",
            (_, true) => "draining",
            _ => "serving",
        };
        let members = self.gateways.members.borrow().clone();
        let members = members.members().iter();
        let fleet = self.fleet.lock();
        let (traces_here, traces_elsewhere) = fleet.remembered();
        FleetStats {
            own: self.own.as_str().to_owned(),
            draining: self.is_draining(),
            settled: fleet.is_settled(),
            gateways: members.map(|member| (member.as_str().to_owned(), state(member))).collect(),
            traces_here: traces_here as u64,
            traces_elsewhere: traces_elsewhere as u64,
            claimed_traces: of(&self.counters.claimed),
            handed_over_spans: of(&self.counters.handed_over),
            put_off_requests: of(&self.counters.put_off),
        }
    }
}
