//! How much memory there is for this process: the machine's, or less where a cgroup says so.

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use super::disk::{Disk, RealDisk, read_text};

const BYTES_MAX: u64 = 64 * 1024;

/// The memory of the machine or the limit of the cgroup (v2 or v1), whichever is less, in bytes. None where the system does
/// not say it as Linux does.
pub fn machine_bytes() -> Option<u64> {
    bytes_under(&RealDisk, Path::new("/"))
}

fn bytes_under(disk: &dyn Disk, root: &Path) -> Option<u64> {
    let read = |name: &Path| read_text(disk, &root.join(name), BYTES_MAX).ok();
    let machine = read(Path::new("proc/meminfo")).and_then(|text| total_bytes(&text));
    let groups = read(Path::new("proc/self/cgroup")).unwrap_or_default();
    let limits = limit_files(&groups).into_iter().filter_map(|name| read(&name)?.trim().parse().ok());
    limits.chain(machine).min()
}

/// `MemTotal` of `/proc/meminfo`, see proc_meminfo(5).
fn total_bytes(meminfo: &str) -> Option<u64> {
    let value = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    value.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Where limits of this process's groups may stand, from `/proc/self/cgroup`, see cgroups(7): its group's and those above
/// it. In a container the path may be the host's: then only the top is there, and it is the container's own.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let (mount, file) = match controllers {
            "" => ("sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|c| c == "memory") => {
                ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let group = Path::new(path.trim_start_matches('/'));
        files.extend(group.ancestors().map(|above| Path::new(mount).join(above).join(file)));
    }
    files
}
