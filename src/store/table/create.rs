//! Commit 0: protocol, schema, partitioning.

use object_store::{PutMode, PutOptions};
use serde_json::json;
use twox_hash::XxHash3_64;

use super::{ENGINE_INFO, Table};
use crate::store::error::StoreError;
use crate::store::schema::PARTITION_COLUMNS;

impl Table {
    /// Makes the table if it is not there. Several may try at once: one wins, all are content.
    pub(in crate::store) async fn create(&self, now_unix_nano: u64) -> Result<(), StoreError> {
        let first = self.log_path().join("00000000000000000000.json");
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.objects.put_opts(&first, self.commit_0(now_unix_nano).into(), options).await {
            Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => Ok(()),
            Err(error) => Err(StoreError::of_objects(&format!("cannot make the table {}", self.url), error)),
        }
    }

    fn commit_0(&self, now_unix_nano: u64) -> String {
        let now_ms = now_unix_nano / 1_000_000;
        let partition_columns: Vec<_> = PARTITION_COLUMNS.iter().map(|c| c.name).collect();
        let configuration = json!({
            "delta.dataSkippingStatsColumns": self.kind.statistics().join(","),
            // Readers of older versions: this program vacuums sooner, see `retention`.
            "delta.logRetentionDuration": "interval 2 days",
            "delta.deletedFileRetentionDuration": "interval 1 days",
        });
        let actions = [
            json!({ "commitInfo": { "timestamp": now_ms, "operation": "CREATE TABLE", "engineInfo": ENGINE_INFO } }),
            json!({ "protocol": { "minReaderVersion": 1, "minWriterVersion": 2 } }),
            json!({ "metaData": {
                "id": self.id(now_unix_nano),
                "format": { "provider": "parquet", "options": {} },
                "schemaString": self.kind.delta_schema(),
                "partitionColumns": partition_columns,
                "configuration": configuration,
                "createdTime": now_ms,
            } }),
        ];
        actions.map(|action| action.to_string() + "\n").concat()
    }

    /// A UUID (version 8) from where the table is and when it was made.
    fn id(&self, now_unix_nano: u64) -> String {
        let half = |seed| XxHash3_64::oneshot_with_seed(seed, self.url.as_str().as_bytes());
        let (high, low) = (half(now_unix_nano), half(!now_unix_nano));
        let bits = u128::from(high) << 64 | u128::from(low);
        let versioned = bits & !(0xf << 76) & !(0x3 << 62) | 0x8 << 76 | 0x2 << 62;
        let hex = format!("{versioned:032x}");
        [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
    }
}
