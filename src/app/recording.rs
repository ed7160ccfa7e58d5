//! The flight recorder's index: kept up beside the sampler's loop, which only notes what it sees.

use std::time::Duration;

use crate::log::RecorderIndex;
use crate::runtime::{Shutdown, Tasks};

/// How long the work rests when nobody says that there is some: a disk that failed may be well again.
const REST: Duration = Duration::from_secs(60);

/// Writes the indexes of segments that are full, and makes those again that are missing, one at a time, until shutdown.
/// What is not written by then is made again after the next start.
pub async fn run(index: RecorderIndex, tasks: Tasks, stop: Shutdown) {
    while !stop.has_begun() {
        let step = index.clone();
        match tasks.blocking("recorder index", move || step.step()).await {
            Ok(true) => {}
            Ok(false) => tokio::select! {
                () = index.wanted() => {}
                () = tokio::time::sleep(REST) => {}
                () = stop.begun() => return,
            },
            // Told already, and the daemon stops.
            Err(_panicked) => return,
        }
    }
}
