//! The map column of attributes: keys, values and the types of the values.

use std::collections::{HashMap, HashSet};

use parquet::errors::Result;
use parquet::schema::types::ColumnDescPtr;

use super::leaf::{Dictionary, Finished, Flat, Leaf, Levels, Press, RowBits, Runs};
use crate::store::index::{FilterBuilder, FilterScope, key_seed};
use crate::store::schema::{AttributeType, Layout, WellKnownScope};
use crate::store::values::{NoText, append_text};
use crate::wire::{KeyValueParts, ValueParts, WireError};

/// A row group ends when so many bytes of different keys are in it: keys have no other way out than their dictionary.
const KEY_BYTES_MAX: usize = 1 << 20;
/// Sequences of attributes that are remembered, in nodes.
const NODES_MAX: usize = 16 * 1024;
const NONE: u32 = u32::MAX;
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

/// After these attributes, in this order and of these types. Messages of one origin are alike: the next attribute is nearly
/// always the one that came next the last time, and then a comparison of keys is all there is to do.
struct Node {
    /// Number of the attribute's key, and where its text is in the dictionary.
    key: u32,
    code: u8,
    /// The key came before: it is not in the map.
    is_repeated: bool,
    /// The span attribute's place among those with a column.
    known: Option<u8>,
    /// What the key adds to the hashes of its values.
    seed: u64,
    /// The node that came next the last time.
    next: u32,
    /// The types of all attributes up to here, once somebody asked.
    types: Option<Box<[u8]>>,
    before: u32,
}

/// What the attribute just read turned out to be.
pub(super) struct Step {
    pub(super) known: Option<u8>,
    pub(super) is_repeated: bool,
}

/// The sequences of attributes seen in a row group.
#[derive(Default)]
struct Shapes {
    /// Which attributes of spans have columns of their own.
    layout: Option<&'static Layout>,
    nodes: Vec<Node>,
    index: HashMap<(u32, u32, u8), u32, foldhash::fast::RandomState>,
    /// Keys of the message under way, once it left the beaten track.
    seen: HashSet<u32, foldhash::fast::RandomState>,
    is_new: bool,
}

impl Shapes {
    /// Begins a message; gives the node of no attributes.
    fn begin(&mut self) -> u32 {
        if self.nodes.len() > NODES_MAX {
            self.nodes.clear();
            self.index.clear();
        }
        if self.nodes.is_empty() {
            self.nodes.push(Node {
                key: NONE,
                code: 0,
                is_repeated: false,
                known: None,
                seed: 0,
                next: NONE,
                types: None,
                before: NONE,
            });
        }
        if self.is_new {
            self.seen.clear();
            self.is_new = false;
        }
        0
    }

    /// The node of one attribute more.
    #[inline]
    fn step(&mut self, at: u32, keys: &mut Dictionary, key: &[u8], code: u8) -> u32 {
        let next = self.nodes[at as usize].next;
        if let Some(node) = self.nodes.get(next as usize)
            && node.code == code
            && keys.value(node.key) == key
        {
            if self.is_new {
                self.seen.insert(self.nodes[next as usize].key);
            }
            return next;
        }
        self.step_aside(at, keys, key, code)
    }

    #[cold]
    fn step_aside(&mut self, at: u32, keys: &mut Dictionary, key: &[u8], code: u8) -> u32 {
        if !self.is_new {
            self.is_new = true;
            let mut node = &self.nodes[at as usize];
            while node.before != NONE {
                self.seen.insert(node.key);
                node = &self.nodes[node.before as usize];
            }
        }
        let number = keys.number(key);
        let is_repeated = !self.seen.insert(number);
        let next = match self.index.get(&(at, number, code)) {
            Some(known) => *known,
            None => {
                let key_text = self.layout.zip(std::str::from_utf8(key).ok());
                let known = key_text.and_then(|(of, key)| of.position(WellKnownScope::Span, key));
                self.nodes.push(Node {
                    key: number,
                    code,
                    is_repeated,
                    known: known.and_then(|at| u8::try_from(at).ok()),
                    seed: key_seed(FilterScope::Span, key),
                    next: NONE,
                    types: None,
                    before: at,
                });
                let next = self.nodes.len() as u32 - 1;
                self.index.insert((at, number, code), next);
                next
            }
        };
        self.nodes[at as usize].next = next;
        next
    }

    /// The types of the attributes up to a node that are in the map.
    fn types(&mut self, at: u32) -> &[u8] {
        if self.nodes[at as usize].types.is_none() {
            let mut types = Vec::new();
            let mut node = &self.nodes[at as usize];
            while node.before != NONE {
                if !node.is_repeated {
                    types.push(node.code);
                }
                node = &self.nodes[node.before as usize];
            }
            types.reverse();
            self.nodes[at as usize].types = Some(types.into());
        }
        self.nodes[at as usize].types.as_deref().unwrap_or_default()
    }
}

/// Keys and values of a map's entries, without their levels.
pub(super) struct Entries {
    pub(super) keys: Leaf,
    pub(super) values: Leaf,
    shapes: Shapes,
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

    /// Appends an attribute of the message.
    #[inline]
    pub(super) fn append(&mut self, attribute: &KeyValueParts<'_>) -> std::result::Result<Step, WireError> {
        let (Some((dictionary, numbers)), Some((page, values))) =
            (self.keys.numbered(), self.values.unique())
        else {
            return Ok(Step { known: None, is_repeated: true });
        };
        if let ValueParts::Text(text) = attribute.value {
            self.at = self.shapes.step(self.at, dictionary, attribute.key, AttributeType::Str as u8);
            let node = &self.shapes.nodes[self.at as usize];
            if let Some(filter) = &mut self.filter {
                filter.insert(node.seed, text);
            }
            if node.is_repeated {
                self.fit = Fit::Partly;
            } else {
                numbers.push(node.key);
                page.extend_from_slice(&(text.len() as u32).to_le_bytes());
                page.extend_from_slice(text);
                *values += 1;
                self.count += 1;
            }
            return Ok(Step { known: node.known, is_repeated: node.is_repeated });
        }
        let begin = page.len();
        page.extend_from_slice(&[0; LENGTH]);
        let mut is_unusual = false;
        let kind = match append_text(attribute, page) {
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
        self.at = self.shapes.step(self.at, dictionary, attribute.key, kind as u8);
        let node = &self.shapes.nodes[self.at as usize];
        let step = Step { known: node.known, is_repeated: node.is_repeated };
        if let Some(filter) = &mut self.filter {
            match is_unusual {
                true => filter.has_unknown(FilterScope::Span),
                false => tell(filter, FilterScope::Span, node.seed, &page[begin + LENGTH..]),
            }
        }
        if is_unusual || step.is_repeated {
            self.fit = Fit::Partly;
        }
        if step.is_repeated {
            page.truncate(begin);
            return Ok(step);
        }
        numbers.push(node.key);
        if matches!(kind, AttributeType::Empty | AttributeType::Missing) {
            page.truncate(begin);
            self.nulls.push(self.count);
        } else {
            let length = (page.len() - begin - LENGTH) as u32;
            page[begin..begin + LENGTH].copy_from_slice(&length.to_le_bytes());
            *values += 1;
        }
        self.count += 1;
        Ok(step)
    }

    /// Ends the message: its entries, their types, and whether the map gives it back.
    pub(super) fn end(&mut self) -> (u32, &[u8], Fit) {
        (self.count, self.shapes.types(self.at), self.fit)
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
        entries.shapes.layout = Some(layout);
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
        let (count, types, fit) = self.entries.end();
        self.types.put(self.rows, types, 1);
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
