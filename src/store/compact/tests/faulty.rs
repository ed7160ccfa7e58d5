//! An object store that refuses, forgets to answer, and dies, by a seed.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::stream::{BoxStream, StreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use crate::runtime::{Random, SeededRandom};

/// One client's view of objects that others share.
pub(super) struct Faulty {
    inner: Arc<InMemory>,
    random: SeededRandom,
    /// Of 1 000 requests so many fail.
    failing: u64,
    /// Requests until the client dies; 0: it is dead.
    left: AtomicU64,
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty")
    }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty")
    }
}

fn failed(why: &'static str) -> Error {
    Error::Generic { store: "faulty", source: why.into() }
}

impl Faulty {
    pub(super) fn new(inner: &Arc<InMemory>, seed: u64, failing: u64, dies_after: u64) -> Arc<Self> {
        let (inner, random) = (Arc::clone(inner), SeededRandom::new(seed));
        Arc::new(Self { inner, random, failing, left: AtomicU64::new(dies_after) })
    }

    /// Before a request: whether it is done, and whether its answer comes.
    fn fate(&self) -> Result<bool> {
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left.is_err() {
            return Err(failed("the machine is off"));
        }
        match self.random.below(1_000) < self.failing {
            false => Ok(true),
            true if self.random.below(2) == 0 => Ok(false),
            true => Err(failed("503 Service Unavailable")),
        }
    }

    fn answer<T>(&self, answers: bool, result: Result<T>) -> Result<T> {
        if answers && self.left.load(Ordering::SeqCst) > 0 { result } else { Err(failed("timed out")) }
    }
}

#[tonic::async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let answers = self.fate()?;
        let put = self.inner.put_opts(location, payload, opts).await;
        self.answer(answers, put)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.fate()?;
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let answers = self.fate()?;
        let got = self.inner.get_opts(location, options).await;
        self.answer(answers, got)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.fate() {
            Ok(true) => self.inner.list(prefix),
            _ => futures::stream::iter([Err(failed("timed out"))]).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.fate()?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.fate()?;
        self.inner.copy_opts(from, to, options).await
    }
}
