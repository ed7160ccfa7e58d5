use std::io::IoSlice;

use super::*;
use crate::runtime::disk::write_all_at;
use crate::runtime::{Disk, OpenMode};

#[test]
fn a_full_disk_refuses_and_recovers_by_itself() {
    let mut rig = Rig::new(config());
    let kept = rig.put(&spans(1, 1000)).unwrap();
    rig.disk.faults(|faults| (faults.capacity, faults.tells_space) = (5_000, false));
    let batch: Vec<Encoded> = (10..20).map(|n| spans(n, 1000)).collect();
    assert!(rig.put_all(&batch).iter().all(|outcome| *outcome == Err(AppendError::DiskFull)));
    let path = &rig.segments()[0];
    assert_eq!(rig.disk.get(path).len() as u64, rig.stats().durable.0, "cut back to what is durable");
    assert_eq!(rig.log.handle.admits(), Err(AppendError::DiskFull));
    assert_eq!(rig.put(&spans(3, 10)), Err(AppendError::DiskFull), "spans are refused at once for a while");
    rig.clock.advance(rig.config.retry_after);
    assert_eq!(rig.log.handle.admits(), Ok(()));
    let small = rig.put(&spans(4, 1000)).unwrap();
    rig.disk.faults(|faults| faults.capacity = 1 << 30);
    assert!(rig.put_all(&batch).iter().all(Result::is_ok));
    let mut after = rig.restarted(0.0);
    let seen: Vec<Position> = after.replayed().iter().map(|record| record.position).collect();
    assert_eq!(seen.len(), 12);
    assert_eq!(seen[..2], [kept, small]);
    assert_eq!((after.stats().damaged, after.stats().torn_bytes), (0, 0));
}

#[test]
fn a_disk_full_from_the_first_record_on_recovers_too() {
    let mut rig = Rig::new(config());
    rig.disk.faults(|faults| (faults.capacity, faults.tells_space) = (100, false));
    assert_eq!(rig.put(&spans(1, 1000)), Err(AppendError::DiskFull));
    assert!(rig.segments().is_empty());
    rig.disk.faults(|faults| faults.capacity = 1 << 30);
    rig.clock.advance(rig.config.retry_after);
    rig.put(&spans(2, 1000)).unwrap();
    assert_eq!(rig.restarted(0.0).replayed().len(), 1);
}

#[test]
fn spans_leave_room_for_the_records_that_free_the_disk() {
    let mut rig = Rig::new(LogConfig { reserve_bytes: 1 << 20, ..config() });
    rig.disk.faults(|faults| faults.capacity = 100_000);
    let accepted = (0..1000).take_while(|n| rig.put(&spans(*n, 1000)).is_ok()).count();
    assert!((85..95).contains(&accepted), "a twentieth stays free: {accepted}");
    assert_eq!(rig.log.handle.admits(), Err(AppendError::DiskFull));
    rig.put(&control(1)).unwrap();
}

#[test]
fn after_a_failed_sync_the_segment_is_never_written_again() {
    let mut rig = Rig::new(config());
    let first = rig.put(&spans(1, 300)).unwrap();
    rig.disk.faults(|faults| (faults.syncs_to_fail, faults.truncates_to_fail) = (1, 1));
    let lost = rig.put_all(&[spans(2, 300), control(3)]);
    assert_eq!(lost, [Err(AppendError::Failed); 2]);
    let abandoned = rig.segments()[0].clone();
    let content = rig.disk.get(&abandoned);
    assert_eq!(rig.stats().abandoned, 1);
    rig.clock.advance(rig.config.retry_after);
    let second = rig.put(&spans(4, 300)).unwrap();
    assert_eq!(rig.segments().len(), 2);
    assert_eq!(rig.disk.get(&abandoned), content);
    assert!(second.0 > content.len() as u64, "no position is given twice");
    assert_eq!(rig.log.reader.read(first).unwrap().spans_meta().unwrap(), meta(1));

    // Whether the lost records reached the platter or not, they were refused and do not come back.
    for mut after in [rig.restarted(1.0), Rig::on(rig.disk.copied(), config())] {
        let seen: Vec<Position> = after.replayed().iter().map(|record| record.position).collect();
        assert_eq!(seen, [first, second]);
        assert_eq!((after.stats().damaged, after.stats().torn_bytes), (0, 0));
    }
}

#[test]
fn a_name_that_is_not_durable_acknowledges_nothing() {
    let mut rig = Rig::new(config());
    rig.disk.faults(|faults| faults.dir_syncs_to_fail = 1);
    assert_eq!(rig.put(&control(1)), Err(AppendError::Failed));
    let position = rig.put(&control(2)).unwrap();
    let mut after = rig.restarted(0.0);
    assert_eq!(after.replayed().iter().map(|r| r.position).collect::<Vec<_>>(), [position]);
}

#[test]
fn a_disk_full_that_cannot_be_cut_back_is_abandoned() {
    let mut rig = Rig::new(config());
    let first = rig.put(&spans(1, 100)).unwrap();
    rig.disk.faults(|faults| {
        (faults.capacity, faults.tells_space, faults.truncates_to_fail) = (1000, false, 2);
    });
    assert_eq!(rig.put_all(&[control(1), spans(2, 2000)]), [Err(AppendError::DiskFull); 2]);
    assert_eq!(rig.stats().abandoned, 1);
    rig.disk.faults(|faults| faults.capacity = 1 << 30);
    let second = rig.put(&control(3)).unwrap();
    let mut after = rig.restarted(0.0);
    let seen: Vec<Position> = after.replayed().iter().map(|record| record.position).collect();
    assert_eq!(seen, [first, second], "the control record of the refused batch does not come back");
}

#[test]
fn a_read_only_disk_refuses_and_its_log_can_be_read() {
    let mut rig = Rig::new(config());
    let position = rig.put(&spans(1, 300)).unwrap();
    rig.disk.faults(|faults| faults.read_only = true);
    assert_eq!(rig.put(&spans(2, 300)), Err(AppendError::Failed));
    assert_eq!(rig.stats().refusing, Some(AppendError::Failed));
    rig.log.reader.read(position).unwrap();
    rig.clock.advance(rig.config.retry_after);
    assert_eq!(rig.put(&spans(3, 300)), Err(AppendError::Failed));
    let reopened = Rig::on(rig.disk.clone(), config());
    assert_eq!(reopened.log.replay.count(), 1);
    rig.disk.faults(|faults| faults.read_only = false);
    rig.clock.advance(rig.config.retry_after);
    rig.put(&spans(4, 300)).unwrap();
}

#[test]
fn a_log_at_its_limit_refuses_spans_but_not_what_shrinks_it() {
    let mut rig = Rig::new(LogConfig { segment_bytes: 4_000, limit_bytes: 20_000, ..config() });
    let accepted = (0..100).take_while(|n| rig.put(&spans(*n, 1000)).is_ok()).count();
    assert!((16..20).contains(&accepted), "{accepted}");
    rig.clock.advance(rig.config.retry_after);
    let outcomes = rig.put_all(&[spans(200, 1000), control(1)]);
    assert_eq!(outcomes[0], Err(AppendError::LimitReached));
    let done = outcomes[1].unwrap();
    // The recorder would keep everything; refusing spans for its sake would be wrong.
    assert_eq!(rig.log.handle.release(done).unwrap(), 0);
    rig.clock.advance(rig.config.retry_after);
    rig.put(&spans(201, 1000)).unwrap();
    assert!(rig.stats().bytes <= 20_000);
}

#[test]
fn even_control_records_end_an_eighth_beyond_the_limit() {
    let mut rig = Rig::new(LogConfig { limit_bytes: 8_000, ..config() });
    let outcomes: Vec<_> = (0..1000).map(|n| rig.put(&control(n))).collect();
    assert!(outcomes.contains(&Err(AppendError::LimitReached)));
    assert!((8_000..=9_000).contains(&rig.stats().bytes), "{}", rig.stats().bytes);
}

/// The process died between a write and its sync: the system still has the record, and may lose it yet.
#[test]
fn what_a_restart_has_seen_survives_the_next_power_cut() {
    let mut rig = Rig::new(config());
    rig.put(&control(1)).unwrap();
    let unsynced = rig.put(&control(2)).unwrap();
    let path = rig.segments().remove(0);
    let content = rig.disk.get(&path);
    let (synced, rest) = content.split_at(unsynced.0 as usize);
    let disk = MemDisk::default();
    disk.put(&path, synced);
    let file = disk.open(&path, OpenMode::Write).unwrap();
    write_all_at(&*file, &mut [IoSlice::new(rest)], unsynced.0).unwrap();
    assert_eq!(Rig::on(disk.crashed(0.0), config()).replayed().len(), 1);

    let mut killed = Rig::on(disk, config());
    assert_eq!(killed.replayed().len(), 2);
    assert_eq!(killed.restarted(0.0).replayed().len(), 2);
}

#[test]
fn a_segment_that_cannot_be_opened_ends_the_replay_and_is_no_damage() {
    let mut rig = Rig::new(LogConfig { segment_bytes: 8192, ..config() });
    let all: Vec<Position> = (0..30).map(|n| rig.put(&spans(n, 1000)).unwrap()).collect();
    assert!(rig.segments().len() > 2);
    let after = rig.restarted(0.0);
    after.disk.faults(|faults| faults.opens_to_fail = 1);
    let Rig { log, .. } = after;
    let outcome = log.replay.outcome();
    assert_eq!(log.replay.count(), 0, "nothing behind what could not be read");
    let error = outcome.check().unwrap_err().to_string();
    assert!(error.contains(".seg"), "{error}");
    assert_eq!(log.handle.stats().damaged, 0);

    let again = rig.restarted(0.0).log;
    let outcome = again.replay.outcome();
    let seen: Vec<Position> = again.replay.map(|record| record.position).collect();
    assert_eq!(seen, all);
    outcome.check().unwrap();
}

#[test]
fn what_replay_reads_is_durable_before_it_acts() {
    let mut rig = Rig::new(config());
    // The name of the only segment never reached the platter; the process dies, the machine does not.
    rig.disk.faults(|faults| (faults.dir_syncs_to_fail, faults.truncates_to_fail) = (1, 1));
    assert_eq!(rig.put(&spans(1, 100)), Err(AppendError::Failed));
    let seen = Rig::on(rig.disk.clone(), config()).replayed().len();
    assert_eq!(rig.restarted(0.0).replayed().len(), seen, "after the power cut as before it");
}
