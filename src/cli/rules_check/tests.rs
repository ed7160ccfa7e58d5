#![allow(clippy::unwrap_used)]

use super::complaint;
use crate::sample::{RulesError, parse_rules};

#[test]
fn a_complaint_shows_the_place() {
    let content = "version: 1\nrules:\n  - { name: a, whan: x }\n";
    let error = RulesError { message: "unknown key `whan`".into(), line: Some(3), column: Some(15) };
    assert_eq!(
        complaint("r.yaml", content, &error),
        "r.yaml:3:15: unknown key `whan`\n   |\n 3 |   - { name: a, whan: x }\n   |               ^"
    );
    let nowhere = RulesError { message: "no rules".into(), line: None, column: None };
    assert_eq!(complaint("r.yaml", content, &nowhere), "r.yaml: no rules");
    let beyond = RulesError { message: "ends".into(), line: Some(9), column: Some(1) };
    assert_eq!(complaint("r.yaml", content, &beyond), "r.yaml:9:1: ends");
}

#[test]
fn a_wrong_condition_is_placed_in_the_file() {
    let content = "version: 1\nrules:\n  - { name: a, when: '{ status = }', keep: 100% }\n";
    let error = parse_rules(content).err().unwrap();
    assert_eq!(error.line, Some(3));
}
