//! The log, read again at start.

use std::sync::Arc;
use std::time::Duration;

use super::StartError;
use super::fleet::InFleet;
use super::noting::{self, Noting};
use crate::ledger::Ledger;
use crate::log::{Position, Record, RecordKind, Replay};
use crate::runtime::{Clock, Tasks};
use crate::sample::records::{decode_done, decode_flush, decode_rescue, decode_verdicts};
use crate::sample::{Checkpoint, Rulebook, Sampler};

/// A sampler that has read the log. That may take a while: on a thread of its own, so that signals are still heard.
pub(super) async fn replayed(
    tasks: &Tasks,
    mut sampler: Sampler,
    replay: Replay,
    rulebook: &Arc<Rulebook>,
    clock: &Arc<dyn Clock>,
    mut noting: Noting,
    fleet: Option<Arc<InFleet>>,
) -> Result<Sampler, StartError> {
    let (rulebook, clock) = (rulebook.clone(), clock.clone());
    let read = tasks.blocking("replay", move || {
        noting.seed_and(&mut sampler, |trace| fleet.iter().for_each(|fleet| fleet.remember_decided(trace)));
        let outcome = replay.outcome();
        let replay = replay.inspect(|record| {
            noting.note(record);
            fleet.iter().for_each(|fleet| fleet.remember_record(record));
        });
        replay_into(&mut sampler, replay, &rulebook, clock.as_ref());
        outcome.check().map(|()| sampler)
    });
    Ok(read.await.map_err(|died| StartError::Setting(format!("the log cannot be read: {died}")))??)
}

/// Has the sampler go on from a checkpoint and from the ledger of decisions, and says where replay begins: what lies before
/// that in the log is settled, counted and noted.
pub fn resume(
    sampler: &mut Sampler,
    checkpoint: Option<&Checkpoint>,
    ledger: &Arc<Ledger>,
    oldest: Position,
) -> (Position, Noting) {
    let mut begin = oldest;
    if let Some(checkpoint) = checkpoint {
        begin = begin.max(checkpoint.replay_from.min(noting::needed_from(ledger)));
        sampler.resume(checkpoint);
    }
    (begin, Noting::new(ledger.clone(), begin))
}

/// Feeds what is in the log to the sampler, as if it came now but for its age.
pub fn replay_into(
    sampler: &mut Sampler,
    replay: impl Iterator<Item = Record>,
    rulebook: &Rulebook,
    clock: &dyn Clock,
) {
    let (mut records, mut spans) = (0u64, 0u64);
    for record in replay {
        records += 1;
        let now = clock.monotonic();
        let unreadable = |error: &dyn std::fmt::Display| {
            tracing::error!(position = %record.position, %error, "a record of the log cannot be used; skipped");
        };
        match record.kind {
            RecordKind::Spans => match record.spans() {
                Ok(read) => match rulebook.scan_again(&read.body, read.meta.rules_version) {
                    Ok(notes) => {
                        let age = clock.now_unix_nano().saturating_sub(read.meta.received_unix_nano);
                        spans += u64::from(notes.spans);
                        let age = Duration::from_nanos(age);
                        sampler.observe(record.position, &read.meta.tenant, &notes, now, age);
                    }
                    Err(error) => unreadable(&error),
                },
                Err(error) => unreadable(&error),
            },
            RecordKind::Verdicts => match decode_verdicts(&record.payload) {
                Ok(decided) => sampler.apply_verdicts(record.position, &decided, now),
                Err(error) => unreadable(&error),
            },
            RecordKind::Flush => match decode_flush(&record.payload) {
                Ok(flush) => drop(sampler.apply_flush(record.position, &flush)),
                Err(error) => unreadable(&error),
            },
            RecordKind::Done => match decode_done(&record.payload) {
                Ok(done) => sampler.apply_done(record.position, &done),
                Err(error) => unreadable(&error),
            },
            RecordKind::Rescue => match decode_rescue(&record.payload) {
                Ok(rescued) => sampler.apply_rescue(record.position, &rescued, now),
                Err(error) => unreadable(&error),
            },
            RecordKind::Rules => {}
        }
    }
    let stats = sampler.stats();
    tracing::info!(
        records,
        spans,
        pending_traces = stats.pending_traces,
        kept_traces = stats.kept_traces_not_stored,
        "the log was read"
    );
}
