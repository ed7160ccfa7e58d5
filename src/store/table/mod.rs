//! One Delta table: made, appended to, listed, cut down. Commits go through delta_kernel; commit 0 is ours (protocol 1/2).
//!
//! <https://github.com/delta-io/delta/blob/master/PROTOCOL.md>

mod cleanup;
mod commit;
mod create;
mod files;
mod paths;

pub(super) use commit::{Append, Appended};
pub(super) use files::{DataFile, Listing};
pub(super) use paths::{PartitionKey, file_name};

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
    let internal = |e: String| StoreError::new(ErrorKind::Internal, format!("cannot start the table library: {e}"));
    let handle = tokio::runtime::Handle::try_current().map_err(|e| internal(e.to_string()))?;
    let executor = match handle.runtime_flavor() {
        tokio::runtime::RuntimeFlavor::MultiThread => TokioMultiThreadExecutor::new(handle),
        // A runtime of one thread would wait for itself.
        _ => TokioMultiThreadExecutor::new_owned_runtime(Some(1), None).map_err(|e| internal(e.to_string()))?,
    };
    let builder = DefaultEngineBuilder::new(Arc::clone(objects)).with_task_executor(Arc::new(executor));
    Ok(Arc::new(builder.build()))
}

/// Runs blocking work off the async threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(StoreError::caused(ErrorKind::Internal, "work on the table panicked or was cancelled", error)),
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
        Ok(Self { kind, objects, engine, url, path, latest: Mutex::new(None) })
    }

    /// The newest state of the table, `None` if there is no table. Blocks.
    pub(super) fn refresh(&self) -> Result<Option<SnapshotRef>, StoreError> {
        let before = self.latest.lock().clone();
        let built = match before {
            Some(snapshot) => Snapshot::builder_from(snapshot).build(self.engine.as_ref()),
            None => Snapshot::builder_for(self.url.as_str()).build(self.engine.as_ref()),
        };
        match built {
            Ok(snapshot) => {
                *self.latest.lock() = Some(Arc::clone(&snapshot));
                Ok(Some(snapshot))
            }
            Err(error) if is_no_table(&error) => {
                self.forget();
                Ok(None)
            }
            Err(error) => {
                // Another's clean-up may have cut what the old state was built on: the next call starts afresh.
                self.forget();
                Err(StoreError::of_kernel(&format!("cannot read the table {}", self.url), error))
            }
        }
    }

    /// Forgets what is known of the table.
    fn forget(&self) {
        *self.latest.lock() = None;
    }

    fn log_path(&self) -> Path {
        self.path.clone().join("_delta_log")
    }
}

fn is_no_table(error: &KernelError) -> bool {
    match error {
        KernelError::Backtraced { source, .. } => is_no_table(source),
        KernelError::EmptyLog => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
