//! E-mail addresses as they are in use: a name, `@` (or `%40`, as it stands in URLs), a domain with at least one dot
//! and a last label of two letters or more. Neither `user@host` before a URL's path is one (that is the URL's user) nor
//! `package@1.2.3`.

use std::ops::Range;

use memchr::{memchr2, memrchr};

use super::run_end;

/// The longest name before the `@` (RFC 5321, 4.5.3.1.1), and the longest domain.
const NAME_BYTES_MAX: usize = 64;
const DOMAIN_BYTES_MAX: usize = 255;

pub(super) fn find(text: &[u8], from: usize) -> Option<Range<usize>> {
    let mut at = from;
    while let Some(offset) = memchr2(b'@', b'%', text.get(at..)?) {
        let sign = at + offset;
        let behind = match &text[sign..] {
            [b'@', ..] => sign + 1,
            [b'%', b'4', b'0', ..] => sign + 3,
            _ => {
                at = sign + 1;
                continue;
            }
        };
        let start = name_start(text, from, sign);
        if let Some(end) = domain_end(text, behind)
            && start < sign
            && !follows_slashes(text, start)
        {
            return Some(start..end);
        }
        at = behind;
    }
    None
}

/// Where the name before the sign begins, but not before `from`.
fn name_start(text: &[u8], from: usize, sign: usize) -> usize {
    let name = &text[from.max(sign.saturating_sub(NAME_BYTES_MAX))..sign];
    let length = name.iter().rev().take_while(|byte| is_of_name(**byte)).count();
    let mut start = sign - length;
    // Percent-encoded signs are no part of a name, but their digits look like one; a plus is.
    let is_plus = |at: &usize| text[*at..].starts_with(b"%2B") || text[*at..].starts_with(b"%2b");
    let percents = (start..sign).rev().filter(|at| text[*at] == b'%');
    if let Some(percent) = percents.into_iter().find(|at| !is_plus(at)) {
        start = (percent + 3).min(sign);
    }
    // A character is never cut through, and no sentence begins with a dot.
    start + text[start..sign].iter().take_while(|byte| matches!(byte, b'.' | b'-' | 0x80..=0xbf)).count()
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80 || b".!#$%*+_`{|}~-".contains(&byte)
}

/// Where the domain that begins here ends, if it is one.
fn domain_end(text: &[u8], start: usize) -> Option<usize> {
    let is_of_domain = |byte: u8| byte.is_ascii_alphanumeric() || byte >= 0x80 || matches!(byte, b'-' | b'.');
    let domain = &text[start..run_end(text, start, is_of_domain)];
    // The dot at the end of a sentence is not the domain's.
    let length = domain.iter().rposition(|byte| !matches!(byte, b'.' | b'-'))? + 1;
    let domain = &domain[..length];
    let last_dot = memrchr(b'.', domain)?;
    let last_label = &domain[last_dot + 1..];
    let is_word =
        last_label.len() >= 2 && last_label.iter().all(|byte| byte.is_ascii_alphabetic() || *byte >= 0x80);
    let is_domain =
        is_word && length <= DOMAIN_BYTES_MAX && domain.split(|byte| *byte == b'.').all(|l| !l.is_empty());
    is_domain.then_some(start + length)
}

/// Whether it is the user of a URL: `ssh://git@…`.
fn follows_slashes(text: &[u8], start: usize) -> bool {
    text[..start].ends_with(b"://")
}
