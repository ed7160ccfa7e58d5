//! Where the members come from. A new source is one file and one line in [`Source`].

mod list;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::ring::{Member, Ring};
use crate::runtime::Disk;

/// A source of members.
pub enum Source {
    /// Always these.
    Static(Ring),
    /// The lines of a file.
    File(Arc<dyn Disk>, PathBuf),
}

impl Source {
    /// Always these, each `HOST:PORT`.
    pub fn fixed(names: &[String]) -> Self {
        Self::Static(Ring::new(names.iter().map(|name| Member::new(name))))
    }

    /// Who the members are now.
    ///
    /// # Errors
    /// Why that cannot be told, in words: those known before stay.
    pub async fn look(&mut self) -> Result<Ring, String> {
        match self {
            Self::Static(ring) => Ok(ring.clone()),
            Self::File(disk, path) => list::read(&**disk, path),
        }
    }

    /// How long to wait before another look is worth it; `None`: for ever.
    pub fn rest(&self, refresh: Duration) -> Option<Duration> {
        match self {
            Self::Static(_) => None,
            Self::File(..) => Some(refresh),
        }
    }
}
