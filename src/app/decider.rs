//! The sampler's loop: a thin shell of clock and channels around the pure state machine.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use super::checkpoint::Covered;
use super::events::{Attachment, EVENTS_MAX, Event, Log, SharedGauges};
use super::noting;
use crate::ledger::Ledger;
use crate::log::{AppendError, Committed, Encoded, RecordKind, RecorderIndex};
use crate::observe::LossLedger;
use crate::runtime::{Clock, Shutdown};
use crate::sample::records::{encode_done, encode_flush, encode_rescue, encode_verdicts};
use crate::sample::{Batch, BatchPolicy, Checkpoint, Rescue, Sampler};

/// How often due traces are looked for.
const TURN: Duration = Duration::from_millis(50);
/// How often the log is told what it may forget.
const RELEASE_EVERY: Duration = Duration::from_secs(1);
/// How often a checkpoint is written: so much of the log is read again after a crash, beside what is pending.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(10);

/// Everything the loop works with.
pub struct Decider {
    pub sampler: Sampler,
    pub clock: Arc<dyn Clock>,
    pub log: Log,
    /// Told where traces lie, so that dropped ones are found again.
    pub recorder: RecorderIndex,
    /// Where wishes go for dropped traces that are to be kept after all.
    pub rescues: mpsc::Sender<Vec<Rescue>>,
    pub batches: mpsc::UnboundedSender<Arc<Batch>>,
    pub policy: BatchPolicy,
    pub gauges: SharedGauges,
    /// Where verdicts are noted for when the log has forgotten them.
    pub ledger: Arc<Ledger>,
    /// Own records that the log did not take: tried again each turn. At most a few, for the sampler waits for them.
    pub unwritten: Vec<Attachment>,
    /// Who waits for everything kept to be stored.
    pub flushing: Vec<oneshot::Sender<()>>,
    pub released: Duration,
    /// Who writes checkpoints. One at a time.
    pub checkpoints: mpsc::Sender<Checkpoint>,
    pub checkpointed: Duration,
    /// What the last checkpoint lets the log forget.
    pub covered: Covered,
    /// The log could let a segment go if there was a newer checkpoint.
    pub is_held: bool,
}

impl Decider {
    /// Runs until shutdown, and leaves a last checkpoint.
    pub async fn run(mut self, events: mpsc::Receiver<Event>, stop: Shutdown) {
        self.until_shutdown(events, stop).await;
        // Whoever writes them may have died: then the one before holds.
        let _ = self.checkpoints.send(self.sampler.checkpoint()).await;
    }

    async fn until_shutdown(&mut self, mut events: mpsc::Receiver<Event>, stop: Shutdown) {
        loop {
            tokio::select! {
                biased;
                event = events.recv() => match event {
                    Some(event) => self.handle(event),
                    None => return,
                },
                () = stop.begun() => return,
                () = tokio::time::sleep(self.until_next()) => {}
            }
            // Bounded: however much comes in, due traces are decided and the bound of memory is kept.
            for _ in 0..EVENTS_MAX {
                let Ok(event) = events.try_recv() else { break };
                self.handle(event);
            }
            self.turn();
        }
    }

    /// Until something is due, at most a turn: what is kept and what is refused waits for one too.
    fn until_next(&self) -> Duration {
        let due = self.sampler.next_due().map(|due| due.saturating_sub(self.clock.monotonic()));
        due.unwrap_or(TURN).clamp(Duration::from_millis(5), TURN)
    }

    /// Takes one event in.
    pub fn handle(&mut self, event: Event) {
        match event {
            Event::Committed(records) => records.into_iter().for_each(|record| self.committed(record)),
            Event::Refused(records) => {
                for record in records {
                    tracing::warn!(kind = ?record.kind, error = %record.error, "a record of the sampler was refused");
                    self.retry(record.attachment);
                }
            }
            Event::Stored(done) => self.submit(Attachment::Done(Arc::new(done))),
            // Whoever asked may be gone: a question that took too long.
            Event::Live(filter, answer) => drop(answer.send(self.sampler.live(&filter))),
            Event::Waiting(tenant, trace_id, answer) => {
                let _ = answer.send(self.sampler.waiting(&tenant, &trace_id));
            }
            Event::Pin { tenant, trace_id, verdict, answer } => {
                drop(answer.send(self.sampler.pin(&tenant, trace_id, verdict)));
            }
            Event::Expired(spans) => {
                spans.iter().for_each(|(tenant, spans)| self.sampler.count_expired(tenant, *spans));
            }
            Event::Rescued(rescued) => self.submit(Attachment::Rescue(Arc::new(rescued))),
            Event::Gone(tenant, trace_id) => self.sampler.forget_rescue(&tenant, trace_id),
            Event::Verdict(tenant, trace_id, answer) => {
                drop(answer.send(self.sampler.verdict(&tenant, &trace_id)));
            }
            Event::Flush(done) => self.flushing.push(done),
        }
    }

    fn committed(&mut self, record: Committed<Attachment>) {
        let now = self.clock.monotonic();
        match record.attachment {
            Attachment::Spans { tenant, notes, request_id, room: _until_read } => {
                tracing::trace!(%request_id, position = %record.position, traces = notes.traces.len(), "in the index");
                let traces = notes.traces.iter().map(|note| &note.trace_id);
                self.recorder.add(record.position, &tenant, traces);
                self.sampler.observe(record.position, &tenant, &notes, now, Duration::ZERO);
            }
            Attachment::Verdicts(decided) => {
                for one in decided.iter() {
                    let verdict = &one.verdict;
                    tracing::debug!(
                        trace_id = %one.trace_id, rule = &*verdict.rule, rules_version = verdict.rules_version,
                        keep = verdict.keep, early = verdict.early, record = %record.position, "verdict"
                    );
                }
                self.ledger.append(record.position, self.clock.now_unix_nano(), &decided);
                self.sampler.apply_verdicts(record.position, &decided, now);
            }
            Attachment::Rescue(rescued) => {
                let decided = noting::rescued(&self.sampler, &rescued);
                self.ledger.append(record.position, self.clock.now_unix_nano(), &decided);
                self.sampler.apply_rescue(record.position, &rescued, now);
            }
            Attachment::Flush(flush) => {
                let batch = self.sampler.apply_flush(record.position, &flush);
                for trace in &batch.traces {
                    let records: Vec<_> = trace.places.iter().map(|place| place.0).collect();
                    tracing::debug!(batch = batch.id, trace_id = %trace.trace_id, ?records, "to be stored");
                }
                // The store's loop ends after this one.
                let _ = self.batches.send(batch);
            }
            Attachment::Done(done) => {
                self.sampler.apply_done(record.position, &done);
                self.release(now);
            }
        }
    }

    /// Decides what is due, plans a batch, lets the log forget.
    pub fn turn(&mut self) {
        let now = self.clock.monotonic();
        for attachment in std::mem::take(&mut self.unwritten) {
            self.submit(attachment);
        }
        // While the log takes no verdicts, none are made: they would only gather.
        // When the daemon stops, what is pending stays in the log: only what is kept already is waited for.
        while self.unwritten.is_empty()
            && self.flushing.is_empty()
            && let Some(decided) = self.sampler.tick(now)
        {
            self.submit(Attachment::Verdicts(Arc::new(decided)));
        }
        let policy = if self.flushing.is_empty() { self.policy } else { self.policy.at_once() };
        if let Some(flush) = self.sampler.next_batch(now, policy) {
            self.submit(Attachment::Flush(flush));
        }
        self.wish();
        if now.saturating_sub(self.released) >= RELEASE_EVERY {
            let accounts = self.sampler.accounts();
            *self.gauges.losses.lock() = Arc::new(LossLedger { accounts, expired: self.sampler.expired() });
            self.release(now);
        }
        let every = if self.is_held { RELEASE_EVERY } else { CHECKPOINT_EVERY };
        if now.saturating_sub(self.checkpointed) >= every
            && let Ok(slot) = self.checkpoints.try_reserve()
        {
            slot.send(self.sampler.checkpoint());
            self.checkpointed = now;
        }
        self.publish();
    }

    /// Wishes for dropped traces that are to be kept after all. What nobody can take is given up rather than waited for.
    fn wish(&mut self) {
        let wishes = self.sampler.take_rescues();
        if wishes.is_empty() {
            return;
        }
        if let Err(TrySendError::Full(wishes) | TrySendError::Closed(wishes)) = self.rescues.try_send(wishes)
        {
            for wish in wishes {
                self.sampler.forget_rescue(&wish.tenant, wish.trace_id);
            }
        }
    }

    fn submit(&mut self, attachment: Attachment) {
        let encoded = match &attachment {
            Attachment::Spans { .. } => return,
            Attachment::Verdicts(decided) => {
                Encoded::control(RecordKind::Verdicts, &encode_verdicts(decided))
            }
            Attachment::Flush(flush) => {
                Encoded::control(RecordKind::Flush, &encode_flush(flush.batch, &flush.traces))
            }
            Attachment::Done(done) => Encoded::control(RecordKind::Done, &encode_done(done)),
            Attachment::Rescue(rescued) => Encoded::control(RecordKind::Rescue, &encode_rescue(rescued)),
        };
        match self.log.submit(encoded, attachment.clone()) {
            Ok(()) | Err(AppendError::Closed) => {}
            Err(_) => self.retry(attachment),
        }
    }

    fn retry(&mut self, attachment: Attachment) {
        match attachment {
            // Nothing has moved yet: it is simply planned again.
            Attachment::Flush(_) => self.sampler.flush_refused(),
            other => self.unwritten.push(other),
        }
    }

    /// Lets the log forget what nothing here needs.
    fn release(&mut self, now: Duration) {
        self.released = now;
        // A verdict stays in the log until the ledger has it.
        let below = self.sampler.low_watermark().min(self.ledger.durable());
        // Likewise what the loss ledger counts of it, until a checkpoint has that.
        let covered = self.covered.below(now);
        if let Err(error) = self.log.release(below.min(covered)) {
            tracing::warn!(%error, "cannot delete a segment of the log that is not needed any more");
        }
        self.is_held = covered < below && self.log.could_release(below);
    }

    fn publish(&mut self) {
        let stats = self.sampler.stats();
        if stats.kept_traces_not_stored == 0 && self.unwritten.is_empty() {
            for done in self.flushing.drain(..) {
                // Whoever waited may have given up.
                let _ = done.send(());
            }
        }
        self.gauges.full.store(self.sampler.is_full(), Ordering::Relaxed);
        *self.gauges.sampler.lock() = stats;
    }
}
