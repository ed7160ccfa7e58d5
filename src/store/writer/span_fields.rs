//! Parts of a span's row: words, what a span's message says beside its attributes, attributes with columns of their own.

use smallvec::SmallVec;

use super::leaf::{Flat, Leaf};
use super::maps::Entries;
use super::text::word;
use crate::sample::Verdict;
use crate::sample::probability::kept_tracestate;
use crate::store::other_types::{EXACT_MAX, OtherTypes, is_elsewhere};
use crate::store::schema::{ColumnType, Layout};
use crate::wire::{AnyView, Fields, KeyValueParts, ValueParts, WireError};

/// For each of some values its number in a column's dictionary, once it was put.
pub(super) type Memos = Vec<Option<u32>>;

/// Words of an enumeration.
pub(super) struct Words {
    pub(super) column: Flat,
    words: &'static [&'static str],
    memos: Memos,
}

impl Words {
    pub(super) fn new(words: &'static [&'static str]) -> Self {
        Self { column: Flat::required(Leaf::texts()), words, memos: vec![None; words.len()] }
    }

    #[inline]
    pub(super) fn put(&mut self, row: u32, value: i32) {
        let at = usize::try_from(value).unwrap_or(usize::MAX);
        match (self.words.get(at), self.memos.get_mut(at)) {
            (Some(word), Some(memo)) => self.column.put_known(row, word.as_bytes(), 1, memo),
            _ => self.column.put(row, word(self.words, value).as_bytes(), 1),
        }
    }
}

/// Fields of a span that are not in its entry, as its message has them.
#[derive(Default)]
pub(super) struct Scalars<'a> {
    pub(super) trace_id: &'a [u8],
    pub(super) span_id: &'a [u8],
    pub(super) parent_span_id: &'a [u8],
    pub(super) trace_state: &'a str,
    pub(super) flags: u32,
    pub(super) status_code: i32,
    pub(super) status_message: Option<&'a str>,
    pub(super) dropped: [u32; 3],
    pub(super) events: SmallVec<[&'a [u8]; 4]>,
    pub(super) links: SmallVec<[&'a [u8]; 4]>,
}

impl<'a> Scalars<'a> {
    pub(super) fn read_status(&mut self, raw: &'a [u8]) -> Result<(), WireError> {
        let message = self.status_message.get_or_insert("");
        let mut fields = Fields::new(raw);
        while let Some(field) = fields.read()? {
            match field.number {
                2 => *message = field.text("span.status.message")?,
                3 => self.status_code = field.varint("span.status.code")? as i32,
                _ => {}
            }
        }
        Ok(())
    }
}

pub(super) fn edited_state(trace_state: &str, verdict: &Verdict) -> (f64, Vec<u8>) {
    let (edited, adjusted_count) = kept_tracestate(trace_state, verdict);
    (adjusted_count, edited.into_owned().into_bytes())
}

pub(super) fn put_nonempty(column: &mut Flat, row: u32, text: &str, rows: u32) {
    if !text.is_empty() {
        column.put(row, text.as_bytes(), rows);
    }
}

pub(super) fn put_count(column: &mut Flat, row: u32, count: u32, rows: u32) {
    if count != 0 {
        column.put(row, &i64::from(count).to_le_bytes(), rows);
    }
}

/// Appends an attribute of a span to the map, and puts it into the column of its own, if it has one (`typed`, in the order of the
/// layout). What comes again byte for byte is not read again.
#[inline]
pub(super) fn put_attribute(
    entries: &mut Entries,
    typed: &mut [(Flat, Memos)],
    layout: &Layout,
    row: u32,
    raw: &[u8],
    other_types: &mut OtherTypes,
) -> Result<(), WireError> {
    let (step, value) = match entries.append_again(raw) {
        Some(step) => (step, None),
        None => {
            let attribute = KeyValueParts::parse(raw)?;
            (entries.append(&attribute)?, Some(attribute.value))
        }
    };
    let Some(at) = step.column.map(usize::from) else { return Ok(()) };
    let column = &mut typed[at].0;
    let number = entries.repeat(&step).and_then(|repeat| repeat.number);
    if number.is_some_and(|number| column.put_number(row, number)) {
        return Ok(());
    }
    let value = match value {
        Some(value) => value,
        None => KeyValueParts::parse(raw)?.value,
    };
    let kind = layout.well_known()[at].kind;
    if put_typed(column, row, kind, value) {
        if let Some(repeat) = entries.repeat(&step) {
            repeat.number = column.number();
        }
    } else if is_elsewhere(kind, value) {
        other_types.note(at);
    }
    Ok(())
}

/// Puts a well-known attribute into its column, if it is of the column's type: whether it is.
#[inline]
fn put_typed(column: &mut Flat, row: u32, kind: ColumnType, value: ValueParts<'_>) -> bool {
    match (kind, value) {
        (ColumnType::Long, ValueParts::Other(AnyView::Int(value))) => column.put_long(row, value),
        // TraceQL's 200 is also 200.0.
        (ColumnType::Long, ValueParts::Other(AnyView::Double(value)))
            if value.fract() == 0.0 && value.abs() < EXACT_MAX =>
        {
            column.put_long(row, value as i64);
        }
        (ColumnType::Text, ValueParts::Text(text)) => column.put(row, text, 1),
        _ => return false,
    }
    true
}
