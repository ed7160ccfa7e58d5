//! `os.type`, by the names of OpenTelemetry's semantic conventions.

use super::Detected;

pub(super) fn detect() -> Vec<Detected> {
    let name = match std::env::consts::OS {
        "macos" | "ios" => "darwin",
        "dragonfly" => "dragonflybsd",
        other => other,
    };
    vec![("os.type".to_owned(), name.to_owned())]
}
