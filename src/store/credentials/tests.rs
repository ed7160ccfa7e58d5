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
    let credential = AwsCredential { key_id: "k".into(), secret_key: "s".into(), token: None };
    let known = |expires| Known { credential: Arc::new(credential.clone()), expires };
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    assert!(known(None).is_good_at(now));
    assert!(known(Some(now + EARLY + Duration::from_secs(1))).is_good_at(now));
    assert!(!known(Some(now + EARLY)).is_good_at(now));
}
