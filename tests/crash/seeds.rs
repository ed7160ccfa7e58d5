//! Runs seeds: those that once found something, and fresh ones.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use tracewell::runtime::{Random, SystemRandom};

use crate::world::{Report, World};

/// Steps of a run, unless `CRASH_STEPS` says otherwise.
const STEPS: usize = 2500;
/// What `cargo test` spends on fresh seeds.
const FRESH: Duration = Duration::from_secs(60);
/// Seeds that once found a defect, and some for good measure.
const REGRESSIONS: &[u64] =
    &[1, 2, 3, 4, 5, 6, 7, 8, 23, 36, 43, 55, 13476013021388455197, 13721858100857719315];

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    Some(parsed.unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

fn run(seed: u64) -> Report {
    let mut world = World::of_seed(seed);
    let steps = number("CRASH_STEPS").map_or(STEPS, |steps| steps as usize);
    let outcome = catch_unwind(AssertUnwindSafe(|| world.run(steps)));
    let breach = match outcome {
        Ok(Ok(report)) => return report,
        Ok(Err(breach)) => breach,
        Err(_) => "it panicked".to_owned(),
    };
    panic!(
        "{breach}\n\nThe last events:\n{}\nAfter {} events, with {:?} and {:?}.\n\
         Replay: CRASH_SEED={seed} cargo test --test crash one_seed -- --nocapture",
        world.journal.last(),
        world.journal.events(),
        world.settings,
        world.perils,
    );
}

/// `CRASH_SEED=…`: that one.
#[test]
fn one_seed() {
    if let Some(seed) = number("CRASH_SEED") {
        println!("{:?}", run(seed));
    }
}

#[test]
fn seeds_that_once_failed() {
    if number("CRASH_SEED").is_none() {
        REGRESSIONS.iter().for_each(|seed| drop(run(*seed)));
    }
}

#[test]
fn a_seed_replays_exactly() {
    if number("CRASH_SEED").is_none() {
        let seed = SystemRandom.bits();
        println!("seed {seed}");
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
}

#[test]
#[allow(clippy::disallowed_methods)]
fn fresh_seeds() {
    if number("CRASH_SEED").is_some() {
        return;
    }
    let seeds = number("CRASH_SEEDS").unwrap_or(u64::MAX);
    let time = number("CRASH_MINUTES").map(|minutes| Duration::from_secs(60 * minutes));
    let time = time.unwrap_or(if seeds == u64::MAX { FRESH } else { Duration::MAX });
    let begun = Instant::now();
    let (mut ran, mut lives, mut events) = (0, 0, 0);
    while ran < seeds && begun.elapsed() < time {
        let seed = SystemRandom.bits();
        println!("seed {seed}");
        let report = run(seed);
        (ran, lives, events) = (ran + 1, lives + report.lives, events + report.events);
    }
    println!("{ran} seeds, {lives} lives, {events} events in {:?}", begun.elapsed());
}
