//! A file with one `HOST:PORT` a line; `#` begins a comment.

use std::path::Path;

use crate::forward::ring::{Member, Ring};
use crate::runtime::Disk;
use crate::runtime::disk::read_text;

const BYTES_MAX: u64 = 1 << 20;

/// The members that the file names.
pub(super) fn read(disk: &dyn Disk, path: &Path) -> Result<Ring, String> {
    let wrong = |what: String| format!("{}: {what}", path.display());
    let text = read_text(disk, path, BYTES_MAX).map_err(|error| wrong(error.to_string()))?;
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let mut members = Vec::new();
    for (number, name) in lines.enumerate().filter(|(_, name)| !name.is_empty()) {
        let port = name.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
        if !port.is_some_and(|(host, port)| !host.is_empty() && port > 0) {
            return Err(wrong(format!("line {}: `{name:.100}` is not HOST:PORT", number + 1)));
        }
        members.push(Member::new(name));
    }
    Ok(Ring::new(members))
}

#[cfg(test)]
mod tests;
