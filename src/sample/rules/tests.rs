#![allow(clippy::unwrap_used)]

use super::*;
use crate::sample::Threshold;

/// The error of a file: line, column, message.
fn refused(text: &str) -> (u32, u32, String) {
    let error = parse_rules(text).unwrap_err();
    (error.line.unwrap(), error.column.unwrap(), error.message)
}

#[test]
fn the_built_in_rules_say_what_is_documented() {
    let rules = RuleSet::built_in();
    let names: Vec<&str> = rules.rule_names().collect();
    assert_eq!(names, ["errors", "slow", "pinned-routes", "everything-else"]);
    assert_eq!((rules.wait(), rules.after_root()), (Duration::from_secs(30), Duration::from_secs(2)));
    let days: Vec<(&str, u64)> = rules
        .retention()
        .iter()
        .map(|(class, period)| (class.as_str(), period.age.as_secs() / 86_400))
        .collect();
    assert_eq!(days, [("default", 3), ("errors", 30), ("pinned", 90), ("slow", 14)]);
}

#[test]
fn the_example_file_loads() {
    let rules = parse_rules(include_str!("../../../config/rules.yaml")).unwrap();
    assert_eq!(rules.rule_names().count(), 9);
}

#[test]
fn defaults_fill_in_what_is_not_written() {
    let rules = parse_rules("rules: [{ name: all, keep: 100% }]").unwrap();
    assert_eq!((rules.wait(), rules.after_root()), (Duration::from_secs(30), Duration::from_secs(2)));
    assert_eq!(rules.retention()[RETENTION_DEFAULT], Duration::from_secs(3 * 86_400).into());
    assert_eq!(rules.version(), 0);
}

/// Takes the mark `§` out of a file: the file, and the line and column where it stood.
fn unmarked(marked: &str) -> (String, (u32, u32)) {
    let before = marked.split('§').next().unwrap();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap().chars().count() + 1;
    (marked.replace('§', ""), (u32::try_from(line).unwrap(), u32::try_from(column).unwrap()))
}

#[test]
fn problems_come_with_line_column_and_help() {
    // The mark stands where the problem is.
    let cases = [
        ("§", "no rules"),
        ("§# only a comment\n", "no rules"),
        ("§version: 1\n", "rules"),
        ("rules: §[]\n", "at least one rule"),
        ("version: §2\nrules: [{ name: a, drop: true }]", "version 2 is not known"),
        ("rules:\n  - { name: a, §kep: 10% }", "unknown key `kep`; did you mean `keep`?"),
        ("rules:\n  - { name: a, §zzzzzzzz: 1 }", "the keys here are: name, when, drop, keep, retention"),
        ("§retentoin: {}\nrules: []", "did you mean `retention`?"),
        ("rules:\n  - { name: §a }", "neither `keep` nor `drop`"),
        ("rules:\n  - { name: a, keep: 1%, drop: §true }", "both"),
        ("rules:\n  - { name: a, drop: §false }", "does nothing"),
        ("rules:\n  - { name: a, keep: §0% }", "drop: true"),
        ("rules:\n  - { name: a, keep: §101% }", "at most 100%"),
        ("rules:\n  - { name: a, keep: §-1% }", "at most 100%"),
        ("rules:\n  - { name: a, keep: §lots }", "not a percentage"),
        ("rules:\n  - { name: a, keep: §10 }", "write a percentage, such as `10%`"),
        ("rules:\n  - { name: a, keep: §0.1 }", "write a percentage, such as `0.1%`"),
        ("rules:\n  - { name: a, keep: §inf% }", "not a percentage"),
        ("rules:\n  - { name: a, keep: §{ per_second: 0 } }", "more than 0"),
        ("rules:\n  - { name: a, keep: { §per_secnd: 5 } }", "did you mean `per_second`?"),
        ("rules:\n  - { name: a, keep: §{ per_second: 5, by: ['1 + 1'] } }", "is not a field"),
        ("rules:\n  - { name: a, keep: §{ per_second: 5, by: [event.x] } }", "attribute of `event`"),
        ("rules:\n  - { name: a, drop: true }\n  - { name: §a, drop: true }", "two rules named `a`"),
        ("rules:\n  - { name: §'a b', drop: true }", "characters"),
        ("rules:\n  - { name: §unmatched, drop: true }", "name it otherwise"),
        ("rules:\n  - { name: a, drop: true, retention: §x }", "stores nothing"),
        (
            "rules:\n  - { name: a, keep: 1%, retention: §eror }\nretention: { errors: 3d }",
            "did you mean `errors`?",
        ),
        ("rules: [{ name: a, drop: true }]\nretention: { default: §soon }", "not a duration"),
        ("rules: [{ name: a, drop: true }]\nretention: { default: §0s }", "stores nothing"),
        ("rules: [{ name: a, drop: true }]\nretention: { a: §{ age: 1d, size: 0B } }", "stores nothing"),
        ("rules: [{ name: a, drop: true }]\nretention: { a: §{ age: 1d, size: 3 apples } }", "not a size"),
        ("rules: [{ name: a, drop: true }]\nretention: { §a: 3 }", "a duration such as"),
        ("decision: { wait: §2h }\nrules: [{ name: a, drop: true }]", "at most 60 minutes"),
        ("decision: { wait: §30 }\nrules: [{ name: a, drop: true }]", "not a duration"),
        ("rules: §5\n", "sequence"),
    ];
    for (marked, words) in cases {
        let (text, place) = unmarked(marked);
        let (line, column, message) = refused(&text);
        assert!(message.contains(words), "{marked:?}: {message}");
        assert_eq!((line, column), place, "{marked:?}: {message}");
    }
}

#[test]
fn half_written_files_are_refused() {
    let text = include_str!("../../../config/rules.yaml");
    let rules_end = text.find("retention: {").unwrap();
    for length in 0..rules_end {
        if let Some(cut) = text.get(..length).filter(|cut| !cut.ends_with(['\n', '}', ' '])) {
            // A cut between two rules, or in a comment, is a whole file.
            let whole = cut.lines().last().is_some_and(|line| line.contains('#'));
            assert!(parse_rules(cut).is_err() || whole, "{cut}");
        }
    }
}

#[test]
fn problems_in_a_condition_are_placed_in_the_file() {
    // Every way YAML writes a text.
    let cases = [
        "rules:\n  - { name: a, drop: true, when: '{ span.a = §}' }",
        "rules:\n  - { name: a, drop: true, when: \"{ span.a = §}\" }",
        "rules:\n  - name: a\n    drop: true\n    when: |\n      { span.a = §}\n",
        "rules:\n  - name: a\n    drop: true\n    when: |\n      { span.a = 1\n        || span.b = §}\n",
        "rules:\n  - name: a\n    drop: true\n    when: >-\n      { span.a\n      = §}\n",
        "rules:\n  - name: a\n    drop: true\n    when: '{ span.a\n      = §}'\n",
        "rules:\n  - name: a\n    drop: true\n    when: '{ span.a = §''x'' }'\n",
        "rules:\n  - name: a\n    drop: true\n    when: \"{ span.\\\"ä\\\" = \\\"x\\\" && §}\"\n",
        "rules:\n  - name: a\n    drop: true\n    when: '{ §event.a = 1 }'\n",
        "rules:\n  - name: a\n    drop: true\n    when: '{ span.a =~ §\"(\" }'\n",
    ];
    for marked in cases {
        let (text, place) = unmarked(marked);
        let (line, column, message) = refused(&text);
        assert_eq!((line, column), place, "{marked}: {message}");
        assert!(message.starts_with("`when`: "), "{message}");
    }
}

#[test]
fn huge_files_are_refused() {
    let text = format!("rules: [{{ name: a, drop: true }}]\n#{}", "x".repeat(1 << 20));
    assert!(refused(&text).2.contains("at most"));
    let many: String = (0..1001).map(|n| format!("  - {{ name: r{n}, drop: true }}\n")).collect();
    assert!(refused(&format!("rules:\n{many}")).2.contains("at most 1000"));
}

fn decide(rules: &RuleSet, matches: Option<&Matches>, randomness: u64, duration_millis: u64) -> Verdict {
    let facts = Facts {
        trace_id: TraceId([1; 16]),
        randomness: Some(randomness),
        duration_nano: duration_millis * 1_000_000,
        has_root: true,
        spans: 1,
        matches,
    };
    rules.decide(&facts, &mut Limiter::new(1024), Duration::ZERO)
}

#[test]
fn the_first_rule_that_matches_decides() {
    let text = "
rules:
  - { name: slow, when: '{ traceDuration > 500ms }', keep: 100%, retention: slow }
  - { name: rest, keep: 10% }
retention: { slow: 14d }";
    let rules = parse_rules(text).unwrap();
    let slow = decide(&rules, None, 0, 501);
    assert_eq!((slow.keep, &*slow.rule, &*slow.retention, slow.threshold), (true, "slow", "slow", None));
    let rest = decide(&rules, None, 0, 500);
    assert_eq!((rest.keep, &*rest.rule, &*rest.retention), (false, "rest", "default"));
    let kept = decide(&rules, None, (1 << 56) - 1, 500);
    assert_eq!((kept.keep, kept.threshold), (true, Threshold::parse("e666")));
}

#[test]
fn what_no_rule_matches_is_kept() {
    let rules = parse_rules("rules: [{ name: slow, when: '{ traceDuration > 1s }', drop: true }]").unwrap();
    let verdict = decide(&rules, None, 0, 10);
    assert_eq!((verdict.keep, &*verdict.rule, &*verdict.retention), (true, UNMATCHED, RETENTION_DEFAULT));
}

#[test]
fn debugging_keeps_everything_and_still_names_the_rule() {
    let text =
        "rules: [{ name: fast, when: '{ traceDuration < 1s }', drop: true }, { name: rest, keep: 1% }]";
    let book = Rulebook::new(parse_rules(text).unwrap(), true);
    for (millis, rule) in [(10, "fast"), (2000, "rest")] {
        let verdict = decide(&book.current(), None, 0, millis);
        assert!(verdict.keep && verdict.debug && verdict.threshold.is_none(), "{verdict:?}");
        assert_eq!(&*verdict.rule, rule);
    }
}

#[test]
fn versions_come_and_go() {
    let rules = |percent: u32| parse_rules(&format!("rules: [{{ name: all, keep: {percent}% }}]")).unwrap();
    let book = Rulebook::new(rules(10), false);
    assert_eq!(book.current().version(), 1);
    assert_eq!(book.install(rules(10)), 1, "the same text is the same version");
    assert_eq!(book.install(rules(20)), 2);
    assert_eq!(book.install(rules(30)), 3);
    book.retire_before(2);
    assert!(book.version(1).is_none() && book.version(2).is_some());
    book.retire_before(9);
    assert_eq!(book.in_use().len(), 1);
    assert_eq!(book.current().version(), 3, "the one in force stays");
    book.restore(7, rules(40));
    book.restore(3, rules(40));
    assert_eq!(book.current().version(), 3, "what comes back is never in force");
    book.restore(1, rules(10));
    assert_eq!(book.in_use().iter().map(|rules| rules.version()).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(Rulebook::begin(7, rules(40), false).install(rules(50)), 8);
}
