#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn of_double(value: f64) -> Result<String, NoText> {
    let mut out = Vec::new();
    append_double(&mut out, value).map(|()| String::from_utf8(out).unwrap())
}

fn check(value: f64) {
    let mut slow = String::new();
    let expected = write_double(&mut slow, value).map(|()| slow);
    assert_eq!(of_double(value), expected);
}

#[test]
fn doubles_at_the_bounds_are_written_the_same_fast_and_slow() {
    let bounds = [
        0.0,
        1e-5,
        1e16,
        EXACT_MAX,
        1.0,
        0.1,
        123.456,
        855_515_947_936_397.0 + 0.25,
        1.0 + 1.0 / 131_072.0,
        f64::MIN_POSITIVE,
        f64::MAX,
        f64::NAN,
    ];
    for value in bounds.into_iter().chain([f64::INFINITY, f64::from_bits(f64::NAN.to_bits() + 1)]) {
        for near in [value, value.next_up(), value.next_down()] {
            check(near);
            check(-near);
        }
    }
}

proptest! {
    #[test]
    fn doubles_are_written_the_same_fast_and_slow(
        bits in any::<u64>(), mantissa in any::<i64>(), exponent in -20i32..20,
    ) {
        check(f64::from_bits(bits));
        check(mantissa as f64 * 10f64.powi(exponent));
        check((mantissa >> 20) as f64 / 1e3);
        // Numbers of few binary digits, which may lie between two shortest texts.
        check((mantissa >> 11) as f64 / f64::from(1u32 << (bits % 30)));
    }

    #[test]
    fn integers_are_written_as_everywhere(value in any::<i64>(), shift in 0u32..64) {
        let mut out = Vec::new();
        append_int(&mut out, value >> shift);
        prop_assert_eq!(String::from_utf8(out).unwrap(), (value >> shift).to_string());
    }
}
