use super::*;

#[test]
fn keys_in_the_environment_need_no_chain() {
    let env = |set: &'static [&'static str]| move |name: &str| set.contains(&name).then(|| "x".to_owned());
    assert!(Chain::is_needed(env(&[])));
    assert!(Chain::is_needed(env(&["AWS_PROFILE"])));
    assert!(!Chain::is_needed(env(&["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])));
    assert!(!Chain::is_needed(env(&["AWS_SKIP_SIGNATURE"])));
}

#[test]
fn a_credential_is_good_until_shortly_before_it_expires() {
    let known = |expires| {
        let credential = AwsCredential { key_id: "k".into(), secret_key: "s".into(), token: None };
        Known { credential: Arc::new(credential), expires }
    };
    let (now, early) = (1_000_000_000_000_000, EARLY.as_nanos() as u64);
    assert!(known(None).is_good_at(now));
    assert!(known(Some(now + early + 1)).is_good_at(now));
    assert!(!known(Some(now + early)).is_good_at(now));
}
