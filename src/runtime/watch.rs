//! Hears of changes to files.
//!
//! Directories are watched, not the files: a file that is replaced takes its watch with it. Kubernetes mounts a
//! ConfigMap's keys as links through a link named `..data`, and an update replaces only that one.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::Shutdown;

const CONFIG_MAP_LINK: &str = "..data";

/// A watch over some files.
pub struct FileWatch {
    dirs: Vec<PathBuf>,
    signal: Arc<Signal>,
    woken: Receiver<()>,
    watcher: Option<RecommendedWatcher>,
    told_unavailable: bool,
    /// Kept so that its waker stays registered.
    _stopping: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl FileWatch {
    /// Watches these files, whether they exist or not, until `stop`.
    pub fn new(paths: &[PathBuf], stop: &Shutdown) -> Self {
        let mut dirs: Vec<PathBuf> = paths.iter().map(|path| dir_of(path)).collect();
        dirs.sort();
        dirs.dedup();
        // One place is enough: a signal that is not taken yet says all that the next one would.
        let (wake, woken) = sync_channel(1);
        let names = paths.iter().map(|path| path.file_name().unwrap_or_default().to_os_string()).collect();
        let signal = Arc::new(Signal { wake, names, being_written: AtomicBool::new(false) });
        let mut stopping: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(stop.begun_owned());
        let waker = Waker::from(signal.clone());
        if stopping.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            signal.send();
        }
        let mut watch =
            Self { dirs, signal, woken, watcher: None, told_unavailable: false, _stopping: stopping };
        watch.renew();
        watch
    }

    /// Watches the directories that have the names now: they may be others than before, or exist only now.
    pub fn renew(&mut self) {
        if let Err(error) = self.try_renew()
            && !std::mem::replace(&mut self.told_unavailable, true)
        {
            tracing::warn!(dirs = ?self.dirs, %error, "cannot watch a directory, looking at it regularly");
        }
    }

    fn try_renew(&mut self) -> notify::Result<()> {
        let watcher = match &mut self.watcher {
            Some(watcher) => watcher,
            none => {
                let signal = self.signal.clone();
                none.insert(notify::recommended_watcher(move |event| signal.hear(event))?)
            }
        };
        for dir in &self.dirs {
            watcher.watch(dir, RecursiveMode::NonRecursive)?;
        }
        self.told_unavailable = false;
        Ok(())
    }

    /// Waits until a file may have changed or it is time to stop; false when `timeout` passes first.
    pub fn wait(&self, timeout: Duration) -> bool {
        self.woken.recv_timeout(timeout).is_ok()
    }

    /// Whether somebody has written to a file and not closed it yet, as far as one hears.
    pub fn being_written(&self) -> bool {
        self.signal.being_written.load(Ordering::Relaxed)
    }
}

fn dir_of(path: &Path) -> PathBuf {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_path_buf()
}

struct Signal {
    wake: SyncSender<()>,
    names: Vec<OsString>,
    being_written: AtomicBool,
}

impl Signal {
    fn send(&self) {
        // Full: the waiting one does for this one too. Closed: nobody wants to know any more.
        let _ = self.wake.try_send(());
    }

    fn hear(&self, event: notify::Result<Event>) {
        let Ok(event) = event else { return self.send() };
        if !event.need_rescan() && !event.paths.iter().any(|path| self.is_about(path)) {
            return;
        }
        match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => self.written(false),
            // Somebody reads, most often ourselves.
            EventKind::Access(_) => return,
            EventKind::Modify(ModifyKind::Data(_)) => self.written(true),
            EventKind::Modify(ModifyKind::Metadata(_)) => {}
            // The name is another file's now, or nobody's; or events were lost.
            _ => self.written(false),
        }
        self.send();
    }

    fn is_about(&self, path: &Path) -> bool {
        path.file_name().is_some_and(|name| name == CONFIG_MAP_LINK || self.names.iter().any(|n| n == name))
    }

    fn written(&self, being_written: bool) {
        self.being_written.store(being_written, Ordering::Relaxed);
    }
}

/// Woken when it is time to stop.
impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.send();
    }
}
