//! What happened, in order: a running hash over everything, by which two runs of a seed are compared, and the last events
//! in words.

use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::sync::Arc;

use parking_lot::Mutex;
use twox_hash::XxHash3_64;

const KEPT: usize = 80;

struct Inner {
    kept: usize,
    hash: u64,
    events: u64,
    last: VecDeque<String>,
}

/// The journal; clones are the same one.
#[derive(Clone)]
pub struct Journal(Arc<Mutex<Inner>>);

impl Default for Journal {
    /// `CRASH_EVENTS` says how many events it keeps.
    fn default() -> Self {
        let kept = std::env::var("CRASH_EVENTS").ok().and_then(|text| text.parse().ok()).unwrap_or(KEPT);
        Self(Arc::new(Mutex::new(Inner { kept, hash: 0, events: 0, last: VecDeque::new() })))
    }
}

impl Journal {
    /// Something happened, and would happen again in just this order.
    pub fn note(&self, event: fmt::Arguments<'_>) {
        let mut inner = self.0.lock();
        let mut text =
            if inner.last.len() < inner.kept { String::new() } else { inner.last.pop_front().unwrap() };
        text.clear();
        let _ = text.write_fmt(event);
        inner.events += 1;
        inner.hash = XxHash3_64::oneshot_with_seed(inner.hash, text.as_bytes());
        inner.last.push_back(text);
    }

    pub fn hash(&self) -> u64 {
        self.0.lock().hash
    }

    pub fn events(&self) -> u64 {
        self.0.lock().events
    }

    /// The last events, oldest first.
    pub fn last(&self) -> String {
        let inner = self.0.lock();
        inner.last.iter().fold(String::new(), |text, event| text + "  " + event + "\n")
    }
}

/// Notes an event.
macro_rules! note {
    ($journal:expr, $($arg:tt)*) => { $journal.note(format_args!($($arg)*)) };
}
pub(crate) use note;
