//! Keeping the table's log short, and the folder free of what the table no longer names.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use delta_kernel::SnapshotRef;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt};
use serde_json::Value as Json;

use super::Table;
use super::paths::object_of_log;
use crate::store::error::StoreError;

const DELETES_AT_ONCE: usize = 8;
const READS_AT_ONCE: usize = 8;

impl Table {
    /// Writes a checkpoint of the newest version; `false` if it has one already. Blocks.
    pub(in crate::store) fn checkpoint(&self, snapshot: &SnapshotRef) -> Result<bool, StoreError> {
        let (result, after) = snapshot
            .checkpoint(self.engine.as_ref(), None)
            .map_err(|e| StoreError::of_kernel("cannot write a checkpoint", e))?;
        *self.latest.lock() = Some(after);
        Ok(matches!(result, delta_kernel::snapshot::CheckpointWriteResult::Written))
    }

    /// Deletes files of the log below the newest checkpoint that is older than `keep`; gives how many. Versions from that
    /// checkpoint on stay readable.
    pub(in crate::store) async fn clean_log(
        &self,
        now_unix_nano: u64,
        keep: Duration,
    ) -> Result<u64, StoreError> {
        let files = self.log_files().await?;
        let horizon = horizon_ms(now_unix_nano, keep);
        let old_enough = |f: &&LogFile| f.is_checkpoint && f.meta.last_modified.timestamp_millis() <= horizon;
        let Some(base) = files.iter().filter(old_enough).map(|f| f.version).max() else { return Ok(0) };
        let below = files.iter().filter(|f| f.version < base).map(|f| f.meta.location.clone());
        self.delete(below.collect()).await
    }

    /// When each file was taken out of the table, milliseconds since the Unix epoch, as far as the log's commits tell.
    pub(in crate::store) async fn tombstones(&self) -> Result<HashMap<Path, i64>, StoreError> {
        let commits = self.log_files().await?.into_iter().filter(|f| f.is_commit);
        let reads = futures::stream::iter(commits).map(|f| async move {
            let body = self.objects.get(&f.meta.location).await?.bytes().await?;
            Ok::<_, object_store::Error>(body)
        });
        let bodies: Vec<_> = reads
            .buffer_unordered(READS_AT_ONCE)
            .try_collect()
            .await
            .map_err(|e| StoreError::of_objects("cannot read the table's log", e))?;
        let mut tombstones = HashMap::new();
        for line in bodies.iter().flat_map(|body| body.split(|b| *b == b'\n')) {
            if let Some((path, removed_ms)) = tombstone(line) {
                let newest = tombstones.entry(object_of_log(&self.path, &path)?).or_insert(removed_ms);
                *newest = removed_ms.max(*newest);
            }
        }
        Ok(tombstones)
    }

    /// The objects in the table's folder that are not its log's.
    pub(in crate::store) async fn data_objects(&self) -> Result<Vec<ObjectMeta>, StoreError> {
        let log = self.log_path();
        let listed = self.objects.list(Some(&self.path)).try_collect::<Vec<_>>().await;
        let listed = listed.map_err(|e| StoreError::of_objects(&format!("cannot list {}", self.url), e))?;
        Ok(listed.into_iter().filter(|o| !o.location.prefix_matches(&log)).collect())
    }

    /// Deletes objects; those that are gone already count too.
    pub(in crate::store) async fn delete(&self, objects: HashSet<Path>) -> Result<u64, StoreError> {
        let count = objects.len() as u64;
        // In an order of their own, so that a simulation replays.
        let objects: std::collections::BTreeSet<Path> = objects.into_iter().collect();
        let deletes = futures::stream::iter(objects).map(|path| async move {
            match self.objects.delete(&path).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(StoreError::of_objects(&format!("cannot delete {path}"), error)),
            }
        });
        deletes.buffer_unordered(DELETES_AT_ONCE).try_collect::<()>().await?;
        Ok(count)
    }

    async fn log_files(&self) -> Result<Vec<LogFile>, StoreError> {
        let listed = self.objects.list(Some(&self.log_path())).try_collect::<Vec<_>>().await;
        let listed = listed.map_err(|e| StoreError::of_objects(&format!("cannot list {}", self.url), e))?;
        Ok(listed.into_iter().filter_map(LogFile::of).collect())
    }
}

/// A file of the table's log that belongs to one version.
struct LogFile {
    version: u64,
    is_commit: bool,
    is_checkpoint: bool,
    meta: ObjectMeta,
}

impl LogFile {
    fn of(meta: ObjectMeta) -> Option<Self> {
        let name = meta.location.filename()?;
        let (digits, rest) = name.split_at_checked(20)?;
        let version = digits.parse().ok()?;
        let is_checkpoint = rest.starts_with(".checkpoint") && rest.ends_with(".parquet");
        Some(Self { version, is_commit: rest == ".json", is_checkpoint, meta })
    }
}

fn tombstone(line: &[u8]) -> Option<(String, i64)> {
    if !line.starts_with(b"{\"remove\"") {
        return None;
    }
    let action: Json = serde_json::from_slice(line).ok()?;
    let remove = action.get("remove")?;
    Some((remove.get("path")?.as_str()?.to_owned(), remove.get("deletionTimestamp")?.as_i64()?))
}

/// The time `ago` before `now`, milliseconds since the Unix epoch.
pub(in crate::store) fn horizon_ms(now_unix_nano: u64, ago: Duration) -> i64 {
    let ago_ms = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
    ((now_unix_nano / 1_000_000) as i64).saturating_sub(ago_ms)
}
