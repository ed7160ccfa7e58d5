//! Consistent probability sampling: thresholds, randomness, and the `ot` member of W3C tracestate.
//!
//! <https://opentelemetry.io/docs/specs/otel/trace/tracestate-probability-sampling/>: a trace is kept iff its 56 bits of
//! randomness R are at or above the threshold T = (1 − p) · 2⁵⁶, so stages that do not know of each other agree.

use std::borrow::Cow;
use std::fmt;

use super::Verdict;

#[cfg(test)]
mod tests;

/// Hexadecimal digits in full: 56 bits.
const DIGITS_MAX: u32 = 14;
/// 2⁵⁶.
const RANGE: u64 = 1 << 56;
/// The longest value of the `ot` member, in characters.
const OT_VALUE_MAX: usize = 256;
/// The most members a tracestate may have (W3C).
const MEMBERS_MAX: usize = 32;
/// Digits of a threshold after its leading `f`s (or zeros) where nothing else is asked for.
pub const PRECISION_DEFAULT: u32 = 4;

/// A rejection threshold: 56 bits. Traces whose randomness is below it are dropped.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Threshold(u64);

impl Threshold {
    /// Keeps everything: `th:0`.
    pub const ALWAYS: Self = Self(0);

    /// The threshold with this value; `None` at or above 2⁵⁶, which would keep nothing.
    pub fn new(value: u64) -> Option<Self> {
        (value < RANGE).then_some(Self(value))
    }

    /// The threshold that keeps the share `probability`, 2⁻⁵⁶ to 1 (`None` outside: 0 is not probabilistic), rounded to
    /// `precision` digits after the leading `f`s, so that it stays short on every span. Near 1 the digits count after
    /// the leading zeros, or a share of 99.9999 % would become 100 %.
    pub fn from_probability(probability: f64, precision: u32) -> Option<Self> {
        let range = RANGE as f64;
        if !(1.0 / range..=1.0).contains(&probability) {
            return None;
        }
        // From p, not from 1 − p: a double has more bits near 0 than near 1.
        let exact = RANGE - (probability * range).round() as u64;
        let leading = (RANGE - exact).leading_zeros().saturating_sub(8) / 4;
        let leading_zeros = exact.leading_zeros().saturating_sub(8) / 4;
        let digits = (precision.max(1) + leading.max(leading_zeros)).min(DIGITS_MAX);
        let shift = 4 * (DIGITS_MAX - digits);
        let half = (1u64 << shift) >> 1;
        let rounded = (exact + half) >> shift << shift;
        Some(Self(if rounded < RANGE { rounded } else { exact }))
    }

    /// Reads the value of `th`: 1 to 14 lower-case hexadecimal digits, padded with zeros on the right.
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || text.len() > DIGITS_MAX as usize {
            return None;
        }
        let value = parse_hex(text)?;
        Some(Self(value << (4 * (DIGITS_MAX as usize - text.len()))))
    }

    /// The 56 bits.
    pub fn value(self) -> u64 {
        self.0
    }

    /// Whether a trace with this randomness is kept.
    #[inline]
    pub fn keeps(self, randomness: u64) -> bool {
        randomness >= self.0
    }

    /// The share of traces that pass: 2⁻⁵⁶ to 1.
    pub fn probability(self) -> f64 {
        (RANGE - self.0) as f64 / RANGE as f64
    }

    /// How many spans before sampling each kept one stands for: 1 to 2⁵⁶.
    pub fn adjusted_count(self) -> f64 {
        RANGE as f64 / (RANGE - self.0) as f64
    }

    /// *Equalizing*: what two stages in a row amount to. A later stage only ever raises the threshold.
    pub fn equalize(self, upstream: Option<Self>) -> Self {
        upstream.map_or(self, |upstream| self.max(upstream))
    }

    /// *Proportional*: keeps the share `probability` of what upstream kept. `None` where nothing would be left.
    pub fn proportional(probability: f64, upstream: Self, precision: u32) -> Option<Self> {
        Self::from_probability(probability * upstream.probability(), precision).map(|own| own.max(upstream))
    }
}

/// Writes the value of `th`: no trailing zeros, `0` for all of them.
impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let full = format!("{:014x}", self.0);
        match full.trim_end_matches('0') {
            "" => f.write_str("0"),
            digits => f.write_str(digits),
        }
    }
}

/// Reads the value of `rv`: exactly 14 lower-case hexadecimal digits.
pub fn parse_randomness(text: &str) -> Option<u64> {
    (text.len() == DIGITS_MAX as usize).then(|| parse_hex(text))?
}

/// Lower-case digits only: the standard parser would also take upper case and a sign.
fn parse_hex(text: &str) -> Option<u64> {
    let lower_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    text.bytes().all(lower_hex).then(|| u64::from_str_radix(text, 16).ok())?
}

/// What a tracestate says about sampling.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SamplingState {
    /// `th`, where it is there and valid.
    pub threshold: Option<Threshold>,
    /// `rv`, where it is there and valid.
    pub randomness: Option<u64>,
}

impl SamplingState {
    /// Reads the `ot` member of a tracestate.
    pub fn parse(trace_state: &str) -> Self {
        let mut state = Self::default();
        let Some(value) = ot_value(trace_state) else { return state };
        for (key, value) in sub_keys(value) {
            match key {
                "th" => state.threshold = state.threshold.or_else(|| Threshold::parse(value)),
                "rv" => state.randomness = state.randomness.or_else(|| parse_randomness(value)),
                _ => {}
            }
        }
        state
    }
}

/// What becomes of `th` in a kept span's tracestate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ThresholdEdit {
    /// It stays as it came.
    Leave,
    /// It becomes the larger of this and what came.
    Raise(Threshold),
    /// It goes: the probability is not known.
    Erase,
}

impl Verdict {
    /// What the verdict does to `th`.
    pub fn threshold_edit(&self) -> ThresholdEdit {
        match (self.erase_threshold, self.threshold) {
            (true, _) => ThresholdEdit::Erase,
            (false, Some(threshold)) => ThresholdEdit::Raise(threshold),
            (false, None) => ThresholdEdit::Leave,
        }
    }
}

/// The tracestate that a span of a kept trace is stored with, and its adjusted count: how many spans it stands for, 1 where
/// the probability is not known.
pub fn kept_tracestate<'a>(trace_state: &'a str, verdict: &Verdict) -> (Cow<'a, str>, f64) {
    let edited = edit_tracestate(trace_state, verdict.threshold_edit());
    let threshold = SamplingState::parse(&edited).threshold;
    (edited, threshold.map_or(1.0, Threshold::adjusted_count))
}

/// Edits `th` in a tracestate. `rv`, other sub-keys and other vendors' members stay, in their order; a member that
/// changes moves to the front, as W3C asks. Borrowed where nothing changes.
pub fn edit_tracestate(trace_state: &str, edit: ThresholdEdit) -> Cow<'_, str> {
    let current = SamplingState::parse(trace_state).threshold;
    let wanted = match edit {
        ThresholdEdit::Leave => return Cow::Borrowed(trace_state),
        ThresholdEdit::Raise(threshold) => Some(threshold.equalize(current)),
        ThresholdEdit::Erase => None,
    };
    let ot = ot_value(trace_state);
    let written = ot.and_then(|ot| sub_keys(ot).find(|(key, _)| *key == "th"));
    if wanted == current && written.is_some() == wanted.is_some() {
        return Cow::Borrowed(trace_state);
    }
    let mut members = Vec::new();
    let value = ot_with_threshold(ot.unwrap_or_default(), wanted);
    if !value.is_empty() {
        members.push(format!("ot={value}"));
    }
    members.extend(other_members(trace_state).map(str::to_owned));
    members.truncate(MEMBERS_MAX);
    Cow::Owned(members.join(","))
}

/// The members of a tracestate, without blanks around them and without empty ones.
fn members(trace_state: &str) -> impl Iterator<Item = &str> {
    trace_state.split(',').map(|member| member.trim_matches([' ', '\t'])).filter(|member| !member.is_empty())
}

fn other_members(trace_state: &str) -> impl Iterator<Item = &str> {
    members(trace_state).filter(|member| !member.starts_with("ot="))
}

fn ot_value(trace_state: &str) -> Option<&str> {
    if trace_state.is_empty() {
        return None;
    }
    members(trace_state).find_map(|member| member.strip_prefix("ot="))
}

/// The sub-keys of an `ot` value: `key:value;key:value`.
fn sub_keys(value: &str) -> impl Iterator<Item = (&str, &str)> {
    value.split(';').filter_map(|part| part.split_once(':'))
}

/// An `ot` value with another `th` (first), everything else as it was; unknown sub-keys at the end give way where the
/// value would become too long.
fn ot_with_threshold(value: &str, threshold: Option<Threshold>) -> String {
    let mut parts: Vec<String> = threshold.map(|threshold| format!("th:{threshold}")).into_iter().collect();
    let rest = value.split(';').filter(|part| !part.is_empty() && !part.starts_with("th:"));
    parts.extend(rest.map(str::to_owned));
    while parts.join(";").len() > OT_VALUE_MAX {
        let needless = |part: &String| !part.starts_with("th:") && !part.starts_with("rv:");
        match parts.iter().rposition(needless) {
            Some(index) => drop(parts.remove(index)),
            None => break,
        }
    }
    parts.join(";")
}
