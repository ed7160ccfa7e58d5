//! Time that passes when the driver says so. The monotonic clock begins anew with each life of the machine; the wall clock
//! goes on, and may jump.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tracewell::runtime::Clock;

/// Noon, 21 November 2026: half a day from midnight, so that an hour's jump stays within the day, and some runs cross it.
pub const BEGIN_UNIX_NANO: u64 = 1_795_262_400_000_000_000;

struct Times {
    monotonic: Duration,
    wall_unix_nano: u64,
}

/// The clock; clones are the same one.
#[derive(Clone)]
pub struct SimClock(Arc<Mutex<Times>>);

impl SimClock {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Times { monotonic: Duration::ZERO, wall_unix_nano: BEGIN_UNIX_NANO })))
    }

    pub fn advance(&self, by: Duration) {
        let mut times = self.0.lock();
        times.monotonic += by;
        times.wall_unix_nano += by.as_nanos() as u64;
    }

    /// The wall clock is set.
    pub fn jump(&self, by_secs: i64) {
        let mut times = self.0.lock();
        times.wall_unix_nano = times.wall_unix_nano.saturating_add_signed(by_secs * 1_000_000_000);
    }

    /// The machine starts: its monotonic clock begins near zero.
    pub fn reboot(&self, monotonic: Duration) {
        self.0.lock().monotonic = monotonic;
    }
}

impl Clock for SimClock {
    fn now_unix_nano(&self) -> u64 {
        self.0.lock().wall_unix_nano
    }

    fn monotonic(&self) -> Duration {
        self.0.lock().monotonic
    }
}
