//! Versions of libraries that end known ways to hurt a receiver.

use std::collections::BTreeMap;

/// The first version that is good, of each library of which some are not.
const FIRST_GOOD: [(&str, [u64; 3]); 7] = [
    // Endless empty DATA frames.
    ("h2", [0, 4, 16]),
    ("rustls", [0, 23, 18]),
    ("rustls-webpki", [0, 103, 13]),
    // Escape sequences in logs.
    ("tracing-subscriber", [0, 3, 20]),
    ("bytes", [1, 11, 1]),
    ("lz4_flex", [0, 12, 1]),
    ("object_store", [0, 10, 2]),
];

#[test]
fn no_library_is_of_a_version_with_a_known_hazard() {
    let lock = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock")).unwrap();
    let mut versions: BTreeMap<&str, Vec<[u64; 3]>> = BTreeMap::new();
    for package in lock.split("[[package]]").skip(1) {
        let field = |name: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = \""));
            line.unwrap_or_default().trim_end_matches('"')
        };
        let mut numbers = field("version").split(['.', '-', '+']).map_while(|part| part.parse().ok());
        let version = [(); 3].map(|()| numbers.next().unwrap_or(0));
        versions.entry(field("name")).or_default().push(version);
    }
    for (name, first_good) in FIRST_GOOD {
        for version in versions.get(name).unwrap_or_else(|| panic!("{name} is not used any more")) {
            assert!(*version >= first_good, "{name} {version:?}");
        }
    }
}
