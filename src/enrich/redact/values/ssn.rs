//! US social security numbers as they are written, `AAA-GG-SSSS`: only such that can have been given out (no area 000,
//! 666 or 900 and above, no group 00, no serial 0000). Other things look like that too: not looked for unless asked.

use std::ops::Range;

use memchr::memchr_iter;

use super::has_digits;

const BYTES: usize = 11;

pub(super) fn find(text: &[u8], from: usize) -> Option<Range<usize>> {
    if !has_digits(text, from, 9) {
        return None;
    }
    let dashes = memchr_iter(b'-', text.get(from..)?);
    let mut starts = dashes.filter_map(|dash| (from + dash).checked_sub(3)).filter(|start| *start >= from);
    starts.find(|start| stands_at(text, *start)).map(|start| start..start + BYTES)
}

fn stands_at(text: &[u8], start: usize) -> bool {
    let Some([area @ .., b'-', g1, g2, b'-', s1, s2, s3, s4]) = text.get(start..start + BYTES) else {
        return false;
    };
    let (group, serial) = ([*g1, *g2], [*s1, *s2, *s3, *s4]);
    let all_digits = |part: &[u8]| part.iter().all(u8::is_ascii_digit);
    let is_joined = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let stands_alone = !start.checked_sub(1).and_then(|at| text.get(at)).is_some_and(is_joined)
        && !text.get(start + BYTES).is_some_and(is_joined);
    stands_alone
        && all_digits(area)
        && all_digits(&group)
        && all_digits(&serial)
        && area != b"000"
        && area != b"666"
        && area.first() != Some(&b'9')
        && group != *b"00"
        && serial != *b"0000"
}
