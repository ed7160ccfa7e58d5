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
mod tests {
    use super::*;
    use crate::runtime::SeededRandom;

    #[test]
    fn waits_grow_to_a_bound_are_jittered_and_honour_what_was_asked() {
        let random = SeededRandom::new(7);
        let mut backoff = Backoff::default();
        for round in 0..20u32 {
            let whole = (FIRST * 2u32.pow(round.min(10))).min(MAX);
            let wait = backoff.next(&random, None);
            assert!(wait >= whole / 2 && wait <= whole, "{round}: {wait:?}");
        }
        assert_eq!(backoff.next(&random, Some(Duration::from_secs(60))), Duration::from_secs(60));
        assert_eq!(backoff.next(&random, Some(Duration::from_secs(9999))), ASKED_MAX);
    }
}
