//! The open table: Delta over Parquet on object storage.
