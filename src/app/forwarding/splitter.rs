//! The splitter's loop: committed requests in the order of the log, cut by the ring in force, one part for each lane.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::{Forwarding, Outgoing, members_of};
use crate::forward::lane::Lane;
use crate::forward::queue::Parcel;
use crate::forward::ring::{Member, Ring};
use crate::forward::split::{Part, split};
use crate::log::{Committed, Position, RecordKind};
use crate::runtime::Shutdown;

/// How often the progress is written down and the log let go of.
const KEEP_EVERY: Duration = Duration::from_secs(1);

/// Feeds the lanes.
pub struct Splitter {
    forwarding: Forwarding,
    commits: mpsc::Receiver<Vec<Committed<Outgoing>>>,
    rings: watch::Receiver<Arc<Ring>>,
    ring: Arc<Ring>,
    /// The lanes: those of the ring's members first, in their order, then those of others.
    lanes: Vec<Arc<Lane>>,
    /// Everything below was offered.
    head: Position,
}

impl Splitter {
    pub(super) fn new(
        forwarding: Forwarding,
        commits: mpsc::Receiver<Vec<Committed<Outgoing>>>,
        rings: watch::Receiver<Arc<Ring>>,
        head: Position,
    ) -> Self {
        let ring = forwarding.inner.epochs.lock().current().clone();
        let mut splitter = Self { forwarding, commits, rings, ring, lanes: Vec::new(), head };
        splitter.order_lanes();
        splitter
    }

    /// Runs until the log has closed, or until shutdown.
    pub async fn run(mut self, stop: Shutdown) {
        let mut keep = tokio::time::interval(KEEP_EVERY);
        loop {
            self.follow_ring();
            tokio::select! {
                commits = self.commits.recv() => match commits {
                    Some(records) => self.split_all(records),
                    None => return,
                },
                _ = self.rings.changed() => {}
                _ = keep.tick() => self.keep().await,
                () = stop.begun() => return,
            }
        }
    }

    /// Lets go of what is settled. The disk is slow: on a thread where it is not waited for by others.
    async fn keep(&mut self) {
        self.forwarding.close_done(&self.ring, self.head);
        self.order_lanes();
        let forwarding = self.forwarding.clone();
        let kept = self.forwarding.inner.tasks.blocking("progress", move || forwarding.keep_progress());
        // A panic was told where it happened, and ends the daemon.
        let _ = kept.await;
    }

    /// From here on the ring is what the members are now.
    fn follow_ring(&mut self) {
        let wanted = self.rings.borrow_and_update().clone();
        if *wanted == *self.ring {
            return;
        }
        if !self.forwarding.inner.epochs.lock().begin(self.head, (*wanted).clone()) {
            tracing::warn!("the gateways change faster than spans are forwarded; those known stay for now");
            return;
        }
        let names: Vec<_> = wanted.members().iter().map(Member::as_str).collect();
        tracing::info!(gateways = ?names, position = %self.head, "the gateways have changed");
        self.ring = wanted;
        members_of(&self.ring).for_each(|member| self.forwarding.open(&member, self.head, self.head));
        self.order_lanes();
        // What waits for one that left goes elsewhere.
        self.lanes.iter().for_each(|lane| lane.try_again());
    }

    fn order_lanes(&mut self) {
        let all = self.forwarding.lanes();
        let of = |member: &Member| all.iter().find(|lane| lane.member == *member).cloned();
        let mut lanes: Vec<_> = members_of(&self.ring).filter_map(|member| of(&member)).collect();
        let is_owner = |lane: &Arc<Lane>| lanes.iter().any(|owner| Arc::ptr_eq(owner, lane));
        let others: Vec<_> = all.iter().filter(|lane| !is_owner(lane)).cloned().collect();
        lanes.extend(others);
        self.lanes = lanes;
    }

    fn split_all(&mut self, records: Vec<Committed<Outgoing>>) {
        let mut awake = vec![false; self.lanes.len()];
        for record in records {
            self.split_one(record, &mut awake);
        }
        for (lane, _) in self.lanes.iter().zip(awake).filter(|(_, awake)| *awake) {
            lane.wake();
        }
    }

    fn split_one(&mut self, record: Committed<Outgoing>, awake: &mut [bool]) {
        let (position, end) = (record.position, record.end);
        let Outgoing { tenant, received_unix_nano, spans, body } = record.attachment;
        self.head = end;
        if record.kind != RecordKind::Spans {
            // Whoever wrote it reads it.
            for (lane, awake) in self.lanes.iter().zip(awake) {
                *awake |= lane.with_queue(|queue| queue.offer(position, end, None) || queue.is_behind());
            }
            return;
        }
        self.forwarding.inner.totals.received.fetch_add(spans.into(), Ordering::Relaxed);
        let parts = body.as_ref().map(|(body, _)| match self.ring.members() {
            // Whatever is in it goes to the only one there is.
            [_] => Ok(vec![Part { owner: 0, body: body.clone(), spans }]),
            _ => split(body, |trace_id| self.ring.owner_index(trace_id)),
        });
        let Some(Ok(mut parts)) = parts else {
            // There was no room for the body (or it is not what enrich passes on): whoever is concerned reads the log.
            for (lane, awake) in self.lanes.iter().zip(awake) {
                lane.with_queue(|queue| queue.pass_over(position, end));
                *awake = true;
            }
            return;
        };
        for (index, (lane, awake)) in self.lanes.iter().zip(awake).enumerate() {
            let part = parts.iter().position(|part| part.owner == index).map(|at| parts.swap_remove(at));
            let parcel = part.map(|part| Parcel {
                position,
                tenant: tenant.clone(),
                body: part.body,
                spans: part.spans,
                received_unix_nano,
            });
            *awake |= lane.with_queue(|queue| queue.offer(position, end, parcel) || queue.is_behind());
        }
    }
}
