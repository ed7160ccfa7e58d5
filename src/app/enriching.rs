//! What enrich needs of the machine at start: what detectors find, the key of keyed hashes, the watch of pods.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::StartError;
use crate::config::Config;
use crate::enrich::{Enriched, Enricher, Machine, PodApi, PodWatch, Pods, Sender, detect};
use crate::receive::{Accepted, Origin, Refusal};
use crate::runtime::{Disk, Shutdown, SystemRandom, TaskHandle, Tasks, disk::read_bounded};

/// A shorter key could be found by trying all.
const HASH_KEY_BYTES_MIN: usize = 16;
const HASH_KEY_BYTES_MAX: u64 = 4096;

/// Whether what `enrich` names can be used, thing by thing: what it is, and what is right or wrong with it.
pub async fn examine(config: &Config, disk: &Arc<dyn Disk>) -> Vec<(&'static str, Result<String, String>)> {
    let mut found = Vec::new();
    if let Some(path) = &config.enrich.redact.hash_key {
        let key = hash_key(disk.as_ref(), path).map_err(|error| error.to_string());
        found.push(("hash key", key.map(|key| format!("{}: {} bytes", path.display(), key.len()))));
    }
    match pod_watch(config, disk) {
        Ok(None) => {}
        Ok(Some(watch)) => {
            let reached = watch.api.reach(&watch.config).await;
            found.push(("pods", reached.map(|()| "the API server lists them".to_owned())));
        }
        Err(error) => found.push(("pods", Err(error.to_string()))),
    }
    found
}

/// Enriches a request that came like this; and what its sender is told of it.
///
/// # Errors
/// When the request is none.
pub(super) fn enrich(
    enricher: &Enricher,
    origin: &Origin,
    body: Bytes,
) -> Result<(Enriched, Accepted), Refusal> {
    let client = origin.client.map(|address| address.ip());
    let sender = Sender { client, headers: Some(&origin.headers) };
    let mut enriched =
        enricher.apply_from(sender, body).map_err(|error| Refusal::Malformed(error.to_string()))?;
    let message = enriched.reject_reason.take().unwrap_or_default();
    let accepted = Accepted { rejected_spans: enriched.rejected, message };
    Ok((enriched, accepted))
}

/// The stage, ready for requests, and what has to run beside it.
pub(super) struct Enriching {
    pub(super) enricher: Arc<Enricher>,
    watch: Option<PodWatch>,
}

impl Enriching {
    pub(super) async fn new(config: &Config, disk: &Arc<dyn Disk>) -> Result<Self, StartError> {
        let section = &config.enrich;
        let env = |name: &str| std::env::var(name).ok();
        let machine = Machine { env: &env, disk: disk.as_ref(), root: Path::new("/") };
        let (detected, problems) = detect(&section.detectors, machine).await;
        for problem in problems {
            tracing::warn!(%problem, "a detector found nothing");
        }
        let watch = pod_watch(config, disk)?;
        let pods = watch.as_ref().map(|watch| watch.pods.clone());
        let mut enricher = Enricher::with_pods(section, &detected, pods);
        if let Some(path) = &section.redact.hash_key {
            enricher = enricher.with_hash_key(&hash_key(disk.as_ref(), path)?);
        }
        Ok(Self { enricher: Arc::new(enricher), watch })
    }

    /// Begins to watch pods, if they are asked for.
    pub(super) fn spawn(self, tasks: &Tasks, stop: &Shutdown) -> Option<TaskHandle<()>> {
        let token = stop.token();
        let run = |watch: PodWatch| tasks.spawn("pods", watch.run(async move { token.cancelled().await }));
        self.watch.map(run)
    }
}

fn pod_watch(config: &Config, disk: &Arc<dyn Disk>) -> Result<Option<PodWatch>, StartError> {
    let section = &config.enrich.kubernetes;
    if !section.enabled {
        return Ok(None);
    }
    let env = |name: &str| std::env::var(name).ok();
    let wrong = |why| StartError::Setting(format!("`enrich.kubernetes`: {why}"));
    let api = PodApi::new(section, &env, disk.clone()).map_err(wrong)?;
    let pods = Pods::new(section);
    Ok(Some(PodWatch { pods, api, config: section.clone(), random: Arc::new(SystemRandom) }))
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
