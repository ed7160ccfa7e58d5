//! The token behind the word `Bearer` (RFC 6750): at least eight of its characters, among them a digit, or twenty. The
//! word itself stays: it says what was there.

use std::ops::Range;

use memchr::memmem;

use super::run_end;

const WORD: &[u8] = b"bearer";
const TOKEN_BYTES_MIN: usize = 8;
/// No word of a sentence is so long.
const OPAQUE_BYTES_MIN: usize = 20;

pub(super) fn find(text: &[u8], from: usize) -> Option<Range<usize>> {
    let mut at = from;
    loop {
        // All spellings in use have these letters alike.
        let rest = text.get(at..)?;
        let lower = memmem::find(rest, b"earer");
        let found = lower.or_else(|| memmem::find(rest, b"EARER"))?;
        let end = at + found + WORD.len() - 1;
        let word = (at + found).checked_sub(1).and_then(|start| text.get(start..end));
        if word.is_some_and(|word| word.eq_ignore_ascii_case(WORD))
            && let Some(token) = token(text, end)
        {
            return Some(token);
        }
        at = end;
    }
}

/// The token behind the word that ends here: after a space, `:`, `=`, `%20` or `+`, some of them.
fn token(text: &[u8], word_end: usize) -> Option<Range<usize>> {
    let mut start = run_end(text, word_end, |byte| matches!(byte, b' ' | b':' | b'=' | b'+' | b'"'));
    if text[start..].starts_with(b"%20") {
        start += 3;
    }
    if start == word_end {
        return None;
    }
    let end = run_end(text, start, |b| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b));
    let token = &text[start..end];
    let is_token = token.len() >= OPAQUE_BYTES_MIN
        || token.len() >= TOKEN_BYTES_MIN && token.iter().any(u8::is_ascii_digit);
    is_token.then_some(start..end)
}
