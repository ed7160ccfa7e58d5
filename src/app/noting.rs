//! The ledger of decisions: opened and read before the log is, fed by what the log gives again, flushed each second.

use std::sync::Arc;
use std::time::Duration;

use twox_hash::XxHash3_64;

use crate::config::Config;
use crate::ledger::{Ledger, LedgerConfig};
use crate::log::{Position, Record, RecordKind};
use crate::runtime::{Clock, Disk, Shutdown, Tasks};
use crate::sample::records::{Decided, decode_rescue, decode_verdicts};
use crate::sample::{Fingerprint, Rescued, Sampler};

const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// Opens the ledger. `data_id` tells the log that it belongs to.
pub fn open(config: &Config, disk: &Arc<dyn Disk>, clock: &Arc<dyn Clock>, data_id: &str) -> Arc<Ledger> {
    let settings = LedgerConfig {
        dir: config.data.join("decisions"),
        log: XxHash3_64::oneshot(data_id.as_bytes()),
        keep: config.decisions.keep,
        bytes_max: config.decisions.size,
        memory_max: config.memory.ledger,
    };
    Arc::new(Ledger::open(disk.clone(), clock.clone(), settings))
}

/// From here on the log has decisions that the ledger has not got: they were not on disk yet, or it was lost.
pub fn needed_from(ledger: &Ledger) -> Position {
    ledger.last().map_or(Position(0), |last| Position(last.0.saturating_add(1)))
}

/// Notes what the log gives again at start and the ledger has not got yet.
pub struct Noting {
    ledger: Arc<Ledger>,
    last: Option<Position>,
    /// Where replay begins.
    begin: Position,
    /// When the last request before was received: about the time of the decisions behind it.
    around_unix_nano: u64,
    since_flush: usize,
}

impl Noting {
    /// To be told of everything that is replayed, from `begin` on.
    pub fn new(ledger: Arc<Ledger>, begin: Position) -> Self {
        Self { last: ledger.last(), ledger, begin, around_unix_nano: 0, since_flush: 0 }
    }

    /// Gives the sampler the verdicts that replay will not come by. Before it.
    pub fn seed(&self, sampler: &mut Sampler) {
        self.seed_and(sampler, |_| {});
    }

    /// The same, and tells somebody else which traces they are of.
    pub fn seed_and(&self, sampler: &mut Sampler, tell: impl Fn(Fingerprint)) {
        let mut seeds = 0u64;
        self.ledger.recent(sampler.seeds_max(), self.begin, |trace, verdict| {
            seeds += 1;
            tell(trace);
            sampler.seed(trace, verdict);
        });
        tracing::info!(verdicts = seeds, "verdicts from before what is read of the log");
    }

    /// Notes what a record decided, if the ledger has not got it. What cannot be read is told by whoever acts on it.
    pub fn note(&mut self, record: &Record) {
        match record.kind {
            RecordKind::Spans => {
                let received = record.spans_meta().map(|meta| meta.received_unix_nano);
                self.around_unix_nano = received.unwrap_or(self.around_unix_nano);
            }
            RecordKind::Verdicts if Some(record.position) > self.last => {
                let decided = decode_verdicts(&record.payload);
                decided.into_iter().for_each(|decided| self.decided(record.position, &decided));
            }
            RecordKind::Rescue if Some(record.position) > self.last => {
                let is_kept = |one: &Rescued| {
                    let known = self.ledger.find(&one.tenant, &one.trace_id);
                    known.is_some_and(|told| told.verdict.keep)
                };
                let rescued = decode_rescue(&record.payload).unwrap_or_default();
                let decided: Vec<_> = rescued.iter().filter(|one| !is_kept(one)).map(decided_by).collect();
                self.decided(record.position, &decided);
            }
            _ => {}
        }
    }

    fn decided(&mut self, position: Position, decided: &[Decided]) {
        /// Far fewer than the ledger holds in memory.
        const FLUSH_AT: usize = 32 * 1024;
        self.ledger.append(position, self.around_unix_nano, decided);
        self.since_flush += decided.len();
        if self.since_flush >= FLUSH_AT {
            self.since_flush = 0;
            if let Err(error) = self.ledger.flush() {
                tracing::warn!(%error, "decisions cannot be written to the ledger");
            }
        }
    }
}

/// What rescues decide: the traces that are kept already stay as they are.
pub fn rescued(sampler: &Sampler, rescued: &[Rescued]) -> Vec<Decided> {
    let is_kept =
        |one: &&Rescued| sampler.verdict(&one.tenant, &one.trace_id).is_some_and(|known| known.keep);
    rescued.iter().filter(|one| !is_kept(one)).map(decided_by).collect()
}

fn decided_by(one: &Rescued) -> Decided {
    Decided {
        tenant: one.tenant.clone(),
        trace_id: one.trace_id,
        verdict: one.verdict.clone(),
        up_to: Position(0),
    }
}

/// Flushes until shutdown, and once more then.
pub async fn keep_flushing(ledger: Arc<Ledger>, tasks: Tasks, stop: Shutdown) {
    let mut failing = false;
    loop {
        let is_last = tokio::select! {
            () = tokio::time::sleep(FLUSH_EVERY) => false,
            () = stop.begun() => true,
        };
        let flushing = ledger.clone();
        // Whoever panics is reported, and the daemon stops.
        let Ok(flushed) = tasks.blocking("flush decisions", move || flushing.flush()).await else { return };
        match &flushed {
            Err(error) if !failing => {
                tracing::error!(%error, "decisions cannot be written to the ledger; tried again each second");
            }
            Ok(()) if failing => tracing::info!("decisions are written to the ledger again"),
            _ => {}
        }
        failing = flushed.is_err();
        if is_last {
            return;
        }
    }
}
