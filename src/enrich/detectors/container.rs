//! `container.id`: what the kernel says of this process' control group, or where there are namespaces for those, of its
//! mounts. Docker, containerd, CRI-O and Podman all name them after the container: 64 hexadecimal digits.

use std::path::Path;

use super::{DetectError, Machine, Outcome, text};

const ID_BYTES: usize = 64;

pub(super) fn detect(machine: &Machine<'_>) -> Outcome {
    let file = |path: &str| machine.file(Path::new(path)).unwrap_or_default();
    let id = of_cgroup(&file("/proc/self/cgroup")).or_else(|| of_mounts(&file("/proc/self/mountinfo")));
    Ok(vec![text("container.id", id.ok_or(DetectError::Container)?)])
}

/// The last part of some group's path: `…/docker/ID`, `…/cri-containerd-ID.scope`, `…/cri-containerd:ID`. A group
/// inside the container's may lie below it.
fn of_cgroup(groups: &str) -> Option<String> {
    let paths = groups.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    paths.filter_map(|path| path.rsplit('/').find_map(id_in)).next()
}

fn id_in(part: &str) -> Option<String> {
    let name = part.strip_suffix(".scope").unwrap_or(part);
    let name = name.rsplit(['-', ':']).next()?;
    is_id(name).then(|| name.to_owned())
}

/// The directory that `/etc/hostname` or another file of the container is mounted from: `…/containers/ID/hostname`, for
/// Podman `…/overlay-containers/ID/userdata/hostname`. Not `…/sandboxes/ID/…`: that is the pod's.
fn of_mounts(mounts: &str) -> Option<String> {
    mounts.lines().find_map(|line| {
        // The fourth field is the root of the mount within its file system.
        let mut parts = line.split(' ').nth(3)?.split('/');
        parts.find(|part| matches!(*part, "containers" | "overlay-containers"))?;
        parts.next().filter(|part| is_id(part)).map(str::to_owned)
    })
}

fn is_id(name: &str) -> bool {
    name.len() == ID_BYTES && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
