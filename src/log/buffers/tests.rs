use super::{BYTES_MAX, BYTES_MIN, Spare};

const LENGTH: usize = 64 << 10;

fn filled(spare: &'static Spare, length: usize, with: u8) -> bytes::Bytes {
    spare
        .filled(length, |buffer| {
            buffer.fill(with);
            Some(())
        })
        .unwrap()
}

#[test]
fn a_buffer_comes_back_when_its_last_reader_is_gone_and_is_used_again() {
    static SPARE: Spare = Spare::new(1 << 20);
    let first = filled(&SPARE, LENGTH, 1);
    let part = first.slice(10..20);
    drop(first);
    assert_eq!(SPARE.free.lock().buffers.len(), 0, "a part of it is still read");
    assert_eq!(part[..], [1; 10]);
    drop(part);
    assert_eq!(SPARE.free.lock().bytes, LENGTH);
    // Shorter, longer: just the bytes asked for.
    for length in [LENGTH - 1, LENGTH + 1, LENGTH] {
        assert_eq!(filled(&SPARE, length, 2)[..], vec![2; length][..]);
        assert_eq!(SPARE.free.lock().buffers.len(), 1);
    }
    assert_eq!(SPARE.free.lock().bytes, LENGTH + 1, "it has grown");
    assert_eq!(SPARE.filled(LENGTH, |_| None), None);
    assert_eq!(SPARE.free.lock().buffers.len(), 1, "it comes back all the same");
}

#[test]
fn spare_buffers_are_bounded_in_bytes_and_tiny_and_giant_ones_are_not_kept() {
    static SPARE: Spare = Spare::new(3 * LENGTH);
    let many: Vec<_> = (0..8).map(|with| filled(&SPARE, LENGTH, with)).collect();
    drop(many);
    let free = SPARE.free.lock();
    assert_eq!((free.buffers.len(), free.bytes), (3, 3 * LENGTH));
    drop(free);
    for length in [0, 1, BYTES_MIN - 1, BYTES_MAX + 1] {
        assert_eq!(filled(&SPARE, length, 7).len(), length);
    }
    assert_eq!(SPARE.free.lock().buffers.len(), 3);
}
