//! The map column of attributes: keys, values and the types of the values.

use parquet::errors::Result;
use parquet::schema::types::ColumnDescPtr;

use super::leaf::{Finished, Flat, Leaf, Levels, Press, RowBits, Runs};
use super::repeats::{Repeat, Repeats};
use super::shapes::{End, Shapes};
use crate::store::index::{FilterBuilder, FilterScope};
use crate::store::schema::{AttributeType, Layout};
use crate::store::values::{NoText, append_text};
use crate::wire::{KeyValueParts, ValueParts, WireError};

/// A row group ends when so many bytes of different keys are in it: keys have no other way out than their dictionary.
const KEY_BYTES_MAX: usize = 1 << 20;
/// How an array's text begins.
const ARRAY_TEXT: &[u8] = b"{\"arrayValue\":";
/// Bytes of a value's length before it.
const LENGTH: usize = 4;

/// How a message's attributes went into the map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fit {
    /// The map gives them back.
    Whole,
    /// It does not: a key twice, or a value without text. The map has the first of each key, for SQL.
    Partly,
}

/// What the attribute just read turned out to be.
pub(super) struct Step {
    /// Its place among those with a column, if it has one, and is the first of its key.
    pub(super) column: Option<u8>,
    /// Where [`Entries`] remembers it.
    repeat: Option<u16>,
}

/// Keys and values of a map's entries, without their levels.
pub(super) struct Entries {
    pub(super) keys: Leaf,
    pub(super) values: Leaf,
    shapes: Shapes,
    repeats: Repeats,
    /// The attribute under way was looked for in vain, and shall be found the next time.
    keeps: bool,
    /// Where the message under way is.
    at: u32,
    count: u32,
    /// Definition levels of the message's values below those of an entry with a value: which entry, from 0, is null.
    pub(super) nulls: Vec<u32>,
    fit: Fit,
    /// Is told of each value, where there is one.
    pub(super) filter: Option<FilterBuilder>,
}

impl Default for Entries {
    fn default() -> Self {
        Self {
            keys: Leaf::numbered_texts(),
            values: Leaf::unique_texts(),
            shapes: Shapes::default(),
            repeats: Repeats::default(),
            keeps: false,
            at: 0,
            count: 0,
            nulls: Vec::new(),
            fit: Fit::Whole,
            filter: None,
        }
    }
}

impl Entries {
    /// Begins a message.
    pub(super) fn begin(&mut self) {
        self.at = self.shapes.begin();
        self.count = 0;
        self.nulls.clear();
        self.fit = Fit::Whole;
    }

    /// Appends an attribute of the message that came before, byte for byte. Any other must be read, and go to [`Self::append`].
    #[inline]
    pub(super) fn append_again(&mut self, raw: &[u8]) -> Option<Step> {
        self.keeps = false;
        if !self.shapes.looks(self.at) {
            return None;
        }
        let found = self.repeats.find(raw);
        self.shapes.looked(self.at, found.is_some());
        let Some(number) = found else {
            self.keeps = true;
            return None;
        };
        let ((dictionary, _), (page, values)) = self.keys.numbered().zip(self.values.unique())?;
        let (repeat, text) = self.repeats.text(number);
        self.at = self.shapes.step_known(self.at, dictionary, repeat.key, repeat.code);
        let node = self.shapes.node(self.at);
        if node.is_repeated {
            self.fit = Fit::Partly;
            return Some(Step { column: None, repeat: None });
        }
        page.extend_from_slice(text);
        *values += 1;
        self.count += 1;
        Some(Step { column: node.known, repeat: Some(number) })
    }

    /// Appends an attribute of the message.
    #[inline]
    pub(super) fn append(&mut self, attribute: &KeyValueParts<'_>) -> std::result::Result<Step, WireError> {
        let Some(((dictionary, _), (page, values))) = self.keys.numbered().zip(self.values.unique()) else {
            return Ok(Step { column: None, repeat: None });
        };
        let begin = page.len();
        let (mut is_unusual, mut kind) = (false, AttributeType::Str);
        if let ValueParts::Text(text) = attribute.value {
            page.extend_from_slice(&(text.len() as u32).to_le_bytes());
            page.extend_from_slice(text);
        } else {
            page.extend_from_slice(&[0; LENGTH]);
            kind = match append_text(attribute, page) {
                Ok(kind) => kind,
                Err(NoText::Unusual) => {
                    is_unusual = true;
                    AttributeType::Empty
                }
                Err(NoText::Wire(error)) => {
                    page.truncate(begin);
                    return Err(error);
                }
            };
            let length = (page.len() - begin - LENGTH) as u32;
            page[begin..begin + LENGTH].copy_from_slice(&length.to_le_bytes());
        }
        self.at = self.shapes.step(self.at, dictionary, attribute.key, kind as u8);
        let node = self.shapes.node(self.at);
        if let Some(filter) = &mut self.filter {
            match (is_unusual, kind) {
                (true, _) => filter.has_unknown(FilterScope::Span),
                (_, AttributeType::Json) => {
                    tell(filter, FilterScope::Span, node.seed, &page[begin + LENGTH..]);
                }
                _ => filter.insert(node.seed, &page[begin + LENGTH..]),
            }
        }
        if is_unusual || node.is_repeated {
            self.fit = Fit::Partly;
        }
        if node.is_repeated {
            page.truncate(begin);
            return Ok(Step { column: None, repeat: None });
        }
        let mut repeat = None;
        if matches!(kind, AttributeType::Empty | AttributeType::Missing) {
            page.truncate(begin);
            self.nulls.push(self.count);
        } else {
            *values += 1;
            if self.keeps {
                repeat = self.repeats.keep(attribute.raw, &page[begin..], node.key, kind as u8);
            }
        }
        self.count += 1;
        Ok(Step { column: node.known, repeat })
    }

    /// What is remembered of an attribute, until the next is appended.
    #[inline]
    pub(super) fn repeat(&mut self, step: &Step) -> Option<&mut Repeat> {
        self.repeats.get(step.repeat?)
    }

    /// Ends the message: its entries, what it has in common with its like, and whether the map gives it back.
    pub(super) fn end(&mut self) -> (u32, &mut End, Fit) {
        let end = self.shapes.end(self.at);
        if let Some((_, numbers)) = self.keys.numbered() {
            numbers.extend_from_slice(&end.keys);
        }
        (self.count, end, self.fit)
    }

    /// Whether the row group should end because of its keys.
    pub(super) fn is_full(&mut self) -> bool {
        self.keys.numbered().is_some_and(|(dictionary, _)| dictionary.bytes() > KEY_BYTES_MAX)
    }
}

/// Tells a filter of a value by its text. Of a list the text is in too: whoever asks for a string gets what looks like it.
pub(super) fn tell(filter: &mut FilterBuilder, scope: FilterScope, seed: u64, text: &[u8]) {
    filter.insert(seed, text);
    if text.starts_with(ARRAY_TEXT) {
        filter.insert_array(scope, seed);
    }
}

/// Levels of a map that is a column of its own, for keys and values.
#[derive(Default)]
pub(super) struct MapLevels {
    rows: RowBits,
    keys: Runs,
    values: Runs,
    encoded: [Vec<u8>; 3],
}

impl MapLevels {
    /// A row with so many entries, of which some (by index, ascending) have no value.
    #[inline]
    pub(super) fn push_row(&mut self, entries: u32, nulls: &[u32]) {
        self.rows.push_row(entries);
        if entries == 0 {
            self.keys.push(0, 1);
            self.values.push(0, 1);
            return;
        }
        self.keys.push(1, entries);
        let mut from = 0;
        for null in nulls {
            self.values.push(2, null - from);
            self.values.push(1, 1);
            from = null + 1;
        }
        self.values.push(2, entries - from);
    }

    /// As [`Self::push_row`], so many rows that are the same.
    pub(super) fn push_rows(&mut self, entries: u32, nulls: &[u32], rows: u32) {
        if entries == 0 || !nulls.is_empty() {
            (0..rows).for_each(|_| self.push_row(entries, nulls));
            return;
        }
        (0..rows).for_each(|_| self.rows.push_row(entries));
        self.keys.push(1, entries * rows);
        self.values.push(2, entries * rows);
    }

    /// Ends the page of both leaves.
    pub(super) fn end_page(
        &mut self,
        keys: &mut Leaf,
        values: &mut Leaf,
        rows: u32,
        press: &mut Press,
    ) -> Result<()> {
        let count = self.rows.len();
        self.encoded.iter_mut().for_each(Vec::clear);
        let [repetition, of_keys, of_values] = &mut self.encoded;
        self.rows.encode(repetition);
        self.keys.encode(1, of_keys);
        self.values.encode(2, of_values);
        keys.end_page(Levels { repetition, definition: of_keys, count }, rows, press)?;
        values.end_page(Levels { repetition, definition: of_values, count }, rows, press)?;
        self.keys.clear();
        self.values.clear();
        Ok(())
    }
}

/// The columns `attributes`, `attributes_types` and `attributes_raw` of spans.
pub(super) struct SpanAttributes {
    pub(super) entries: Entries,
    levels: MapLevels,
    types: Flat,
    pub(super) raw: Flat,
    rows: u32,
    /// The first row of the open page of keys and values.
    first: u32,
}

impl Default for SpanAttributes {
    fn default() -> Self {
        Self {
            entries: Entries::default(),
            levels: MapLevels::default(),
            types: Flat::required(Leaf::texts()),
            raw: Flat::optional(Leaf::unique_texts()),
            rows: 0,
            first: 0,
        }
    }
}

impl SpanAttributes {
    /// Of the row group whose filter tells of them, and of its resources.
    pub(super) fn of_spans(layout: &'static Layout) -> Self {
        let mut entries = Entries { filter: Some(FilterBuilder::default()), ..Entries::default() };
        entries.shapes = Shapes::of_spans(layout);
        Self { entries, ..Self::default() }
    }

    /// The row group's filter.
    pub(super) fn filter(&mut self) -> Option<&mut FilterBuilder> {
        self.entries.filter.as_mut()
    }

    /// Ends a span: whether the map gives its attributes back.
    #[inline]
    pub(super) fn end_row(&mut self) -> Fit {
        let nulls = std::mem::take(&mut self.entries.nulls);
        let (count, end, fit) = self.entries.end();
        self.types.put_known(self.rows, &end.types, 1, &mut end.number);
        self.levels.push_row(count, &nulls);
        self.entries.nulls = nulls;
        self.rows += 1;
        fit
    }

    /// Ends pages before this row.
    pub(super) fn end_pages(&mut self, row: u32, press: &mut Press) -> Result<()> {
        if row > self.first {
            let Entries { keys, values, .. } = &mut self.entries;
            self.levels.end_page(keys, values, row - self.first, press)?;
            self.first = row;
        }
        for column in [&mut self.types, &mut self.raw] {
            if column.is_page_full() {
                column.end_page(row, press)?;
            }
        }
        Ok(())
    }

    /// The chunks, in the order of the schema: keys, values, types, raw.
    pub(super) fn finish(
        mut self,
        rows: u32,
        mut column: impl FnMut() -> ColumnDescPtr,
        press: &mut Press,
    ) -> Result<[Finished; 4]> {
        self.end_pages(rows, press)?;
        Ok([
            self.entries.keys.finish(column(), press)?,
            self.entries.values.finish(column(), press)?,
            self.types.finish(rows, column(), press)?,
            self.raw.finish(rows, column(), press)?,
        ])
    }
}
