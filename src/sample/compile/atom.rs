//! Atoms: the single comparisons that rules are made of.

use crate::traceql::{BinaryOp, Literal, Pattern, Value, Values, compares};
use crate::wire::{AnyView, WireError, values_of_array};

/// What of a span an atom looks at.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::sample) enum Field {
    /// The span's name.
    Name,
    /// The status' message.
    StatusMessage,
    /// The status' code.
    Status,
    /// The kind.
    Kind,
    /// End − start.
    Duration,
    /// Whether there is a parent id.
    Parent,
    /// An attribute of the span.
    Span(String),
    /// An attribute of its resource.
    Resource(String),
    /// An attribute of the span, or where it has none, of its resource.
    Unscoped(String),
}

/// What of a trace's root an atom looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sample) enum RootField {
    /// Its name.
    Name,
    /// Its resource's `service.name`.
    Service,
}

/// The question an atom asks of a value.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::sample) enum Test {
    /// `value op constant`.
    Compare(BinaryOp, Literal),
    /// `=~`, or `!~` where negated.
    Match { negated: bool, pattern: Pattern },
    /// `!= nil`.
    Exists,
    /// The value as a condition of its own.
    True,
    /// A boolean, and none of its values true: `!` before such a condition.
    False,
}

impl Test {
    /// Whether it holds, as evaluation of TraceQL over a decoded trace has it.
    pub fn holds(&self, values: &Values<'_>) -> bool {
        let has = |wanted: bool| values.as_slice().contains(&Value::Bool(wanted));
        match self {
            Self::Compare(op, literal) => compares(*op, values, &literal.as_value().into()),
            Self::Match { negated: false, pattern } => {
                values.as_slice().iter().any(|value| matches_text(pattern, value))
            }
            Self::Match { negated: true, pattern } => {
                let differs =
                    |value: &Value<'_>| matches!(value, Value::Str(_)) && !matches_text(pattern, value);
                !values.is_missing() && values.as_slice().iter().all(differs)
            }
            Self::Exists => !values.is_missing(),
            Self::True => has(true),
            Self::False => has(false) && !has(true),
        }
    }

    /// The texts of which one must be equal to a single string, where the test is nothing but that.
    fn texts(&self) -> Option<Vec<&str>> {
        match self {
            Self::Compare(BinaryOp::Equal, Literal::Str(text)) => Some(vec![text]),
            Self::Match { negated: false, pattern } => {
                let plain = |c: char| !r"\.+*?()[]{}^$".contains(c);
                let source = pattern.as_str();
                source.chars().all(plain).then(|| source.split('|').collect())
            }
            _ => None,
        }
    }
}

fn matches_text(pattern: &Pattern, value: &Value<'_>) -> bool {
    matches!(value, Value::Str(text) if pattern.is_match(text))
}

/// Beyond so many texts a table finds them faster than comparing each.
const TEXTS_COMPARED_MAX: usize = 8;

/// All atoms of one field, asked together.
#[derive(Debug, Default)]
pub(in crate::sample) struct Tests {
    all: Vec<(u32, Test)>,
    /// What a string cannot answer by being equal to one of `texts`.
    others: Vec<u32>,
    texts: Vec<(Box<[u8]>, u32)>,
    table: std::collections::HashMap<Box<[u8]>, Vec<u32>, foldhash::fast::FixedState>,
}

impl Tests {
    /// Adds the atom numbered `atom`.
    pub fn add(&mut self, atom: u32, test: Test) {
        match test.texts() {
            Some(texts) => self.texts.extend(texts.into_iter().map(|text| (text.as_bytes().into(), atom))),
            None => self.others.push(u32::try_from(self.all.len()).unwrap_or(u32::MAX)),
        }
        self.all.push((atom, test));
        if self.texts.len() > TEXTS_COMPARED_MAX {
            self.table.clear();
            for (text, atom) in &self.texts {
                self.table.entry(text.clone()).or_default().push(*atom);
            }
        }
    }

    /// Whether there is nothing to ask.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether a string answers all by being equal to a text, or not.
    #[inline]
    pub fn is_only_texts(&self) -> bool {
        self.others.is_empty()
    }

    /// Sets the bit of every atom that asks for exactly this text.
    #[inline]
    pub fn ask_equal(&self, text: &[u8], bits: &mut [u64]) {
        if self.table.is_empty() {
            for (wanted, atom) in &self.texts {
                if **wanted == *text {
                    set(bits, *atom);
                }
            }
        } else if let Some(atoms) = self.table.get(text) {
            atoms.iter().for_each(|atom| set(bits, *atom));
        }
    }

    /// Sets the bit of every atom that holds for a string.
    #[inline]
    pub fn ask_text(&self, text: &str, bits: &mut [u64]) {
        self.ask_equal(text.as_bytes(), bits);
        if !self.others.is_empty() {
            let values = Values::One(Value::str(text));
            for index in &self.others {
                let (atom, test) = &self.all[*index as usize];
                if test.holds(&values) {
                    set(bits, *atom);
                }
            }
        }
    }

    /// Sets the bit of every atom that holds for an attribute's value.
    pub fn ask(&self, value: AnyView<'_>, bits: &mut [u64]) -> Result<(), WireError> {
        if let AnyView::Str(text) = value {
            self.ask_text(text, bits);
            return Ok(());
        }
        self.ask_values(&values_of(value)?, bits);
        Ok(())
    }

    /// Sets the bit of every atom that holds.
    pub fn ask_values(&self, values: &Values<'_>, bits: &mut [u64]) {
        for (atom, test) in &self.all {
            if test.holds(values) {
                set(bits, *atom);
            }
        }
    }
}

/// An attribute's value as TraceQL sees it: maps, bytes and empty values compare with nothing.
fn values_of(value: AnyView<'_>) -> Result<Values<'_>, WireError> {
    let AnyView::Array(raw) = value else { return Ok(scalar(value).into()) };
    let items: Result<Vec<_>, WireError> = values_of_array(raw).collect();
    Ok(Values::Many(items?.into_iter().filter_map(scalar).collect()))
}

fn scalar(value: AnyView<'_>) -> Option<Value<'_>> {
    Some(match value {
        AnyView::Str(text) => Value::str(text),
        AnyView::Bool(value) => Value::Bool(value),
        AnyView::Int(value) => Value::Int(value),
        AnyView::Double(value) => Value::Float(value),
        AnyView::Empty | AnyView::Array(_) | AnyView::Kvlist(_) | AnyView::Bytes(_) => return None,
    })
}

/// Sets one bit.
#[inline]
pub(in crate::sample) fn set(bits: &mut [u64], index: u32) {
    bits[index as usize / 64] |= 1 << (index % 64);
}

/// Whether one bit is set; bits beyond the end are not.
#[inline]
pub(in crate::sample) fn is_set(bits: &[u64], index: u32) -> bool {
    bits.get(index as usize / 64).is_some_and(|word| word >> (index % 64) & 1 == 1)
}
