#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn the_summary_says_what_became_of_the_files_and_what_others_took() {
    let mut total = Compacted {
        files_in: 12,
        files_out: 1,
        bytes_in: 3 << 20,
        bytes_out: 2 << 20,
        ..Compacted::default()
    };
    assert_eq!(summary(&total), "12 files (3.00 MiB) became 1 (2.00 MiB)\n");
    total.given_up = 1;
    assert!(summary(&total).contains("; 1 group was taken"), "{}", summary(&total));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_store_has_nothing_to_compact() {
    let folder = tempfile::tempdir().unwrap();
    let source =
        |store: &str| TableSourceArgs { store: Some(store.into()), data: "none".into(), tenant: None };
    let args =
        TableCompactArgs { source: source(folder.path().to_str().unwrap()), dry_run: true, json: true };
    let canvas = Canvas { width: 80, color: false };
    assert_eq!(run(&args, &canvas).await.unwrap(), Exit::Done);
    let wrong = TableCompactArgs { source: source("ftp://x"), ..args };
    assert!(
        format!("{:#}", run(&wrong, &canvas).await.unwrap_err()).contains("cannot use the store ftp://x")
    );
}
