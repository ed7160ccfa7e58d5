//! What enrich needs of the machine at start: what detectors find, and the key of keyed hashes.

use std::path::Path;
use std::sync::Arc;

use super::StartError;
use crate::config::Config;
use crate::enrich::{Enricher, Machine, detect};
use crate::runtime::{Disk, disk::read_bounded};

/// A shorter key could be found by trying all.
const HASH_KEY_BYTES_MIN: usize = 16;
const HASH_KEY_BYTES_MAX: u64 = 4096;

/// The stage, ready for requests.
pub(super) async fn enricher(config: &Config, disk: &dyn Disk) -> Result<Arc<Enricher>, StartError> {
    let section = &config.enrich;
    let machine = Machine { env: &|name| std::env::var(name).ok(), disk, root: Path::new("/") };
    let (detected, problems) = detect(&section.detectors, machine).await;
    for problem in problems {
        tracing::warn!(%problem, "a detector found nothing");
    }
    let mut enricher = Enricher::new(section, &detected);
    if let Some(path) = &section.redact.hash_key {
        enricher = enricher.with_hash_key(&hash_key(disk, path)?);
    }
    Ok(Arc::new(enricher))
}

fn hash_key(disk: &dyn Disk, path: &Path) -> Result<Vec<u8>, StartError> {
    let wrong =
        |why: String| StartError::Setting(format!("`enrich.redact.hash_key`: {}: {why}", path.display()));
    let content = read_bounded(disk, path, HASH_KEY_BYTES_MAX).map_err(|error| wrong(error.to_string()))?;
    let key = content.trim_ascii();
    if key.len() < HASH_KEY_BYTES_MIN {
        let why =
            format!("has {} bytes; a key has {HASH_KEY_BYTES_MIN} or more, all of them random", key.len());
        return Err(wrong(why));
    }
    Ok(key.to_vec())
}

#[cfg(test)]
mod tests;
