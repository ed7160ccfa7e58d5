//! Looks up dropped traces that are to be kept after all: the sampler wishes, the flight recorder has them.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::mpsc;

use super::events::{Event, Events};
use super::finder::{FindError, Finder};
use crate::runtime::Shutdown;
use crate::sample::Rescue;

/// Lists of wishes on their way here.
pub const WISHES_QUEUE: usize = 64;
/// Wishes that may wait here; beyond it the oldest is given up, and the sampler counts it.
const WISHES_MAX: usize = 4096;
/// Wishes that are answered with one record of the log.
const TOGETHER: usize = 64;
/// After a start a part of the log may not be indexed yet: how often, and after how long, it is looked again.
const TRIES: u32 = 60;
const TRY_EVERY: Duration = Duration::from_secs(1);

/// Everything the task works with.
pub struct Rescuing {
    pub finder: Finder,
    pub events: Events,
}

impl Rescuing {
    /// Runs until shutdown. What is not found by then is wished for again after the next start.
    pub async fn run(self, wishes: mpsc::Receiver<Vec<Rescue>>, stop: Shutdown) {
        tokio::select! {
            () = self.work(wishes) => {}
            () = stop.begun() => {}
        }
    }

    async fn work(&self, mut wishes: mpsc::Receiver<Vec<Rescue>>) {
        let mut waiting = VecDeque::new();
        let mut open = true;
        while open || !waiting.is_empty() {
            let some: Vec<Rescue> = waiting.drain(..waiting.len().min(TOGETHER)).collect();
            let mut answered = std::pin::pin!(self.answer(&some));
            // Wishes are taken in meanwhile, so that of too many the oldest go.
            loop {
                tokio::select! {
                    () = &mut answered, if !some.is_empty() => break,
                    more = wishes.recv(), if open => match more {
                        Some(more) => {
                            waiting.extend(more);
                            self.give_up_oldest(&mut waiting).await;
                        }
                        None => open = false,
                    },
                    else => break,
                }
                if some.is_empty() {
                    break;
                }
            }
        }
    }

    async fn give_up_oldest(&self, waiting: &mut VecDeque<Rescue>) {
        let over = waiting.len().saturating_sub(WISHES_MAX);
        for wish in waiting.drain(..over) {
            self.gone(&wish).await;
        }
    }

    async fn gone(&self, wish: &Rescue) {
        // The sampler's loop ends after this one, but for a panic, which stops the daemon.
        let _ = self.events.send(Event::Gone(wish.tenant.clone(), wish.trace_id)).await;
    }

    /// Looks these up, and tells the sampler's loop what was found.
    pub async fn answer(&self, wishes: &[Rescue]) {
        let mut rescued = Vec::new();
        for wish in wishes {
            match self.look(wish).await {
                Ok(found) => {
                    let trace = &found.trace;
                    tracing::info!(
                        trace_id = %wish.trace_id, rule = &*wish.verdict.rule, spans = trace.spans,
                        records = trace.places.len(), complete = found.complete, "a dropped trace is kept after all"
                    );
                    rescued.push(found.trace);
                }
                Err(error) => {
                    tracing::debug!(trace_id = %wish.trace_id, %error, "a dropped trace cannot be kept after all");
                    self.gone(wish).await;
                }
            }
        }
        if !rescued.is_empty() {
            let _ = self.events.send(Event::Rescued(rescued)).await;
        }
    }

    /// The trace; looked for again while the index is not whole.
    async fn look(&self, wish: &Rescue) -> Result<super::finder::Found, FindError> {
        let mut tries = 1;
        loop {
            let found = self.finder.find(&wish.tenant, wish.trace_id, wish.verdict.clone()).await;
            let whole = match &found {
                Ok(found) => found.complete,
                Err(FindError::NotThere { searched }) => *searched,
                Err(_) => false,
            };
            if whole || tries >= TRIES || self.finder.recorder.stats().missing == 0 {
                return found;
            }
            tries += 1;
            tokio::time::sleep(TRY_EVERY).await;
        }
    }
}
