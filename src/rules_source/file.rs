//! Rules from a file. An edit takes effect well within a second; a bad one changes nothing.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::state::{RulesProblem, RulesState};
use crate::runtime::disk::read_bounded;
use crate::runtime::{Clock, Disk, FileWatch, Shutdown};

/// The longest text of rules taken, in bytes.
pub const TEXT_BYTES_MAX: u64 = 1024 * 1024;

/// How often the file is looked at where no change was heard of. With the settling after it still within a second, for
/// file systems that tell nothing and for links to files elsewhere.
const POLL: Duration = Duration::from_millis(500);

/// A change is over when nothing happens for this long, and the text is the same before and after.
const QUIET: Duration = Duration::from_millis(50);

/// A change that does not come to an end is taken as it is after this long,
const SETTLE_MAX: Duration = Duration::from_millis(200);

/// or after this long while somebody has the file open and writes to it: half a file can look like a whole one.
const WRITING_MAX: Duration = Duration::from_millis(600);

type Fetched = Result<String, RulesProblem>;

/// A file of rules, watched.
pub struct FileSource {
    path: PathBuf,
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    state: RulesState,
    in_force_at_start: Mutex<Option<String>>,
}

impl FileSource {
    /// Rules from `path`, which need not exist. What becomes of them is told to `state`.
    pub fn new(
        path: impl Into<PathBuf>,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        state: RulesState,
    ) -> Self {
        Self { path: path.into(), disk, clock, state, in_force_at_start: Mutex::new(None) }
    }

    /// Reads the text, for the start. Once it is in force, tell [`loaded`](Self::loaded).
    ///
    /// # Errors
    /// When the file is missing, unreadable, not UTF-8, or larger than [`TEXT_BYTES_MAX`].
    pub fn load(&self) -> Result<String, RulesProblem> {
        self.fetch()
    }

    /// The text from [`load`](Self::load) is in force as this version; [`run`](Self::run) does not install it again.
    pub fn loaded(&self, text: &str, version: u32) {
        *self.in_force_at_start.lock() = Some(text.to_owned());
        self.tell_loaded(version);
    }

    /// Blocks until `stop` and has each new text installed. `install` gives the version that is then in force; while it
    /// refuses, and while the file cannot be read, the last good rules stay in force and the state holds the problem.
    pub fn run(self, install: impl FnMut(&str) -> Result<u32, RulesProblem>, stop: Shutdown) {
        let mut watch = FileWatch::new(std::slice::from_ref(&self.path), &stop);
        let mut current = Current::new(&self, install);
        while !stop.has_begun() {
            if current.differs(&self.fetch())
                && let Some(settled) = self.settle(&watch, &stop)
            {
                current.take(settled);
            }
            if !watch.wait(POLL) {
                watch.renew();
            }
        }
    }

    /// What the file holds once whoever changes it is done, or has taken too long. None when it is time to stop.
    fn settle(&self, watch: &FileWatch, stop: &Shutdown) -> Option<Fetched> {
        let began = self.clock.monotonic();
        let mut before = self.fetch();
        loop {
            let disturbed = watch.wait(QUIET);
            if stop.has_begun() {
                return None;
            }
            let now = self.fetch();
            let writing = watch.being_written();
            let time_max = if writing { WRITING_MAX } else { SETTLE_MAX };
            let time_is_up = self.clock.monotonic().saturating_sub(began) >= time_max;
            if time_is_up || (!disturbed && !writing && now == before) {
                return Some(now);
            }
            before = now;
        }
    }

    fn tell_loaded(&self, version: u32) {
        self.state.loaded(version, &self.path.to_string_lossy(), self.clock.now_unix_nano());
    }

    fn fetch(&self) -> Fetched {
        let content = read_bounded(&*self.disk, &self.path, TEXT_BYTES_MAX).map_err(|error| {
            RulesProblem::new(match error.kind() {
                std::io::ErrorKind::FileTooLarge => {
                    format!("the file is larger than {} KiB", TEXT_BYTES_MAX / 1024)
                }
                _ => format!("the file cannot be read: {error}"),
            })
        })?;
        String::from_utf8(content).map_err(|error| {
            let (line, column) = place_after(&error.as_bytes()[..error.utf8_error().valid_up_to()]);
            RulesProblem::at("not valid UTF-8", line, column)
        })
    }
}

/// The line and column, in characters, right after `text`.
fn place_after(text: &[u8]) -> (u32, u32) {
    let mut place = (1, 1);
    for character in String::from_utf8_lossy(text).chars() {
        place = if character == '\n' { (place.0 + 1, 1) } else { (place.0, place.1 + 1) };
    }
    place
}

/// What was last found, and what of it is in force.
struct Current<'a, I> {
    source: &'a FileSource,
    install: I,
    found: Option<Fetched>,
    in_force: Option<String>,
}

impl<'a, I: FnMut(&str) -> Result<u32, RulesProblem>> Current<'a, I> {
    fn new(source: &'a FileSource, install: I) -> Self {
        let in_force = source.in_force_at_start.lock().take();
        Self { source, install, found: in_force.clone().map(Ok), in_force }
    }

    fn differs(&self, fetched: &Fetched) -> bool {
        self.found.as_ref() != Some(fetched)
    }

    fn take(&mut self, fetched: Fetched) {
        if !self.differs(&fetched) {
            return;
        }
        match &fetched {
            Ok(text) if self.in_force.as_ref() == Some(text) => self.restored(),
            Ok(text) => match (self.install)(text) {
                Ok(version) => self.installed(version, text),
                Err(problem) => self.refused(problem),
            },
            Err(problem) => self.refused(problem.clone()),
        }
        self.found = Some(fetched);
    }

    fn installed(&mut self, version: u32, text: &str) {
        self.in_force = Some(text.to_owned());
        self.source.tell_loaded(version);
        tracing::info!(file = %self.source.path.display(), rules_version = version, "new rules are in force");
    }

    fn restored(&self) {
        self.source.state.restored();
        let version = self.source.state.get().version;
        tracing::info!(file = %self.source.path.display(), rules_version = version, "the rules file is good again");
    }

    fn refused(&self, problem: RulesProblem) {
        let RulesProblem { message, line, column } = &problem;
        let version = self.source.state.get().version;
        tracing::error!(
            file = %self.source.path.display(), line, column, error = message, rules_version = version,
            "the rules file is refused, the last good rules stay in force"
        );
        self.source.state.refused(problem);
    }
}
