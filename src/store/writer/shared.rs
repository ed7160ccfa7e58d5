//! Resources and scopes: the same for thousands of spans, so they are turned into text once.

use std::collections::HashSet;

use parquet::errors::Result as ParquetResult;
use parquet::schema::types::ColumnDescPtr;

use super::leaf::{Finished, Flat, Leaf, PAGE_BYTES, Press};
use super::maps::{Fit, MapLevels, tell};
use crate::store::error::{ErrorKind, StoreError};
use crate::store::index::{FilterBuilder, FilterScope, key_seed};
use crate::store::other_types::OtherTypes;
use crate::store::schema::{AttributeType, Layout, WellKnownScope};
use crate::store::values::{NoText, append_text};
use crate::wire::{
    AnyView, Fields, KeyValueParts, Messages, ScopeView, WireError, attributes_of, values_of_array,
};

const SERVICE_NAME: &str = "service.name";

/// Attributes as text, ready to be appended again and again.
#[derive(Default)]
pub(super) struct Rendered {
    pub(super) entries: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    pub(super) types: Vec<u8>,
}

impl Rendered {
    fn of(raw: &[u8], field: u32) -> Result<(Self, Fit), WireError> {
        let (mut rendered, mut fit) = (Self::default(), Fit::Whole);
        let mut seen: HashSet<&[u8], foldhash::fast::RandomState> = HashSet::default();
        for attribute in Messages::new(raw, field, "an attribute") {
            let attribute = KeyValueParts::parse(attribute?)?;
            if !seen.insert(attribute.key) {
                fit = Fit::Partly;
                continue;
            }
            let mut text = Vec::new();
            let kind = match append_text(&attribute, &mut text) {
                Ok(kind) => kind,
                Err(NoText::Unusual) => {
                    fit = Fit::Partly;
                    AttributeType::Empty
                }
                Err(NoText::Wire(error)) => return Err(error),
            };
            let has_text = !matches!(kind, AttributeType::Empty | AttributeType::Missing);
            rendered.entries.push((attribute.key.to_vec(), has_text.then_some(text)));
            rendered.types.push(kind as u8);
        }
        Ok((rendered, fit))
    }
}

/// A resource of a batch.
pub(super) struct SharedResource {
    pub(super) attributes: Rendered,
    /// Whether the map gives them back.
    fit: Fit,
    /// The whole message, where the columns do not give it back.
    pub(super) raw: Option<Vec<u8>>,
    pub(super) dropped_attributes_count: u32,
    pub(super) schema_url: String,
    /// By index in [`Layout::well_known`]; only those of the resource.
    pub(super) well_known: Vec<Option<String>>,
    /// Those that a comparison may find elsewhere.
    pub(super) other_types: OtherTypes,
    /// The names in `service.name`, if that is a list.
    services: Vec<String>,
}

impl SharedResource {
    pub(super) fn read(raw: &[u8], schema_url: &str, layout: &Layout) -> Result<Self, StoreError> {
        let (attributes, fit) = Rendered::of(raw, 1).map_err(wire)?;
        let (dropped_attributes_count, other_fields) = resource_scalars(raw).map_err(wire)?;
        let mut well_known = vec![None; layout.well_known().len()];
        let (mut other_types, mut services) = (OtherTypes::default(), Vec::new());
        for attribute in attributes_of(raw, 1) {
            let attribute = attribute.map_err(wire)?;
            let Some(at) = layout.position(WellKnownScope::Resource, attribute.key) else { continue };
            match (&mut well_known[at], attribute.value) {
                (slot @ None, AnyView::Str(text)) => *slot = Some(text.to_owned()),
                (_, AnyView::Array(list)) => {
                    other_types.note(at);
                    if attribute.key == SERVICE_NAME {
                        services.extend(texts_of(list)?);
                    }
                }
                _ => {}
            }
        }
        let raw = (fit == Fit::Partly || other_fields).then(|| raw.to_vec());
        let schema_url = schema_url.to_owned();
        Ok(Self {
            attributes,
            fit,
            raw,
            dropped_attributes_count,
            schema_url,
            well_known,
            other_types,
            services,
        })
    }

    /// Tells a row group's filter of its attributes.
    pub(super) fn tell(&self, filter: &mut FilterBuilder) {
        for (key, text) in &self.attributes.entries {
            if let Some(text) = text {
                tell(filter, FilterScope::Resource, key_seed(FilterScope::Resource, key), text);
            }
        }
        if self.fit == Fit::Partly {
            filter.has_unknown(FilterScope::Resource);
        }
    }

    /// The service's name, if there is one.
    pub(super) fn service_name(&self) -> Option<&str> {
        let at = Layout::standard().position(WellKnownScope::Resource, SERVICE_NAME)?;
        self.well_known[at].as_deref()
    }

    /// All names that a search for a service finds it by.
    pub(super) fn services(&self) -> impl Iterator<Item = &str> {
        self.service_name().into_iter().chain(self.services.iter().map(String::as_str))
    }
}

/// The strings among an array's elements.
fn texts_of(array: &[u8]) -> Result<Vec<String>, StoreError> {
    let mut texts = Vec::new();
    for value in values_of_array(array) {
        if let AnyView::Str(text) = value.map_err(wire)? {
            texts.push(text.to_owned());
        }
    }
    Ok(texts)
}

/// `dropped_attributes_count`, and whether there are fields without a column (entity references).
fn resource_scalars(raw: &[u8]) -> Result<(u32, bool), WireError> {
    let (mut dropped, mut other) = (0, false);
    let mut fields = Fields::new(raw);
    while let Some(field) = fields.read()? {
        match field.number {
            1 => {}
            2 => dropped = field.varint("resource.dropped_attributes_count")? as u32,
            _ => other = true,
        }
    }
    Ok((dropped, other))
}

/// An instrumentation scope of a batch.
pub(super) struct SharedScope {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) attributes: Rendered,
    /// The whole message, where the columns do not give it back.
    pub(super) raw: Option<Vec<u8>>,
    pub(super) dropped_attributes_count: u32,
    pub(super) schema_url: String,
}

impl SharedScope {
    pub(super) fn read(raw: &[u8], schema_url: &str) -> Result<Self, StoreError> {
        let view = ScopeView::parse(raw).map_err(wire)?;
        let (attributes, fit) = Rendered::of(raw, 3).map_err(wire)?;
        Ok(Self {
            name: view.name.to_owned(),
            version: view.version.to_owned(),
            attributes,
            raw: (fit == Fit::Partly).then(|| raw.to_vec()),
            dropped_attributes_count: view.dropped_attributes_count,
            schema_url: schema_url.to_owned(),
        })
    }
}

/// A resource's or scope's entries by their numbers in a chunk's dictionaries.
#[derive(Clone)]
struct Numbers {
    keys: Vec<u32>,
    values: Vec<u32>,
    /// Which entries have no value.
    nulls: Vec<u32>,
}

/// The columns `…_attributes` (a map) and `…_attributes_types` of resources or scopes.
pub(super) struct SharedAttributes {
    keys: Leaf,
    values: Leaf,
    levels: MapLevels,
    types: Flat,
    known: Vec<Option<Numbers>>,
    rows: u32,
    first: u32,
    dictionary_bytes: usize,
}

impl Default for SharedAttributes {
    fn default() -> Self {
        Self {
            keys: Leaf::numbered_texts(),
            values: Leaf::numbered_texts(),
            levels: MapLevels::default(),
            types: Flat::required(Leaf::texts()),
            known: Vec::new(),
            rows: 0,
            first: 0,
            dictionary_bytes: 0,
        }
    }
}

impl SharedAttributes {
    /// Appends the attributes of the resource or scope of index `at` to so many rows.
    pub(super) fn put(&mut self, at: u32, attributes: &Rendered, rows: u32) {
        self.types.put(self.rows, &attributes.types, rows);
        self.rows += rows;
        let at = at as usize;
        if self.known.len() <= at {
            self.known.resize(at + 1, None);
        }
        if self.known[at].is_none() {
            self.known[at] = Some(self.number(attributes));
        }
        let (Some(numbers), Some((_, keys)), Some((_, values))) =
            (&self.known[at], self.keys.numbered(), self.values.numbered())
        else {
            return;
        };
        for _ in 0..rows {
            keys.extend_from_slice(&numbers.keys);
            values.extend_from_slice(&numbers.values);
        }
        self.levels.push_rows(numbers.keys.len() as u32, &numbers.nulls, rows);
    }

    fn number(&mut self, attributes: &Rendered) -> Numbers {
        let mut numbers = Numbers { keys: Vec::new(), values: Vec::new(), nulls: Vec::new() };
        let (Some((keys, _)), Some((values, _))) = (self.keys.numbered(), self.values.numbered()) else {
            return numbers;
        };
        for (at, (key, value)) in attributes.entries.iter().enumerate() {
            numbers.keys.push(keys.number(key));
            match value {
                Some(value) => numbers.values.push(values.number(value)),
                None => numbers.nulls.push(at as u32),
            }
        }
        self.dictionary_bytes = keys.bytes() + values.bytes();
        numbers
    }

    /// What the row group's dictionaries take, in bytes.
    pub(super) fn dictionary_bytes(&self) -> usize {
        self.dictionary_bytes
    }

    /// Ends pages that are large enough.
    pub(super) fn end_pages(&mut self, press: &mut Press) -> ParquetResult<()> {
        if self.keys.bytes() + self.values.bytes() >= PAGE_BYTES {
            self.end_page(press)?;
        }
        if self.types.is_page_full() {
            self.types.end_page(self.rows, press)?;
        }
        Ok(())
    }

    fn end_page(&mut self, press: &mut Press) -> ParquetResult<()> {
        if self.rows > self.first {
            self.levels.end_page(&mut self.keys, &mut self.values, self.rows - self.first, press)?;
            self.first = self.rows;
        }
        Ok(())
    }

    /// The chunks, in the order of the schema: keys, values, types.
    pub(super) fn finish(
        mut self,
        mut column: impl FnMut() -> ColumnDescPtr,
        press: &mut Press,
    ) -> ParquetResult<[Finished; 3]> {
        self.end_page(press)?;
        Ok([
            self.keys.finish(column(), press)?,
            self.values.finish(column(), press)?,
            self.types.finish(self.rows, column(), press)?,
        ])
    }
}

/// A damaged message in a record that was checked when it was accepted.
pub(super) fn wire(error: WireError) -> StoreError {
    StoreError::caused(ErrorKind::Record, "a record of the log holds a damaged span", error)
}
