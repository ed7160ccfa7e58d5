use super::*;

const AGE: Duration = Duration::from_secs(60);

fn rig(size_bytes: u64) -> (Rig, Vec<Position>) {
    let recorder = Recorder { age: AGE, size_bytes };
    let mut rig = Rig::new(LogConfig { segment_bytes: 4_000, recorder, ..config() });
    let positions = (0..30).map(|n| rig.put(&spans(n, 1000)).unwrap()).collect();
    assert_eq!(rig.segments().len(), 10);
    (rig, positions)
}

#[test]
fn what_is_released_goes_by_whole_segments() {
    let (mut rig, positions) = rig(0);
    assert_eq!(rig.log.handle.release(positions[7]).unwrap(), 2);
    for (n, position) in positions.iter().enumerate() {
        let read = rig.log.reader.read(*position);
        if n < 6 {
            assert!(matches!(read, Err(ReadError::Released)), "{n}");
        } else {
            read.unwrap();
        }
    }
    assert_eq!(rig.stats().segments, 8);
    assert!(positions[5] < rig.stats().oldest && rig.stats().oldest < positions[6]);
    let mut after = rig.restarted(0.0);
    assert_eq!(after.replayed().len(), 24);
    assert!(matches!(after.log.reader.read(positions[0]), Err(ReadError::Released)));
    assert_eq!(rig.log.handle.release(positions[0]).unwrap(), 0, "a lower position takes nothing back");
    rig.put(&control(1)).unwrap();
}

#[test]
fn the_segment_being_written_stays() {
    let (mut rig, _) = rig(0);
    let end = rig.stats().durable;
    assert_eq!(rig.log.handle.release(end).unwrap(), 9);
    let position = rig.put(&control(1)).unwrap();
    rig.log.reader.read(position).unwrap();
    assert_eq!(rig.restarted(0.0).replayed().len(), 4);
}

#[test]
fn what_is_shed_goes_though_it_is_needed_but_for_the_segment_being_written() {
    let (mut rig, positions) = rig(0);
    assert_eq!(rig.log.handle.shed(1 << 30).unwrap(), 0);
    assert!(rig.log.handle.shed(20_000).unwrap() >= 4);
    assert!((12_000..=20_000).contains(&rig.stats().bytes), "{}", rig.stats().bytes);
    assert_eq!(rig.log.reader.oldest(), rig.stats().oldest);
    let left = positions.iter().filter(|position| **position > rig.stats().oldest).count();
    assert_eq!(rig.restarted(0.0).replayed().len(), left);
    rig.log.handle.shed(0).unwrap();
    assert_eq!(rig.stats().segments, 1);
    let position = rig.put(&spans(1, 1000)).unwrap();
    rig.log.reader.read(position).unwrap();
    assert_eq!(rig.log.handle.release(Position(0)).unwrap(), 0, "what comes after is needed as ever");
}

#[test]
fn the_recorder_keeps_by_age() {
    let (rig, _) = rig(1 << 40);
    let end = rig.stats().durable;
    assert_eq!(rig.log.handle.release(end).unwrap(), 0);
    rig.clock.advance(AGE);
    assert_eq!(rig.log.handle.release(Position(0)).unwrap(), 9, "what was released once stays so");
}

#[test]
fn the_recorder_keeps_by_size() {
    let (rig, _) = rig(20_000);
    let end = rig.stats().durable;
    rig.log.handle.release(end).unwrap();
    assert!((16_000..=20_000).contains(&rig.stats().bytes), "{}", rig.stats().bytes);
}

#[test]
fn a_restart_does_not_make_segments_young_again() {
    let (mut rig, _) = rig(1 << 40);
    rig.clock.advance(AGE);
    rig.put(&spans(99, 2_500)).unwrap();
    let end = rig.stats().durable;
    let disk = rig.disk.crashed(0.0);
    let after = Log::open::<u64>(Arc::new(disk), rig.clock.clone(), rig.config.clone()).unwrap();
    // The last one before the restart counts as written at the restart, at the latest when the next one was begun.
    assert!(after.handle.release(end).unwrap() >= 9);
}

#[test]
fn a_release_never_leaves_a_hole_whatever_survives_the_crash() {
    let (rig, positions) = rig(0);
    rig.disk.faults(|faults| faults.dir_syncs_to_fail = 1);
    assert!(rig.log.handle.release(positions[10]).is_err());
    let mut after = rig.restarted(0.0);
    let seen: Vec<Position> = after.replayed().iter().map(|record| record.position).collect();
    assert!(positions.ends_with(&seen), "a suffix");
    assert_eq!(rig.log.handle.release(positions[10]).unwrap(), 3, "the next call tries again");
    let mut after = rig.restarted(0.0);
    assert_eq!(after.replayed().first().unwrap().position, positions[9]);
}

#[test]
fn a_reader_in_the_middle_of_a_release_gets_the_record_or_is_told() {
    let (rig, positions) = rig(0);
    let reader = rig.log.reader.clone();
    let end = rig.stats().durable;
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            for _ in 0..200 {
                for position in &positions {
                    match reader.spans(*position) {
                        Ok(_) | Err(ReadError::Released) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
            }
        });
        for below in &positions {
            rig.log.handle.release(*below).unwrap();
        }
        rig.log.handle.release(end).unwrap();
        reading.join().unwrap();
    });
}
