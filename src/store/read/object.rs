//! A file on an object store as the Parquet reader wants it.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};

use crate::store::table::DataFile;

/// The footer of most files is in so much of their end, page index included …
const FOOTER_BYTES_MIN: u64 = 64 << 10;
/// … and that of larger ones in this share of them: a row group takes some 30 KiB of it …
const FOOTER_SHARE: u64 = 128;
/// … up to here.
const FOOTER_BYTES_MAX: u64 = 1 << 20;
/// Ranges that are read ahead are joined until so many requests are left …
const READS_AHEAD: usize = 3;
/// … and wherever less than this would be read in vain.
const GAP_BYTES: u64 = 512 << 10;
/// More is not read ahead.
const AHEAD_BYTES_MAX: u64 = 8 << 20;

/// A file of the table. Never changes.
#[derive(Clone)]
pub(in crate::store) struct ObjectFile {
    objects: Arc<dyn ObjectStore>,
    path: Path,
    bytes: u64,
    /// What was read ahead, by offset.
    ahead: Arc<Vec<(u64, Bytes)>>,
}

impl ObjectFile {
    pub(in crate::store) fn new(objects: &Arc<dyn ObjectStore>, file: &DataFile) -> Self {
        let (objects, path) = (Arc::clone(objects), file.object.clone());
        Self { objects, path, bytes: file.bytes, ahead: Arc::default() }
    }

    /// Its footer, page index included where it has one.
    pub(in crate::store) async fn metadata(&self) -> Result<ArrowReaderMetadata> {
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
        ArrowReaderMetadata::load_async(&mut self.clone(), options).await
    }

    /// Reads these ranges in at most [`READS_AHEAD`] requests, all at once, so that whoever wants them next need not ask. Too
    /// much is left to whoever wants it.
    pub(super) async fn read_ahead(&mut self, ranges: Vec<Range<u64>>) -> Result<()> {
        let joined = joined(ranges);
        if joined.iter().map(|r| r.end - r.start).sum::<u64>() > AHEAD_BYTES_MAX {
            return Ok(());
        }
        let reads = joined.into_iter().map(|range| async {
            let begin = range.start;
            self.objects.get_range(&self.path, range).await.map(|bytes| (begin, bytes)).map_err(external)
        });
        self.ahead = Arc::new(futures::future::try_join_all(reads).await?);
        Ok(())
    }

    fn known(&self, range: &Range<u64>) -> Option<Bytes> {
        self.ahead.iter().find_map(|(begin, bytes)| {
            let from = range.start.checked_sub(*begin)?;
            let to = range.end.checked_sub(*begin)?;
            (to <= bytes.len() as u64 && from <= to).then(|| bytes.slice(from as usize..to as usize))
        })
    }
}

/// Ranges that hold all of these: the widest gaps between them stay.
fn joined(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.retain(|range| range.start < range.end);
    ranges.sort_unstable_by_key(|range| range.start);
    let Some(first) = ranges.first() else { return Vec::new() };
    let (begin, mut end, mut gaps) = (first.start, first.end, Vec::new());
    for range in &ranges {
        if range.start > end + GAP_BYTES {
            gaps.push(end..range.start);
        }
        end = end.max(range.end);
    }
    gaps.sort_unstable_by_key(|gap| std::cmp::Reverse(gap.end - gap.start));
    gaps.truncate(READS_AHEAD - 1);
    gaps.sort_unstable_by_key(|gap| gap.start);
    let starts = std::iter::once(begin).chain(gaps.iter().map(|gap| gap.end));
    let ends = gaps.iter().map(|gap| gap.start).chain([end]);
    starts.zip(ends).map(|(start, end)| start..end).collect()
}

fn external(error: object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

impl AsyncFileReader for ObjectFile {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes>> {
        async move {
            match self.known(&range) {
                Some(bytes) => Ok(bytes),
                None => self.objects.get_range(&self.path, range).await.map_err(external),
            }
        }
        .boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>>> {
        async move {
            if let Some(known) = ranges.iter().map(|range| self.known(range)).collect() {
                return Ok(known);
            }
            // The store joins ranges that lie close together.
            self.objects.get_ranges(&self.path, &ranges).await.map_err(external)
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>>> {
        async move {
            let guess = (self.bytes / FOOTER_SHARE).clamp(FOOTER_BYTES_MIN, FOOTER_BYTES_MAX);
            let reader = ParquetMetaDataReader::new()
                .with_arrow_reader_options(options)
                .with_prefetch_hint(Some(guess as usize));
            let bytes = self.bytes;
            Ok(Arc::new(reader.load_and_finish(self, bytes).await?))
        }
        .boxed()
    }
}
