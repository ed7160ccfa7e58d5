//! Verification: what the table's log says of each file against what is on the store, and against the rows in it.
//!
//! Every page of every file is read and decoded, so a file that was cut short, overwritten, or is somebody else's is found.
//! Nothing is changed.

mod rows;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use object_store::ObjectMeta;
use object_store::path::Path;

use self::rows::check_rows;
use super::error::{ErrorKind, StoreError};
use super::schema::TableKind;
use super::table::{DataFile, Table, blocking};
use super::write::Store;
use crate::runtime::Tenant;

/// What is wrong with a file that the table's log names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It is not on the store.
    Missing,
    /// It has not the length that the log says, both in bytes.
    Length {
        /// The log's.
        log: u64,
        /// The store's.
        store: u64,
    },
    /// It cannot be read to its end: the reader's words.
    Unreadable(String),
    /// It has not as many rows as the log says.
    Rows {
        /// The log's.
        log: u64,
        /// The file's.
        file: u64,
    },
    /// The log's bounds of this column exclude rows that are there: readers skip the file although they should not.
    Bounds(&'static str),
    /// Its bytes are not those that were written: its checksum says so. It can be read nevertheless.
    Checksum,
    /// Its rows are not in the order of their trace ids: readers may miss some.
    Unsorted,
}

impl Problem {
    /// A word for scripts.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Length { .. } => "length",
            Self::Unreadable(_) => "unreadable",
            Self::Rows { .. } => "rows",
            Self::Bounds(_) => "bounds",
            Self::Checksum => "checksum",
            Self::Unsorted => "unsorted",
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("is in the table's log but not on the store"),
            Self::Length { log, store } => write!(f, "is {store} bytes long, not {log} as the log says"),
            Self::Unreadable(why) => write!(f, "cannot be read: {why}"),
            Self::Rows { log, file } => write!(f, "has {file} rows, not {log} as the log says"),
            Self::Bounds(column) => write!(f, "has rows outside of the log's bounds of {column}"),
            Self::Checksum => {
                f.write_str("is damaged: its bytes are not those that were written, by their checksum")
            }
            Self::Unsorted => f.write_str("is not sorted by trace id"),
        }
    }
}

/// A file with a problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whose.
    pub tenant: Tenant,
    /// Of which table.
    pub table: TableKind,
    /// Where it is, or should be, on the store.
    pub object: String,
    /// The rows that the log says are in it.
    pub rows: u64,
    /// What is wrong.
    pub problem: Problem,
}

/// An object in a table's folder that its log does not name as live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stray {
    /// Whose.
    pub tenant: Tenant,
    /// Of which table.
    pub table: TableKind,
    /// Where it is.
    pub object: String,
    /// How large.
    pub bytes: u64,
    /// When it was written, Unix milliseconds.
    pub written_unix_ms: i64,
    /// It was in the table until then, Unix milliseconds; `None`: as far as the log tells it never was.
    pub removed_unix_ms: Option<i64>,
}

/// What a verification saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Live files.
    pub files: u64,
    /// Rows read.
    pub rows: u64,
    /// Bytes of live files.
    pub bytes: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What is there and not live: waits for its grace, or for the sweep of what was never committed.
    pub strays: Vec<Stray>,
}

impl Verified {
    /// Adds what another saw.
    pub fn add(&mut self, other: Self) {
        self.files += other.files;
        self.rows += other.rows;
        self.bytes += other.bytes;
        self.findings.extend(other.findings);
        self.strays.extend(other.strays);
    }
}

impl Store {
    /// Reads all of a tenant's tables and says what is wrong with them. `progress` is told the bytes of live files done, and
    /// of all.
    ///
    /// # Errors
    /// If the table's log cannot be read, or the store cannot be reached: a file that cannot be read for a reason of its own
    /// is a finding.
    pub async fn verify(
        &self,
        tenant: &Tenant,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Verified, StoreError> {
        let mut tables = Vec::new();
        for kind in TableKind::ALL {
            let table = self.table(tenant, kind)?;
            // The folder after the log: what the log names was there before.
            let files = self.live_files(&table).await?;
            tables.push((files, table));
        }
        let all: u64 = tables.iter().flat_map(|(files, _)| files.iter()).map(|f| f.bytes).sum();
        let mut verified = Verified::default();
        for (files, table) in &tables {
            let seen = Folder::look(table, files).await?;
            verified.strays.extend(seen.strays(tenant, table.kind));
            for file in files.iter() {
                let (rows, problem) = seen.check(table, file).await?;
                (verified.files, verified.rows) = (verified.files + 1, verified.rows + rows);
                verified.bytes += file.bytes;
                verified.findings.extend(problem.map(|problem| Finding {
                    tenant: tenant.clone(),
                    table: table.kind,
                    object: file.object.to_string(),
                    rows: file.rows,
                    problem,
                }));
                progress(verified.bytes, all);
            }
        }
        Ok(verified)
    }
}

impl Store {
    /// Takes those of these files out of the tables that cannot be read, so that readers do not fail on them: missing ones,
    /// ones of another length, damaged and foreign ones. Gives them; those that left the tables meanwhile are not among them.
    ///
    /// # Errors
    /// As the store has them; what was taken out stays out.
    pub async fn take_out_lost(
        &self,
        tenant: &Tenant,
        findings: Vec<Finding>,
    ) -> Result<Vec<Finding>, StoreError> {
        let is_lost = |finding: &Finding| {
            let problem = &finding.problem;
            matches!(problem, Problem::Missing | Problem::Length { .. } | Problem::Unreadable(_))
        };
        let mut taken = Vec::new();
        for kind in TableKind::ALL {
            let table = self.table(tenant, kind)?;
            let lost: Vec<&Finding> = findings.iter().filter(|f| f.table == kind && is_lost(f)).collect();
            let objects: HashSet<&str> = lost.iter().map(|f| f.object.as_str()).collect();
            let live = self.live_files(&table).await?;
            let victims = live.iter().filter(|file| objects.contains(file.object.as_ref()));
            let victims: HashMap<String, String> =
                victims.map(|file| (file.in_log.clone(), file.object.to_string())).collect();
            if victims.is_empty() {
                continue;
            }
            let paths: HashSet<String> = victims.keys().cloned().collect();
            blocking(move || table.remove(&paths)).await?;
            let out: HashSet<String> = victims.into_values().collect();
            taken.extend(lost.into_iter().filter(|f| out.contains(&f.object)).cloned());
        }
        Ok(taken)
    }
}

/// What is in a table's folder.
struct Folder {
    objects: BTreeMap<Path, ObjectMeta>,
    live: HashSet<Path>,
    removed_ms: HashMap<Path, i64>,
}

impl Folder {
    async fn look(table: &Arc<Table>, files: &[DataFile]) -> Result<Self, StoreError> {
        let objects = table.data_objects().await?;
        let removed_ms = table.tombstones().await?;
        let objects = objects.into_iter().map(|object| (object.location.clone(), object)).collect();
        Ok(Self { objects, removed_ms, live: files.iter().map(|f| f.object.clone()).collect() })
    }

    fn strays<'a>(&'a self, tenant: &'a Tenant, table: TableKind) -> impl Iterator<Item = Stray> + 'a {
        let strays = self.objects.values().filter(|object| !self.live.contains(&object.location));
        strays.map(move |object| Stray {
            tenant: tenant.clone(),
            table,
            object: object.location.to_string(),
            bytes: object.size,
            written_unix_ms: object.last_modified.timestamp_millis(),
            removed_unix_ms: self.removed_ms.get(&object.location).copied(),
        })
    }

    /// The rows that were read, and what is wrong.
    async fn check(&self, table: &Table, file: &DataFile) -> Result<(u64, Option<Problem>), StoreError> {
        let Some(object) = self.objects.get(&file.object) else { return Ok((0, Some(Problem::Missing))) };
        if object.size != file.bytes {
            return Ok((0, Some(Problem::Length { log: file.bytes, store: object.size })));
        }
        match check_rows(table, file).await {
            Ok(checked) => Ok(checked),
            Err(error) if error.kind() == ErrorKind::Table => {
                let causes = std::iter::successors(std::error::Error::source(&error), |e| e.source());
                let words: Vec<String> =
                    std::iter::once(error.to_string()).chain(causes.map(ToString::to_string)).collect();
                Ok((0, Some(Problem::Unreadable(words.join(": ")))))
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
