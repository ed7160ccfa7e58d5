//! `tracewell table …`: what an operator learns of a store, and does to it, without a daemon.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use support::traffic::{self, Shape};
use support::{Start, tracewell};

const RULES: &str = "
version: 1
decision: { wait: 1s, after_root: 200ms }
rules:
  - { name: errors, when: '{ status = error }', keep: 100%, retention: errors }
  - { name: rest, keep: 100% }
retention: { default: 3d, errors: 30d }
";
const DEADLINE: Duration = Duration::from_secs(60);

/// A store with twelve traces in two classes; the daemon that wrote it is gone.
async fn stored(folder: &Path) -> String {
    let daemon =
        Start::new(&folder.join("data")).rules(RULES).config("store: { flush: { age: 300ms } }\n").run();
    let mut client = traffic::connect(&daemon.grpc).await.unwrap();
    for number in 0..12 {
        let shape = if number < 2 { Shape::Error } else { Shape::Plain };
        traffic::send(&mut client, traffic::trace(number, shape, 3), "shop").await.unwrap();
    }
    daemon.settle(DEADLINE).await;
    assert!(daemon.terminate(DEADLINE).success());
    folder.join("data/store").to_str().unwrap().to_owned()
}

fn json(args: &[&str]) -> (Option<i32>, Value) {
    let (code, out, error) = tracewell(args);
    (code, serde_json::from_str(&out).unwrap_or_else(|_| panic!("no JSON: {out}{error}")))
}

fn parquet_files(store: &str, table: &str) -> Vec<PathBuf> {
    let mut folders = vec![Path::new(store).join("default").join(table)];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true if path.ends_with("_delta_log") => {}
                true => folders.push(path),
                false => files.push(path),
            }
        }
    }
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn info_says_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let store = stored(folder.path()).await;
    let (code, info) = json(&["table", "info", "--json", "--store", &store]);
    assert_eq!(code, Some(0));
    let [tenant] = &info["tenants"].as_array().unwrap()[..] else { panic!("{info}") };
    assert_eq!((&tenant["tenant"], &tenant["spans"]["rows"]), (&"default".into(), &36.into()));
    assert_eq!(tenant["traces"]["rows"], 12);
    let spans = |class: &str| -> u64 {
        let partitions = tenant["partitions"].as_array().unwrap().iter();
        partitions.filter(|p| p["retention"] == class).map(|p| p["spans"].as_u64().unwrap()).sum()
    };
    assert_eq!((spans("errors"), spans("default")), (6, 30));
    let service = &tenant["services"][0];
    assert_eq!(
        (&service["service"], &service["traces"], &service["errors"]),
        (&"shop".into(), &12.into(), &2.into())
    );

    let (code, page, _) = tracewell(&["table", "info", "--store", &store]);
    assert_eq!(code, Some(0));
    assert!(page.contains("tenant default 36 spans, 12 rows of traces") && page.contains("errors"), "{page}");
    let nothing = tracewell(&["table", "info", "--store", &store, "--tenant", "nobody"]);
    assert!(nothing.0 == Some(1) && nothing.2.contains("nobody"), "{nothing:?}");
    let nowhere = folder.path().join("nowhere");
    let nowhere = tracewell(&["table", "info", "--store", nowhere.to_str().unwrap()]);
    assert!(nowhere.0 == Some(1) && nowhere.2.contains("no tables"), "{nowhere:?}");
    let wrong = tracewell(&["table", "info", "--store", "ftp://example"]);
    assert!(wrong.0 == Some(2) && wrong.2.contains("ftp"), "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_finds_what_was_done_to_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = stored(folder.path()).await;
    let verify = || json(&["table", "verify", "--json", "--store", &store]);
    let (code, right) = verify();
    assert_eq!(code, Some(0), "{right}");
    assert_eq!((&right["rows"], &right["findings"]), (&48.into(), &serde_json::json!([])));

    let files = parquet_files(&store, "spans");
    let bytes = std::fs::read(&files[0]).unwrap();
    std::fs::write(&files[0], &bytes[..bytes.len() / 2]).unwrap();
    std::fs::write(files[0].with_file_name("part-foreign.parquet"), b"PAR1").unwrap();
    let (code, wrong) = verify();
    assert_eq!(code, Some(1));
    let [finding] = &wrong["findings"].as_array().unwrap()[..] else { panic!("{wrong}") };
    assert_eq!(finding["problem"], "length");
    assert!(files[0].ends_with(Path::new(finding["object"].as_str().unwrap()).file_name().unwrap()));
    assert_eq!(wrong["strays"].as_array().unwrap().len(), 1, "{wrong}");
    let (_, page, _) = tracewell(&["table", "verify", "--store", &store]);
    assert!(
        page.contains("✗") && page.contains("1 file is not right") && page.contains("no table names"),
        "{page}"
    );

    std::fs::remove_file(&files[0]).unwrap();
    assert_eq!(verify().1["findings"][0]["problem"], "missing");
    std::fs::write(&files[0], &bytes).unwrap();
    assert_eq!(verify().0, Some(0));

    // The index: damaged, then made again.
    let index = Path::new(&store).join("default/index");
    for run in std::fs::read_dir(&index).unwrap() {
        std::fs::write(run.unwrap().path(), b"not a run").unwrap();
    }
    // What has no index is found all the same.
    let (code, without) = verify();
    assert_eq!(
        (code, without["index"][0]["uncovered"].as_array().map(Vec::len)),
        (Some(0), Some(2)),
        "{without}"
    );
    let rebuild =
        |more: &[&str]| json(&[&["table", "rebuild", "--json", "--store", &store][..], more].concat());
    let (code, rebuilt) = rebuild(&[]);
    assert!(code == Some(0) && rebuilt["indexedFiles"].as_u64() > Some(0), "{rebuilt}");
    let (code, right) = verify();
    assert_eq!((code, &right["index"][0]["uncovered"]), (Some(0), &serde_json::json!([])), "{right}");

    // A file that is gone for good.
    std::fs::remove_file(&files[0]).unwrap();
    let (_, rebuilt) = rebuild(&["--lost"]);
    assert_eq!(rebuilt["takenOut"][0]["problem"], "missing", "{rebuilt}");
    assert_eq!(verify().0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn expire_takes_what_is_due_and_says_so_before() {
    let folder = tempfile::tempdir().unwrap();
    let store = stored(folder.path()).await;
    let rules = folder.path().join("short.yaml");
    let rules_text = RULES.replace("default: 3d", "default: 1s");
    std::fs::write(&rules, rules_text).unwrap();
    let rules = rules.to_str().unwrap();
    // A class goes by the newest span, and that is a second old by now.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let expire = |more: &[&str]| {
        let base = ["table", "expire", "--json", "--rules", rules, "--store", &store];
        json(&[&base[..], more].concat())
    };
    for _ in 0..2 {
        let (code, planned) = expire(&["--dry-run"]);
        assert_eq!((code, &planned["spansByTenant"]["default"]), (Some(0), &30.into()), "{planned}");
    }
    let (code, expired) = expire(&[]);
    assert_eq!((code, &expired["spansByTenant"]["default"]), (Some(0), &30.into()), "{expired}");
    assert_eq!(expire(&["--dry-run"]).0, Some(1), "nothing is due any more");
    let (_, info) = json(&["table", "info", "--json", "--store", &store]);
    assert_eq!(info["tenants"][0]["spans"]["rows"], 6, "the errors stay");
    let (_, verified) = json(&["table", "verify", "--json", "--store", &store]);
    assert!(verified["strays"].as_array().unwrap().iter().all(|stray| !stray["removedUnixMs"].is_null()));

    let wrong = folder.path().join("wrong.yaml");
    std::fs::write(&wrong, "version: 1\nrules: [{ nmae: x }]\n").unwrap();
    let wrong = tracewell(&["table", "expire", "--rules", wrong.to_str().unwrap(), "--store", &store]);
    assert!(wrong.0 == Some(2) && wrong.2.contains("wrong.yaml"), "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn forget_erases_whole_traces_and_gives_a_receipt() {
    let folder = tempfile::tempdir().unwrap();
    let store = stored(folder.path()).await;
    let receipt = folder.path().join("receipt.json");
    let receipt = receipt.to_str().unwrap();
    let query = ["table", "forget", "--where", "{ status = error }", "--store", &store];
    let forget = |more: &[&str]| tracewell(&[&query[..], more].concat());
    let planned = forget(&["--dry-run"]);
    assert!(planned.0 == Some(0) && planned.2.contains("2 traces would be erased"), "{planned:?}");
    let asked = forget(&[]);
    assert!(asked.0 == Some(2) && asked.2.contains("--yes"), "{asked:?}");

    let (code, _, error) = forget(&["--yes", "--at-once", "--receipt", receipt]);
    assert!(code == Some(0) && error.contains("erased 2 traces, 6 spans"), "{error}");
    let written: Value = serde_json::from_str(&std::fs::read_to_string(receipt).unwrap()).unwrap();
    let tenant = &written["tenants"][0];
    assert_eq!((&tenant["tenant"], &tenant["spansErased"]), (&"default".into(), &6.into()));
    let mut erased: Vec<&str> =
        tenant["traces"].as_array().unwrap().iter().map(|t| t.as_str().unwrap()).collect();
    erased.sort_unstable();
    let mut expected: Vec<String> = (0..2).map(|n| traffic::hex(&traffic::trace_id(n))).collect();
    expected.sort_unstable();
    assert_eq!(erased, expected);
    for file in tenant["files"].as_array().unwrap() {
        let object = file["object"].as_str().unwrap();
        assert!(!Path::new("/").join(object).exists(), "{object} is still there");
    }
    let gone = tracewell(&["trace", "show", "--store", &store, erased[0]]);
    assert_eq!(gone.0, Some(1));
    let stays = tracewell(&["trace", "show", "--store", &store, &traffic::hex(&traffic::trace_id(5))]);
    assert_eq!(stays.0, Some(0));
    let (code, verified) = json(&["table", "verify", "--json", "--store", &store]);
    assert_eq!((code, &verified["rows"]), (Some(0), &40.into()), "{verified}");

    let nothing = forget(&["--yes"]);
    assert!(nothing.0 == Some(1) && nothing.2.contains("no trace matches"), "{nothing:?}");
    let again = forget(&["--yes", "--receipt", receipt]);
    assert!(again.0 == Some(2) && again.2.contains("exists already"), "{again:?}");
}
