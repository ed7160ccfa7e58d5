//! What is found is what was kept.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use super::*;

/// A message of this many bytes, which has this number at its end.
fn message(length: usize, number: u32) -> Vec<u8> {
    let mut raw = vec![b'k'; length];
    raw[length - 4..].copy_from_slice(&number.to_le_bytes());
    raw
}

#[test]
fn only_the_same_bytes_are_found() {
    let mut repeats = Repeats::default();
    let mut kept = HashMap::new();
    // More than there are places and bytes for: some lose theirs.
    for number in 0..20_000u32 {
        let raw = message(8 + number as usize % 200, number);
        let text = number.to_string();
        let place = repeats.keep(&raw, text.as_bytes(), number, b's').unwrap();
        repeats.get(place).unwrap().number = Some(number);
        kept.insert(raw, number);
        assert!(repeats.bytes.len() <= BYTES_MAX);
    }
    let mut found = 0;
    for (raw, number) in &kept {
        if let Some(place) = repeats.find(raw) {
            let (repeat, text) = repeats.text(place);
            assert_eq!((repeat.key, repeat.number), (*number, Some(*number)));
            assert_eq!(text, number.to_string().as_bytes());
            found += 1;
        }
        let mut other = raw.clone();
        other[0] = b'o';
        assert_eq!(repeats.find(&other), None);
    }
    assert!(found > 0);
}

#[test]
fn what_is_long_or_very_short_has_no_place() {
    let mut repeats = Repeats::default();
    assert_eq!(repeats.find(b""), None);
    for length in [RAW_MIN - 1, RAW_MAX + 1] {
        let raw = message(length, 7);
        assert_eq!(repeats.keep(&raw, b"7", 1, b's'), None);
        assert_eq!(repeats.find(&raw), None);
    }
    for length in [RAW_MIN, RAW_MIN + 1, RAW_MAX] {
        let raw = message(length, 7);
        assert_eq!(repeats.find(&raw), None);
        let place = repeats.keep(&raw, b"7", 1, b's');
        assert!(place.is_some());
        assert_eq!(repeats.find(&raw), place);
    }
}
