//! Events and links: lists of structs. Rows without any cost nothing.

use parquet::errors::Result as ParquetResult;
use parquet::schema::types::ColumnDescPtr;

use super::leaf::{Finished, Leaf, Levels, PAGE_BYTES, Press, Runs};
use super::maps::{Entries, Fit};
use super::text::{append_hex, micros};
use crate::wire::{EventView, KeyValueParts, LinkView, Messages, WireError, put_bytes_field};

/// A field of the structs.
struct Field {
    leaf: Leaf,
    /// Definition levels, where it can be null: 0 no struct, 1 null, 2 a value.
    optional: Option<Runs>,
}

impl Field {
    fn required(leaf: Leaf) -> Self {
        Self { leaf, optional: None }
    }

    fn optional(leaf: Leaf) -> Self {
        Self { leaf, optional: Some(Runs::default()) }
    }

    fn put(&mut self, value: Option<&[u8]>) {
        if let Some(levels) = &mut self.optional {
            levels.push(1 + u32::from(value.is_some()), 1);
        }
        if let Some(value) = value {
            self.leaf.put(value, 1);
        }
    }
}

/// A list of structs that end in attributes: `attributes` (a map), `attributes_types`, `attributes_raw`,
/// `dropped_attributes_count`.
pub(super) struct Items {
    /// The fields before the map.
    fields: Vec<Field>,
    entries: Entries,
    /// Types, raw, dropped count.
    after: [Field; 3],
    /// Of the fields: 0 begins a row.
    repetition: Runs,
    /// Of required fields: 0 no struct, 1 a value.
    definition: Runs,
    /// Of the map: 0 begins a row, 1 a struct, 2 is inside a map.
    map_repetition: Runs,
    /// 0 no struct, 1 an empty map, 2 an entry.
    keys: Runs,
    /// 0 no struct, 1 an empty map, 2 null, 3 a value.
    values: Runs,
    filled: u32,
    first: u32,
}

impl Items {
    fn new(fields: Vec<Field>) -> Self {
        let after = [
            Field::required(Leaf::texts()),
            Field::optional(Leaf::unique_texts()),
            Field::required(Leaf::longs()),
        ];
        Self {
            fields,
            entries: Entries::default(),
            after,
            repetition: Runs::default(),
            definition: Runs::default(),
            map_repetition: Runs::default(),
            keys: Runs::default(),
            values: Runs::default(),
            filled: 0,
            first: 0,
        }
    }

    fn optional_levels(&mut self) -> impl Iterator<Item = &mut Runs> {
        self.fields.iter_mut().chain(&mut self.after).filter_map(|field| field.optional.as_mut())
    }

    /// Rows before this one that have no structs.
    fn fill(&mut self, row: u32) {
        let missing = row.saturating_sub(self.filled);
        if missing == 0 {
            return;
        }
        self.filled = row;
        self.optional_levels().for_each(|levels| levels.push(0, missing));
        let all = [
            &mut self.repetition,
            &mut self.definition,
            &mut self.map_repetition,
            &mut self.keys,
            &mut self.values,
        ];
        all.into_iter().for_each(|levels| levels.push(0, missing));
    }

    /// Begins a struct of `row`; its fields follow.
    fn begin(&mut self, row: u32) -> u32 {
        self.fill(row);
        let repetition = u32::from(self.filled > row);
        self.filled = row + 1;
        self.repetition.push(repetition, 1);
        self.definition.push(1, 1);
        repetition
    }

    /// Ends a struct with the attributes in its raw message.
    fn end(&mut self, repetition: u32, raw: &[u8], attributes: u32, dropped: u32) -> Result<(), WireError> {
        self.entries.begin();
        let messages = Messages::new(raw, attributes, "an attribute");
        for attribute in messages.clone() {
            let attribute = attribute?;
            if self.entries.append_again(attribute).is_none() {
                self.entries.append(&KeyValueParts::parse(attribute)?)?;
            }
        }
        let nulls = std::mem::take(&mut self.entries.nulls);
        let (count, end, fit) = self.entries.end();
        self.after[0].put(Some(&end.types));
        self.map_repetition.push(repetition, 1);
        self.map_repetition.push(2, count.saturating_sub(1));
        self.keys.push(if count == 0 { 1 } else { 2 }, count.max(1));
        let mut from = 0;
        for null in &nulls {
            self.values.push(3, null - from);
            self.values.push(2, 1);
            from = null + 1;
        }
        self.values.push(3, count - from);
        self.values.push(1, u32::from(count == 0));
        self.entries.nulls = nulls;
        self.after[1].put(raw_list(fit, messages)?.as_deref());
        self.after[2].put(Some(&i64::from(dropped).to_le_bytes()));
        Ok(())
    }

    fn bytes(&self) -> usize {
        let fields = self.fields.iter().chain(&self.after).map(|field| field.leaf.bytes());
        fields.fold(self.entries.values.bytes(), |sum, bytes| sum.saturating_add(bytes))
    }

    fn end_page(&mut self, row: u32, press: &mut Press) -> ParquetResult<()> {
        self.fill(row);
        let rows = row - self.first;
        if rows == 0 {
            return Ok(());
        }
        self.first = row;
        let encoded = |runs: &Runs, width: u32| {
            let mut out = Vec::new();
            runs.encode(width, &mut out);
            out
        };
        let (repetition, definition) = (encoded(&self.repetition, 1), encoded(&self.definition, 1));
        for field in self.fields.iter_mut().chain(&mut self.after) {
            let optional = field.optional.as_mut().map(|runs| {
                let out = encoded(runs, 2);
                runs.clear();
                out
            });
            let definition = optional.as_ref().unwrap_or(&definition);
            let levels = Levels { repetition: &repetition, definition, count: self.repetition.len() };
            field.leaf.end_page(levels, rows, press)?;
        }
        let (repetition, count) = (encoded(&self.map_repetition, 2), self.map_repetition.len());
        let (keys, values) = (encoded(&self.keys, 2), encoded(&self.values, 2));
        let levels = |definition| Levels { repetition: &repetition, definition, count };
        self.entries.keys.end_page(levels(&keys), rows, press)?;
        self.entries.values.end_page(levels(&values), rows, press)?;
        let all = [
            &mut self.repetition,
            &mut self.definition,
            &mut self.map_repetition,
            &mut self.keys,
            &mut self.values,
        ];
        all.into_iter().for_each(Runs::clear);
        Ok(())
    }

    /// Ends pages that are large enough before this row.
    pub(super) fn end_pages(&mut self, row: u32, press: &mut Press) -> ParquetResult<()> {
        if self.bytes() >= PAGE_BYTES { self.end_page(row, press) } else { Ok(()) }
    }

    /// Whether the row group should end because of its keys.
    pub(super) fn is_full(&mut self) -> bool {
        self.entries.is_full()
    }

    /// The chunks, in the order of the schema.
    pub(super) fn finish(
        mut self,
        rows: u32,
        mut column: impl FnMut() -> ColumnDescPtr,
        press: &mut Press,
    ) -> ParquetResult<Vec<Finished>> {
        self.end_page(rows, press)?;
        let Entries { keys, values, .. } = self.entries;
        let fields = self.fields.into_iter().map(|field| field.leaf).chain([keys, values]);
        let after = self.after.into_iter().map(|field| field.leaf);
        fields.chain(after).map(|leaf| leaf.finish(column(), press)).collect()
    }
}

/// Attributes as a raw `KeyValueList`, if the map cannot give them back.
pub(super) fn raw_list<'a>(
    fit: Fit,
    attributes: impl Iterator<Item = Result<&'a [u8], WireError>>,
) -> Result<Option<Vec<u8>>, WireError> {
    if fit == Fit::Whole {
        return Ok(None);
    }
    let mut list = Vec::new();
    for attribute in attributes {
        put_bytes_field(&mut list, 1, attribute?);
    }
    Ok(Some(list))
}

impl Items {
    /// The column `events`.
    pub(super) fn events() -> Self {
        // time, time_unix_nano, name
        let fields = [Leaf::unique_longs(false), Leaf::unique_longs(false), Leaf::texts()];
        Self::new(fields.into_iter().map(Field::required).collect())
    }

    /// Appends an event, given as raw `Event`, to a row of `events`.
    pub(super) fn put_event(&mut self, row: u32, raw: &[u8]) -> Result<(), WireError> {
        let event = EventView::parse(raw)?;
        let repetition = self.begin(row);
        let longs = [micros(event.time_unix_nano), event.time_unix_nano as i64];
        for (field, value) in self.fields.iter_mut().zip(longs) {
            field.leaf.put_long(value);
        }
        self.fields[2].put(Some(event.name.as_bytes()));
        self.end(repetition, raw, 3, event.dropped_attributes_count)
    }

    /// The column `links`.
    pub(super) fn links() -> Self {
        // trace_id, span_id, trace_state, flags
        Self::new(vec![
            Field::required(Leaf::ids()),
            Field::required(Leaf::ids()),
            Field::optional(Leaf::texts()),
            Field::required(Leaf::longs()),
        ])
    }

    /// Appends a link, given as raw `Link`, to a row of `links`.
    pub(super) fn put_link(&mut self, row: u32, raw: &[u8]) -> Result<(), WireError> {
        let link = LinkView::parse(raw)?;
        let repetition = self.begin(row);
        let mut hex = Vec::new();
        for (field, id) in self.fields.iter_mut().zip([link.trace_id, link.span_id]) {
            hex.clear();
            append_hex(&mut hex, id);
            field.put(Some(&hex));
        }
        self.fields[2].put((!link.trace_state.is_empty()).then_some(link.trace_state.as_bytes()));
        self.fields[3].put(Some(&i64::from(link.flags).to_le_bytes()));
        self.end(repetition, raw, 4, link.dropped_attributes_count)
    }
}
