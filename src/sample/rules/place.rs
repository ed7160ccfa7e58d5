//! From an offset in a YAML scalar's value to a line and column of the file: quotes, escapes, folding and indentation lie
//! between them.

/// The line and column, from 1 and in characters, of byte `offset` of the file.
pub(super) fn line_and_column(source: &str, offset: usize) -> (usize, usize) {
    let mut offset = offset.min(source.len());
    while !source.is_char_boundary(offset) {
        offset -= 1;
    }
    let before = &source[..offset];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// The byte of the file at which byte `offset` of the value of the scalar beginning at `start` stands.
pub(super) fn offset_in_file(source: &str, start: usize, value: &str, offset: usize) -> usize {
    let Some(raw) = source.get(start..) else { return start };
    let chars = value.char_indices().take_while(|(index, _)| *index < offset).count();
    if let Some(indentation) = block_indentation(&source[..start]) {
        return start + block(raw, chars, indentation);
    }
    start
        + match raw.as_bytes().first() {
            Some(b'\'') => 1 + skip(&raw[1..], chars, quoted_step),
            Some(b'"') => 1 + skip(&raw[1..], chars, escaped_step),
            _ => skip(raw, chars, plain_step),
        }
}

/// The bytes that `chars` characters of the value take, each by `step`.
fn skip(raw: &str, chars: usize, step: fn(&str) -> usize) -> usize {
    (0..chars).fold(0, |at, _| at + raw.get(at..).map_or(0, step))
}

/// A character; a line break with the indentation after it is one blank.
fn plain_step(rest: &str) -> usize {
    let blank = rest.len() - rest.trim_start().len();
    match rest.chars().next() {
        Some(_) if rest[..blank].contains('\n') => blank,
        Some(character) => character.len_utf8(),
        None => 0,
    }
}

/// The same between single quotes, where two stand for one.
fn quoted_step(rest: &str) -> usize {
    if rest.starts_with("''") { 2 } else { plain_step(rest) }
}

/// The same between double quotes, with escapes.
fn escaped_step(rest: &str) -> usize {
    let mut characters = rest.chars();
    if characters.next() != Some('\\') {
        return plain_step(rest);
    }
    match characters.next() {
        Some('x') => 4,
        Some('u') => 6,
        Some('U') => 10,
        Some(other) => 1 + other.len_utf8(),
        None => 1,
    }
}

/// The indentation of the block (`|`, `>`) whose content begins after `before`; `None` where there is none.
fn block_indentation(before: &str) -> Option<usize> {
    let (header, indentation) = before.rsplit_once('\n')?;
    let header = header.lines().rfind(|line| !line.trim().is_empty())?;
    let marks = header.trim_end().trim_end_matches(|c: char| c.is_ascii_digit() || "+-".contains(c));
    (indentation.trim().is_empty() && marks.ends_with(['|', '>'])).then_some(indentation.len())
}

/// In a block every line begins with the same indentation, which is not part of the value.
fn block(raw: &str, chars: usize, indentation: usize) -> usize {
    let mut at = 0;
    for _ in 0..chars {
        let Some(character) = raw.get(at..).and_then(|rest| rest.chars().next()) else { break };
        at += character.len_utf8();
        if character == '\n' {
            let blank = raw[at..].len() - raw[at..].trim_start_matches(' ').len();
            at += blank.min(indentation);
        }
    }
    at
}
