#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use super::*;

const MEMINFO: &str = "MemTotal:       16000000 kB\nMemFree:         1 kB\n";

/// What a system with these files says.
fn bytes(files: &[(&str, &str)]) -> Option<u64> {
    let root = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = root.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    bytes_under(&RealDisk, root.path())
}

#[test]
fn without_a_group_it_is_the_machines() {
    assert_eq!(bytes(&[("proc/meminfo", MEMINFO)]), Some(16_000_000 * 1024));
    assert_eq!(bytes(&[]), None);
    assert_eq!(bytes(&[("proc/meminfo", "MemTotal: much\n")]), None);
}

#[test]
fn the_smallest_limit_of_a_group_and_those_above_it_counts() {
    let group = ("proc/self/cgroup", "0::/pods/one\n");
    let own = ("sys/fs/cgroup/pods/one/memory.max", "max\n");
    let above = ("sys/fs/cgroup/pods/memory.max", "1073741824\n");
    let machine = ("proc/meminfo", MEMINFO);
    assert_eq!(bytes(&[machine, group, own, above]), Some(1 << 30));
    assert_eq!(bytes(&[machine, group, ("sys/fs/cgroup/pods/one/memory.max", "4096\n"), above]), Some(4096));
    assert_eq!(bytes(&[machine, group, own]), Some(16_000_000 * 1024), "max is no limit");
}

#[test]
fn version_one_says_it_elsewhere() {
    let group = ("proc/self/cgroup", "5:cpu,cpuacct:/a\n4:memory:/docker/x\n1:name=systemd:/a\n");
    let machine = ("proc/meminfo", MEMINFO);
    let inside = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "2147483648\n");
    assert_eq!(
        bytes(&[machine, group, inside]),
        Some(2 << 30),
        "the host's path is not there in a container"
    );
    let unlimited = ("sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes", "9223372036854771712\n");
    assert_eq!(bytes(&[machine, group, unlimited]), Some(16_000_000 * 1024));
}
