//! Resources and scopes: the same for thousands of spans, so they are turned into text once.

use arrow_array::builder::BinaryBuilder;
use arrow_array::{Array, MapArray, StringArray, cast::AsArray};

use super::attributes::{AttributesBuilder, Fit};
use crate::store::error::{ErrorKind, StoreError};
use crate::store::schema::{WELL_KNOWN, WellKnownScope, position};
use crate::wire::{AnyView, Fields, ScopeView, WireError, attributes_of};

/// Attributes as text, ready to be appended again and again.
pub(super) struct Rendered {
    pub(super) keys: Vec<String>,
    pub(super) values: Vec<Option<String>>,
    pub(super) types: String,
}

impl Rendered {
    fn of(raw: &[u8], field: u32) -> Result<(Self, Fit), StoreError> {
        let mut builder = AttributesBuilder::default();
        let fit = builder.append(attributes_of(raw, field), |_, _| {}).map_err(wire)?;
        let (map, types) = builder.finish().map_err(|e| StoreError::caused(ErrorKind::Internal, "map", e))?;
        let map: &MapArray = map.as_map();
        let (keys, values) = (map.keys().as_string::<i32>(), map.values().as_string::<i32>());
        let rendered = Self {
            keys: keys.iter().flatten().map(str::to_owned).collect(),
            values: values.iter().map(|v| v.map(str::to_owned)).collect(),
            types: first(types.as_string()),
        };
        Ok((rendered, fit))
    }
}

fn first(strings: &StringArray) -> String {
    if strings.is_empty() { String::new() } else { strings.value(0).to_owned() }
}

/// A resource of a batch.
pub(super) struct SharedResource {
    pub(super) attributes: Rendered,
    /// The whole message, where the columns do not give it back.
    pub(super) raw: Option<Vec<u8>>,
    pub(super) dropped_attributes_count: u32,
    pub(super) schema_url: String,
    /// By index in [`WELL_KNOWN`]; only those of the resource.
    pub(super) well_known: Vec<Option<String>>,
}

impl SharedResource {
    pub(super) fn read(raw: &[u8], schema_url: &str) -> Result<Self, StoreError> {
        let (attributes, fit) = Rendered::of(raw, 1)?;
        let (dropped_attributes_count, other_fields) = resource_scalars(raw).map_err(wire)?;
        let mut well_known = vec![None; WELL_KNOWN.len()];
        for attribute in attributes_of(raw, 1) {
            let attribute = attribute.map_err(wire)?;
            let slot = position(WellKnownScope::Resource, attribute.key).map(|at| &mut well_known[at]);
            if let (Some(slot @ None), AnyView::Str(text)) = (slot, attribute.value) {
                *slot = Some(text.to_owned());
            }
        }
        let raw = (fit == Fit::Partly || other_fields).then(|| raw.to_vec());
        Ok(Self { attributes, raw, dropped_attributes_count, schema_url: schema_url.to_owned(), well_known })
    }

    /// The service's name, if there is one.
    /// What it adds to each row beside its attributes, in bytes.
    pub(super) fn row_bytes(&self) -> usize {
        let well_known: usize = self.well_known.iter().flatten().map(String::len).sum();
        self.schema_url.len() + self.raw.as_ref().map_or(0, Vec::len) + well_known
    }

    pub(super) fn service_name(&self) -> Option<&str> {
        let at = position(WellKnownScope::Resource, "service.name")?;
        self.well_known[at].as_deref()
    }
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
    /// What it adds to each row beside its attributes, in bytes.
    pub(super) fn row_bytes(&self) -> usize {
        self.name.len() + self.version.len() + self.schema_url.len() + self.raw.as_ref().map_or(0, Vec::len)
    }

    pub(super) fn read(raw: &[u8], schema_url: &str) -> Result<Self, StoreError> {
        let view = ScopeView::parse(raw).map_err(wire)?;
        let (attributes, fit) = Rendered::of(raw, 3)?;
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

/// Appends bytes or null.
pub(super) fn append_optional(out: &mut BinaryBuilder, raw: Option<&Vec<u8>>) {
    match raw {
        Some(raw) => out.append_value(raw),
        None => out.append_null(),
    }
}

/// A damaged message in a record that was checked when it was accepted.
pub(super) fn wire(error: WireError) -> StoreError {
    StoreError::caused(ErrorKind::Record, "a record of the log holds a damaged span", error)
}
