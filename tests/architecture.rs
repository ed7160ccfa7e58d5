//! The house rules that a compiler does not check: who may know whom, who may spawn, and how long a file may be.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 500;

/// Each room, and the rooms whose types it may use. `cli` knows all; `app` all but `cli`.
const ROOMS: &[(&str, &[&str])] = &[
    ("wire", &[]),
    ("traceql", &[]),
    ("runtime", &[]),
    ("auth", &["runtime"]),
    ("config", &["runtime", "auth", "enrich"]),
    ("receive", &["wire", "runtime", "auth"]),
    ("enrich", &["wire", "traceql", "runtime"]),
    ("log", &["wire", "runtime"]),
    ("sample", &["wire", "traceql", "runtime", "log"]),
    ("forward", &["wire", "runtime", "log", "sample"]),
    ("rules_source", &["runtime", "sample"]),
    ("store", &["wire", "traceql", "runtime", "log", "sample"]),
    ("ledger", &["wire", "runtime", "log", "sample"]),
    ("query", &["wire", "traceql", "runtime", "log", "sample", "ledger", "store"]),
    ("api", &["wire", "traceql", "runtime", "auth", "store", "query"]),
    (
        "observe",
        &["runtime", "auth", "receive", "enrich", "log", "sample", "ledger", "rules_source", "store"],
    ),
];

/// The table, and above all stages `app`, and above that `cli`.
fn allowed() -> BTreeMap<&'static str, Vec<&'static str>> {
    let mut allowed: BTreeMap<_, _> = ROOMS.iter().map(|(room, known)| (*room, known.to_vec())).collect();
    for room in ["app", "cli"] {
        allowed.insert(room, allowed.keys().copied().collect());
    }
    allowed
}

fn rust_files(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    found
}

fn is_test(path: &Path) -> bool {
    path.components().any(|c| matches!(c.as_os_str().to_str(), Some("tests" | "tests.rs" | "testing.rs")))
}

/// The rooms that a source text names as `crate::room`.
fn rooms_named(text: &str) -> Vec<&str> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.split("crate::").skip(1))
        .map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap())
        .collect()
}

#[test]
fn each_room_knows_only_the_rooms_before_it() {
    let allowed = allowed();
    let mut wrong = Vec::new();
    for path in rust_files("src").into_iter().filter(|path| !is_test(path)) {
        let text = std::fs::read_to_string(&path).unwrap();
        let inside = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
        let room = inside.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        let Some(may_know) = allowed.get(room) else {
            assert!(matches!(room, "lib" | "main"), "{room} is not in the table of rooms");
            continue;
        };
        for other in rooms_named(&text) {
            if other != room && allowed.contains_key(other) && !may_know.contains(&other) {
                wrong.push(format!("{} uses crate::{other}", inside.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "a stage reaches around:\n{}", wrong.join("\n"));
}

#[test]
fn no_answer_is_about_a_tenant_that_nobody_is() {
    let door = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api/door.rs");
    let mut wrong = Vec::new();
    for path in rust_files("src/api").into_iter().filter(|path| !is_test(path) && *path != door) {
        if std::fs::read_to_string(&path).unwrap().contains("Tenant::default") {
            wrong.push(path.display().to_string());
        }
    }
    assert!(
        wrong.is_empty(),
        "these take the default tenant instead of who asks (api::door): {}",
        wrong.join(", ")
    );
}

#[test]
fn only_app_and_runtime_spawn() {
    let mut wrong = Vec::new();
    for path in rust_files("src").into_iter().filter(|path| !is_test(path)) {
        let inside = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
        let room = inside.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        let text = std::fs::read_to_string(&path).unwrap();
        let spawns = ["tokio::spawn(", "thread::spawn(", "thread::Builder::new("];
        if !matches!(room, "app" | "runtime") && spawns.iter().any(|call| text.contains(call)) {
            wrong.push(inside.display().to_string());
        }
    }
    assert!(wrong.is_empty(), "these spawn: {}", wrong.join(", "));
}

#[test]
fn no_file_is_longer_than_one_reads_at_a_sitting() {
    let mut long = Vec::new();
    for path in ["src", "tests", "benches"].into_iter().flat_map(rust_files) {
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        if lines > FILE_LINES_MAX {
            long.push(format!("{lines} {}", path.display()));
        }
    }
    assert!(long.is_empty(), "over {FILE_LINES_MAX} lines:\n{}", long.join("\n"));
}
