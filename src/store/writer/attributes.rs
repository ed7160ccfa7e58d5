//! Attributes on their way into a map column, its column of types, and where needed the raw column.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_array::builder::{BinaryBuilder, StringBuilder};
use arrow_array::{ArrayRef, MapArray, StructArray};
use arrow_buffer::OffsetBuffer;
use arrow_schema::ArrowError;

use super::shared::Rendered;
use crate::store::schema::{AttributeType, map_entries_field, map_entry_fields};
use crate::store::values::{NoText, write_text};
use crate::wire::{AnyView, KeyValueView, WireError, put_bytes_field};

/// Above this many attributes, keys that come twice are looked for with a set.
const FEW: usize = 64;

/// How a message's attributes went into the map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fit {
    /// The map gives them back.
    Whole,
    /// It does not: a key twice, or a value without text. The map has the first of each key, for SQL.
    Partly,
}

/// Builds the columns `…` (map), `…_types`.
#[derive(Default)]
pub(super) struct AttributesBuilder {
    offsets: Vec<i32>,
    keys: StringBuilder,
    values: StringBuilder,
    types: StringBuilder,
    scratch: String,
    codes: String,
}

impl AttributesBuilder {
    /// Appends one message's attributes, given as raw `KeyValue`s. `on_each` sees every one, in order.
    pub(super) fn append<'a>(
        &mut self,
        attributes: impl Iterator<Item = Result<KeyValueView<'a>, WireError>> + Clone,
        mut on_each: impl FnMut(&'a str, AnyView<'a>),
    ) -> Result<Fit, WireError> {
        let mut fit = Fit::Whole;
        let mut seen = Seen::default();
        self.codes.clear();
        let mut count = 0;
        for attribute in attributes.clone() {
            let attribute = attribute?;
            on_each(attribute.key, attribute.value);
            if seen.is_repeated(attribute.key, attributes.clone()) {
                fit = Fit::Partly;
                continue;
            }
            self.keys.append_value(attribute.key);
            count += 1;
            match write_text(&attribute, &mut self.values, &mut self.scratch) {
                Ok(kind @ (AttributeType::Empty | AttributeType::Missing)) => {
                    self.values.append_null();
                    self.codes.push(kind as u8 as char);
                }
                Ok(kind) => {
                    self.values.append_value("");
                    self.codes.push(kind as u8 as char);
                }
                Err(NoText::Unusual) => {
                    self.values.append_null();
                    self.codes.push(AttributeType::Empty as u8 as char);
                    fit = Fit::Partly;
                }
                Err(NoText::Wire(error)) => return Err(error),
            }
        }
        self.types.append_value(&self.codes);
        self.push_offset(count);
        Ok(fit)
    }

    /// Appends attributes that were turned into text before.
    pub(super) fn append_rendered(&mut self, rendered: &Rendered) {
        for (key, value) in rendered.keys.iter().zip(&rendered.values) {
            self.keys.append_value(key);
            self.values.append_option(value.as_deref());
        }
        self.types.append_value(&rendered.types);
        self.push_offset(rendered.keys.len() as i32);
    }

    fn push_offset(&mut self, count: i32) {
        if self.offsets.is_empty() {
            self.offsets.push(0);
        }
        let last = self.offsets.last().copied().unwrap_or(0);
        self.offsets.push(last + count);
    }

    /// The map and its types; the builder is empty again.
    pub(super) fn finish(&mut self) -> Result<(ArrayRef, ArrayRef), ArrowError> {
        if self.offsets.is_empty() {
            self.offsets.push(0);
        }
        let offsets = OffsetBuffer::new(std::mem::take(&mut self.offsets).into());
        let columns: Vec<ArrayRef> = vec![Arc::new(self.keys.finish()), Arc::new(self.values.finish())];
        let entries = StructArray::try_new(map_entry_fields(), columns, None)?;
        let map = MapArray::try_new(map_entries_field(), offsets, entries, None, false)?;
        Ok((Arc::new(map), Arc::new(self.types.finish())))
    }

    /// Bytes held, about.
    pub(super) fn bytes(&self) -> usize {
        self.keys.values_slice().len() + self.values.values_slice().len() + self.offsets.len() * 12
    }
}

/// Appends the attributes as a raw `KeyValueList` if the map cannot give them back, else null.
pub(super) fn append_raw<'a>(
    out: &mut BinaryBuilder,
    fit: Fit,
    attributes: impl Iterator<Item = Result<KeyValueView<'a>, WireError>>,
) -> Result<(), WireError> {
    if fit == Fit::Whole {
        out.append_null();
        return Ok(());
    }
    let mut list = Vec::new();
    for attribute in attributes {
        put_bytes_field(&mut list, 1, attribute?.raw);
    }
    out.append_value(&list);
    Ok(())
}

/// Finds keys that come twice. A bit for each (length, last byte) seen tells most keys apart without comparing.
#[derive(Default)]
struct Seen<'a> {
    bits: u64,
    count: usize,
    many: HashSet<&'a str, foldhash::fast::RandomState>,
}

impl<'a> Seen<'a> {
    /// Whether `key`, the next attribute's, is that of an earlier one. `attributes`: all of them, from the first.
    fn is_repeated(
        &mut self,
        key: &'a str,
        attributes: impl Iterator<Item = Result<KeyValueView<'a>, WireError>>,
    ) -> bool {
        let before = self.count;
        self.count += 1;
        if before >= FEW {
            if self.many.is_empty() {
                self.many.extend(attributes.take(before).flatten().map(|a| a.key));
            }
            return !self.many.insert(key);
        }
        let last = key.as_bytes().last().copied().unwrap_or(0);
        let bit = 1 << ((key.len() * 7 + usize::from(last)) & 63);
        let maybe = self.bits & bit != 0;
        self.bits |= bit;
        maybe && attributes.take(before).flatten().any(|a| a.key == key)
    }
}
