//! `host.name`, as `uname` gives it.

use super::{DetectError, Outcome, text};

pub(super) fn detect() -> Outcome {
    match rustix::system::uname().nodename().to_str() {
        Ok(name) if !name.is_empty() => Ok(vec![text("host.name", name)]),
        _ => Err(DetectError::HostName),
    }
}
