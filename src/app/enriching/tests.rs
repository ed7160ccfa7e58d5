#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use super::*;
use crate::runtime::RealDisk;

async fn new(config: &Config) -> Result<Enriching, String> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    Enriching::new(config, &disk).await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_key_that_cannot_be_used_is_named_without_its_content() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    let mut config = Config::default();
    config.enrich.redact.hash_key = Some(path.clone());
    let missing = new(&config).await.err().unwrap();
    assert!(missing.starts_with("`enrich.redact.hash_key`: ") && missing.contains("key: "), "{missing}");
    std::fs::write(&path, "hunter2\n").unwrap();
    let short = new(&config).await.err().unwrap();
    assert!(short.contains("has 7 bytes") && !short.contains("hunter2"), "{short}");
    std::fs::write(&path, "0123456789abcdef\n").unwrap();
    assert!(new(&config).await.is_ok());
}

#[tokio::test]
async fn pods_without_a_cluster_are_a_mistake_of_the_configuration() {
    let mut config = Config::default();
    config.enrich.kubernetes.enabled = true;
    config.enrich.kubernetes.api = Some("https://127.0.0.1:1".into());
    config.enrich.kubernetes.ca_file = "/does/not/exist".into();
    let error = new(&config).await.err().unwrap();
    assert!(error.starts_with("`enrich.kubernetes`: /does/not/exist: "), "{error}");
}
