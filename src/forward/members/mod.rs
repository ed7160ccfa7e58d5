//! Where the members come from. A new source is one file and one line in [`Source`].

mod consul;
mod dns;
mod list;
#[cfg(test)]
mod tests;

pub use consul::Consul;
pub use dns::{Dns, Question};

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
    /// A name in DNS.
    Dns(Box<Dns>),
    /// A service in Consul.
    Consul(Consul),
}

/// Consul answers when something has changed: then this is how long it is left alone.
const CONSUL_REST: Duration = Duration::from_millis(250);

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
            Self::Dns(dns) => dns.look().await,
            Self::Consul(consul) => consul.look().await,
        }
    }

    /// How long to wait before another look is worth it; `None`: for ever.
    pub fn rest(&self, refresh: Duration) -> Option<Duration> {
        match self {
            Self::Static(_) => None,
            Self::File(..) | Self::Dns(_) => Some(refresh),
            Self::Consul(_) => Some(refresh.min(CONSUL_REST)),
        }
    }
}
