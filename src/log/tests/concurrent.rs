use std::thread;

use futures::future::join_all;

use super::*;
use crate::runtime::{RealDisk, SystemClock};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_appends_share_a_sync_and_commit_in_log_order() {
    let disk = MemDisk::default();
    disk.faults(|faults| faults.sync_time = Duration::from_millis(3));
    let log = Log::open::<u64>(Arc::new(disk), Arc::new(SystemClock::new()), config()).unwrap();
    let writer = thread::spawn(move || {
        let mut order = Vec::new();
        log.writer.run(|batch| order.extend(batch.into_iter().map(|c| (c.position, c.attachment))));
        order
    });
    let appends = (0..500).map(|n| {
        let handle = log.handle.clone();
        tokio::spawn(async move { (handle.append(spans(n, 200), n).await.unwrap(), n) })
    });
    let mut acknowledged: Vec<_> = join_all(appends).await.into_iter().map(Result::unwrap).collect();
    let stats = log.handle.stats();
    assert_eq!((stats.records, stats.queue_bytes), (500, 0));
    assert!(stats.fsyncs <= 250 && stats.fsync_time >= Duration::from_millis(3), "{stats:?}");
    log.handle.close();
    assert_eq!(log.handle.append(control(1), 0).await, Err(AppendError::Closed));
    assert_eq!(log.handle.submit(control(1), 0), Err(AppendError::Closed));
    let order = writer.join().unwrap();
    acknowledged.sort_unstable();
    assert_eq!(order, acknowledged);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_during_appends_loses_no_acknowledged_record() {
    for round in 0..10 {
        let disk = MemDisk::default();
        let clock = Arc::new(SystemClock::new());
        let config = LogConfig { queue_bytes: 4_000, ..config() };
        let log = Log::open::<u64>(Arc::new(disk.clone()), clock.clone(), config.clone()).unwrap();
        let writer = thread::spawn(move || log.writer.run(drop));
        let appends = (0..200).map(|n| {
            let handle = log.handle.clone();
            tokio::spawn(async move { handle.append(spans(n, 300), n).await })
        });
        let appends: Vec<_> = appends.collect();
        tokio::time::sleep(Duration::from_micros(round * 100)).await;
        log.handle.close();
        let outcomes: Vec<_> = join_all(appends).await.into_iter().map(Result::unwrap).collect();
        writer.join().unwrap();
        let after = Log::open::<u64>(Arc::new(disk.crashed(0.0)), clock, config).unwrap();
        let kept: Vec<Position> = after.replay.map(|record| record.position).collect();
        for outcome in &outcomes {
            match outcome {
                Ok(position) => assert!(kept.contains(position)),
                Err(error) => assert_eq!(*error, AppendError::Closed),
            }
        }
        assert_eq!(kept.len(), outcomes.iter().filter(|outcome| outcome.is_ok()).count());
    }
}

#[tokio::test]
async fn a_full_queue_makes_appends_wait_and_submits_come_back() {
    let mut rig = Rig::new(LogConfig { queue_bytes: 3_000, ..config() });
    let first = rig.log.handle.append(spans(1, 2_500), 1);
    let second = rig.log.handle.append(spans(2, 50_000), 2);
    tokio::pin!(first, second);
    assert!(futures::poll!(&mut first).is_pending() && futures::poll!(&mut second).is_pending());
    let submitted = (0..100).take_while(|n| rig.log.handle.submit(control(*n), *n).is_ok()).count();
    assert!((5..20).contains(&submitted), "{submitted}");
    assert_eq!(rig.log.handle.submit(control(7), 7), Err(AppendError::Busy));
    assert!(rig.stats().queue_bytes < 4_000, "the second has not been taken");
    assert!(rig.log.writer.step(drop, drop));
    first.await.unwrap();
    assert!(futures::poll!(&mut second).is_pending());
    rig.log.handle.submit(control(7), 7).unwrap();
    assert!(rig.log.writer.step(drop, drop));
    second.await.unwrap();
    assert!(!rig.log.writer.step(drop, drop));
}

#[tokio::test]
async fn a_record_too_large_is_refused_at_once() {
    let rig = Rig::new(config());
    let huge = Encoded::control(RecordKind::Rules, &vec![0; frame::PAYLOAD_BYTES_MAX + 1]);
    assert_eq!(rig.log.handle.append(huge, 0).await, Err(AppendError::TooLarge));
}

#[tokio::test]
async fn a_writer_that_is_gone_leaves_nobody_waiting() {
    let rig = Rig::new(config());
    let waiting = rig.log.handle.append(control(1), 1);
    tokio::pin!(waiting);
    assert!(futures::poll!(&mut waiting).is_pending());
    drop(rig.log.writer);
    assert_eq!(waiting.await, Err(AppendError::Closed));
    assert_eq!(rig.log.handle.admits(), Err(AppendError::Closed));
}

#[test]
fn the_last_handle_closes_the_log() {
    let rig = Rig::new(config());
    let Opened { handle, writer, .. } = rig.log;
    handle.submit(control(1), 5).unwrap();
    drop(handle);
    let mut seen = Vec::new();
    writer.run(|batch| seen.extend(batch.into_iter().map(|committed| committed.attachment)));
    assert_eq!(seen, [5]);
}

#[tokio::test]
async fn the_log_works_on_the_real_disk() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(SystemClock::new());
    let config = LogConfig { segment_bytes: 100_000, ..LogConfig::new(dir.path()) };
    let mut positions = Vec::new();
    for generation in 0..3u64 {
        let log = Log::open::<u64>(Arc::new(RealDisk), clock.clone(), config.clone()).unwrap();
        let seen: Vec<Position> = log.replay.map(|record| record.position).collect();
        assert_eq!(seen, positions);
        let writer = thread::spawn(move || log.writer.run(drop));
        for n in 0..20 {
            positions.push(log.handle.append(spans(generation * 20 + n, 10_000), n).await.unwrap());
        }
        log.handle.close();
        writer.join().unwrap();
        for (n, position) in positions.iter().enumerate() {
            assert_eq!(log.reader.spans(*position).unwrap().meta, meta(n as u64));
        }
    }
}
