//! Reading the table: a trace by its id, scans of spans, scans of traces. Works without a daemon.

mod columns;
mod file;
mod filter;
mod footers;
mod full_span;
mod lookup;
mod object;
mod prune;
mod rebuild;
mod request;
mod rows;
mod trace_row;

pub(super) use columns::typed_column;
pub(super) use object::ObjectFile;

pub use full_span::{FullSpan, Kept, ResourceInfo, ScopeInfo, Wanted};
pub use request::{AttributeScope, HintValue, Projection, ScanHint, ScanRequest, TracesRequest};
pub use rows::{ScanValue, SpanRows};
pub use trace_row::TraceRow;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use parking_lot::Mutex;

use self::file::{FileScan, OpenFile};
use self::footers::Footers;
use super::backends::Location;
use super::error::StoreError;
use super::index::{Candidate, Coverage, Index, Sieve, Sought};
use super::schema::TableKind;
use super::table::{DataFile, Engine, Listing, Table, blocking, engine};
use crate::runtime::{Clock, Tenant};
use crate::sample::Fingerprint;
use crate::wire::TraceId;

/// Files looked into at the same time for one trace.
const LOOKUPS_AT_ONCE: usize = 8;
/// Files of a scan that are opened ahead of the one being read.
const OPENED_AHEAD: usize = 2;
/// Files of a scan whose filters are looked at ahead of the one being opened.
const SIEVED_AHEAD: usize = 16;
/// More traces than this are not looked for one by one: they are everywhere.
const TRACES_SOUGHT_MAX: usize = 256;

/// How a [`Reader`] caches.
#[derive(Clone, Debug)]
pub struct ReaderConfig {
    /// How old the list of a table's files may be before it is asked for again.
    pub refresh_after: Duration,
    /// The bound of the cache of file footers (metadata, bloom filters), in bytes.
    pub footer_cache_bytes: usize,
    /// The index, shared with who writes to the store; `None`: one of its own, in memory.
    pub index: Option<Index>,
}

impl Default for ReaderConfig {
    fn default() -> Self {
        Self { refresh_after: Duration::from_secs(1), footer_cache_bytes: 64 << 20, index: None }
    }
}

/// Reads the tables of every tenant of one store. Cheap to clone. A table that is not there reads as an empty one.
#[derive(Clone)]
pub struct Reader {
    inner: Arc<Inner>,
}

struct Inner {
    location: Location,
    clock: Arc<dyn Clock>,
    config: ReaderConfig,
    engine: OnceLock<Arc<Engine>>,
    tables: Mutex<HashMap<(Tenant, TableKind), Arc<CachedTable>>>,
    footers: Arc<Footers>,
    index: Index,
    /// Lists of files from an earlier epoch are asked for again.
    epoch: AtomicU64,
}

struct CachedTable {
    table: Arc<Table>,
    listing: tokio::sync::Mutex<Option<Seen>>,
}

/// A list of files, and when it was asked for.
struct Seen {
    at: Duration,
    epoch: u64,
    listing: Listing,
}

impl Reader {
    /// A reader of the store at `location`. Touches nothing yet.
    pub fn new(location: Location, clock: Arc<dyn Clock>, config: ReaderConfig) -> Self {
        let footers = Arc::new(Footers::new(config.footer_cache_bytes));
        let index = config.index.clone();
        let index = index.unwrap_or_else(|| Index::open(location.clone(), None, Index::MEMORY_BYTES_DEFAULT));
        let inner = Inner {
            location,
            clock,
            config,
            index,
            engine: OnceLock::new(),
            tables: Mutex::default(),
            footers,
            epoch: AtomicU64::new(0),
        };
        Self { inner: Arc::new(inner) }
    }

    /// All spans of one trace, by start time; each (span id, kind) once. Empty if the table has none.
    ///
    /// # Requests
    /// However many files the table has: for each file that holds the trace one for its footer, unless that is cached, and one
    /// to three for the pages of its spans. The index ([`crate::store::Index`]) is asked first; it is here, or fetched once. To know
    /// the table's newest version is one list of its log more, and two requests for each commit since the last question (and
    /// none at all within [`ReaderConfig::refresh_after`]).
    ///
    /// # Errors
    /// As the store has them, or [`crate::store::ErrorKind::Table`] for a damaged file.
    pub async fn by_id(&self, tenant: &Tenant, trace_id: TraceId) -> Result<Vec<FullSpan>, StoreError> {
        self.by_id_within(tenant, trace_id, |_| true).await
    }

    /// The same, but as far as there is room for it: `room` is told the bytes of each batch of rows before they are decoded,
    /// and says whether to take them.
    ///
    /// # Errors
    /// As [`Self::by_id`].
    pub async fn by_id_within(
        &self,
        tenant: &Tenant,
        trace_id: TraceId,
        room: impl Fn(usize) -> bool + Clone + Send + Sync,
    ) -> Result<Vec<FullSpan>, StoreError> {
        let id = trace_id.to_string();
        let candidates = self.candidates(tenant, trace_id, &id).await?;
        let hints = Arc::new(vec![ScanHint::TraceIds(vec![trace_id])]);
        let lookups = candidates.into_iter().map(|Candidate { file, groups }| {
            let (reader, hints, id, room) = (self.clone(), Arc::clone(&hints), id.clone(), room.clone());
            async move {
                let open = reader.open(file).await?;
                let row_groups = match groups.filter(|groups| groups.iter().all(|at| *at < open.row_groups()))
                {
                    Some(groups) => groups,
                    None => open.row_groups_with_trace(&id).await?,
                };
                let scan =
                    FileScan { start_unix_nano: 0..u64::MAX, projection: &Projection::All, hints: &hints };
                let batches = open.trace_rows(row_groups, &id, &scan).await?;
                let fits = move |rows: &SpanRows| {
                    futures::future::ready(Ok(room(rows.batch().get_array_memory_size())))
                };
                let batches = batches.try_take_while(fits);
                batches.map(|rows| rows?.full_spans()).try_concat().await
            }
        });
        let found = futures::stream::iter(lookups).buffer_unordered(LOOKUPS_AT_ONCE);
        let mut spans: Vec<FullSpan> = found.try_concat().await?;
        spans.sort_by(|a, b| identity(a).cmp(&identity(b)));
        spans.dedup_by(|a, b| identity(a) == identity(b));
        spans.sort_by(|a, b| in_time(a).cmp(&in_time(b)));
        Ok(spans)
    }

    /// Spans that may match the request, newest files first. Hints prune files, row groups and rows, but a caller
    /// must check again: rows that do not match may come too. The same span may come twice (a retry of its sender).
    ///
    /// # Errors
    /// As [`Self::by_id`]; also from the stream.
    pub async fn scan(
        &self,
        tenant: &Tenant,
        request: ScanRequest,
    ) -> Result<BoxStream<'static, Result<SpanRows, StoreError>>, StoreError> {
        let wanted = |f: &DataFile| prune::may_match(f, &request.start_unix_nano, &request.hints);
        let files = self.files(tenant, TableKind::Spans, wanted).await?;
        let sieve = self.sieve(tenant, &request.hints).await?.map(Arc::new);
        let sieved = futures::stream::iter(files).map(move |file| {
            let sieve = sieve.clone();
            async move {
                let row_groups = match &sieve {
                    Some(sieve) => sieve.may_match(&file.in_log).await,
                    None => None,
                };
                (file, row_groups)
            }
        });
        let sieved =
            sieved.buffered(SIEVED_AHEAD).filter_map(|(file, groups): (DataFile, Option<Vec<bool>>)| {
                let may_match = groups.as_ref().is_none_or(|groups| groups.contains(&true));
                futures::future::ready(may_match.then_some((file, groups)))
            });
        let (reader, request) = (self.clone(), Arc::new(request));
        let opened = sieved.map(move |(file, row_groups)| {
            let (reader, request) = (reader.clone(), Arc::clone(&request));
            async move {
                let start_unix_nano = request.start_unix_nano.clone();
                let scan =
                    FileScan { start_unix_nano, projection: &request.projection, hints: &request.hints };
                reader.open(file).await?.scan(&scan, row_groups.as_deref())
            }
        });
        Ok(opened.buffered(OPENED_AHEAD).try_flatten().boxed())
    }

    /// Rows of the `traces` table, newest files first. Late spans give a trace further rows: merge by trace id.
    ///
    /// # Errors
    /// As [`Self::by_id`]; also from the stream.
    pub async fn traces_scan(
        &self,
        tenant: &Tenant,
        request: TracesRequest,
    ) -> Result<BoxStream<'static, Result<Vec<TraceRow>, StoreError>>, StoreError> {
        let hints = request.hints();
        let wanted = |f: &DataFile| prune::may_match(f, &request.start_unix_nano, &hints);
        let files = self.files(tenant, TableKind::Traces, wanted).await?;
        let (reader, request, hints) = (self.clone(), Arc::new(request), Arc::new(hints));
        let opened = files.into_iter().map(move |file| {
            let (reader, request, hints) = (reader.clone(), Arc::clone(&request), Arc::clone(&hints));
            async move {
                let start_unix_nano = request.start_unix_nano.clone();
                let scan = FileScan { start_unix_nano, projection: &Projection::All, hints: &hints };
                let batches = reader.open(file).await?.scan(&scan, None)?;
                Ok::<_, StoreError>(batches.map(move |rows| trace_row::read(&rows?, &request)))
            }
        });
        Ok(futures::stream::iter(opened).buffered(OPENED_AHEAD).try_flatten().boxed())
    }

    /// Whether a file may hold rows of some of these traces (in hexadecimal): as `sieve` says, or where that does not know the
    /// file, by its bounds and filters.
    pub(super) async fn may_hold_some(
        &self,
        file: &DataFile,
        ids: &HashSet<String>,
        sieve: Option<&Sieve>,
    ) -> Result<bool, StoreError> {
        if let Some(sieve) = sieve
            && let Some(groups) = sieve.may_match(&file.in_log).await
        {
            return Ok(groups.contains(&true));
        }
        let near: Vec<&String> = ids.iter().filter(|id| prune::may_hold_trace(file, id)).collect();
        if near.is_empty() {
            return Ok(false);
        }
        let open = self.open(file.clone()).await?;
        for id in near {
            if !open.row_groups_with_trace(id).await?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The files that may hold a trace: by the index where it knows them, else by the table's statistics.
    async fn candidates(
        &self,
        tenant: &Tenant,
        trace_id: TraceId,
        id: &str,
    ) -> Result<Vec<Candidate>, StoreError> {
        let listing = self.listing(tenant, TableKind::Spans).await?;
        let mut candidates = match self.coverage(tenant, &listing).await {
            Some(coverage) => {
                let fingerprint = Fingerprint::of(tenant, &trace_id).0;
                self.inner.index.candidates(tenant, &coverage, fingerprint).await
            }
            None => listing.files.iter().map(|file| Candidate { file: file.clone(), groups: None }).collect(),
        };
        candidates.retain(|c| c.groups.is_some() || prune::may_hold_trace(&c.file, id));
        Ok(candidates)
    }

    /// What is needed to skip row groups by their attributes and traces; `None` where nothing asks for such.
    pub(super) async fn sieve(
        &self,
        tenant: &Tenant,
        hints: &[ScanHint],
    ) -> Result<Option<Sieve>, StoreError> {
        let traces = hints.iter().find_map(|hint| match hint {
            ScanHint::TraceIds(ids) if ids.len() <= TRACES_SOUGHT_MAX => Some(ids),
            _ => None,
        });
        let seed = Fingerprint::seed(tenant);
        let traces = traces.map(|ids| ids.iter().map(|id| Fingerprint::seeded(seed, id).0).collect());
        let sought = Sought { needles: hints.iter().filter_map(filter::needle).collect(), traces };
        if sought.needles.is_empty() && sought.traces.is_none() {
            return Ok(None);
        }
        let listing = self.listing(tenant, TableKind::Spans).await?;
        let coverage = self.coverage(tenant, &listing).await;
        let index = self.inner.index.clone();
        Ok(coverage.map(|coverage| Sieve::new(index, tenant.clone(), coverage, sought)))
    }

    /// The index is an aid: without it, more is read.
    async fn coverage(&self, tenant: &Tenant, listing: &Listing) -> Option<Arc<Coverage>> {
        let coverage = self.inner.index.coverage(tenant, listing).await;
        coverage.map_err(|error| tracing::warn!(%error, "the index cannot be read; this takes longer")).ok()
    }

    /// Brings the runs of a tenant's index here, as far as there is room; gives how many came. To be called now and then by
    /// who answers questions for long.
    ///
    /// # Errors
    /// As the store has them.
    pub async fn warm(&self, tenant: &Tenant) -> Result<u64, StoreError> {
        let listing = self.listing(tenant, TableKind::Spans).await?;
        self.inner.index.warm(tenant, &listing).await
    }

    /// What the cache of footers takes, in bytes.
    pub fn cache_bytes(&self) -> usize {
        self.inner.footers.bytes()
    }

    /// Forgets which versions of the tables were seen, so that the next question sees what was committed before it.
    pub fn forget_versions(&self) {
        self.inner.epoch.fetch_add(1, Ordering::Release);
    }

    /// The live files of a table that `wanted` accepts, the newest spans first.
    async fn files(
        &self,
        tenant: &Tenant,
        kind: TableKind,
        wanted: impl Fn(&DataFile) -> bool,
    ) -> Result<Vec<DataFile>, StoreError> {
        let listing = self.listing(tenant, kind).await?;
        let mut files: Vec<_> = listing.files.iter().filter(|f| wanted(f)).cloned().collect();
        files.sort_by(|a, b| (b.start_max_unix_nano, &a.in_log).cmp(&(a.start_max_unix_nano, &b.in_log)));
        Ok(files)
    }

    async fn listing(&self, tenant: &Tenant, kind: TableKind) -> Result<Listing, StoreError> {
        let cached = self.cached_table(tenant, kind)?;
        let mut listing = cached.listing.lock().await;
        let epoch = self.inner.epoch.load(Ordering::Acquire);
        let now = self.inner.clock.monotonic();
        let is_fresh = |seen: &Seen| {
            seen.epoch == epoch && now.saturating_sub(seen.at) < self.inner.config.refresh_after
        };
        if let Some(seen) = listing.as_ref().filter(|seen| is_fresh(seen)) {
            return Ok(seen.listing.clone());
        }
        let before = listing.as_ref().map(|seen| seen.listing.clone());
        let table = Arc::clone(&cached.table);
        let after = blocking(move || match (table.refresh()?, before) {
            (Some(snapshot), Some(before)) => table.list_from(&snapshot, &before),
            (Some(snapshot), None) => table.list(&snapshot),
            (None, _) => Ok(Listing::default()),
        });
        let after = after.await?;
        *listing = Some(Seen { at: now, epoch, listing: after.clone() });
        Ok(after)
    }

    fn cached_table(&self, tenant: &Tenant, kind: TableKind) -> Result<Arc<CachedTable>, StoreError> {
        let inner = &self.inner;
        let engine = match inner.engine.get() {
            Some(engine) => Arc::clone(engine),
            None => Arc::clone(inner.engine.get_or_init({
                let started = engine(&inner.location.objects)?;
                || started
            })),
        };
        let mut tables = inner.tables.lock();
        if let Some(table) = tables.get(&(tenant.clone(), kind)) {
            return Ok(Arc::clone(table));
        }
        let table = Arc::new(Table::new(&inner.location, engine, tenant, kind)?);
        let cached = Arc::new(CachedTable { table, listing: tokio::sync::Mutex::default() });
        tables.insert((tenant.clone(), kind), Arc::clone(&cached));
        Ok(cached)
    }

    async fn open(&self, file: DataFile) -> Result<OpenFile, StoreError> {
        OpenFile::open(&self.inner.location.objects, file, &self.inner.footers).await
    }
}

fn identity(span: &FullSpan) -> (&[u8], i32) {
    (&span.span.span_id, span.span.kind)
}

fn in_time(span: &FullSpan) -> (u64, &[u8], i32) {
    (span.span.start_time_unix_nano, &span.span.span_id, span.span.kind)
}

#[cfg(test)]
mod tests;
