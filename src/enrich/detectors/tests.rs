#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod clouds;

use std::collections::HashMap;
use std::fmt::Write;

use super::*;
use crate::runtime::RealDisk;

/// What these detectors find with these variables and files, as `key=value`, and the errors.
pub(super) async fn detected(
    kinds: &[DetectorKind],
    variables: &[(&str, &str)],
    files: &[(&str, &str)],
) -> (String, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = dir.path().join(path.trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let variables: HashMap<_, _> = variables.iter().copied().collect();
    let env = |name: &str| variables.get(name).map(|value| (*value).to_owned());
    let (found, errors) = detect(kinds, Machine { env: &env, disk: &RealDisk, root: dir.path() }).await;
    let mut shown = String::new();
    for (key, value) in found {
        match value {
            AttributeValue::Str(text) => write!(shown, "{key}={text} ").unwrap(),
            other => write!(shown, "{key}={other:?} ").unwrap(),
        }
    }
    (shown.trim_end().to_owned(), errors.iter().map(ToString::to_string).collect())
}

#[tokio::test]
async fn the_environment_is_read_as_the_specification_says() {
    let of = async |attributes: &str, service: &str| {
        let variables = [("OTEL_RESOURCE_ATTRIBUTES", attributes), ("OTEL_SERVICE_NAME", service)];
        let (found, errors) = detected(&[DetectorKind::Env], &variables, &[]).await;
        (found, errors.len())
    };
    assert_eq!(of("", "").await, (String::new(), 0));
    assert_eq!(of("a=1, b = x%2Cy%3D%C3%A9 ,", "").await, ("a=1 b=x,y=é".into(), 0));
    assert_eq!(of("service.name=a,c=d", "b").await, ("service.name=b c=d".into(), 0));
    for wrong in ["a", "a=1,b", "=1", "a=%", "a=%zz", "a=%ff"] {
        assert_eq!(of(wrong, "s").await, ("service.name=s".into(), 1), "{wrong}");
    }
}

#[tokio::test]
async fn the_machine_and_the_process_are_known() {
    use DetectorKind::{Host, Os, Process};
    let (found, errors) = detected(&[Host, Os, Process], &[], &[]).await;
    assert_eq!(errors, [""; 0]);
    let keys: Vec<_> = found.split(' ').map(|pair| pair.split('=').next().unwrap()).collect();
    let process = ["process.pid", "process.executable.name", "process.executable.path"];
    assert_eq!(keys, [&["host.name", "os.type"][..], &process].concat());
    assert!(found.contains(&format!("process.pid=Int({})", std::process::id())), "{found}");
}

#[tokio::test]
async fn containers_are_found_by_group_or_mount() {
    let id = "3f2a9c1b".repeat(8);
    let of = async |cgroup: &str, mounts: &str| {
        let [cgroup, mounts] = [cgroup, mounts].map(|text| text.replace("ID", &id));
        let files = [("/proc/self/cgroup", cgroup.as_str()), ("/proc/self/mountinfo", mounts.as_str())];
        detected(&[DetectorKind::Container], &[], &files).await
    };
    let expected = format!("container.id={id}");
    for cgroup in [
        "12:pids:/docker/ID\n11:cpu:/docker/ID\n",
        "9:cpu:/kubepods/burstable/pod3c8e4b8e-0d1e-4f0b/ID\n",
        "0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-ID.scope\n",
        "0::/system.slice/docker-ID.scope\n",
        "0::/machine.slice/libpod-ID.scope/container\n",
        "0::/kubepods-besteffort-pod1.slice:cri-containerd:ID\n",
        "1:name=systemd:/\n0::/../crio-ID.scope\n",
    ] {
        assert_eq!(of(cgroup, "").await.0, expected, "{cgroup}");
    }
    let docker = "1 2 0:3 / /proc rw - proc proc rw\n\
                  677 657 8:1 /var/lib/docker/containers/ID/hostname /etc/hostname rw - ext4 /dev/sda1 rw\n";
    let podman =
        "1 2 0:3 /containers/overlay-containers/ID/userdata/hostname /etc/hostname rw - tmpfs tmpfs rw\n";
    let pod = "1 2 8:1 /var/lib/containerd/io.containerd.grpc.v1.cri/sandboxes/ID/hostname /etc/hostname rw - x y z\n";
    assert_eq!(of("0::/\n", docker).await.0, expected);
    assert_eq!(of("0::/\n", podman.replace("/containers/", "/storage/").as_str()).await.0, expected);
    for (cgroup, mounts) in
        [("0::/\n", pod), ("0::/user.slice\n", ""), ("", ""), ("0::/docker/ID0\n", "1 2\n")]
    {
        let (found, errors) = of(cgroup, mounts).await;
        assert_eq!((found.as_str(), errors.len()), ("", 1), "{cgroup} {mounts}");
    }
}

#[tokio::test]
async fn the_downward_api_is_read() {
    let kinds = [DetectorKind::Kubernetes];
    let variables = [("POD_NAME", "web-1"), ("K8S_NODE_NAME", "node-a"), ("POD_IP", "")];
    let files = [
        ("/etc/podinfo/uid", "8a1b\n"),
        ("/etc/podinfo/name", "from the file"),
        ("/etc/podinfo/labels", "app=\"web\"\ntier=\"front\"\nbroken\n"),
        ("/var/run/secrets/kubernetes.io/serviceaccount/namespace", "shop"),
    ];
    let (found, errors) = detected(&kinds, &variables, &files).await;
    let expected = "k8s.pod.name=web-1 k8s.namespace.name=shop k8s.pod.uid=8a1b k8s.node.name=node-a \
                    k8s.pod.label.app=web k8s.pod.label.tier=front";
    assert_eq!((found.as_str(), errors.len()), (expected, 0));
    let elsewhere = detected(&kinds, &[("TRACEWELL_PODINFO", "/info")], &[("/info/name", "n")]).await;
    assert_eq!(elsewhere.0, "k8s.pod.name=n");
    let nowhere = detected(&kinds, &[], &[]).await;
    assert_eq!(nowhere.1, ["neither variables (POD_NAME …) nor files (/etc/podinfo) say anything of a pod"]);
}

#[tokio::test]
async fn of_several_the_first_counts() {
    let variables = [("OTEL_RESOURCE_ATTRIBUTES", "k8s.pod.name=mine"), ("POD_NAME", "other")];
    let (found, _) = detected(&[DetectorKind::Env, DetectorKind::Kubernetes], &variables, &[]).await;
    assert_eq!(found, "k8s.pod.name=mine");
}
