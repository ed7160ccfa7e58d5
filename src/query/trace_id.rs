//! Trace ids as people and other tools write them.

use std::str::FromStr;

use thiserror::Error;

use crate::wire::TraceId;

const HEX_DIGITS: usize = 32;

/// Why a text is not a trace id.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TraceIdError {
    /// Too many digits, or none.
    #[error("a trace id has 1 to 32 hexadecimal digits, this has {0}")]
    Length(usize),
    /// Something else than digits.
    #[error("`{0}` is not a hexadecimal digit")]
    Digit(char),
    /// Zero is no trace.
    #[error("a trace id is not all zeros")]
    Zero,
}

/// Reads a trace id: hex digits of either case, shorter ones padded with zeros on the left, as 64-bit ids of other
/// systems are.
pub fn parse_trace_id(text: &str) -> Result<TraceId, TraceIdError> {
    let text = text.trim();
    if let Some(other) = text.chars().find(|c| !c.is_ascii_hexdigit()) {
        return Err(TraceIdError::Digit(other));
    }
    if text.is_empty() || text.len() > HEX_DIGITS {
        return Err(TraceIdError::Length(text.len()));
    }
    let id =
        TraceId::from_str(&format!("{text:0>HEX_DIGITS$}")).map_err(|_| TraceIdError::Length(text.len()))?;
    if id.is_valid() { Ok(id) } else { Err(TraceIdError::Zero) }
}
