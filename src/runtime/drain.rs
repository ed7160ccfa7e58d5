//! Ordered shutdown: named steps, one deadline, and every error told at the end.

#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Tells everybody that the daemon is stopping. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// Not begun yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins it. Again changes nothing.
    pub fn begin(&self) {
        self.0.cancel();
    }

    /// Whether it has begun.
    pub fn has_begun(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits until it has begun.
    pub async fn begun(&self) {
        self.0.cancelled().await;
    }

    /// The same as an owned future, for servers that want one.
    pub fn begun_owned(&self) -> impl Future<Output = ()> + Send + use<> {
        self.0.clone().cancelled_owned()
    }

    /// The same as a token, for servers that want that.
    pub fn token(&self) -> CancellationToken {
        self.0.clone()
    }

    /// A shutdown that begins with this one, or earlier by itself: for what must stop in its own step.
    pub fn child(&self) -> Self {
        Self(self.0.child_token())
    }
}

/// How one step of a drain ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StepOutcome {
    /// It came to its end.
    Done,
    /// It came to its end and says what went wrong.
    Failed(String),
    /// The deadline passed first.
    TimedOut,
}

/// What became of every step, in order.
#[derive(Clone, Debug, Default)]
pub struct DrainReport {
    /// Name, outcome and duration of each step.
    pub steps: Vec<(&'static str, StepOutcome, Duration)>,
}

impl DrainReport {
    /// Whether every step came to its end in time and without an error.
    pub fn is_clean(&self) -> bool {
        self.steps.iter().all(|(_, outcome, _)| *outcome == StepOutcome::Done)
    }
}

impl fmt::Display for DrainReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, outcome, _)) in self.steps.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            match outcome {
                StepOutcome::Done => write!(f, "{separator}{name}: done")?,
                StepOutcome::Failed(error) => write!(f, "{separator}{name}: {error}")?,
                StepOutcome::TimedOut => write!(f, "{separator}{name}: not finished in time")?,
            }
        }
        Ok(())
    }
}

type Step = BoxFuture<'static, Result<(), String>>;

/// The steps of an ordered shutdown: stop receiving, finish what was acknowledged, flush, close.
#[derive(Default)]
pub struct Drain {
    steps: Vec<(&'static str, Step)>,
}

impl Drain {
    /// No steps yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next step. It runs when those before it have ended, one way or another.
    pub fn step<F, E>(&mut self, name: &'static str, step: F) -> &mut Self
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display,
    {
        self.steps.push((name, async move { step.await.map_err(|e| e.to_string()) }.boxed()));
        self
    }

    /// Runs all steps in order under one deadline. No error and no delay keeps a later step from its turn: past the
    /// deadline each is still polled once, which is enough for those that only flip a switch.
    pub async fn run(self, deadline: Duration) -> DrainReport {
        let end = Instant::now() + deadline;
        let mut report = DrainReport::default();
        for (name, step) in self.steps {
            let begun = Instant::now();
            let outcome = match tokio::time::timeout_at(end, step).await {
                Ok(Ok(())) => StepOutcome::Done,
                Ok(Err(error)) => StepOutcome::Failed(error),
                Err(_) => StepOutcome::TimedOut,
            };
            match &outcome {
                StepOutcome::Done => tracing::info!(step = name, "drained"),
                StepOutcome::Failed(error) => tracing::error!(step = name, error, "drain step failed"),
                StepOutcome::TimedOut => tracing::error!(step = name, "drain step not finished in time"),
            }
            report.steps.push((name, outcome, begun.elapsed()));
        }
        report
    }
}
