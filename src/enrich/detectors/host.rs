//! `host.name`, as `uname` gives it.

use super::{DetectError, Detected};

pub(super) fn detect(errors: &mut Vec<DetectError>) -> Vec<Detected> {
    match rustix::system::uname().nodename().to_str() {
        Ok(name) if !name.is_empty() => vec![("host.name".to_owned(), name.to_owned())],
        _ => {
            errors.push(DetectError::HostName);
            Vec::new()
        }
    }
}
