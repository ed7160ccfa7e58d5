//! Rows of one trace in `traces`, each of which knows some of its spans, as one row that knows them all.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{
    Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    new_null_array,
};
use arrow_schema::{DataType, Field};

use crate::store::error::{ErrorKind, StoreError};
use crate::store::schema::TableKind;
use crate::store::writer::text::micros;

/// A trace as far as its rows tell.
#[derive(Debug, Default, PartialEq, Eq)]
struct Whole {
    trace_id: String,
    start_unix_nano: u64,
    end_unix_nano: u64,
    /// Service and name of the root, of the row that has one and starts first.
    root: Option<(Option<String>, Option<String>)>,
    span_count: i64,
    error_count: i64,
    services: BTreeSet<String>,
    rule: String,
    rules_version: i64,
}

/// One row from several of a trace, which are sorted by start.
///
/// # Errors
/// If a column is missing or of another type.
pub(super) fn merged(rows: &[(&RecordBatch, usize)]) -> Result<RecordBatch, StoreError> {
    let whole = Whole::of(rows).ok_or_else(|| damaged("a column is missing"))?;
    whole.into_row().map_err(|e| damaged(&e.to_string()))
}

impl Whole {
    fn of(rows: &[(&RecordBatch, usize)]) -> Option<Self> {
        let mut whole = Self { start_unix_nano: u64::MAX, ..Self::default() };
        for (at, (batch, row)) in rows.iter().enumerate() {
            let row = *row;
            let long =
                |name: &str| Some(batch.column_by_name(name)?.as_primitive_opt::<Int64Type>()?.value(row));
            let text = |name: &str| {
                let column = batch.column_by_name(name)?.as_string_opt::<i32>()?;
                column.is_valid(row).then(|| column.value(row).to_owned())
            };
            let start = long("start_time_unix_nano")? as u64;
            let end = start.saturating_add(u64::try_from(long("duration_nano")?).unwrap_or(0));
            whole.start_unix_nano = whole.start_unix_nano.min(start);
            whole.end_unix_nano = whole.end_unix_nano.max(end);
            whole.span_count = whole.span_count.saturating_add(long("span_count")?);
            whole.error_count = whole.error_count.saturating_add(long("error_count")?);
            let services = batch.column_by_name("services")?.as_list_opt::<i32>()?.value(row);
            let services = services.as_string_opt::<i32>()?.iter().flatten().map(str::to_owned);
            whole.services.extend(services);
            let complete = batch.column_by_name("complete")?.as_boolean_opt()?.value(row);
            let is_first_root = complete && whole.root.is_none();
            if at == 0 || is_first_root {
                whole.rule = text("rule")?;
                whole.rules_version = long("rules_version")?;
                whole.trace_id = text("trace_id")?;
            }
            if is_first_root {
                whole.root = Some((text("root_service_name"), text("root_name")));
            }
        }
        Some(whole)
    }

    fn into_row(self) -> Result<RecordBatch, arrow_schema::ArrowError> {
        let complete = self.root.is_some();
        let (root_service, root_name) = self.root.unwrap_or_default();
        let duration = self.end_unix_nano.saturating_sub(self.start_unix_nano);
        let duration = i64::try_from(duration).unwrap_or(i64::MAX);
        let element = Field::new("element", DataType::Utf8, false);
        let mut services = ListBuilder::new(StringBuilder::new()).with_field(element);
        self.services.iter().for_each(|service| services.values().append_value(service));
        services.append(true);
        let services = services.finish();
        let long = |value: i64| -> ArrayRef { Arc::new(Int64Array::from(vec![value])) };
        let text = |value: Option<String>| -> ArrayRef { Arc::new(StringArray::from(vec![value])) };
        let schema = TableKind::Traces.arrow();
        let columns = schema.fields().iter().map(|field| match field.name().as_str() {
            "trace_id" => text(Some(self.trace_id.clone())),
            "start_time" => {
                let at = TimestampMicrosecondArray::from(vec![micros(self.start_unix_nano)]);
                Arc::new(at.with_timezone("UTC"))
            }
            "start_time_unix_nano" => long(self.start_unix_nano as i64),
            "duration_nano" => long(duration),
            "root_service_name" => text(root_service.clone()),
            "root_name" => text(root_name.clone()),
            "span_count" => long(self.span_count),
            "error_count" => long(self.error_count),
            "services" => Arc::new(services.clone()),
            "rule" => text(Some(self.rule.clone())),
            "rules_version" => long(self.rules_version),
            "complete" => Arc::new(BooleanArray::from(vec![complete])),
            // Of a column that is not known here nothing can be said; one that must have a value is refused below.
            _ => new_null_array(field.data_type(), 1),
        });
        RecordBatch::try_new(Arc::clone(schema), columns.collect())
    }
}

fn damaged(why: &str) -> StoreError {
    StoreError::new(ErrorKind::Table, format!("rows of `traces` cannot be merged: {why}"))
}
