//! The table as others see it: the Delta log on a local folder.

use std::collections::BTreeMap;
use std::path::Path;

/// What the log of a table says.
#[derive(Debug, Default)]
pub struct TableLog {
    /// Rows in the files that are part of it.
    pub rows: u64,
    /// How often each batch was committed, by writer and number.
    pub batches: BTreeMap<(String, u64), u32>,
}

/// Reads the commits of the table in a folder (`…/default/spans`), all of them: no checkpoint may have cut them yet.
pub fn read_log(table: &Path) -> TableLog {
    let mut log = TableLog::default();
    let mut files = BTreeMap::new();
    let mut commits: Vec<_> =
        std::fs::read_dir(table.join("_delta_log")).unwrap().map(|entry| entry.unwrap().path()).collect();
    commits.retain(|path| path.extension().is_some_and(|e| e == "json"));
    commits.sort();
    for commit in commits {
        for line in std::fs::read_to_string(commit).unwrap().lines() {
            let action: serde_json::Value = serde_json::from_str(line).unwrap();
            if let Some(add) = action.get("add") {
                let stats: serde_json::Value = serde_json::from_str(add["stats"].as_str().unwrap()).unwrap();
                let path = add["path"].as_str().unwrap().to_owned();
                assert_eq!(files.insert(path, stats["numRecords"].as_u64().unwrap()), None, "a file twice");
            }
            if let Some(remove) = action.get("remove") {
                files.remove(remove["path"].as_str().unwrap());
            }
            if let Some(txn) = action.get("txn") {
                let id = (txn["appId"].as_str().unwrap().to_owned(), txn["version"].as_u64().unwrap());
                *log.batches.entry(id).or_default() += 1;
            }
        }
    }
    log.rows = files.values().sum();
    log
}
