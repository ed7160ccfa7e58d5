//! `os.type`, by the names of OpenTelemetry's semantic conventions.

use super::{Detected, text};

pub(super) fn detect() -> Vec<Detected> {
    let name = match std::env::consts::OS {
        "macos" | "ios" => "darwin",
        "dragonfly" => "dragonflybsd",
        other => other,
    };
    vec![text("os.type", name)]
}
