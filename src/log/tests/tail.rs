use super::*;

#[test]
fn a_tail_gives_every_record_once_as_it_comes_over_segments_and_from_any_position() {
    let mut rig = Rig::new(LogConfig { segment_bytes: 4096, ..config() });
    let mut tail = rig.log.reader.tail(Position(0));
    assert_eq!(tail.next_record().unwrap(), None);
    let (mut positions, mut seen) = (Vec::new(), Vec::new());
    for round in 0..30 {
        for n in 0..round % 4 {
            positions.push(rig.put(&spans(round * 10 + n, 700)).unwrap());
        }
        while let Some(record) = tail.next_record().unwrap() {
            seen.push(record.position);
        }
    }
    assert_eq!(seen, positions);
    assert_eq!(tail.position(), rig.stats().durable);
    assert!(rig.stats().segments > 3);
    for (index, from) in positions.iter().enumerate() {
        let mut tail = rig.log.reader.tail(*from);
        let rest: Vec<_> = std::iter::from_fn(|| tail.next_record().unwrap()).map(|r| r.position).collect();
        assert_eq!(rest, positions[index..]);
    }
}

#[test]
fn a_tail_passes_over_what_was_released_and_what_is_damaged() {
    let mut rig = Rig::new(LogConfig {
        segment_bytes: 4096,
        recorder: Recorder { age: Duration::ZERO, size_bytes: 0 },
        ..config()
    });
    let mut tail = rig.log.reader.tail(Position(0));
    let positions: Vec<_> = (0..30).map(|n| rig.put(&spans(n, 700)).unwrap()).collect();
    rig.log.handle.release(positions[20]).unwrap();
    let oldest = rig.stats().oldest;
    let first = rig.segments().into_iter().find(|path| path.extension().is_some_and(|e| e == "seg")).unwrap();
    let mut bytes = rig.disk.get(&first);
    bytes[100] ^= 1;
    rig.disk.put(&first, &bytes);
    let seen: Vec<_> = std::iter::from_fn(|| tail.next_record().unwrap()).map(|r| r.position).collect();
    let expected: Vec<_> = positions.iter().copied().filter(|p| *p > oldest).skip(1).collect();
    assert_eq!(seen, expected);
}
