use super::*;

#[test]
fn spans_come_back_as_they_went_in() {
    let mut rig = Rig::new(config());
    let bodies = [vec![7; 100_000], (0..200u8).collect::<Vec<u8>>(), Vec::new()];
    for (n, body) in bodies.iter().enumerate() {
        let encoded = Encoded::spans(&meta(n as u64), body);
        assert!(encoded.payload_bytes() < body.len().max(1) + 40, "never much longer than the body");
        let position = rig.put(&encoded).unwrap();
        let record = rig.log.reader.read(position).unwrap();
        assert_eq!((record.position, record.kind), (position, RecordKind::Spans));
        let expected = SpansRecord { meta: meta(n as u64), body: body.clone().into() };
        assert_eq!(record.spans().unwrap(), expected);
        assert_eq!(record.spans_meta().unwrap(), expected.meta);
        assert_eq!(*rig.log.reader.spans(position).unwrap(), expected);
        assert!(Arc::ptr_eq(
            &rig.log.reader.spans(position).unwrap(),
            &rig.log.reader.spans(position).unwrap()
        ));
    }
}

#[test]
fn other_records_are_opaque() {
    let mut rig = Rig::new(config());
    let position = rig.put(&Encoded::control(RecordKind::Done, b"batch 7")).unwrap();
    let record = rig.log.reader.read(position).unwrap();
    assert_eq!((record.kind, &record.payload[..]), (RecordKind::Done, &b"batch 7"[..]));
    assert_eq!(record.spans().unwrap_err(), RecordError::WrongKind);
    assert!(matches!(rig.log.reader.spans(position), Err(ReadError::Unknown)));
}

#[test]
fn positions_nobody_was_given_are_unknown() {
    let mut rig = Rig::new(config());
    assert!(matches!(rig.log.reader.read(Position(0)), Err(ReadError::Unknown)));
    let position = rig.put(&control(1)).unwrap();
    assert!(matches!(rig.log.reader.read(Position(0)), Err(ReadError::Unknown)));
    assert!(matches!(rig.log.reader.read(Position(position.0 + 1)), Err(ReadError::Damaged)));
    assert!(matches!(rig.log.reader.read(Position(position.0 + 1000)), Err(ReadError::Unknown)));
}

#[test]
fn replay_gives_every_record_in_order_over_restarts_and_segments() {
    let mut rig = Rig::new(LogConfig { segment_bytes: 4096, ..config() });
    let mut expected = Vec::new();
    for generation in 0..4 {
        for n in 0..20 {
            let record = if n % 3 == 0 { control(n) } else { spans(generation * 100 + n, 400) };
            expected.push((rig.put(&record).unwrap(), record.kind(), record.payload().to_vec()));
        }
        rig = rig.restarted(0.0);
        let replayed = rig.replayed();
        let seen: Vec<_> = replayed.iter().map(|r| (r.position, r.kind, r.payload.to_vec())).collect();
        assert_eq!(seen, expected);
        assert!(expected.is_sorted_by(|a, b| a.0 < b.0));
        let stats = rig.stats();
        assert_eq!((stats.damaged, stats.torn_bytes, stats.replayed), (0, 0, expected.len() as u64));
    }
    assert!(rig.segments().len() > 4);
    for (position, kind, payload) in expected {
        let record = rig.log.reader.read(position).unwrap();
        assert_eq!((record.kind, &record.payload[..]), (kind, &payload[..]));
    }
}

#[test]
fn a_batch_is_one_sync_and_segments_stay_near_their_size() {
    let mut rig = Rig::new(LogConfig { segment_bytes: 10_000, ..config() });
    let batch: Vec<Encoded> = (0..8).map(|n| spans(n, 500)).collect();
    for _ in 0..10 {
        assert!(rig.put_all(&batch).iter().all(Result::is_ok));
    }
    let stats = rig.stats();
    assert_eq!((stats.fsyncs, stats.records, stats.segments), (10, 80, 5));
    assert_eq!(rig.disk.syncs(), 10);
    for path in rig.segments() {
        assert!(rig.disk.get(&path).len() <= 10_000);
    }
    let on_disk: usize = rig.segments().iter().map(|path| rig.disk.get(path).len()).sum();
    assert_eq!(stats.bytes, on_disk as u64);
}

#[test]
fn files_of_others_in_the_directory_do_not_disturb() {
    let disk = MemDisk::default();
    for name in [
        "notes.txt",
        "1.seg",
        "0000000000000000000x.seg",
        "99999999999999999999.seg",
        "18446744073709551615.seg",
    ] {
        disk.put(&config().dir.join(name), b"not ours");
    }
    let mut rig = Rig::on(disk, config());
    rig.put(&control(1)).unwrap();
    assert_eq!(rig.restarted(0.0).replayed().len(), 1);
}

#[test]
fn the_cache_is_bounded_in_bytes() {
    let mut rig = Rig::new(LogConfig { cache_bytes: 10_000, ..config() });
    let positions: Vec<Position> = (0..50).map(|n| rig.put(&spans(n, 1000)).unwrap()).collect();
    for position in &positions {
        rig.log.reader.spans(*position).unwrap();
        assert!(rig.stats().cache_bytes <= 10_000);
    }
    assert!(rig.stats().cache_bytes > 8_000);
    let large = rig.put(&spans(99, 6_000)).unwrap();
    rig.log.reader.spans(large).unwrap();
    assert!(rig.stats().cache_bytes <= 10_000);
}
