//! OTLP again, from the columns.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, MapArray, RecordBatch, StringArray, StructArray};
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{Span, Status, span};
use prost::Message;

use super::columns::{entries, long_at, text_at, texts};
use super::full_span::{FullSpan, Kept, ResourceInfo, ScopeInfo};
use crate::store::error::{ErrorKind, StoreError};
use crate::store::schema::AttributeType;
use crate::store::values::read_text;
use crate::store::writer::text::{KINDS, STATUS_CODES, value_of_word};

/// The spans of a batch that has all columns.
pub(super) fn full_spans(batch: &RecordBatch, retention: &Arc<str>) -> Result<Vec<FullSpan>, StoreError> {
    let columns = Columns::of(batch)?;
    let mut shared = Shared::default();
    (0..batch.num_rows()).map(|row| columns.full_span(row, retention, &mut shared)).collect()
}

fn damaged(what: &str) -> StoreError {
    StoreError::new(ErrorKind::Table, format!("a file of the table has a damaged or missing column: {what}"))
}

/// A map of attributes, its types, and what the map cannot hold.
struct AttributeColumns<'a> {
    map: &'a MapArray,
    keys: &'a StringArray,
    values: &'a StringArray,
    types: &'a StringArray,
    raw: Option<&'a arrow_array::BinaryArray>,
}

/// Columns by name, of a record batch or of the structs in a list.
trait ByName {
    fn column(&self, name: &str) -> Option<&Arc<dyn Array>>;
}

impl ByName for RecordBatch {
    fn column(&self, name: &str) -> Option<&Arc<dyn Array>> {
        self.column_by_name(name)
    }
}

impl ByName for StructArray {
    fn column(&self, name: &str) -> Option<&Arc<dyn Array>> {
        self.column_by_name(name)
    }
}

impl<'a> AttributeColumns<'a> {
    fn of(columns: &'a impl ByName, map: &str, types: &str, raw: &str) -> Option<Self> {
        let map = columns.column(map)?.as_map_opt()?;
        let (keys, values) = (map.keys().as_string_opt()?, map.values().as_string_opt()?);
        let types = columns.column(types)?.as_string_opt()?;
        Some(Self { map, keys, values, types, raw: columns.column(raw).and_then(|c| c.as_binary_opt()) })
    }

    fn raw(&self, row: usize) -> Option<&'a [u8]> {
        self.raw.filter(|raw| raw.is_valid(row)).map(|raw| raw.value(row))
    }

    /// From the map, whether it holds everything or not.
    fn of_map(&self, row: usize) -> Option<Vec<KeyValue>> {
        let codes = self.types.value(row).as_bytes();
        let at = entries(self.map, row);
        if codes.len() != at.len() {
            return None;
        }
        let one = |(at, code): (usize, &u8)| {
            read_text(self.keys.value(at), text_at(Some(self.values), at), AttributeType::from_code(*code)?)
        };
        at.zip(codes).map(one).collect()
    }

    /// From the raw list where there is one.
    fn of_list(&self, row: usize) -> Option<Vec<KeyValue>> {
        match self.raw(row) {
            Some(raw) => Some(KeyValueList::decode(raw).ok()?.values),
            None => self.of_map(row),
        }
    }

    /// Appends all bytes that make the row's attributes what they are.
    fn fingerprint(&self, row: usize, out: &mut Vec<u8>) {
        let mut push = |bytes: &[u8]| {
            out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
            out.extend_from_slice(bytes);
        };
        push(self.types.value(row).as_bytes());
        for at in entries(self.map, row) {
            push(self.keys.value(at).as_bytes());
            push(text_at(Some(self.values), at).unwrap_or_default().as_bytes());
        }
        push(self.raw(row).unwrap_or_default());
    }
}

/// Resources, scopes and verdicts that were built already.
#[derive(Default)]
struct Shared {
    resources: HashMap<Vec<u8>, Arc<ResourceInfo>>,
    scopes: HashMap<Vec<u8>, Arc<ScopeInfo>>,
    kept: HashMap<(String, i64), Arc<Kept>>,
}

struct Columns<'a> {
    batch: &'a RecordBatch,
    attributes: AttributeColumns<'a>,
    resource: AttributeColumns<'a>,
    scope: AttributeColumns<'a>,
    events: Items<'a>,
    links: Items<'a>,
}

/// A column of lists of structs.
struct Items<'a> {
    list: &'a arrow_array::ListArray,
    structs: &'a StructArray,
    attributes: AttributeColumns<'a>,
}

impl<'a> Items<'a> {
    fn of(batch: &'a RecordBatch, name: &str) -> Option<Self> {
        let list = batch.column_by_name(name)?.as_list_opt::<i32>()?;
        let structs = list.values().as_struct_opt()?;
        let attributes = AttributeColumns::of(structs, "attributes", "attributes_types", "attributes_raw")?;
        Some(Self { list, structs, attributes })
    }

    fn of_row(&self, row: usize) -> std::ops::Range<usize> {
        let offsets = self.list.value_offsets();
        offsets[row] as usize..offsets[row + 1] as usize
    }

    fn text(&self, name: &str, at: usize) -> Option<&'a str> {
        text_at(self.structs.column_by_name(name)?.as_string_opt(), at)
    }

    fn long(&self, name: &str, at: usize) -> i64 {
        let column = self.structs.column_by_name(name);
        column.and_then(|c| c.as_primitive_opt::<arrow_array::types::Int64Type>()).map_or(0, |c| c.value(at))
    }
}

impl<'a> Columns<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self, StoreError> {
        let attributes = |map: &str, types: &str, raw: &str| {
            AttributeColumns::of(batch, map, types, raw).ok_or_else(|| damaged(map))
        };
        Ok(Self {
            batch,
            attributes: attributes("attributes", "attributes_types", "attributes_raw")?,
            resource: attributes("resource_attributes", "resource_attributes_types", "resource_raw")?,
            scope: attributes("scope_attributes", "scope_attributes_types", "scope_raw")?,
            events: Items::of(batch, "events").ok_or_else(|| damaged("events"))?,
            links: Items::of(batch, "links").ok_or_else(|| damaged("links"))?,
        })
    }

    fn text(&self, name: &str, row: usize) -> Option<&'a str> {
        text_at(texts(self.batch, name), row)
    }

    fn owned(&self, name: &str, row: usize) -> String {
        self.text(name, row).unwrap_or_default().to_owned()
    }

    fn long(&self, name: &str, row: usize) -> i64 {
        long_at(self.batch, name, row)
    }

    fn count(&self, name: &str, row: usize) -> u32 {
        u32::try_from(self.long(name, row)).unwrap_or(u32::MAX)
    }

    fn full_span(
        &self,
        row: usize,
        retention: &Arc<str>,
        shared: &mut Shared,
    ) -> Result<FullSpan, StoreError> {
        let doubles = self.batch.column_by_name("adjusted_count");
        let doubles = doubles.and_then(|c| c.as_primitive_opt::<arrow_array::types::Float64Type>());
        Ok(FullSpan {
            resource: self.resource(row, shared)?,
            scope: self.scope(row, shared)?,
            span: self.span(row)?,
            adjusted_count: doubles.map_or(1.0, |c| c.value(row)),
            kept: Some(self.kept(row, retention, shared)),
        })
    }

    fn span(&self, row: usize) -> Result<Span, StoreError> {
        let id = |name: &str| self.text(name, row).map(|text| bytes_of_hex(text, name)).transpose();
        Ok(Span {
            trace_id: id("trace_id")?.unwrap_or_default(),
            span_id: id("span_id")?.unwrap_or_default(),
            trace_state: self.owned("trace_state", row),
            parent_span_id: id("parent_span_id")?.unwrap_or_default(),
            flags: self.count("flags", row),
            name: self.owned("name", row),
            kind: value_of_word(&KINDS, self.text("kind", row).unwrap_or_default()),
            start_time_unix_nano: self.long("start_time_unix_nano", row) as u64,
            end_time_unix_nano: self.end_unix_nano(row),
            attributes: self.attributes.of_list(row).ok_or_else(|| damaged("attributes"))?,
            dropped_attributes_count: self.count("dropped_attributes_count", row),
            events: self.events.of_row(row).map(|at| self.event(at)).collect::<Result<_, _>>()?,
            dropped_events_count: self.count("dropped_events_count", row),
            links: self.links.of_row(row).map(|at| self.link(at)).collect::<Result<_, _>>()?,
            dropped_links_count: self.count("dropped_links_count", row),
            status: self.text("status_message", row).map(|message| Status {
                message: message.to_owned(),
                code: value_of_word(&STATUS_CODES, self.text("status_code", row).unwrap_or_default()),
            }),
        })
    }

    fn end_unix_nano(&self, row: usize) -> u64 {
        let irregular = self.batch.column_by_name("end_time_unix_nano").is_some_and(|c| c.is_valid(row));
        if irregular {
            return self.long("end_time_unix_nano", row) as u64;
        }
        let start = self.long("start_time_unix_nano", row) as u64;
        start.saturating_add(self.long("duration_nano", row) as u64)
    }

    fn event(&self, at: usize) -> Result<span::Event, StoreError> {
        let items = &self.events;
        Ok(span::Event {
            time_unix_nano: items.long("time_unix_nano", at) as u64,
            name: items.text("name", at).unwrap_or_default().to_owned(),
            attributes: items.attributes.of_list(at).ok_or_else(|| damaged("events"))?,
            dropped_attributes_count: items.long("dropped_attributes_count", at) as u32,
        })
    }

    fn link(&self, at: usize) -> Result<span::Link, StoreError> {
        let items = &self.links;
        Ok(span::Link {
            trace_id: bytes_of_hex(items.text("trace_id", at).unwrap_or_default(), "links")?,
            span_id: bytes_of_hex(items.text("span_id", at).unwrap_or_default(), "links")?,
            trace_state: items.text("trace_state", at).unwrap_or_default().to_owned(),
            attributes: items.attributes.of_list(at).ok_or_else(|| damaged("links"))?,
            dropped_attributes_count: items.long("dropped_attributes_count", at) as u32,
            flags: items.long("flags", at) as u32,
        })
    }

    fn resource(&self, row: usize, shared: &mut Shared) -> Result<Arc<ResourceInfo>, StoreError> {
        let dropped_attributes_count = self.count("resource_dropped_attributes_count", row);
        let schema_url = self.text("resource_schema_url", row).unwrap_or_default();
        let mut key = dropped_attributes_count.to_le_bytes().to_vec();
        key.extend_from_slice(schema_url.as_bytes());
        key.push(0);
        self.resource.fingerprint(row, &mut key);
        if let Some(known) = shared.resources.get(&key) {
            return Ok(Arc::clone(known));
        }
        let resource = match self.resource.raw(row) {
            Some(raw) => Resource::decode(raw).ok(),
            None => self.resource.of_map(row).map(|attributes| Resource {
                attributes,
                dropped_attributes_count,
                ..Resource::default()
            }),
        };
        let resource = resource.ok_or_else(|| damaged("resource_attributes"))?;
        let info = Arc::new(ResourceInfo { resource, schema_url: schema_url.to_owned() });
        shared.resources.insert(key, Arc::clone(&info));
        Ok(info)
    }

    fn scope(&self, row: usize, shared: &mut Shared) -> Result<Arc<ScopeInfo>, StoreError> {
        let names = ["scope_name", "scope_version", "scope_schema_url"];
        let [name, version, schema_url] = names.map(|column| self.owned(column, row));
        let dropped_attributes_count = self.count("scope_dropped_attributes_count", row);
        let mut key = format!("{name}\0{version}\0{schema_url}\0{dropped_attributes_count}\0").into_bytes();
        self.scope.fingerprint(row, &mut key);
        if let Some(known) = shared.scopes.get(&key) {
            return Ok(Arc::clone(known));
        }
        let scope = match self.scope.raw(row) {
            Some(raw) => InstrumentationScope::decode(raw).ok(),
            None => self.scope.of_map(row).map(|attributes| InstrumentationScope {
                name,
                version,
                attributes,
                dropped_attributes_count,
            }),
        };
        let scope = scope.ok_or_else(|| damaged("scope_attributes"))?;
        let info = Arc::new(ScopeInfo { scope, schema_url });
        shared.scopes.insert(key, Arc::clone(&info));
        Ok(info)
    }

    fn kept(&self, row: usize, retention: &Arc<str>, shared: &mut Shared) -> Arc<Kept> {
        let key = (self.owned("rule", row), self.long("rules_version", row));
        let make = |(rule, version): &(String, i64)| {
            let rules_version = u32::try_from(*version).unwrap_or(u32::MAX);
            Arc::new(Kept { rule: rule.as_str().into(), rules_version, retention: Arc::clone(retention) })
        };
        let made = make(&key);
        Arc::clone(shared.kept.entry(key).or_insert(made))
    }
}

/// The bytes of an id.
pub(super) fn bytes_of_hex(text: &str, what: &str) -> Result<Vec<u8>, StoreError> {
    hex::decode(text).map_err(|_| damaged(what))
}
