//! Runs that nobody needs any more.

use std::collections::{BTreeSet, HashSet};

use super::Index;
use super::format::is_name;
use super::run::{Run, Trouble};
use crate::runtime::Tenant;
use crate::store::error::StoreError;

impl Index {
    /// Deletes runs none of whose files is on the store any more (by their paths in the Delta log), and that are older than
    /// `horizon_ms`: a younger one may be of a batch that is being uploaded. Gives how many.
    ///
    /// # Errors
    /// As the store has them.
    pub(in crate::store) async fn sweep(
        &self,
        tenant: &Tenant,
        on_store: &HashSet<String>,
        horizon_ms: i64,
    ) -> Result<u64, StoreError> {
        let of_tenant = self.tenant(tenant);
        let is_needed = |run: &Run| run.directory.files.iter().any(|file| on_store.contains(&file.path));
        // In an order of their own, so that a simulation replays.
        let mut swept = BTreeSet::new();
        for object in of_tenant.shelf.list().await? {
            let Some(name) = object.location.filename().filter(|name| is_name(name)) else { continue };
            if object.last_modified.timestamp_millis() > horizon_ms {
                continue;
            }
            let needed = match of_tenant.known(name).await {
                Some(run) => is_needed(&run),
                None => match of_tenant.shelf.open(name, object.size).await {
                    Ok(run) => is_needed(&run),
                    Err(Trouble::Store(error)) => return Err(error),
                    Err(Trouble::Gone) => true,
                    // What it covered has another by now, or gets one.
                    Err(Trouble::Damaged) => false,
                },
            };
            if !needed {
                of_tenant.forget(name).await;
                swept.insert(object.location.clone());
            }
        }
        of_tenant.shelf.delete(swept).await
    }
}
