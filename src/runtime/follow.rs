//! Files that are read again when they change: certificates, credentials, keys. What cannot be used changes nothing; the
//! last good one stays in force, and its [`Standing`] says so.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::disk::read_bounded;
use super::{Clock, Disk, FileWatch, Shutdown};

/// How often files are looked at where no change was heard of.
const POLL: Duration = Duration::from_millis(500);
/// A change is over when the files are the same before and after this long,
const QUIET: Duration = Duration::from_millis(100);
/// or have not come to rest after this long. A certificate and its key are two files, and change one after the other.
const SETTLE_MAX: Duration = Duration::from_millis(600);
/// More of a file is not compared; no file that is followed is larger.
const BYTES_MAX: u64 = 4 * 1024 * 1024;

/// How something that is read from files stands. Clones are the same state.
#[derive(Clone, Debug)]
pub struct Standing {
    what: &'static str,
    state: Arc<Mutex<State>>,
}

#[derive(Clone, Debug, Default)]
struct State {
    loaded_at_unix_nano: u64,
    expires_at: Option<i64>,
    error: Option<String>,
    loaded: u64,
    refused: u64,
}

/// A [`Standing`] at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandingNow {
    /// What it is: `tls`, `credentials`, …
    pub what: &'static str,
    /// When what is in force came into force, nanoseconds since the Unix epoch.
    pub loaded_at_unix_nano: u64,
    /// When it is no longer good, Unix seconds, if it says.
    pub expires_at: Option<i64>,
    /// Why what the files hold now is not in force.
    pub error: Option<String>,
    /// How often something came into force.
    pub loaded: u64,
    /// How often something was refused.
    pub refused: u64,
}

impl StandingNow {
    /// As JSON: `loaded_at` and `expires_at` (RFC 3339 or null), `error` (null or words), `loaded`, `refused`.
    pub fn to_json(&self) -> Value {
        let time =
            |nanos: i128| Timestamp::from_nanosecond(nanos).map_or(Value::Null, |t| json!(t.to_string()));
        json!({
            "loaded_at": time(self.loaded_at_unix_nano.into()),
            "expires_at": self.expires_at.map(|seconds| time(i128::from(seconds) * 1_000_000_000)),
            "error": self.error,
            "loaded": self.loaded,
            "refused": self.refused,
        })
    }
}

impl Standing {
    /// Of something that was not read yet.
    pub fn new(what: &'static str) -> Self {
        Self { what, state: Arc::default() }
    }

    /// What it is now.
    pub fn now(&self) -> StandingNow {
        let State { loaded_at_unix_nano, expires_at, error, loaded, refused } = self.state.lock().clone();
        StandingNow { what: self.what, loaded_at_unix_nano, expires_at, error, loaded, refused }
    }

    /// Something came into force; `expires_at` is in Unix seconds.
    pub fn loaded(&self, clock: &dyn Clock, expires_at: Option<i64>) {
        let mut state = self.state.lock();
        let loaded = state.loaded + 1;
        let loaded_at_unix_nano = clock.now_unix_nano();
        *state = State { loaded_at_unix_nano, expires_at, error: None, loaded, refused: state.refused };
        if loaded > 1 {
            tracing::info!(what = self.what, "changed files are in force");
        }
    }

    /// What the files hold now cannot be used. The error holds no secret.
    pub fn refused(&self, error: &dyn fmt::Display) {
        tracing::error!(what = self.what, %error, "changed files are refused, the last good ones stay in force");
        let mut state = self.state.lock();
        state.refused += 1;
        state.error = Some(error.to_string());
    }
}

/// Files that belong together, and what is done when one of them changes.
pub struct Group {
    files: Vec<PathBuf>,
    seen: Vec<Seen>,
    reload: Box<dyn FnMut() + Send>,
}

/// A file's content, as far as it matters whether it is the same.
#[derive(Clone, PartialEq, Eq)]
enum Seen {
    Content([u8; 32]),
    Unreadable(std::io::ErrorKind),
}

fn look(disk: &dyn Disk, files: &[PathBuf]) -> Vec<Seen> {
    let one = |path: &PathBuf| match read_bounded(disk, path, BYTES_MAX) {
        Ok(content) => Seen::Content(Sha256::digest(content).into()),
        Err(error) => Seen::Unreadable(error.kind()),
    };
    files.iter().map(one).collect()
}

impl Group {
    /// Files as they are now: make it before they are read, so that no change is missed in between.
    pub fn new(disk: &dyn Disk, files: Vec<PathBuf>) -> Self {
        Self { seen: look(disk, &files), files, reload: Box::new(|| ()) }
    }

    /// With what is done when one of them has changed and come to rest.
    #[must_use]
    pub fn then(self, reload: impl FnMut() + Send + 'static) -> Self {
        Self { reload: Box::new(reload), ..self }
    }
}

/// Blocks until `stop`, and reloads each group whose files changed.
pub fn follow(disk: &dyn Disk, mut groups: Vec<Group>, stop: &Shutdown) {
    let all: Vec<PathBuf> = groups.iter().flat_map(|group| group.files.clone()).collect();
    let mut watch = FileWatch::new(&all, stop);
    while !stop.has_begun() {
        for group in &mut groups {
            let now = look(disk, &group.files);
            if now != group.seen {
                group.seen = settle(disk, &group.files, now, &watch);
                (group.reload)();
            }
        }
        if !watch.wait(POLL) {
            watch.renew();
        }
    }
}

/// What the files hold once whoever changes them is done, or has taken too long.
fn settle(disk: &dyn Disk, files: &[PathBuf], mut before: Vec<Seen>, watch: &FileWatch) -> Vec<Seen> {
    for _ in 0..SETTLE_MAX.as_millis() / QUIET.as_millis() {
        let disturbed = watch.wait(QUIET);
        let now = look(disk, files);
        if now == before && !disturbed && !watch.being_written() {
            return now;
        }
        before = now;
    }
    before
}
