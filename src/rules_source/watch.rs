//! Hears of changes to one file.
//!
//! The directory is watched, not the file: a file that is replaced takes its watch with it. Kubernetes mounts a
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

use crate::runtime::Shutdown;

const CONFIG_MAP_LINK: &str = "..data";

pub(super) struct FileWatch {
    dir: PathBuf,
    signal: Arc<Signal>,
    woken: Receiver<()>,
    watcher: Option<RecommendedWatcher>,
    told_unavailable: bool,
    /// Kept so that its waker stays registered.
    _stopping: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl FileWatch {
    /// Watches `path`, whether it exists or not, until `stop`.
    pub(super) fn new(path: &Path, stop: &Shutdown) -> Self {
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // One place is enough: a signal that is not taken yet says all that the next one would.
        let (wake, woken) = sync_channel(1);
        let name = path.file_name().unwrap_or_default().to_os_string();
        let signal = Arc::new(Signal { wake, name, being_written: AtomicBool::new(false) });
        let mut stopping: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(stop.begun_owned());
        let waker = Waker::from(signal.clone());
        if stopping.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            signal.send();
        }
        let dir = dir.to_path_buf();
        let mut watch =
            Self { dir, signal, woken, watcher: None, told_unavailable: false, _stopping: stopping };
        watch.renew();
        watch
    }

    /// Watches the directory that has the name now: it may be another one than before, or exist only now.
    pub(super) fn renew(&mut self) {
        if let Err(error) = self.try_renew()
            && !std::mem::replace(&mut self.told_unavailable, true)
        {
            tracing::warn!(dir = %self.dir.display(), %error, "cannot watch the directory, looking at it regularly");
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
        watcher.watch(&self.dir, RecursiveMode::NonRecursive)?;
        self.told_unavailable = false;
        Ok(())
    }

    /// Waits until the file may have changed or it is time to stop; false when `timeout` passes first.
    pub(super) fn wait(&self, timeout: Duration) -> bool {
        self.woken.recv_timeout(timeout).is_ok()
    }

    /// Whether somebody has written to the file and not closed it yet, as far as one hears.
    pub(super) fn being_written(&self) -> bool {
        self.signal.being_written.load(Ordering::Relaxed)
    }
}

struct Signal {
    wake: SyncSender<()>,
    name: OsString,
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
        path.file_name().is_some_and(|name| name == self.name || name == CONFIG_MAP_LINK)
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
