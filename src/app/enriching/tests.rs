#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use super::*;
use crate::runtime::RealDisk;

#[tokio::test]
async fn a_key_that_cannot_be_used_is_named_without_its_content() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    let mut config = Config::default();
    config.enrich.redact.hash_key = Some(path.clone());
    let missing = enricher(&config, &RealDisk).await.unwrap_err().to_string();
    assert!(missing.starts_with("`enrich.redact.hash_key`: ") && missing.contains("key: "), "{missing}");
    std::fs::write(&path, "hunter2\n").unwrap();
    let short = enricher(&config, &RealDisk).await.unwrap_err().to_string();
    assert!(short.contains("has 7 bytes") && !short.contains("hunter2"), "{short}");
    std::fs::write(&path, "0123456789abcdef\n").unwrap();
    enricher(&config, &RealDisk).await.unwrap();
}
