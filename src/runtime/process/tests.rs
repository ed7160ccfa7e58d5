#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn fields_are_counted_after_the_name() {
    let stat =
        "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 5 0 100 1000 200 18446744073709551615";
    let status = "Name:\ta\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
    let usage = parse(stat, status).unwrap();
    assert_eq!(usage.cpu, Duration::from_secs(3));
    assert_eq!((usage.resident_bytes, usage.resident_bytes_max), (1024 * 1024, 2048 * 1024));
    assert_eq!(parse("7 (a) S 1", status), None);
    assert_eq!(parse(stat, "Name:\ta\n"), None);
}

#[cfg(target_os = "linux")]
#[test]
fn this_process_uses_some_memory() {
    let usage = usage().unwrap();
    assert!(usage.resident_bytes > 0 && usage.resident_bytes_max >= usage.resident_bytes / 2, "{usage:?}");
}
