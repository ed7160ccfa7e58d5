//! `process.pid`, `process.executable.name` and `.path` of this process: of use where it is the sender's own machine.
//! Neither arguments nor the owner: they may be secret.

use super::{Detected, text};
use crate::enrich::config::AttributeValue;

pub(super) fn detect() -> Vec<Detected> {
    let mut found = vec![("process.pid".to_owned(), AttributeValue::Int(i64::from(std::process::id())))];
    if let Ok(path) = std::env::current_exe() {
        let name = path.file_name().and_then(|name| name.to_str());
        found.extend(name.map(|name| text("process.executable.name", name)));
        found.extend(path.to_str().map(|path| text("process.executable.path", path)));
    }
    found
}
