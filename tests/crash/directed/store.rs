//! Faults of the object store, and of the machine while it writes there.

use std::time::Duration;

use futures::StreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use tracewell::sample::BatchPolicy;

use super::world;
use crate::objects::Fault;
use crate::oracle::{Breach, span_ids};
use crate::process::Settings;
use crate::world::World;

impl World {
    /// A batch is planned, and everything it needs is durable.
    fn with_a_batch(seed: u64) -> Result<Self, Breach> {
        let policy = BatchPolicy { bytes: 1 << 20, age: Duration::from_secs(1) };
        let mut world = world(seed, Settings { policy, ..Settings::default() });
        assert_eq!(world.exchange(20)?, 20);
        world.decide()?;
        assert!(world.process().decider.sampler.stats().kept_traces_not_stored > 0);
        Ok(world)
    }

    /// For each tenant of the batch that is being written: its spans, and how many of them a reader sees.
    fn spans_of_batch(&mut self) -> Result<Vec<(usize, usize)>, Breach> {
        let Some((batch, _)) = self.process().batch.clone() else { return Ok(Vec::new()) };
        let reader = self.reader();
        let mut of_tenants = Vec::new();
        for traces in batch.traces.chunk_by(|a, b| a.tenant == b.tenant) {
            let kept = traces.iter().map(|trace| trace.spans as usize).sum();
            let rows = self.runtime.block_on(span_ids(&reader, &traces[0].tenant))?;
            of_tenants.push((kept, rows.len()));
        }
        Ok(of_tenants)
    }

    /// Files of the table's data, by name.
    fn data_files(&self) -> Vec<Path> {
        let objects = self.machine.objects.contents();
        let listed = self.runtime.block_on(objects.list(None).collect::<Vec<_>>());
        let paths = listed.into_iter().map(|meta| meta.unwrap().location);
        paths.filter(|path| path.as_ref().contains("/part-")).collect()
    }
}

/// The machine dies at each change that a batch makes, before or after it.
#[test]
fn row_03_a_kill_between_upload_and_commit_writes_nothing_twice() -> Result<(), Breach> {
    let mut deaths = 0;
    for changes in 0..12 {
        for seed in 0..2 {
            let mut world = World::with_a_batch(100 * changes + seed)?;
            if seed % 2 == 0 {
                // Death comes before a change in one attempt, after it in the next.
                world.machine.objects.next_attempt();
            }
            world.machine.objects.die_in(changes);
            world.store_batch();
            if !world.machine.objects.is_dead() {
                continue;
            }
            deaths += 1;
            world.die(true);
            world.restart()?;
            // The oracle counts the rows.
            world.rest()?;
            let before = world.data_files();
            world.machine.clock.advance(Duration::from_secs(2 * 86_400));
            assert!(world.expire()?);
            assert_eq!(before, world.data_files(), "no file was left behind by the first attempt");
        }
    }
    assert!(deaths > 10, "the machine died only {deaths} times");
    Ok(())
}

#[test]
fn row_04_a_kill_before_the_commit_shows_no_part_of_a_batch() -> Result<(), Breach> {
    let mut seen = (false, false);
    for changes in 0..12 {
        let mut world = World::with_a_batch(changes)?;
        world.machine.objects.die_in(changes);
        world.store_batch();
        let spans = world.spans_of_batch()?;
        // One batch of two tenants, one transaction each: all of its spans of a tenant, or none.
        for (kept, stored) in spans {
            assert!(stored == 0 || stored == kept, "{stored} of {kept} spans");
            seen = (seen.0 || stored == 0, seen.1 || stored > 0);
        }
        world.die(false);
        world.restart()?;
        world.rest()?;
    }
    assert_eq!(seen, (true, true));
    Ok(())
}

#[test]
fn row_12_while_the_store_fails_the_log_fills_and_then_refuses() -> Result<(), Breach> {
    let settings = Settings { limit_bytes: 32 * 1024, segment_bytes: 4 * 1024, ..Settings::default() };
    let mut world = world(12, settings);
    world.machine.objects.set_failing(1.0);
    let mut refused = false;
    for _ in 0..200 {
        world.exchange(4)?;
        world.decide()?;
        world.store_batch();
        if world.answers.1 > 0 {
            refused = true;
            break;
        }
    }
    assert!(refused, "the log takes more than its limit");
    let stats = world.process().stats();
    assert!(stats.bytes <= 32 * 1024 * 9 / 8, "{stats:?}");
    world.machine.objects.set_failing(0.0);
    world.rest()?;
    assert_eq!(world.exchange(4)?, 4, "and takes spans again");
    Ok(())
}

#[test]
fn row_13_a_time_out_after_the_commit_writes_nothing_twice() -> Result<(), Breach> {
    for fault in [Fault::LostAnswer, Fault::AskedAgain] {
        for object in [".parquet", "00.json", "01.json"] {
            let mut world = World::with_a_batch(13)?;
            world.machine.objects.force(object, fault);
            for _ in 0..4 {
                world.store_batch();
            }
            assert!(
                world.process().batch.is_none(),
                "{fault:?} of {object} keeps the batch from being stored"
            );
            world.rest()?;
        }
    }
    Ok(())
}

#[test]
fn row_14_what_a_cut_upload_left_is_swept_after_a_day() -> Result<(), Breach> {
    let mut world = World::with_a_batch(14)?;
    world.store_batch();
    let files = world.data_files();
    assert!(!files.is_empty());
    let folder = files[0].as_ref().rsplit_once('/').unwrap().0.to_owned();
    let orphan = Path::from(format!("{folder}/part-0000000000000001-gone.zstd.parquet"));
    let put = PutPayload::from_static(b"half of it");
    world.runtime.block_on(world.machine.objects.put(&orphan, put)).unwrap();
    for (hours, left) in [(1, true), (12, true), (12, false)] {
        world.machine.clock.advance(Duration::from_secs(3600 * hours));
        assert!(world.expire()?);
        assert_eq!(world.data_files().contains(&orphan), left, "after {hours} more hours");
    }
    assert_eq!(world.data_files(), files, "what the table names stays");
    world.rest()
}
