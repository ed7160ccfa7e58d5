//! Kept spans on their way to other backends, beside the store.
//!
//! Each backend has a log of its own in `DATA/export/NAME`, and one lane out of it, as an agent has for a gateway. The store's
//! loop puts the kept spans of a batch there before the batch is written: what is in the table is on its way, and a batch that
//! comes again after a crash is known by its id. So each span arrives at least once. What a backend does (it is down, refuses,
//! is slow) costs room in its own log, and concerns nobody else; when the room is used up the oldest goes, and is counted.
//!
//! A log that cannot be written holds up the store for [`PATIENCE`] and no longer: after that the spans are counted as dropped,
//! since on a full disk nothing makes room but the store.

mod courier;
mod opening;
mod putting;
mod standing;
mod target;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::StartError;
pub use courier::address;

use crate::config::{Config, ExportSection, ExportTarget};
use crate::log::LogReader;
use crate::observe::ExportStats;
use crate::runtime::disk::{read_text, write_atomic};
use crate::runtime::{Clock, Disk, OpenMode, RealDisk, Shutdown, SystemClock, Tasks};
use crate::sample::{Batch, Rulebook};
use courier::ToBackend;
use putting::Putting;
use target::Target;

/// The folder of all of them in the data directory.
const FOLDER: &str = "export";
/// The file in it that says who was ever named, a line each.
const NAMES: &str = "names";
const NAMES_BYTES_MAX: u64 = 64 << 10;
/// For how long a batch waits for a log that cannot be written.
const PATIENCE: Duration = Duration::from_secs(30);

/// What exports share with the rest of the daemon.
#[derive(Clone)]
pub struct Surroundings {
    /// Where the logs lie.
    pub disk: Arc<dyn Disk>,
    /// Says how long spans have waited.
    pub clock: Arc<dyn Clock>,
    /// Where the lanes run.
    pub tasks: Tasks,
    /// Where the spans of batches are read.
    pub records: LogReader,
    /// The data directory's id: batches of another one have other numbers.
    pub data_id: String,
    /// The rules, whose retention classes are asked for.
    pub rulebook: Arc<Rulebook>,
}

/// All backends. Cheap to clone.
#[derive(Clone)]
pub struct Exports {
    targets: Arc<Vec<Arc<Target>>>,
    around: Surroundings,
    stop: Shutdown,
}

impl Exports {
    /// Opens the log of each backend that is configured, and goes on where the last run ended. `None` where there are none.
    ///
    /// # Errors
    /// When a filter, a certificate or a secret cannot be used, or a log cannot be opened; with the backend's key.
    pub fn open(config: &Config, around: Surroundings) -> Result<Option<Self>, StartError> {
        tell_of_leftovers(config, &*around.disk);
        let section = &config.export;
        if section.targets.is_empty() {
            return Ok(None);
        }
        tell_of_unknown_classes(section, &around.rulebook);
        let memory = section.memory / section.targets.len() as u64;
        let open = |target| Target::open(target, &config.data, memory, &around).map(Arc::new);
        let targets = section.targets.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        targets.iter().for_each(Target::keep_standing);
        Ok(Some(Self { targets: Arc::new(targets), around, stop: Shutdown::new() }))
    }

    /// Puts a batch's spans into the logs of those who get any. When it comes back they are durable there, or counted as
    /// dropped; a batch that was put before is passed over.
    pub async fn put(&self, batch: &Arc<Batch>) {
        let putting = Putting {
            targets: self.targets.iter().filter(|target| !target.has(batch.id)).cloned().collect(),
            records: self.around.records.clone(),
            batch: Arc::clone(batch),
            stop: self.stop.clone(),
        };
        if putting.targets.is_empty() {
            return;
        }
        // A panic was told where it happened, and ends the daemon.
        let _ = self.around.tasks.blocking("export", move || putting.run()).await;
    }

    /// Each of them in numbers.
    pub fn stats(&self) -> Vec<ExportStats> {
        self.targets.iter().map(|target| target.stats()).collect()
    }

    /// Bytes of memory that they take now.
    pub fn memory_bytes(&self) -> u64 {
        self.targets.iter().map(|target| target.memory_bytes()).sum()
    }

    /// Ends them. What is under way is given up, and sent again after the next start.
    pub async fn stop(&self) {
        self.stop.begin();
        for target in self.targets.iter() {
            target.stop().await;
        }
    }
}

/// Whether what a backend is configured with can be used, without contacting anybody. Needs a tokio runtime.
///
/// # Errors
/// What cannot, in words that begin with its key.
pub fn examine(target: &ExportTarget) -> Result<(), String> {
    let (disk, clock): (Arc<dyn Disk>, Arc<dyn Clock>) = (Arc::new(RealDisk), Arc::new(SystemClock::new()));
    ToBackend::new(target, &disk, &clock, &Tasks::new(tokio::runtime::Handle::current()))?;
    opening::choice(target, 0).map(drop)
}

/// A class that no rule has is no mistake that stops anybody: the rules may get it later.
fn tell_of_unknown_classes(section: &ExportSection, rulebook: &Rulebook) {
    let rules = rulebook.current();
    for target in &section.targets {
        for class in target.classes.iter().filter(|class| !rules.retention().contains_key(*class)) {
            tracing::warn!(
                receiver = target.name,
                class,
                "the rules have no such retention class: nothing of it is exported (export.{}.classes)",
                target.name
            );
        }
    }
}

/// What was waiting for a backend that nobody names any more stays where it is: whoever took the name out may have done so by
/// mistake, or only for now. Who was ever named is in a file.
fn tell_of_leftovers(config: &Config, disk: &dyn Disk) {
    let (folder, configured) = (config.data.join(FOLDER), &config.export.targets);
    let text = read_text(disk, &folder.join(NAMES), NAMES_BYTES_MAX).unwrap_or_default();
    let is_configured = |name: &str| configured.iter().any(|target| target.name == name);
    let is_there = |name: &&str| disk.open(&folder.join(name).join("id"), OpenMode::Read).is_ok();
    let left: Vec<_> = text.lines().filter(|name| !is_configured(name)).filter(is_there).collect();
    for folder in left.iter().map(|name| folder.join(name)) {
        let bytes = size_of(disk, &folder);
        if bytes == 0 {
            continue;
        }
        tracing::warn!(
            folder = %folder.display(), bytes,
            "spans may wait here for a backend that is not configured any more; name it again under `export`, or delete the folder"
        );
    }
    let names: Vec<_> = configured.iter().map(|target| target.name.as_str()).chain(left).collect();
    let now: String = names.iter().map(|name| format!("{name}\n")).collect();
    if now != text {
        let written = disk.create_dir_all(&folder);
        let written = written.and_then(|()| write_atomic(disk, &folder.join(NAMES), now.as_bytes()));
        if let Err(error) = written {
            tracing::warn!(%error, folder = %folder.display(), "cannot write down who kept spans go on to");
        }
    }
}

fn size_of(disk: &dyn Disk, folder: &Path) -> u64 {
    let log = folder.join("log");
    let files = disk.list(&log).unwrap_or_default();
    let size = |name: &String| disk.open(&log.join(name), OpenMode::Read).ok()?.size().ok();
    files.iter().filter_map(size).sum()
}
