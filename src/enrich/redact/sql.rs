//! Literals of SQL and of what looks like it: numbers and quoted strings. No dialect is known beforehand, so it is
//! read by what all of them share: `'…'` with doubled quotes or backslashes, `$tag$…$tag$`, comments, identifiers in
//! `"…"`, `` `…` `` and `[…]`, placeholders `?`, `$1`, `:1`, `@p1`. Double quotes hold a string where backquotes are
//! used for identifiers, and in JSON.

use std::ops::Range;

/// Whether the attribute with this key holds a statement.
pub(super) fn is_statement(key: &[u8]) -> bool {
    matches!(key, b"db.query.text" | b"db.statement")
}

/// Where the literals stand, in order. What takes their place is `?`, which is none.
pub(super) fn literals(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let is_json = matches!(text.trim_start().as_bytes().first(), Some(b'{' | b'['));
    let double_is_text = is_json || bytes.contains(&b'`');
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let end = match byte {
            b'\'' => literal(at, quoted_end(bytes, at, true), &mut found),
            b'"' if double_is_text => {
                let end = quoted_end(bytes, at, true);
                // The keys of a JSON object say what was asked for.
                let is_key = is_json && next_sign(bytes, end) == Some(b':');
                if is_key { end } else { literal(at, end, &mut found) }
            }
            b'"' | b'`' => quoted_end(bytes, at, false),
            b'-' if bytes[at..].starts_with(b"--") => line_end(bytes, at),
            b'/' if bytes[at..].starts_with(b"/*") => comment_end(bytes, at),
            b'$' => match dollar_quoted_end(bytes, at) {
                Some(end) => literal(at, end, &mut found),
                None => word_end(bytes, at + 1),
            },
            b'0'..=b'9' => literal(at, number_end(bytes, at), &mut found),
            b'.' if bytes.get(at + 1).is_some_and(u8::is_ascii_digit) => {
                literal(at, number_end(bytes, at + 1), &mut found)
            }
            b':' | b'@' => word_end(bytes, at + 1),
            byte if is_of_word(*byte) => word_end(bytes, at),
            _ => at + 1,
        };
        at = end.max(at + 1);
    }
    found
}

fn literal(start: usize, end: usize, found: &mut Vec<Range<usize>>) -> usize {
    found.push(start..end);
    end
}

fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

fn word_end(bytes: &[u8], start: usize) -> usize {
    let rest = bytes.get(start..).unwrap_or_default();
    start + rest.iter().position(|byte| !is_of_word(*byte)).unwrap_or(rest.len())
}

/// Digits, a fraction, an exponent with its sign, or `0x…`: the letters of a number belong to it.
fn number_end(bytes: &[u8], start: usize) -> usize {
    let mut end = start;
    while let Some(byte) = bytes.get(end) {
        let is_exponent_sign = matches!(byte, b'+' | b'-')
            && matches!(bytes[end - 1], b'e' | b'E')
            && bytes.get(end + 1).is_some_and(u8::is_ascii_digit)
            && bytes[start..end - 1].iter().all(|b| b.is_ascii_digit() || *b == b'.');
        if !(is_of_word(*byte) || *byte == b'.' || end > start && is_exponent_sign) {
            break;
        }
        end += 1;
    }
    end
}

/// Behind the quote that ends what begins here; the end where there is none.
fn quoted_end(bytes: &[u8], start: usize, has_escapes: bool) -> usize {
    let quote = bytes[start];
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' if has_escapes => at += 2,
            byte if *byte == quote && bytes.get(at + 1) == Some(&quote) => at += 2,
            byte if *byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Behind `$tag$…$tag$`, which begins here.
fn dollar_quoted_end(bytes: &[u8], start: usize) -> Option<usize> {
    let tag = bytes[start + 1..].iter().position(|byte| *byte == b'$')?;
    let mark = &bytes[start..start + tag + 2];
    let inner = &mark[1..mark.len() - 1];
    let is_tag = inner.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_')
        && !inner.first().is_some_and(u8::is_ascii_digit);
    if !is_tag {
        return None;
    }
    let content = start + mark.len();
    let end = memchr::memmem::find(&bytes[content..], mark);
    Some(end.map_or(bytes.len(), |end| content + end + mark.len()))
}

fn line_end(bytes: &[u8], start: usize) -> usize {
    memchr::memchr(b'\n', &bytes[start..]).map_or(bytes.len(), |length| start + length)
}

fn comment_end(bytes: &[u8], start: usize) -> usize {
    let end = memchr::memmem::find(&bytes[start + 2..], b"*/");
    end.map_or(bytes.len(), |end| start + 2 + end + 2)
}

/// The first sign from here on that is no blank.
fn next_sign(bytes: &[u8], start: usize) -> Option<u8> {
    bytes.get(start..)?.iter().copied().find(|byte| !byte.is_ascii_whitespace())
}
