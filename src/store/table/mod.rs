//! One Delta table: made, appended to, listed, cut down. Commits go through delta_kernel; commit 0 is ours (protocol 1/2).
//!
//! <https://github.com/delta-io/delta/blob/master/PROTOCOL.md>

mod alter;
mod cleanup;
mod commit;
mod create;
mod files;
mod paths;

pub(super) use cleanup::horizon_ms;
pub(super) use commit::{Append, Appended, Change, Replaced};
pub(super) use files::{DataFile, Listing};
pub(super) use paths::{PartitionKey, compacted_name, file_name, in_log};

use std::sync::Arc;

use delta_kernel::{KernelError, Snapshot, SnapshotRef};
use delta_kernel_default_engine::executor::tokio::TokioMultiThreadExecutor;
use delta_kernel_default_engine::{DefaultEngine, DefaultEngineBuilder};
use object_store::ObjectStore;
use object_store::path::Path;
use parking_lot::Mutex;
use url::Url;

use super::backends::Location;
use super::error::{ErrorKind, StoreError};
use super::schema::TableKind;
use crate::runtime::Tenant;

/// How this program signs its commits.
pub(super) const ENGINE_INFO: &str = concat!("tracewell/", env!("CARGO_PKG_VERSION"));

pub(super) type Engine = DefaultEngine<TokioMultiThreadExecutor>;

/// The Delta library over a store. Its calls block: use [`blocking`].
///
/// # Errors
/// [`ErrorKind::Internal`] outside of a tokio runtime.
pub(super) fn engine(objects: &Arc<dyn ObjectStore>) -> Result<Arc<Engine>, StoreError> {
    let internal =
        |e: String| StoreError::new(ErrorKind::Internal, format!("cannot start the table library: {e}"));
    let handle = tokio::runtime::Handle::try_current().map_err(|e| internal(e.to_string()))?;
    let executor = match handle.runtime_flavor() {
        tokio::runtime::RuntimeFlavor::MultiThread => Arc::new(TokioMultiThreadExecutor::new(handle)),
        _ => own_executor().map_err(|e| internal(e.to_string()))?,
    };
    Ok(Arc::new(DefaultEngineBuilder::new(Arc::clone(objects)).with_task_executor(executor).build()))
}

/// A runtime of the library's own, where the caller's has one thread only and would wait for itself. It lives as long as the
/// process, because a runtime must not be dropped inside of another.
fn own_executor() -> Result<Arc<TokioMultiThreadExecutor>, KernelError> {
    static OWN: Mutex<Option<Arc<TokioMultiThreadExecutor>>> = Mutex::new(None);
    let mut own = OWN.lock();
    if let Some(executor) = own.as_ref() {
        return Ok(Arc::clone(executor));
    }
    let executor = Arc::new(TokioMultiThreadExecutor::new_owned_runtime(Some(1), None)?);
    *own = Some(Arc::clone(&executor));
    Ok(executor)
}

/// Runs blocking work off the async threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => {
            Err(StoreError::caused(ErrorKind::Internal, "work on the table panicked or was cancelled", error))
        }
    }
}

/// One table of one tenant.
pub(super) struct Table {
    pub(super) kind: TableKind,
    pub(super) objects: Arc<dyn ObjectStore>,
    engine: Arc<Engine>,
    /// Ends in a slash.
    url: Url,
    /// Its folder in `objects`.
    pub(super) path: Path,
    latest: Mutex<Option<SnapshotRef>>,
    /// Its files when somebody listed them last, unless they were too many to be remembered.
    listed: Mutex<Option<Listing>>,
    /// The last batch under a name of our own, if that is known.
    own: Mutex<Option<(String, Option<u64>)>>,
}

impl Table {
    /// The table of a tenant; whether it is there is not asked.
    pub(super) fn new(
        location: &Location,
        engine: Arc<Engine>,
        tenant: &Tenant,
        kind: TableKind,
    ) -> Result<Self, StoreError> {
        let folder = format!("{}/{}/", tenant, kind.folder());
        let url = location.url.join(&folder);
        let url = url.map_err(|e| StoreError::caused(ErrorKind::Configuration, "not a folder", e))?;
        let path = location.path.clone().join(tenant.as_str()).join(kind.folder());
        let objects = Arc::clone(&location.objects);
        let (latest, listed, own) = Default::default();
        Ok(Self { kind, objects, engine, url, path, latest, listed, own })
    }

    /// The newest state of the table, `None` if there is no table. Blocks.
    pub(super) fn refresh(&self) -> Result<Option<SnapshotRef>, StoreError> {
        let known = self.latest.lock().clone();
        let engine = self.engine.as_ref();
        // What the known state was built on may be gone from the log by another's clean-up: then all of it is read.
        let built = match known.map(|snapshot| Snapshot::builder_from(snapshot).build(engine)) {
            Some(Ok(snapshot)) => Ok(snapshot),
            _ => Snapshot::builder_for(self.url.as_str()).build(engine),
        };
        match built {
            Ok(snapshot) => {
                *self.latest.lock() = Some(Arc::clone(&snapshot));
                Ok(Some(snapshot))
            }
            Err(error) => {
                *self.latest.lock() = None;
                if is_no_table(&error) {
                    return Ok(None);
                }
                Err(StoreError::of_kernel(&format!("cannot read the table {}", self.url), error))
            }
        }
    }

    fn log_path(&self) -> Path {
        self.path.clone().join("_delta_log")
    }
}

fn is_no_table(error: &KernelError) -> bool {
    match error {
        KernelError::Backtraced { source, .. } => is_no_table(source),
        // The second: a local folder that is not there.
        KernelError::EmptyLog | KernelError::InvalidTableLocation(_) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
