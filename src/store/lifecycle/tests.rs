#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use super::*;

fn policy(classes: &[(&str, u64)]) -> RetentionPolicy {
    let age = |(class, days): &(&str, u64)| {
        ((*class).to_owned(), Duration::from_secs(days * SECONDS_PER_DAY).into())
    };
    RetentionPolicy::new(classes.iter().map(age).collect::<BTreeMap<_, _>>())
}

fn foreign() -> LifecycleRule {
    let filter = LifecycleRuleFilter::builder().prefix("backups/").build();
    let expiration = LifecycleExpiration::builder().days(400).build();
    let rule = LifecycleRule::builder().id("their-backups").status(ExpirationStatus::Enabled);
    rule.filter(filter).expiration(expiration).build().unwrap()
}

fn rules(prefix: &str, policy: &RetentionPolicy) -> Result<Vec<LifecycleRule>, StoreError> {
    let mut rules = vec![uploads_rule(prefix)?];
    rules.extend(class_rules(prefix, policy)?);
    Ok(rules)
}

#[test]
fn each_class_expires_later_than_the_daemon_would() {
    let rules = rules("a/b", &policy(&[("default", 3), ("errors", 30)])).unwrap();
    let days: Vec<_> = rules.iter().filter_map(|r| r.expiration()?.days()).collect();
    assert_eq!(days, [10, 37]);
    let filter = rules[1].filter().unwrap().and().unwrap();
    assert_eq!(filter.prefix(), Some("a/b/"));
    assert_eq!((filter.tags()[0].key(), filter.tags()[0].value()), (TAG_RETENTION, "default"));
    assert_eq!(rules[0].abort_incomplete_multipart_upload().unwrap().days_after_initiation(), Some(1));
}

#[test]
fn rules_of_others_and_of_other_stores_in_the_bucket_stay() {
    let of_other_store = rules("other", &policy(&[("default", 1)])).unwrap();
    let mut before = vec![foreign()];
    before.extend(of_other_store.clone());
    let first = merged(&before, rules("a", &policy(&[("default", 3)])).unwrap(), "a");
    assert_eq!(first[..3], before[..]);
    assert_eq!(first.len(), 5);
    let second = merged(&first, rules("a", &policy(&[("default", 3)])).unwrap(), "a");
    assert_eq!(second, first);
    let changed = merged(&first, rules("a", &policy(&[("errors", 3), ("slow", 4)])).unwrap(), "a");
    assert_eq!(changed[..3], before[..]);
    assert_eq!(changed.len(), 6);
}

#[test]
fn what_is_missing_different_left_over_or_somebody_else_s_is_told_apart() {
    let (was, is) = (policy(&[("default", 3), ("old", 9)]), policy(&[("default", 4), ("errors", 30)]));
    let mut before = rules("a", &was).unwrap();
    before.push(foreign());
    let classes = class_rules("a", &is).unwrap();
    let lines = compared(&before, &uploads_rule("a").unwrap(), &classes, "a");
    let states: Vec<_> = lines.iter().map(|line| (line.what.as_str(), line.state)).collect();
    assert_eq!(
        states,
        [
            ("abort uploads that were cut off, after a day", LifecycleState::Right),
            ("expire retention class default after 11 days", LifecycleState::Different),
            ("expire retention class errors after 37 days", LifecycleState::Missing),
            ("expire retention class old after 16 days", LifecycleState::Leftover),
            ("expire objects after 400 days", LifecycleState::Foreign),
        ]
    );
    let after = merged(&before, rules("a", &is).unwrap(), "a");
    let mended = compared(&after, &uploads_rule("a").unwrap(), &classes, "a");
    let is_fine =
        |line: &LifecycleLine| matches!(line.state, LifecycleState::Right | LifecycleState::Foreign);
    assert!(mended.iter().all(is_fine) && mended.len() == 4, "{mended:?}");
}
