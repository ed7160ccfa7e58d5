//! Batches of kept traces into the tables.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt, TryStreamExt};
use parking_lot::Mutex;

use super::backends::{Backend, Labels, Location};
use super::compact::output::Output;
use super::error::StoreError;
use super::index::{FileIndex, Index, Indexed};
use super::lifecycle::TAG_RETENTION;
use super::retention::RetentionPolicy;
use super::schema::{AddedColumn, Layout, TableKind};
use super::table::{Append, Appended, Engine, PartitionKey, Table, blocking, engine, file_name, in_log};
use super::writer::{NewFile, NewFiles, Records, Tally, encode};
use crate::runtime::{Clock, Tenant};
use crate::sample::{Batch, KeptTrace};

const UPLOADS_AT_ONCE: usize = 4;

/// How to write.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Where.
    pub location: Location,
    /// Who writes: the data directory's id. With the batch's id it makes each batch come into a table once.
    pub app_id: String,
    /// A checkpoint of a table's log is written each time this many commits have gathered.
    pub checkpoint_every: u64,
    /// How long the table's log is kept below its newest checkpoint, so that readers of older versions can finish.
    pub keep_log: Duration,
    /// How long files that left a table stay on the store, for readers of the version before.
    pub grace: Duration,
    /// How old an object must be that no table ever named, to be swept.
    pub orphan_age: Duration,
    /// The index that its commits also go into, shared with a reader; `None`: one of its own, which keeps nothing here.
    pub index: Option<Index>,
    /// Tag objects with their retention class, which the bucket's lifecycle rules go by. Only done on S3.
    pub tag_objects: bool,
    /// The storage class of data files as the store calls it (S3: `STANDARD_IA`, `INTELLIGENT_TIERING` …; GCS likewise; Azure: an
    /// access tier). `None`: the bucket's. The table's log and index are read all the time, and stay in the bucket's.
    pub storage_class: Option<String>,
    /// Columns that `spans` shall have beside the standard ones: added to tables that lack them.
    pub columns: Vec<AddedColumn>,
}

impl StoreConfig {
    /// The defaults at a location.
    pub fn new(location: Location, app_id: impl Into<String>) -> Self {
        Self {
            location,
            app_id: app_id.into(),
            checkpoint_every: 20,
            keep_log: Duration::from_secs(2 * 86_400),
            grace: RetentionPolicy::GRACE_DEFAULT,
            orphan_age: RetentionPolicy::ORPHAN_AGE_DEFAULT,
            index: None,
            tag_objects: true,
            storage_class: None,
            columns: Vec::new(),
        }
    }
}

/// What a batch came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Spans in the table now because of this batch; 0 of a tenant whose part was there already.
    pub spans: u64,
    /// Rows in `traces`, likewise.
    pub traces: u64,
    /// Files committed.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Spans that came twice within the batch (same trace, span id and kind), written once; likewise.
    pub duplicates: u64,
    /// Records of the log that could not be read back: their spans are lost, and logged; likewise.
    pub unreadable_records: u64,
    /// Spans of traces that cannot be stored, whatever one does: left out, and their ids logged.
    pub left_out: u64,
    /// Tables that had the batch already.
    pub already: u64,
    /// The batch's spans by tenant and service, whether they came into the table now or before: the same for a batch that
    /// is written again. Sorted; at most 1 000 services a tenant, what is beyond counts as `(others)`. A resource without a
    /// name counts as `unknown_service`, and a span that is in the table already and has left the log as `(unknown)`.
    pub services: Vec<WrittenService>,
    /// The batch's spans that are lost, by tenant, where there are any: their records cannot be read, or they were left out.
    pub lost: Vec<LostSpans>,
}

/// What became of one service's spans in a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenService {
    /// Whose.
    pub tenant: Tenant,
    /// `service.name`.
    pub service: Arc<str>,
    /// Spans that are in the table because of the batch.
    pub stored: u64,
    /// Spans that came twice within the batch, beside the ones stored.
    pub duplicates: u64,
}

/// Spans of a batch that are not in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostSpans {
    /// Whose.
    pub tenant: Tenant,
    /// How many.
    pub spans: u64,
}

impl Written {
    fn count(&mut self, tenant: &Tenant, tally: Tally) {
        self.left_out += tally.left_out;
        let lost = tally.lost();
        if lost > 0 {
            self.lost.push(LostSpans { tenant: tenant.clone(), spans: lost });
        }
        let services = tally.services().into_iter();
        self.services.extend(services.map(|(service, counts)| WrittenService {
            tenant: tenant.clone(),
            service,
            stored: counts.stored,
            duplicates: counts.duplicates,
        }));
    }
}

/// Writes to the tables of one store.
pub struct Store {
    config: StoreConfig,
    clock: Arc<dyn Clock>,
    engine: Arc<Engine>,
    index: Index,
    tables: Mutex<HashMap<(Tenant, TableKind), Arc<Table>>>,
}

impl Store {
    /// A writer for the store. Contacts nothing; needs a tokio runtime.
    ///
    /// # Errors
    /// [`crate::store::ErrorKind::Internal`] outside of a tokio runtime.
    pub fn open(config: StoreConfig, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let engine = engine(&config.location.objects)?;
        let index = config.index.clone();
        let index = index.unwrap_or_else(|| Index::open(config.location.clone(), None, 0));
        Ok(Self { config, clock, engine, index, tables: Mutex::default() })
    }

    /// Where it writes.
    pub fn location(&self) -> &Location {
        &self.config.location
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    pub(super) fn index(&self) -> &Index {
        &self.index
    }

    pub(crate) fn config(&self) -> &StoreConfig {
        &self.config
    }

    /// Writes a batch: for each tenant its spans, then its traces. Doing it again, whole or after a crash half-way, adds
    /// nothing twice. The caller tries again until it is `Ok`, and only then lets the log forget the batch's places.
    ///
    /// # Errors
    /// [`StoreError::is_transient`] where trying again may help by itself; the others need somebody to act, but nothing is
    /// lost while the log keeps the spans.
    pub async fn write<R>(&self, batch: &Batch, records: &R) -> Result<Written, StoreError>
    where
        R: Records + Clone + Send + 'static,
    {
        let mut written = Written::default();
        let by_tenant = batch.traces.chunk_by(|a, b| a.tenant == b.tenant);
        for traces in by_tenant.filter(|traces| !traces.is_empty()) {
            self.write_tenant(batch.id, traces, records, &mut written).await?;
        }
        Ok(written)
    }

    async fn write_tenant<R>(
        &self,
        batch: u64,
        traces: &[KeptTrace],
        records: &R,
        written: &mut Written,
    ) -> Result<(), StoreError>
    where
        R: Records + Clone + Send + 'static,
    {
        let tenant = &traces[0].tenant;
        let mut missing = Vec::new();
        for kind in TableKind::ALL {
            let table = self.table(tenant, kind)?;
            match self.has_batch(&table, batch).await? {
                true => written.already += 1,
                false => missing.push(table),
            }
        }
        let layout = self.layout(tenant).await?;
        let (traces, records) = (traces.to_vec(), records.clone());
        // What is in the tables already is encoded again only to be counted: that is after a crash, and must give the same.
        let NewFiles { spans, traces, mut tally, unreadable } =
            blocking(move || encode(&traces, &records, layout)).await?;
        match missing.is_empty() {
            true => tally.was_stored(),
            false => {
                written.duplicates += tally.duplicates();
                written.unreadable_records += unreadable.len() as u64;
            }
        }
        written.count(tenant, tally);
        for table in missing {
            let (files, rows) = match table.kind {
                TableKind::Spans => (&spans, &mut written.spans),
                TableKind::Traces => (&traces, &mut written.traces),
            };
            if files.is_empty() {
                continue;
            }
            *rows += files.iter().map(|f| f.rows).sum::<u64>();
            written.files += files.len() as u64;
            written.bytes += files.iter().map(|f| f.bytes.len() as u64).sum::<u64>();
            self.commit(tenant, &table, batch, files).await?;
        }
        Ok(())
    }

    /// The columns of a tenant's spans, which are those of its table, and those that are configured.
    async fn layout(&self, tenant: &Tenant) -> Result<&'static Layout, StoreError> {
        let table = self.table(tenant, TableKind::Spans)?;
        let wanted = self.config.columns.clone();
        blocking(move || table.layout_with(&wanted)).await
    }

    /// Whether a batch is in a table; makes the table if it is not there.
    async fn has_batch(&self, table: &Arc<Table>, batch: u64) -> Result<bool, StoreError> {
        let (of_task, app_id) = (Arc::clone(table), self.config.app_id.clone());
        let last = blocking(move || match of_task.refresh()? {
            Some(snapshot) => Ok(Some(of_task.last_batch(&snapshot, &app_id)?)),
            None => Ok(None),
        });
        match last.await? {
            Some(last) => Ok(last.is_some_and(|last| last >= batch)),
            None => {
                table.create(self.clock.now_unix_nano()).await?;
                Ok(false)
            }
        }
    }

    async fn commit(
        &self,
        tenant: &Tenant,
        table: &Arc<Table>,
        batch: u64,
        files: &[NewFile],
    ) -> Result<(), StoreError> {
        let names = files.iter().enumerate().map(|(at, file)| {
            let part = files[..at].iter().filter(|f| f.partition == file.partition).count();
            file_name(&self.config.app_id, batch, part)
        });
        let uploads = files.iter().zip(names).map(|(file, name)| self.upload(table, file, name).boxed());
        let uploads = uploads.collect::<Vec<_>>();
        let uploads = futures::stream::iter(uploads);
        let appends: Vec<Append> = uploads.buffered(UPLOADS_AT_ONCE).try_collect().await?;
        if table.kind == TableKind::Spans {
            self.write_index(tenant, appends.iter().zip(files.iter().map(|file| &file.index))).await;
        }
        let (of_task, app_id) = (Arc::clone(table), self.config.app_id.clone());
        let now = self.clock.now_unix_nano();
        let appended = blocking(move || of_task.append(&appends, &app_id, batch, now)).await?;
        if let Appended::Committed { commits_since_checkpoint } = appended
            && commits_since_checkpoint >= self.config.checkpoint_every
        {
            self.tidy(table).await;
        }
        Ok(())
    }

    /// Indexes files that were rewritten, before they become part of the table.
    pub(super) async fn index_outputs(&self, tenant: &Tenant, outputs: &[Output]) {
        let pairs = outputs.iter().filter_map(|output| Some((&output.append, output.index.as_ref()?)));
        self.write_index(tenant, pairs).await;
    }

    /// Spans do not wait for their index: where it cannot be written they are found without it.
    async fn write_index<'a>(
        &self,
        tenant: &Tenant,
        files: impl Iterator<Item = (&'a Append, &'a FileIndex)>,
    ) {
        let indexed = files.map(|(append, index)| Indexed {
            in_log: in_log(&append.object),
            bytes: append.bytes,
            index,
        });
        let indexed: Vec<_> = indexed.collect();
        if indexed.is_empty() {
            return;
        }
        if let Err(error) = self.index.write(tenant, &indexed).await {
            tracing::warn!(%error, "new files are without an index until it is rebuilt");
        }
    }

    /// What a partition's objects have: the tag that the bucket's lifecycle rules go by, and the storage class.
    pub(super) fn labels_of(&self, partition: &PartitionKey) -> Labels {
        let mut labels = Labels::default();
        let backend = self.config.location.backend;
        if self.config.tag_objects && backend == Backend::S3 {
            labels = labels.tag(TAG_RETENTION, &partition.retention);
        }
        match &self.config.storage_class {
            // Folders have none.
            Some(class) if !matches!(backend, Backend::Local | Backend::Custom) => {
                labels.storage_class(class)
            }
            _ => labels,
        }
    }

    async fn upload(&self, table: &Table, file: &NewFile, name: String) -> Result<Append, StoreError> {
        let object = file.partition.object(&name);
        let path = object_store::path::Path::parse(format!("{}/{object}", table.path));
        let path = path.map_err(|e| StoreError::of_objects("not a path", e.into()))?;
        let options = self.labels_of(&file.partition).put();
        let put = table.objects.put_opts(&path, file.bytes.clone().into(), options).await;
        put.map_err(|e| StoreError::of_objects(&format!("cannot write {path}"), e))?;
        let partition = file.partition.clone();
        Ok(Append { object, partition, bytes: file.bytes.len() as u64, statistics: file.statistics.clone() })
    }

    /// Writes a checkpoint and cuts the table's log. The batch is in the table whatever comes of it.
    pub(super) async fn tidy(&self, table: &Arc<Table>) {
        let of_task = Arc::clone(table);
        let checkpoint = blocking(move || match of_task.refresh()? {
            Some(snapshot) => of_task.checkpoint(&snapshot),
            None => Ok(false),
        });
        let outcome = match checkpoint.await {
            Ok(_) => table.clean_log(self.clock.now_unix_nano(), self.config.keep_log).await,
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            tracing::warn!(%error, "the table's log grows: no checkpoint, or no clean-up");
        }
    }

    pub(super) fn table(&self, tenant: &Tenant, kind: TableKind) -> Result<Arc<Table>, StoreError> {
        let mut tables = self.tables.lock();
        if let Some(table) = tables.get(&(tenant.clone(), kind)) {
            return Ok(Arc::clone(table));
        }
        let table = Arc::new(Table::new(&self.config.location, Arc::clone(&self.engine), tenant, kind)?);
        tables.insert((tenant.clone(), kind), Arc::clone(&table));
        Ok(table)
    }
}
