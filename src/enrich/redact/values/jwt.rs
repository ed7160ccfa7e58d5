//! JSON web tokens (RFC 7519) in compact form: three parts (signed) or five (encrypted) of base64url with dots between
//! them. The first is a JSON object, and so begins with `eyJ`.

use std::ops::Range;

use memchr::memmem;

use super::run_end;

const HEADER_BYTES_MIN: usize = 10;
const PART_BYTES_MIN: usize = 4;
const PARTS_MAX: usize = 5;

pub(super) fn find(text: &[u8], from: usize) -> Option<Range<usize>> {
    let mut at = from;
    loop {
        let start = at + memmem::find(text.get(at..)?, b"eyJ")?;
        if let Some(end) = token_end(text, start) {
            return Some(start..end);
        }
        // What begins later in the same part would end there too.
        at = part_end(text, start);
    }
}

fn part_end(text: &[u8], start: usize) -> usize {
    run_end(text, start, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn token_end(text: &[u8], start: usize) -> Option<usize> {
    let header = part_end(text, start);
    if header - start < HEADER_BYTES_MIN || text.get(header) != Some(&b'.') {
        return None;
    }
    let payload = part_end(text, header + 1);
    if payload - (header + 1) < PART_BYTES_MIN {
        return None;
    }
    // An unsigned token has an empty third part.
    let mut end = payload;
    for _ in 2..PARTS_MAX {
        match text.get(end) {
            Some(b'.') => end = part_end(text, end + 1),
            _ => break,
        }
    }
    Some(end)
}
