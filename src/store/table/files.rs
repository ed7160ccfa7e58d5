//! The files a table consists of, with the statistics that tell which to read.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, RecordBatch, StructArray};
use delta_kernel::SnapshotRef;
use delta_kernel::engine::arrow_data::ArrowEngineData;
use delta_kernel::engine_data::FilteredEngineData;
use delta_kernel::log_replay::FileActionKey;
use object_store::path::Path;
use serde_json::Value as Json;

use super::Table;
use super::paths::object_of_log;
use crate::store::error::{ErrorKind, StoreError};
use crate::store::writer::text::day_of_name;

/// The files of larger tables are not remembered: half a kilobyte each.
const REMEMBERED_MAX: usize = 32 * 1024;

/// A live file. Bounds that are not known exclude nothing.
#[derive(Clone, Debug)]
pub(in crate::store) struct DataFile {
    /// Its path as the log has it.
    pub(in crate::store) in_log: String,
    /// Where it is.
    pub(in crate::store) object: Path,
    pub(in crate::store) bytes: u64,
    pub(in crate::store) rows: u64,
    pub(in crate::store) retention: Arc<str>,
    /// The day of its partition, counted from the Unix epoch.
    pub(in crate::store) day: i64,
    pub(in crate::store) trace_id_min: Option<String>,
    pub(in crate::store) trace_id_max: Option<String>,
    /// Bounds of the start times, nanoseconds since the Unix epoch, rounded outwards.
    pub(in crate::store) start_min_unix_nano: u64,
    pub(in crate::store) start_max_unix_nano: u64,
    pub(in crate::store) duration_max_nano: u64,
    pub(in crate::store) service_min: Option<String>,
    pub(in crate::store) service_max: Option<String>,
    /// Whether each span has a service of one name: these bounds are of all then.
    pub(in crate::store) names_services: bool,
    /// When the newest of its spans came into the table, milliseconds since the Unix epoch; 0 if the log does not say.
    pub(in crate::store) committed_ms: i64,
}

/// The live files at a version. Cheap to clone.
#[derive(Clone, Default)]
pub(in crate::store) struct Listing {
    pub(in crate::store) version: u64,
    pub(in crate::store) files: Arc<Vec<DataFile>>,
}

impl Table {
    /// All live files. Blocks.
    pub(in crate::store) fn list(&self, snapshot: &SnapshotRef) -> Result<Listing, StoreError> {
        let mut files = Vec::new();
        for batch in self.scan_rows(snapshot)? {
            let (rows, selected) = columns_of(batch)?;
            self.push_files(&rows.into(), &selected, &mut files)?;
        }
        Ok(Listing { version: snapshot.version(), files: Arc::new(files) })
    }

    /// All live files, from those that were listed before as far as these are remembered: then only what is new in the log is
    /// read. Blocks.
    pub(in crate::store) fn list_again(&self, snapshot: &SnapshotRef) -> Result<Listing, StoreError> {
        let before = self.listed.lock().take();
        let listing = match before {
            Some(before) => self.list_from(snapshot, &before)?,
            None => self.list(snapshot)?,
        };
        if listing.files.len() <= REMEMBERED_MAX {
            *self.listed.lock() = Some(listing.clone());
        }
        Ok(listing)
    }

    /// The live files, from those at an earlier version where the log still tells the difference. Blocks.
    pub(in crate::store) fn list_from(
        &self,
        snapshot: &SnapshotRef,
        before: &Listing,
    ) -> Result<Listing, StoreError> {
        if before.version == snapshot.version() {
            return Ok(before.clone());
        }
        if before.version > snapshot.version() {
            return self.list(snapshot);
        }
        let failed = |e| StoreError::of_kernel(&format!("cannot list the table {}", self.url), e);
        let scan = Arc::clone(snapshot).incremental_scan_builder(before.version);
        let Some(stream) = scan.build(self.engine.as_ref()).map_err(failed)? else {
            return self.list(snapshot);
        };
        let changes = stream.into_listing().map_err(failed)?;
        let mut added = Vec::new();
        for batch in changes.add_files {
            let (rows, selected) = columns_of(batch)?;
            let adds = rows.column_by_name("add").and_then(|c| c.as_struct_opt()).cloned();
            self.push_files(&adds.ok_or_else(|| unexpected("add"))?, &selected, &mut added)?;
        }
        let summary = &changes.summary;
        let is_gone = |f: &DataFile| {
            let key = FileActionKey::new(f.in_log.clone(), None);
            summary.removes.contains(&key) || summary.live_adds.contains(&key)
        };
        let kept = before.files.iter().filter(|f| !is_gone(f)).cloned();
        Ok(Listing { version: snapshot.version(), files: Arc::new(kept.chain(added).collect()) })
    }

    /// The library's rows of live files, as it wants them back for removal. Blocks.
    pub(super) fn scan_rows(&self, snapshot: &SnapshotRef) -> Result<Vec<FilteredEngineData>, StoreError> {
        let failed = |e| StoreError::of_kernel(&format!("cannot list the table {}", self.url), e);
        let scan = Arc::clone(snapshot).scan_builder().build().map_err(failed)?;
        let rows = scan.scan_metadata(self.engine.as_ref()).map_err(failed)?;
        rows.map(|batch| batch.map(|b| b.scan_files).map_err(failed)).collect()
    }

    fn push_files(
        &self,
        rows: &StructArray,
        selected: &[bool],
        files: &mut Vec<DataFile>,
    ) -> Result<(), StoreError> {
        let text = |name: &str| {
            let column = rows.column_by_name(name).and_then(|c| c.as_string_opt::<i32>());
            column.ok_or_else(|| unexpected(name))
        };
        let (paths, stats) = (text("path")?, text("stats")?);
        let sizes = rows.column_by_name("size").and_then(|c| c.as_primitive_opt::<Int64Type>());
        let sizes = sizes.ok_or_else(|| unexpected("size"))?;
        let times = rows.column_by_name("modificationTime").and_then(|c| c.as_primitive_opt::<Int64Type>());
        let partitions = partition_column(rows).ok_or_else(|| unexpected("partitionValues"))?;
        for row in 0..rows.len() {
            // Rows beyond the selection's end are selected.
            if !selected.get(row).copied().unwrap_or(true) || paths.is_null(row) {
                continue;
            }
            let partition = map_entries(&partitions.value(row));
            let json = if stats.is_null(row) { "" } else { stats.value(row) };
            let size = u64::try_from(sizes.value(row)).unwrap_or(0);
            let mut file = self.data_file(paths.value(row), size, &partition, json)?;
            file.committed_ms = times.filter(|c| c.is_valid(row)).map_or(0, |c| c.value(row));
            files.push(file);
        }
        Ok(())
    }

    fn data_file(
        &self,
        in_log: &str,
        bytes: u64,
        partition: &HashMap<String, String>,
        statistics: &str,
    ) -> Result<DataFile, StoreError> {
        let statistics: Json = serde_json::from_str(statistics).unwrap_or_default();
        let bound = |which: &str, column: &str| statistics.get(which)?.get(column).cloned();
        let text = |which: &str, column: &str| Some(bound(which, column)?.as_str()?.to_owned());
        let start = |which: &str| millis_to_nanos(&text(which, "start_time")?);
        let longest = bound("maxValues", "duration_nano").and_then(|v| v.as_u64());
        Ok(DataFile {
            in_log: in_log.to_owned(),
            object: object_of_log(&self.path, in_log)?,
            bytes,
            rows: statistics.get("numRecords").and_then(Json::as_u64).unwrap_or(0),
            retention: partition.get("retention").map(String::as_str).unwrap_or_default().into(),
            day: partition.get("date").and_then(|d| day_of_name(d)).unwrap_or(i64::MAX / 2),
            trace_id_min: text("minValues", "trace_id"),
            trace_id_max: text("maxValues", "trace_id"),
            start_min_unix_nano: start("minValues").unwrap_or(0),
            start_max_unix_nano: start("maxValues")
                .map_or(u64::MAX, |s| s.saturating_add(NANOS_PER_MILLI - 1)),
            duration_max_nano: longest.filter(|d| *d < i64::MAX as u64).unwrap_or(u64::MAX),
            service_min: text("minValues", "service_name"),
            service_max: text("maxValues", "service_name"),
            names_services: bound("nullCount", "service_name").is_some_and(|nulls| nulls == 0),
            committed_ms: 0,
        })
    }
}

const NANOS_PER_MILLI: u64 = 1_000_000;

/// The log has timestamps floored to milliseconds.
fn millis_to_nanos(text: &str) -> Option<u64> {
    let at: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(at.as_millisecond()).ok()?.checked_mul(NANOS_PER_MILLI)
}

/// A batch of the library as Arrow columns, and which rows count.
pub(super) fn columns_of(batch: FilteredEngineData) -> Result<(RecordBatch, Vec<bool>), StoreError> {
    let (data, selected) = batch.into_parts();
    let data = ArrowEngineData::try_from_engine_data(data);
    let data = data.map_err(|e| StoreError::of_kernel("the table library's rows are not Arrow", e))?;
    Ok((data.record_batch().clone(), selected))
}

/// `partitionValues` of a scan's rows (inside of `fileConstantValues`) or of an `add` action.
fn partition_column(rows: &StructArray) -> Option<&arrow_array::MapArray> {
    let column = match rows.column_by_name("fileConstantValues") {
        Some(constants) => constants.as_struct_opt()?.column_by_name("partitionValues")?,
        None => rows.column_by_name("partitionValues")?,
    };
    column.as_map_opt()
}

fn map_entries(entries: &StructArray) -> HashMap<String, String> {
    let (Some(keys), Some(values)) =
        (entries.column(0).as_string_opt::<i32>(), entries.column(1).as_string_opt::<i32>())
    else {
        return HashMap::new();
    };
    let pairs = keys.iter().zip(values.iter());
    pairs.filter_map(|(k, v)| Some((k?.to_owned(), v.unwrap_or_default().to_owned()))).collect()
}

fn unexpected(column: &str) -> StoreError {
    StoreError::new(ErrorKind::Internal, format!("the table library gave no column {column}"))
}
