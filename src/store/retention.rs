//! Expiry: files whose spans are older than their retention class allows leave the table in a transaction, and the oldest
//! of a class that has more bytes than it may; later, when no reader can still want them, they are deleted.
//!
//! What is due is computed from a time that is passed in, by pure functions, so that a clock that jumps can be seen
//! through: nothing younger than the class's age *by the file's own spans and partition* goes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectMeta;
use object_store::path::Path;

use super::error::StoreError;
use super::lifecycle::{LifecycleOutcome, apply_lifecycle};
use super::schema::TableKind;
use super::table::{DataFile, Listing, Table, blocking, horizon_ms};
use super::write::{Store, StoreConfig};
use crate::runtime::Tenant;
use crate::sample::{RetentionClasses, RetentionTerms};

const NANOS_PER_DAY: u128 = 86_400_000_000_000;

/// How long, and how much of, each class of spans is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionPolicy {
    /// The classes' terms. Files of a class that is not named stay for ever.
    pub classes: RetentionClasses,
    /// How long a file that has left the table stays on the store, for readers of the version before.
    pub grace: Duration,
    /// How old a file must be that the table never named (a crash between upload and commit) before it is swept.
    pub orphan_age: Duration,
}

impl RetentionPolicy {
    /// An hour.
    pub const GRACE_DEFAULT: Duration = Duration::from_secs(3_600);
    /// A day.
    pub const ORPHAN_AGE_DEFAULT: Duration = Duration::from_secs(86_400);

    /// These classes, an hour's grace, a day for orphans.
    pub fn new(classes: RetentionClasses) -> Self {
        Self { classes, grace: Self::GRACE_DEFAULT, orphan_age: Self::ORPHAN_AGE_DEFAULT }
    }
}

/// What an expiry did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Files that left the table.
    pub files: u64,
    /// Their rows.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects deleted from the store: past their grace, or orphans.
    pub deleted: u64,
    /// The spans among the rows, by tenant.
    pub spans: BTreeMap<Tenant, u64>,
}

/// A live file of a tenant, and its table.
type Live<'a> = (TableKind, &'a DataFile);

/// Of a tenant's files those that go: the newest span is older than the class's age, or younger files fill the class.
pub(super) fn due<'a>(
    files: impl Iterator<Item = Live<'a>>,
    classes: &RetentionClasses,
    now_unix_nano: u64,
) -> Vec<Live<'a>> {
    let mut due = Vec::new();
    let mut bounded: BTreeMap<&str, (u64, Vec<Live<'a>>)> = BTreeMap::new();
    for (kind, file) in files {
        let Some(RetentionTerms { age, bytes_max }) = classes.get(&*file.retention) else { continue };
        if newest_unix_nano(file) + age.as_nanos() < u128::from(now_unix_nano) {
            due.push((kind, file));
        } else if let Some(bytes_max) = bytes_max {
            bounded.entry(&file.retention).or_insert((*bytes_max, Vec::new())).1.push((kind, file));
        }
    }
    due.extend(bounded.into_values().flat_map(|(bytes_max, files)| beyond(files, bytes_max)));
    due
}

/// The oldest of these files, as many as must go for the others to be no more than `bytes_max`.
fn beyond(mut files: Vec<Live<'_>>, bytes_max: u64) -> Vec<Live<'_>> {
    let mut bytes: u64 = files.iter().map(|(_, file)| file.bytes).sum();
    files.sort_by_key(|(_, file)| (newest_unix_nano(file), file.start_min_unix_nano, &file.in_log));
    let going = files.iter().take_while(|(_, file)| {
        let goes = bytes > bytes_max;
        bytes = bytes.saturating_sub(file.bytes);
        goes
    });
    let going = going.count();
    files.truncate(going);
    files
}

/// A file's newest span is no later than the end of its day: spans with times that cannot be right are filed under the
/// day of their receipt, and must not live for ever. The earlier of both bounds counts.
fn newest_unix_nano(file: &DataFile) -> u128 {
    let end_of_day = (i128::from(file.day) + 1) * NANOS_PER_DAY as i128;
    let end_of_day = u128::try_from(end_of_day).unwrap_or(0);
    let start_of_day = end_of_day.saturating_sub(NANOS_PER_DAY);
    // A start before the day is one that cannot be right either.
    u128::from(file.start_max_unix_nano).clamp(start_of_day, end_of_day)
}

/// Of these objects those that can be deleted: not live, and either out of the table for longer than the grace, or not
/// known to the log and old.
pub(super) fn deletable(
    objects: &[ObjectMeta],
    live: &HashSet<&Path>,
    removed_ms: &HashMap<Path, i64>,
    policy: &RetentionPolicy,
    now_unix_nano: u64,
) -> HashSet<Path> {
    let past_grace = horizon_ms(now_unix_nano, policy.grace);
    let past_orphan_age = horizon_ms(now_unix_nano, policy.orphan_age.max(policy.grace));
    let is_deletable = |object: &&ObjectMeta| match removed_ms.get(&object.location) {
        _ if live.contains(&object.location) => false,
        Some(removed) => *removed <= past_grace,
        None => object.last_modified.timestamp_millis() <= past_orphan_age,
    };
    objects.iter().filter(is_deletable).map(|o| o.location.clone()).collect()
}

impl Store {
    /// Expires every tenant's tables: [`Self::expire_tenant`] with these classes, and the configured grace. A tenant that
    /// fails does not keep the others from it; the first error is given at the end.
    ///
    /// # Errors
    /// As the store has them; what was done stays done, and doing it again is harmless.
    pub async fn expire(
        &self,
        classes: &RetentionClasses,
        now_unix_nano: u64,
    ) -> Result<Expired, StoreError> {
        let policy = self.policy(classes);
        let mut all = Expired::default();
        let mut failed = None;
        for tenant in self.tenants().await? {
            match self.expire_tenant(&tenant, &policy, now_unix_nano).await {
                Ok(expired) => all.add(&expired),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(all), Err)
    }

    /// Makes the bucket's lifecycle rules those of these classes' ages: [`apply_lifecycle`].
    ///
    /// # Errors
    /// As the bucket has them; writing spans does not depend on it.
    pub async fn set_lifecycle(&self, classes: &RetentionClasses) -> Result<LifecycleOutcome, StoreError> {
        apply_lifecycle(self.location(), &self.policy(classes)).await
    }

    fn policy(&self, classes: &RetentionClasses) -> RetentionPolicy {
        let StoreConfig { grace, orphan_age, .. } = *self.config();
        RetentionPolicy { classes: classes.clone(), grace, orphan_age }
    }

    /// What [`Self::expire_tenant`] would take out of the tables at `now_unix_nano`; nothing changes.
    ///
    /// # Errors
    /// As the store has them.
    pub async fn expiry_plan(
        &self,
        tenant: &Tenant,
        policy: &RetentionPolicy,
        now_unix_nano: u64,
    ) -> Result<Expired, StoreError> {
        let mut planned = Expired::default();
        for (kind, file) in due(self.live(tenant).await?.files(), &policy.classes, now_unix_nano) {
            planned.count(tenant, kind, file);
        }
        Ok(planned)
    }

    /// Takes what is due out of the tenant's tables, one transaction a table, and deletes what has been out for longer than
    /// the grace. `now_unix_nano` is the caller's: it should have seen that time on its clock for a while.
    ///
    /// # Errors
    /// As the store has them; what was done stays done, and doing it again is harmless.
    pub async fn expire_tenant(
        &self,
        tenant: &Tenant,
        policy: &RetentionPolicy,
        now_unix_nano: u64,
    ) -> Result<Expired, StoreError> {
        let mut expired = Expired::default();
        let live = self.live(tenant).await?;
        let due = due(live.files(), &policy.classes, now_unix_nano);
        for kind in TableKind::ALL {
            let table = self.table(tenant, kind)?;
            let going: Vec<&DataFile> =
                due.iter().filter(|(of, _)| *of == kind).map(|(_, file)| *file).collect();
            if !going.is_empty() {
                let paths: HashSet<String> = going.iter().map(|f| f.in_log.clone()).collect();
                let of_task = Arc::clone(&table);
                blocking(move || of_task.remove(&paths)).await?;
                going.iter().for_each(|file| expired.count(tenant, kind, file));
            }
            expired.deleted += self.vacuum(tenant, &table, policy, now_unix_nano).await?;
        }
        Ok(expired)
    }

    async fn live(&self, tenant: &Tenant) -> Result<LiveFiles, StoreError> {
        let mut live = LiveFiles(Vec::new());
        for kind in TableKind::ALL {
            live.0.push((kind, self.live_files(&self.table(tenant, kind)?).await?));
        }
        Ok(live)
    }

    /// The tenants that have a folder in the store.
    ///
    /// # Errors
    /// As the store has them.
    pub async fn tenants(&self) -> Result<Vec<Tenant>, StoreError> {
        let location = self.location();
        let listed = location.objects.list_with_delimiter(Some(&location.path)).await;
        let listed =
            listed.map_err(|e| StoreError::of_objects(&format!("cannot list {}", location.url), e))?;
        Ok(listed.common_prefixes.iter().filter_map(|p| Tenant::new(p.filename()?)).collect())
    }

    pub(super) async fn live_files(&self, table: &Arc<Table>) -> Result<Arc<Vec<DataFile>>, StoreError> {
        Ok(self.listing(table).await?.files)
    }

    /// The newest version of a table; an empty one where there is no table.
    pub(super) async fn listing(&self, table: &Arc<Table>) -> Result<Listing, StoreError> {
        let table = Arc::clone(table);
        blocking(move || match table.refresh()? {
            Some(snapshot) => table.list_again(&snapshot),
            None => Ok(Listing::default()),
        })
        .await
    }

    async fn vacuum(
        &self,
        tenant: &Tenant,
        table: &Arc<Table>,
        policy: &RetentionPolicy,
        now_unix_nano: u64,
    ) -> Result<u64, StoreError> {
        // The folder first: what is uploaded and committed after it is not on the list.
        let objects = table.data_objects().await?;
        if objects.is_empty() {
            return Ok(0);
        }
        let removed_ms = table.tombstones().await?;
        let files = self.live_files(table).await?;
        let live: HashSet<&Path> = files.iter().map(|f| &f.object).collect();
        let deletable = deletable(&objects, &live, &removed_ms, policy, now_unix_nano);
        let left = objects.iter().map(|o| &o.location).filter(|path| !deletable.contains(path));
        let left = left.filter_map(|path| table.in_log(path));
        let left: HashSet<String> = left.chain(files.iter().map(|f| f.in_log.clone())).collect();
        let mut deleted = table.delete(deletable).await?;
        if table.kind == TableKind::Spans {
            // An index run goes when none of its files is on the store any more.
            let horizon_ms = horizon_ms(now_unix_nano, policy.orphan_age.max(policy.grace));
            match self.index().sweep(tenant, &left, horizon_ms).await {
                Ok(swept) => deleted += swept,
                Err(error) => {
                    tracing::warn!(%error, "index runs that nobody needs stay until the next expiry")
                }
            }
        }
        Ok(deleted)
    }
}

impl Expired {
    /// Adds what another did.
    pub fn add(&mut self, other: &Self) {
        self.files += other.files;
        self.rows += other.rows;
        self.bytes += other.bytes;
        self.deleted += other.deleted;
        for (tenant, spans) in &other.spans {
            *self.spans.entry(tenant.clone()).or_default() += spans;
        }
    }

    fn count(&mut self, tenant: &Tenant, kind: TableKind, file: &DataFile) {
        if kind == TableKind::Spans && file.rows > 0 {
            *self.spans.entry(tenant.clone()).or_default() += file.rows;
        }
        self.files += 1;
        self.rows += file.rows;
        self.bytes += file.bytes;
    }
}

/// The live files of a tenant's tables.
struct LiveFiles(Vec<(TableKind, Arc<Vec<DataFile>>)>);

impl LiveFiles {
    fn files(&self) -> impl Iterator<Item = Live<'_>> {
        self.0.iter().flat_map(|(kind, files)| files.iter().map(|file| (*kind, file)))
    }
}

#[cfg(test)]
mod tests;
