//! How long to wait before the next try: twice as long each time, and never all at once.

use std::time::Duration;

use crate::runtime::Random;

const FIRST: Duration = Duration::from_millis(100);
/// A receiver that comes back is not kept waiting for longer than this.
const MAX: Duration = Duration::from_secs(5);
/// Nobody is told to stay away for longer than this.
const ASKED_MAX: Duration = Duration::from_secs(300);

/// The waits of one request.
#[derive(Debug)]
pub struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Backoff {
    /// The next wait: jittered, and at least what the receiver asked for.
    pub fn next(&mut self, random: &dyn Random, asked: Option<Duration>) -> Duration {
        let wait = random.jittered(self.0);
        self.0 = (self.0 * 2).min(MAX);
        wait.max(asked.unwrap_or_default().min(ASKED_MAX))
    }
}

#[cfg(test)]
mod tests;
