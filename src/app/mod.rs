//! The composition root: the only wiring. Ordered start, ordered drain.

mod admin;
mod agent;
#[doc(hidden)]
pub mod checkpoint;
mod compacting;
mod companion;
mod connecting;
// The parts that `tests/crash` drives step by step, in place of the loops.
#[doc(hidden)]
pub mod decider;
mod enriching;
#[doc(hidden)]
pub mod events;
mod explaining;
#[doc(hidden)]
pub mod exporting;
#[doc(hidden)]
pub mod finder;
#[doc(hidden)]
pub mod fleet;
mod forwarding;
mod housekeeping;
#[doc(hidden)]
pub mod ingest;
mod joining;
mod listeners;
mod membership;
#[doc(hidden)]
pub mod memory;
#[doc(hidden)]
pub mod noting;
mod pin;
mod receiving;
mod recording;
#[doc(hidden)]
pub mod replay;
#[doc(hidden)]
pub mod rescue;
#[doc(hidden)]
pub mod rules;
#[doc(hidden)]
pub mod start;
#[doc(hidden)]
pub mod storing;
mod trust;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::config::{Config, Role};
use crate::runtime::{Clock, Drain, Shutdown, Tasks};

pub use companion::{Companion, Entrance};
pub use enriching::examine as examine_enrich;
pub use start::Started;

/// Why the daemon does not start. Shown to a person: says what was being done, to what, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory is in use, or cannot be written.
    #[error("{0}")]
    Data(#[from] crate::runtime::LockError),
    /// A file of the data directory cannot be read or written.
    #[error("cannot use the data directory {}: {source}", path.display())]
    DataFile {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The log cannot be opened.
    #[error("{0}")]
    Log(#[from] crate::log::LogError),
    /// The rules file cannot be read, or has a mistake.
    #[error("{0}")]
    Rules(String),
    /// The store's URL, credentials or settings cannot work.
    #[error("cannot use the store: {0}")]
    Store(#[from] crate::store::StoreError),
    /// A listener's address is taken, or not this machine's.
    #[error("cannot listen on {address} ({what}): {source}")]
    Listen {
        /// What for.
        what: &'static str,
        /// Where.
        address: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A setting that cannot work.
    #[error("{0}")]
    Setting(String),
    /// The system gives no more threads.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}

/// How the daemon ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// Drained: everything acknowledged is in the table, or in the log for the next start.
    Cleanly,
    /// A task died. Nothing acknowledged is lost: it is in the log.
    Uncleanly,
}

/// Starts everything, runs until `stop` says so (or a task dies), and drains.
///
/// # Errors
/// When it cannot start.
pub async fn run(
    config: Config,
    clock: Arc<dyn Clock>,
    companion: Option<Companion>,
    stop: impl Future<Output = ()> + Send,
) -> Result<Ended, StartError> {
    if config.role == Role::Agent {
        return agent::run(config, clock, companion, stop).await;
    }
    let tasks = Tasks::new(tokio::runtime::Handle::current());
    let (deadline, drain_max) = (config.shutdown.deadline, config.gateways.drain);
    let draining_clock = clock.clone();
    let mut stop = std::pin::pin!(stop);
    let mut started = tokio::select! {
        started = start::start(config, clock, tasks.clone()) => started?,
        () = &mut stop => return Ok(Ended::Cleanly),
    };
    if let Some(doorway) = started.doorway.take() {
        let Started { trust, receiving, receivers, .. } = &mut started;
        doorway.let_in(companion, &tasks, trust, receiving, receivers).await?;
    }
    let died = died_before(&tasks, stop).await;
    if let Some(fleet) = started.fleet.clone().filter(|_| !died) {
        joining::leave(&fleet, &started.gauges, &*draining_clock, drain_max).await;
    }
    tracing::info!("stopping");
    if !drain(&mut started, deadline).await {
        tracing::warn!(
            "not everything could be flushed in time; it is in the log, and stored at the next start"
        );
    }
    Ok(if died { Ended::Uncleanly } else { Ended::Cleanly })
}

/// Waits until `stop` says so, or a task dies; says whether one did.
async fn died_before(tasks: &Tasks, stop: impl Future<Output = ()>) -> bool {
    tokio::select! {
        () = stop => false,
        panicked = tasks.first_panic() => {
            tracing::error!(task = panicked.task, reason = panicked.message, "a task died; stopping");
            true
        }
    }
}

/// Stops receiving, answers what is in flight, flushes what is kept, closes the log, stops answering questions.
async fn drain(started: &mut Started, deadline: Duration) -> bool {
    let mut steps = Drain::new();
    started.receiving.begin();
    let receivers = std::mem::take(&mut started.receivers);
    steps.step("receivers", async move {
        let finished = async {
            let mut outcome = Ok(());
            for receiver in receivers {
                outcome = outcome.and(receiver.await.map(drop));
            }
            outcome.map_err(|e| e.to_string())
        };
        // A sender that trickles must not take the time that flushing needs.
        let finished = tokio::time::timeout(deadline / 4, finished).await;
        finished.unwrap_or_else(|_| Err("some senders did not finish their requests in time".into()))
    });
    let events = started.events.clone();
    steps.step("flush", async move {
        let (done, flushed) = oneshot::channel();
        let asked = events.send(events::Event::Flush(done)).await;
        asked.map_err(|_| "the sampler is gone")?;
        flushed.await.map_err(|_| "the sampler ended before everything was stored")
    });
    let log = started.log.clone();
    let writer = started.log_writer.take();
    steps.step("log", async move {
        log.close();
        match writer {
            Some(writer) => writer.await.map(drop),
            None => Ok(()),
        }
    });
    let rest: Shutdown = started.everything.clone();
    steps.step("rest", async move {
        rest.begin();
        Ok::<(), String>(())
    });
    if let Some(exports) = started.exports.take() {
        steps.step("exports", async move {
            exports.stop().await;
            Ok::<(), String>(())
        });
    }
    let others = std::mem::take(&mut started.others);
    steps.step("questions", async move {
        let mut outcome = Ok(());
        for other in others {
            outcome = outcome.and(other.await.map(drop));
        }
        outcome
    });
    steps.run(deadline).await.is_clean()
}

/// Spawns what belongs to no stage and nobody waits for.
pub fn in_background(task: &'static str, future: impl Future<Output = ()> + Send + 'static) {
    let _runs_to_the_end_of_the_process = Tasks::new(tokio::runtime::Handle::current()).spawn(task, future);
}
