//! Faults of the process and of the disk.

use std::time::Duration;

use super::world;
use crate::disk::{CALM, Weather};
use crate::oracle::Breach;
use crate::process::Settings;

#[test]
fn row_02_a_kill_after_the_ack_loses_nothing() -> Result<(), Breach> {
    for (seed, power) in (0..6).zip([false, true].into_iter().cycle()) {
        let mut world = world(seed, Settings::default());
        assert_eq!(world.exchange(10)?, 10);
        while world.hear_one() {}
        world.turn();
        assert_eq!(world.exchange(5)?, 5);
        world.die(power);
        world.restart()?;
        assert_eq!(world.process().stats().replayed, 15);
        world.rest()?;
        assert_eq!(world.oracle.totals.acknowledged, 15);
    }
    Ok(())
}

#[test]
fn row_05_a_torn_tail_is_cut_off_and_nothing_before_it() -> Result<(), Breach> {
    let mut torn = 0;
    for seed in 0..24 {
        let mut world = world(seed, Settings::default());
        assert_eq!(world.exchange(4)?, 4);
        world.machine.disk.die_in(seed % 3);
        world.exchange(4)?;
        world.die(true);
        world.restart()?;
        let stats = world.process().stats();
        assert!(stats.replayed >= 4);
        torn += u64::from(stats.torn_bytes > 0);
        world.rest()?;
    }
    assert!(torn > 2, "only {torn} of 24 tails were torn");
    Ok(())
}

#[test]
fn row_06_a_flipped_bit_costs_one_record_and_is_counted() -> Result<(), Breach> {
    for seed in 0..16 {
        let mut world = world(seed, Settings::default());
        for _ in 0..3 {
            assert_eq!(world.exchange(6)?, 6);
        }
        world.die(false);
        world.machine.disk.flip_a_bit();
        world.restart()?;
        let (replayed, hurt) = (world.process().stats().replayed, world.oracle.totals.damaged_records);
        assert!(hurt <= 1 && replayed >= 17, "{replayed} records, {hurt} damaged");
        let counted = world.process().stats().damaged + world.process().stats().torn_bytes;
        assert!(replayed == 18 || counted > 0, "a record is gone, and nobody counted it");
        assert_eq!(world.exchange(1)?, 1);
        world.rest()?;
    }
    Ok(())
}

#[test]
fn row_07_misdirected_or_stale_write_is_detected() -> Result<(), Breach> {
    let mut detected = 0;
    for seed in 0..16 {
        let mut world = world(seed, Settings::default());
        assert_eq!(world.exchange(8)?, 8);
        world.machine.disk.set_weather(Weather { misdirected: 1.0, ..CALM });
        assert_eq!(world.exchange(8)?, 8);
        world.machine.disk.set_weather(CALM);
        assert_eq!(world.exchange(2)?, 2);
        world.die(true);
        world.restart()?;
        let stats = world.process().stats();
        let lost = 18 - stats.replayed;
        assert!(
            lost == 0 || stats.damaged + stats.torn_bytes > 0,
            "{lost} records are gone, and nobody says so"
        );
        detected += u64::from(lost > 0);
        world.rest()?;
    }
    assert!(detected > 12, "only {detected} of 16 misdirected writes hit a record");
    Ok(())
}

#[test]
fn row_08_a_full_disk_refuses_stays_up_and_recovers_by_itself() -> Result<(), Breach> {
    for tells_space in [true, false] {
        let mut world = world(8, Settings::default());
        assert_eq!(world.exchange(6)?, 6);
        let full = world.machine.disk.used_bytes() + 700;
        world.machine.disk.set_weather(Weather { capacity_bytes: full, tells_space, ..CALM });
        assert_eq!(world.exchange(12)?, 0, "nothing of a group that does not fit is acknowledged");
        assert!(world.process().log.admits().is_err(), "the next one is told at once");
        assert_eq!(world.exchange(1)?, 0);
        world.machine.disk.set_weather(CALM);
        world.pass(Duration::from_secs(1));
        assert_eq!(world.exchange(12)?, 12);
        world.rest()?;
    }
    Ok(())
}

#[test]
fn row_10_after_a_failed_sync_the_segment_is_abandoned() -> Result<(), Breach> {
    for seed in 0..16 {
        let mut world = world(seed, Settings::default());
        assert_eq!(world.exchange(6)?, 6);
        world.machine.disk.set_weather(Weather { syncs: 1.0, ..CALM });
        assert_eq!(world.exchange(6)?, 0);
        assert_eq!(world.process().stats().abandoned, 1);
        // The next sync of that file would say yes, and mean nothing.
        world.machine.disk.set_weather(CALM);
        world.pass(Duration::from_secs(1));
        assert_eq!(world.exchange(6)?, 6);
        assert_eq!(world.process().stats().segments, 2);
        world.die(true);
        world.restart()?;
        assert!(world.process().stats().replayed >= 12);
        world.rest()?;
    }
    Ok(())
}

#[test]
fn row_11_a_segment_s_name_is_durable_before_the_ack() -> Result<(), Breach> {
    for seed in 0..16 {
        let mut world = world(seed, Settings { segment_bytes: 1024, ..Settings::default() });
        // Each group begins a segment.
        for _ in 0..3 {
            assert_eq!(world.exchange(4)?, 4);
        }
        world.die(true);
        world.restart()?;
        assert_eq!(world.process().stats().replayed, 12);
        world.rest()?;
    }
    Ok(())
}

#[test]
fn row_09_a_read_only_disk_refuses_and_recovers() -> Result<(), Breach> {
    let mut world = world(9, Settings::default());
    assert_eq!(world.exchange(6)?, 6);
    world.machine.disk.set_weather(Weather { read_only: true, ..CALM });
    assert_eq!(world.exchange(6)?, 0);
    assert!(world.process().log.admits().is_err(), "and it is not ready");
    world.machine.disk.set_weather(CALM);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.exchange(6)?, 6);
    world.rest()
}
