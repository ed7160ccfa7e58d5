//! How often somebody was let in or not, and log lines about it that nobody can make many of.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::denied::{Denied, DeniedReason};
use crate::runtime::Clock;

/// One line of log for each reason in this time.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Counters since the start.
#[derive(Debug, Default)]
pub struct AuthStats {
    admitted: AtomicU64,
    denied: [AtomicU64; DeniedReason::ALL.len()],
    /// When each reason was last told, and how often it came since.
    told: Mutex<[(Option<Duration>, u64); DeniedReason::ALL.len()]>,
}

impl AuthStats {
    /// Requests let in with a credential.
    pub fn admitted(&self) -> u64 {
        self.admitted.load(Ordering::Relaxed)
    }

    /// Requests not let in.
    pub fn denied(&self, reason: DeniedReason) -> u64 {
        self.denied[reason as usize].load(Ordering::Relaxed)
    }

    pub(super) fn count_admitted(&self) {
        self.admitted.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_denied(&self, denied: &Denied, clock: &dyn Clock) {
        let index = denied.reason as usize;
        self.denied[index].fetch_add(1, Ordering::Relaxed);
        let mut told = self.told.lock();
        let (last, since) = &mut told[index];
        *since += 1;
        let now = clock.monotonic();
        if last.is_none_or(|last| now.saturating_sub(last) >= LINE_EVERY) {
            let times = std::mem::take(since);
            *last = Some(now);
            drop(told);
            tracing::warn!(reason = denied.reason.name(), times, "not let in: {}", denied.message);
        }
    }
}
