//! An object store in memory that counts what is asked of it.

use std::fmt;
use std::sync::Arc;

use futures::stream::{BoxStream, StreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::Mutex;

use crate::store::Location;

/// Requests since somebody asked last.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Each GET's object and the bytes it was answered with.
    pub gets: Vec<(String, u64)>,
    pub lists: u64,
}

impl Counts {
    /// How many objects whose name ends so were read, and their bytes.
    pub fn of(&self, suffix: &str) -> (usize, u64) {
        let of = self.gets.iter().filter(|(path, _)| path.ends_with(suffix));
        of.fold((0, 0), |(count, bytes), (_, more)| (count + 1, bytes + more))
    }

    /// GETs of everything but the table's log.
    pub fn data_gets(&self) -> usize {
        self.gets.iter().filter(|(path, _)| !path.contains("_delta_log")).count()
    }

    pub fn data_bytes(&self) -> u64 {
        self.gets.iter().filter(|(path, _)| !path.contains("_delta_log")).map(|(_, bytes)| bytes).sum()
    }
}

#[derive(Clone, Debug, Default)]
pub struct Counting {
    pub inner: Arc<InMemory>,
    counts: Arc<Mutex<Counts>>,
}

impl Counting {
    pub fn location(&self) -> Location {
        Location::custom(Arc::new(self.clone()), "memory:///table").unwrap()
    }

    pub fn take(&self) -> Counts {
        std::mem::take(&mut *self.counts.lock())
    }

    /// The objects whose name ends so.
    pub async fn objects(&self, suffix: &str) -> Vec<ObjectMeta> {
        let all: Vec<_> = self.inner.list(None).map(|o| o.unwrap()).collect().await;
        all.into_iter().filter(|o| o.location.as_ref().ends_with(suffix)).collect()
    }
}

impl fmt::Display for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("counting")
    }
}

#[tonic::async_trait]
impl ObjectStore for Counting {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let result = self.inner.get_opts(location, options).await?;
        let bytes = result.range.end - result.range.start;
        self.counts.lock().gets.push((location.to_string(), bytes));
        Ok(result)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.counts.lock().lists += 1;
        self.inner.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.counts.lock().lists += 1;
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.counts.lock().lists += 1;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
