//! Row 22: the rules file is swapped, broken, deleted, half-written.

use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::support::traffic::{self, Shape};
use crate::support::{Daemon, Start};

const SOON: Duration = Duration::from_secs(30);

fn rules(name: &str) -> String {
    format!(
        "version: 1\ndecision: {{ wait: 500ms, after_root: 100ms }}\nrules:\n  - {{ name: {name}, keep: 100% }}\n"
    )
}

/// What Kubernetes does with a ConfigMap: a new folder, and the link `..data` swapped to it at once.
fn swap_in(folder: &Path, version: &str, text: &str) {
    std::fs::create_dir(folder.join(version)).unwrap();
    std::fs::write(folder.join(version).join("rules.yaml"), text).unwrap();
    symlink(version, folder.join("..data_tmp")).unwrap();
    std::fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
}

async fn version_of(daemon: &Daemon) -> u64 {
    daemon.json("/status").await["rules"]["version"].as_u64().unwrap()
}

async fn decided_by(daemon: &Daemon, number: u64, rule: &str) {
    let mut client = traffic::connect(&daemon.grpc).await.unwrap();
    let kept = |status: &Value| -> u64 {
        let rules = status["sample"]["by_rule"].as_array().unwrap();
        let of_rule = rules.iter().filter(|one| one["rule"] == rule);
        of_rule.map(|one| one["kept_traces"].as_u64().unwrap()).sum()
    };
    let before = kept(&daemon.json("/status").await);
    traffic::send(&mut client, traffic::trace(number, Shape::Plain, 2), "shop").await.unwrap();
    daemon.status_when(&format!("kept by {rule}"), SOON, |status| kept(status) == before + 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_22_a_rules_file_swapped_broken_deleted_or_half_written_leaves_good_rules_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let map = folder.path().join("map");
    std::fs::create_dir(&map).unwrap();
    swap_in(&map, "..v1", &rules("first"));
    let file = map.join("rules.yaml");
    symlink("..data/rules.yaml", &file).unwrap();
    let mut start = Start::new(&folder.path().join("data"));
    start.rules = Some(file.clone());
    let daemon = start.run();
    decided_by(&daemon, 1, "first").await;

    let first = version_of(&daemon).await;
    swap_in(&map, "..v2", &rules("second"));
    daemon.status_when("the swap", SOON, |status| status["rules"]["version"] == first + 1).await;
    decided_by(&daemon, 2, "second").await;

    swap_in(&map, "..v3", "version: 1\nrules: [{ name: third, keep: lots }]\n");
    let refused = |status: &Value| !status["rules"]["error"].is_null();
    let status = daemon.status_when("the invalid file", SOON, refused).await;
    assert_eq!(status["rules"]["error"]["line"], 2, "{status}");
    let (_, metrics) = daemon.get("/metrics").await;
    assert!(metrics.contains("tracewell_rules_valid 0"), "{metrics}");
    assert!(daemon.has_logged("the last good rules stay in force"));
    decided_by(&daemon, 3, "second").await;

    std::fs::remove_file(&file).unwrap();
    let gone = |status: &Value| {
        status["rules"]["error"]["message"].as_str().is_some_and(|why| why.contains("cannot be read"))
    };
    daemon.status_when("the deleted file", SOON, gone).await;
    decided_by(&daemon, 4, "second").await;

    let text = rules("fourth");
    let mut half_written = std::fs::File::create(&file).unwrap();
    half_written.write_all(&text.as_bytes()[..text.len() / 2]).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    half_written.write_all(&text.as_bytes()[text.len() / 2..]).unwrap();
    drop(half_written);
    let good = |status: &Value| status["rules"]["error"].is_null();
    let status = daemon.status_when("the written file", SOON, good).await;
    assert_eq!(status["rules"]["version"], first + 2, "the half was never in force: {status}");
    decided_by(&daemon, 5, "fourth").await;
}
