use super::*;

/// Three segments of a few records, and what is in them.
fn small_log() -> (Rig, Vec<(Position, Vec<u8>)>) {
    let mut rig = Rig::new(LogConfig { segment_bytes: 450, ..config() });
    let mut all = Vec::new();
    for n in 0..12 {
        let record = if n % 2 == 0 { spans(n, 40) } else { control(n) };
        all.push((rig.put(&record).unwrap(), record.payload().to_vec()));
    }
    assert_eq!(rig.segments().len(), 3);
    (rig, all)
}

fn reopened(rig: &Rig, path: &Path, content: &[u8]) -> Rig {
    let disk = rig.disk.copied();
    disk.put(path, content);
    Rig::on(disk, rig.config.clone())
}

#[test]
fn a_flip_of_any_bit_loses_one_record_at_most() {
    let (rig, all) = small_log();
    for path in rig.segments() {
        let content = rig.disk.get(&path);
        for bit in 0..content.len() * 8 {
            let mut damaged = content.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let mut after = reopened(&rig, &path, &damaged);
            let seen: Vec<_> =
                after.replayed().into_iter().map(|r| (r.position, r.payload.to_vec())).collect();
            let lost = all.iter().filter(|record| !seen.contains(record)).count();
            assert!(seen.iter().all(|record| all.contains(record)), "bit {bit}: nothing is invented");
            assert!(seen.is_sorted());
            let in_header = bit / 8 < frame::SEGMENT_HEADER_BYTES as usize;
            assert_eq!(lost, usize::from(!in_header), "bit {bit} of {path:?}");
            let stats = after.stats();
            assert_eq!(stats.damaged + u64::from(stats.torn_bytes > 0), lost as u64, "bit {bit} of {path:?}");
            // And it goes on: nothing new is mistaken for something old.
            let position = after.put(&control(77)).unwrap();
            assert!(position > all.last().unwrap().0);
        }
    }
}

#[test]
fn a_log_cut_anywhere_keeps_what_was_before_the_cut() {
    let (rig, all) = small_log();
    let last = rig.segments().pop().unwrap();
    let base = frame::base_of(last.file_name().unwrap().to_str().unwrap()).unwrap();
    let content = rig.disk.get(&last);
    for length in 0..content.len() {
        let mut after = reopened(&rig, &last, &content[..length]);
        let whole = |(position, payload): &&(Position, Vec<u8>)| {
            position.0 + (frame::RECORD_HEADER_BYTES + payload.len()) as u64 <= base + length as u64
        };
        let expected: Vec<Vec<u8>> = all.iter().filter(whole).map(|(_, payload)| payload.clone()).collect();
        assert_eq!(payloads(&after.replayed()), expected, "cut at {length}");
        assert_eq!(after.stats().damaged, 0);
        let added = after.put(&control(99)).unwrap();
        assert_eq!(after.log.reader.read(added).unwrap().payload[..], 99u64.to_le_bytes());
        let mut again = after.restarted(0.0);
        assert_eq!(again.replayed().len(), expected.len() + 1);
        assert_eq!(again.stats().torn_bytes, 0, "a torn end is cut once");
    }
}

#[test]
fn zeros_and_garbage_behind_the_end_are_cut() {
    let (rig, all) = small_log();
    let last = rig.segments().pop().unwrap();
    for fill in [0, 0xc7, 0xff] {
        let mut content = rig.disk.get(&last);
        content.extend(std::iter::repeat_n(fill, 300_000));
        let mut after = reopened(&rig, &last, &content);
        assert_eq!(after.stats().torn_bytes, 300_000);
        assert_eq!(after.replayed().len(), all.len());
        assert_eq!(after.disk.get(&last), rig.disk.get(&last));
    }
}

#[test]
fn a_record_of_another_position_is_not_taken_for_this_one() {
    let mut rig = Rig::new(config());
    let records: Vec<Position> = (0..4).map(|n| rig.put(&control(n)).unwrap()).collect();
    let path = rig.segments().remove(0);
    let mut content = rig.disk.get(&path);
    let length = (records[1].0 - records[0].0) as usize;
    let at = |position: Position| position.0 as usize..position.0 as usize + length;
    // A misdirected write: the bytes of the first record, whole and with valid checksums, over the third.
    let stale = content[at(records[0])].to_vec();
    content[at(records[2])].copy_from_slice(&stale);
    let mut after = reopened(&rig, &path, &content);
    let seen: Vec<Position> = after.replayed().iter().map(|r| r.position).collect();
    assert_eq!(seen, [records[0], records[1], records[3]]);
    assert_eq!(after.stats().damaged, 1);
    assert!(matches!(after.log.reader.read(records[2]), Err(ReadError::Damaged)));
}

#[test]
fn a_payload_that_holds_a_record_is_not_one() {
    let mut rig = Rig::new(config());
    let inner = rig.put(&control(1)).unwrap();
    let path = rig.segments().remove(0);
    let record = rig.disk.get(&path)[inner.0 as usize..].to_vec();
    let outer = rig.put(&Encoded::control(RecordKind::Rules, &record)).unwrap();
    let mut content = rig.disk.get(&path);
    content[outer.0 as usize] ^= 1;
    assert_eq!(reopened(&rig, &path, &content).replayed().len(), 1);
}

#[test]
fn a_flipped_byte_in_each_kilobyte_still_starts() {
    let mut rig = Rig::new(LogConfig { segment_bytes: 100_000, ..config() });
    for n in 0..2000 {
        rig.put(&spans(n, 150)).unwrap();
    }
    for path in rig.segments() {
        let mut content = rig.disk.get(&path);
        for kilobyte in content.chunks_mut(1024) {
            let middle = kilobyte.len() / 2;
            kilobyte[middle] ^= 0x40;
        }
        rig.disk.put(&path, &content);
    }
    let mut after = rig.restarted(0.0);
    let seen = after.replayed();
    let stats = after.stats();
    assert!(seen.len() > 1500, "{} of 2000", seen.len());
    let lost = 2000 - seen.len() as u64;
    assert_eq!(stats.damaged + u64::from(stats.torn_bytes > 0), lost, "each counted once: {stats:?}");
    assert!(seen.iter().all(|record| record.spans().is_ok()));
    after.put(&control(1)).unwrap();
}

#[test]
fn a_sector_that_cannot_be_read_costs_only_what_lies_in_it() {
    let mut rig = Rig::new(config());
    let positions: Vec<Position> = (0..100).map(|n| rig.put(&spans(n, 1000)).unwrap()).collect();
    rig.disk.faults(|faults| faults.bad_offset = Some(50_000));
    let after = Log::open::<u64>(Arc::new(rig.disk.clone()), rig.clock.clone(), rig.config.clone()).unwrap();
    let seen: Vec<Position> = after.replay.map(|record| record.position).collect();
    assert!(seen.len() >= 93 && seen.last() == positions.last(), "{}", seen.len());
    assert!((1..=2).contains(&after.handle.stats().damaged));
}
