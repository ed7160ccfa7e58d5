//! What is in the tables: files, rows and bytes by retention class and day, spans by service. From the log, without
//! reading data files, but for the services.

use std::collections::BTreeMap;

use futures::TryStreamExt;

use super::error::StoreError;
use super::read::{Reader, TracesRequest};
use super::schema::TableKind;
use super::table::DataFile;
use super::write::Store;
use super::writer::text::day_name;
use crate::runtime::Tenant;

/// Services listed by name; those beyond count as one.
const SERVICES_MAX: usize = 10_000;
/// The services beyond.
const OTHERS: &str = "(others)";

/// Files and what is in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Files.
    pub files: u64,
    /// Rows: spans, or rows of `traces`.
    pub rows: u64,
    /// Bytes on the store.
    pub bytes: u64,
}

impl Amount {
    fn count(&mut self, file: &DataFile) {
        self.files += 1;
        self.rows += file.rows;
        self.bytes += file.bytes;
    }
}

/// What one tenant has in the tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inventory {
    /// Whose.
    pub tenant: Tenant,
    /// The table `spans`.
    pub spans: Amount,
    /// The table `traces`.
    pub traces: Amount,
    /// Both tables' files by retention class and day (`YYYY-MM-DD`), with the rows of `spans`.
    pub partitions: BTreeMap<(String, String), Amount>,
    /// Traces by service that took part, with the spans of these traces.
    pub services: BTreeMap<String, ServiceAmount>,
}

/// What a service has a part in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceAmount {
    /// Traces it took part in.
    pub traces: u64,
    /// Of these the ones with an error.
    pub errors: u64,
}

impl Store {
    /// What a tenant has. With `services`, the table `traces` is read for them.
    ///
    /// # Errors
    /// As the store has them.
    pub async fn inventory(
        &self,
        tenant: &Tenant,
        services: Option<&Reader>,
    ) -> Result<Inventory, StoreError> {
        let mut inventory = Inventory {
            tenant: tenant.clone(),
            spans: Amount::default(),
            traces: Amount::default(),
            partitions: BTreeMap::new(),
            services: BTreeMap::new(),
        };
        for kind in TableKind::ALL {
            let files = self.live_files(&self.table(tenant, kind)?).await?;
            for file in files.iter() {
                let key = (file.retention.to_string(), day_name(file.day));
                let of_partition = inventory.partitions.entry(key).or_default();
                of_partition.files += 1;
                of_partition.bytes += file.bytes;
                match kind {
                    TableKind::Spans => {
                        of_partition.rows += file.rows;
                        inventory.spans.count(file);
                    }
                    TableKind::Traces => inventory.traces.count(file),
                }
            }
        }
        if let Some(reader) = services {
            inventory.services = services_of(reader, tenant).await?;
        }
        Ok(inventory)
    }
}

async fn services_of(
    reader: &Reader,
    tenant: &Tenant,
) -> Result<BTreeMap<String, ServiceAmount>, StoreError> {
    let mut services: BTreeMap<String, ServiceAmount> = BTreeMap::new();
    let mut rows = reader.traces_scan(tenant, TracesRequest::all()).await?;
    while let Some(rows) = rows.try_next().await? {
        for row in rows {
            for service in row.services {
                let is_known = services.len() < SERVICES_MAX || services.contains_key(&service);
                let amount = services.entry(if is_known { service } else { OTHERS.to_owned() }).or_default();
                amount.traces += 1;
                amount.errors += u64::from(row.error_count > 0);
            }
        }
    }
    Ok(services)
}

#[cfg(test)]
mod tests;
