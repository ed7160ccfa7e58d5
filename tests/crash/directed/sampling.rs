//! Faults of the clock and of the senders.

use std::time::Duration;

use super::world;
use crate::oracle::Breach;
use crate::process::Settings;

#[test]
fn row_15_a_jump_of_the_wall_clock_decides_nothing() -> Result<(), Breach> {
    for secs in [3600, -3600] {
        let mut world = world(15, Settings::default());
        assert_eq!(world.exchange(10)?, 10);
        while world.hear_one() {}
        world.machine.clock.jump(secs);
        world.turn();
        let stats = world.process().decider.sampler.stats();
        assert!(stats.pending_traces > 0);
        assert_eq!(stats.decisions, 0, "nothing is due before its time");
        assert_eq!(world.exchange(10)?, 10);
        world.decide()?;
        assert_eq!(world.process().decider.sampler.stats().pending_traces, 0, "and then all are");
        world.rest()?;
    }
    Ok(())
}

#[test]
fn row_20_more_traces_than_there_is_room_for_are_decided_early() -> Result<(), Breach> {
    let index_bytes = 16 * 1024;
    let mut world = world(20, Settings { index_bytes, ..Settings::default() });
    for _ in 0..40 {
        world.exchange(8)?;
        while world.hear_one() {}
        world.turn();
        world.pass(Duration::from_millis(1));
        let stats = world.process().decider.sampler.stats();
        assert!(stats.index_bytes <= index_bytes as u64, "{stats:?}");
    }
    assert!(world.process().decider.sampler.stats().decided_early > 0);
    world.rest()
}

#[test]
fn row_21_retries_are_one_span_to_a_reader() -> Result<(), Breach> {
    let mut world = world(21, Settings::default());
    assert_eq!(world.exchange(10)?, 10);
    for round in 0..3 {
        // Before the verdict, and behind it, and once more behind a restart.
        if round > 0 {
            world.decide()?;
            world.store_batch();
        }
        for sent in 0..10 {
            world.try_sending(sent);
            world.poll()?;
        }
        world.write_log()?;
        world.poll()?;
        if round == 1 {
            world.die(true);
            world.restart()?;
        }
    }
    assert_eq!(world.answers, (40, 0));
    world.rest()?;
    // The oracle has counted rows; here are the traces as people see them.
    let reader = world.reader();
    let all = 0..world.load.traces.len();
    world.runtime.block_on(world.oracle.checks_traces(&world.load, &reader, all))
}

#[test]
fn row_25_what_a_drain_cannot_store_comes_back() -> Result<(), Breach> {
    let mut world = world(25, Settings::default());
    assert_eq!(world.exchange(20)?, 20);
    world.decide()?;
    world.machine.objects.set_failing(1.0);
    world.store_batch();
    world.drain()?;
    let stats = world.process().decider.sampler.stats();
    assert!(stats.kept_traces_not_stored > 0, "the store was down: {stats:?}");
    world.machine.objects.set_failing(0.0);
    world.rest()?;
    assert!(world.oracle.totals.kept > 0);
    Ok(())
}
