//! Why a query was refused, and where.

use std::fmt;

use super::ast::SourceSpan;

/// What is wrong with a query, for callers that treat some refusals differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParseErrorKind {
    /// Longer than [`super::QUERY_BYTES_MAX`].
    TooLong,
    /// Nested or chained deeper than is evaluated safely.
    TooDeep,
    /// It is not TraceQL.
    Syntax,
    /// It is TraceQL, but its types do not fit.
    Type,
    /// A regular expression does not compile.
    Regex,
    /// It is TraceQL that is not evaluated here yet.
    Unsupported,
}

/// A refused query. `Display` gives one line for people: position, what was expected, what stands there.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub struct ParseError {
    /// What is wrong.
    pub kind: ParseErrorKind,
    /// Byte offset of the offending text.
    pub offset: usize,
    /// Its line, from 1.
    pub line: usize,
    /// Its column in characters, from 1.
    pub column: usize,
    /// The offending text, shortened; empty at the end of the query.
    pub found: String,
    /// What is wrong or was expected, in words.
    pub message: String,
}

/// The most characters of the offending text that an error repeats.
const FOUND_CHARS_MAX: usize = 40;

impl ParseError {
    /// Completes a fault with what `source` holds at its position.
    pub(super) fn locate(fault: Fault, source: &str) -> Self {
        let offset = floor_char_boundary(source, fault.at.start);
        let end = floor_char_boundary(source, fault.at.end.max(offset));
        let before = &source[..offset];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let mut found: String = source[offset..end].chars().take(FOUND_CHARS_MAX).collect();
        if found.len() < end - offset {
            found.push('…');
        }
        Self {
            kind: fault.kind,
            offset,
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            found,
            message: fault.message,
        }
    }
}

/// The nearest character boundary at or before `offset`.
fn floor_char_boundary(source: &str, offset: usize) -> usize {
    let mut offset = offset.min(source.len());
    while !source.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.message)?;
        match (self.kind, self.found.as_str()) {
            (ParseErrorKind::TooLong, _) => Ok(()),
            (_, "") => write!(f, ", at the end of the query"),
            (_, found) => write!(f, ", at `{}`", found.escape_debug()),
        }
    }
}

/// An error before line and column are known.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fault {
    pub kind: ParseErrorKind,
    pub at: SourceSpan,
    pub message: String,
}

impl Fault {
    pub fn new(kind: ParseErrorKind, at: SourceSpan, message: impl Into<String>) -> Self {
        Self { kind, at, message: message.into() }
    }

    pub fn syntax(at: SourceSpan, message: impl Into<String>) -> Self {
        Self::new(ParseErrorKind::Syntax, at, message)
    }

    pub fn types(at: SourceSpan, message: impl Into<String>) -> Self {
        Self::new(ParseErrorKind::Type, at, message)
    }
}
