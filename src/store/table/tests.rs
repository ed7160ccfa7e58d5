#![allow(clippy::unwrap_used)]

use super::paths::{in_log, object_of_log};
use super::*;

#[test]
fn paths_are_encoded_once_for_the_folder_and_once_more_for_the_log() {
    let partition = PartitionKey { retention: "a b/ü%".into(), day: 20_778 };
    let object = partition.object("x.parquet");
    assert_eq!(object, "retention=a%20b%2F%C3%BC%25/date=2026-11-21/x.parquet");
    let logged = in_log(&object);
    assert_eq!(logged, "retention=a%2520b%252F%25C3%25BC%2525/date=2026-11-21/x.parquet");
    let table = Path::from("t/spans");
    assert_eq!(object_of_log(&table, &logged).unwrap().as_ref(), format!("t/spans/{object}"));
}

#[test]
fn a_log_that_names_files_elsewhere_is_refused() {
    for path in ["s3://other/file", "/etc/passwd", "../x", "a/%2E%2E/x", "a%", "%zz"] {
        assert_eq!(object_of_log(&Path::from("t"), path).unwrap_err().kind(), ErrorKind::Table, "{path}");
    }
}

#[test]
fn days_have_names_and_names_have_days() {
    use crate::store::writer::text::{day_name, day_of_name};
    for (day, name) in
        [(0, "1970-01-01"), (20_778, "2026-11-21"), (213_503, "2554-07-21"), (19_782, "2024-02-29")]
    {
        assert_eq!(day_name(day), name);
        assert_eq!(day_of_name(name), Some(day));
    }
    assert_eq!(day_of_name("2026-02-30"), None);
    assert_eq!(day_of_name("yesterday"), None);
}
