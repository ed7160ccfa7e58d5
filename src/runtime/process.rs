//! What this process uses, as the system counts it.

#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

use super::disk::{RealDisk, read_text};

/// The unit of times in `/proc` (`USER_HZ`), the same on every architecture of Linux that Rust runs on.
const TICK: Duration = Duration::from_millis(10);

/// What a process uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessUsage {
    /// Time on a CPU since it started, user and system, to 10 ms.
    pub cpu: Duration,
    /// Memory it occupies now, in bytes.
    pub resident_bytes: u64,
    /// The most it has occupied so far, in bytes.
    pub resident_bytes_max: u64,
}

/// What this process uses. None where the system does not say it as Linux does.
pub fn usage() -> Option<ProcessUsage> {
    const BYTES_MAX: u64 = 64 * 1024;
    let read = |name| read_text(&RealDisk, Path::new(name), BYTES_MAX).ok();
    parse(&read("/proc/self/stat")?, &read("/proc/self/status")?)
}

/// How long this thread has been on a CPU, to the nanosecond. None where the system does not say it as Linux does
/// (`schedstat` in proc(5)).
pub fn thread_cpu() -> Option<Duration> {
    const BYTES_MAX: u64 = 1024;
    let text = read_text(&RealDisk, Path::new("/proc/thread-self/schedstat"), BYTES_MAX).ok()?;
    Some(Duration::from_nanos(text.split_ascii_whitespace().next()?.parse().ok()?))
}

/// From `/proc/self/stat` and `/proc/self/status`, see proc(5).
fn parse(stat: &str, status: &str) -> Option<ProcessUsage> {
    // The second field is the program's name in parentheses, with whatever is in it.
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut ticks = after_name.split_ascii_whitespace().skip(11).take(2).map(str::parse::<u64>);
    let (user, system) = (ticks.next()?.ok()?, ticks.next()?.ok()?);
    let cpu = Duration::from_millis(user.checked_add(system)?.checked_mul(TICK.as_millis() as u64)?);
    let bytes = |key| kibibytes(status, key)?.checked_mul(1024);
    Some(ProcessUsage { cpu, resident_bytes: bytes("VmRSS:")?, resident_bytes_max: bytes("VmHWM:")? })
}

fn kibibytes(status: &str, key: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(key))?;
    value.trim().strip_suffix(" kB")?.parse().ok()
}
