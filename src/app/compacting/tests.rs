#![allow(clippy::unwrap_used)]

use super::*;
use crate::runtime::SystemClock;

#[test]
fn rest_makes_work_the_share_that_was_asked_for() {
    let second = Duration::from_secs(1);
    for (share, rest) in [(1.0, 0), (0.5, 1), (0.25, 3), (0.01, 10)] {
        assert_eq!(rest_after(second, share), rest * second, "{share}");
    }
    assert_eq!(rest_after(Duration::ZERO, 0.25), Duration::ZERO);
}

#[test]
fn a_busy_thread_is_slowed_down_and_a_shutdown_ends_its_rest() {
    let stop = Shutdown::new();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let worked = Arc::<AtomicU64>::default();
    let mut pace =
        Share { share: 0.2, clock: clock.clone(), stop: stop.clone(), before: None, worked: worked.clone() };
    assert!(pace.rest());
    let begun = clock.monotonic();
    let mut sum = 0u64;
    while Duration::from_nanos(worked.load(Ordering::Relaxed)) < Duration::from_millis(40) {
        (0..200_000u64).for_each(|n| sum = sum.wrapping_mul(31).wrapping_add(n));
        assert!(pace.rest());
    }
    assert!(sum != 1);
    let took = clock.monotonic() - begun;
    assert!(took >= Duration::from_millis(150), "{took:?}");
    stop.begin();
    assert!(!pace.rest());
}
