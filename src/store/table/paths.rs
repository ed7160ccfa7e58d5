//! Partitions and the names of data files.

use std::fmt::Write;
use std::sync::Arc;

use object_store::path::Path;

use super::Table;
use crate::store::error::{ErrorKind, StoreError};
use crate::store::writer::text::day_name;

/// A partition: one retention class on one day.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(in crate::store) struct PartitionKey {
    /// The retention class.
    pub(in crate::store) retention: Arc<str>,
    /// The day, counted from the Unix epoch.
    pub(in crate::store) day: i32,
}

impl PartitionKey {
    /// `retention` and `date` as the log has them.
    pub(in crate::store) fn values(&self) -> [(&'static str, String); 2] {
        [("retention", self.retention.to_string()), ("date", day_name(i64::from(self.day)))]
    }

    /// The path of a file in this partition, relative to the table, as it is on the store.
    pub(in crate::store) fn object(&self, file: &str) -> String {
        let mut path = String::new();
        for (column, value) in self.values() {
            // Writing to a string does not fail.
            let _ = write!(path, "{column}={}/", percent_encoded(&value, is_plain_in_hive));
        }
        path + file
    }
}

/// Characters that Hive's folder names have as they are; fewer than it allows, so that no store minds.
fn is_plain_in_hive(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

fn is_plain_in_log(byte: u8) -> bool {
    is_plain_in_hive(byte) || matches!(byte, b'/' | b'=' | b'~')
}

fn percent_encoded(text: &str, is_plain: fn(u8) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if is_plain(byte) {
            out.push(byte as char);
        } else {
            // Writing to a string does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// A file's path as the table's log has it: URI-encoded once more.
pub(in crate::store) fn in_log(object: &str) -> String {
    percent_encoded(object, is_plain_in_log)
}

impl Table {
    /// The path in the table's log of an object in its folder; `None` for one that is not.
    pub(in crate::store) fn in_log(&self, object: &Path) -> Option<String> {
        Some(in_log(object.as_ref().strip_prefix(self.path.as_ref())?.strip_prefix('/')?))
    }
}

/// The object of a path from the table's log.
pub(super) fn object_of_log(table: &Path, in_log: &str) -> Result<Path, StoreError> {
    let foreign =
        || StoreError::new(ErrorKind::Table, format!("the table names a file outside of it: {in_log}"));
    if in_log.contains("://") || in_log.starts_with('/') {
        return Err(foreign());
    }
    let decoded = percent_decoded(in_log).ok_or_else(foreign)?;
    Path::parse(format!("{table}/{decoded}")).map_err(|_| foreign())
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digits = [bytes.next()?, bytes.next()?];
        out.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
    }
    String::from_utf8(out).ok()
}

/// The name of a batch's file: the same whenever the batch is written again. `part`: which of several in one partition.
pub(in crate::store) fn file_name(app_id: &str, batch: u64, part: usize) -> String {
    let part = if part == 0 { String::new() } else { format!(".{part}") };
    format!("part-{batch:016x}{part}-{}.zstd.parquet", percent_encoded(app_id, is_plain_in_hive))
}

/// The name of a compaction's output, a name that no other attempt gives: `attempt` is random, `part` counts its outputs.
pub(in crate::store) fn compacted_name(attempt: u64, part: usize) -> String {
    format!("compact-{attempt:016x}.{part}.zstd.parquet")
}
