//! Users with passwords.

use std::num::NonZeroU32;
use std::time::Instant;

use base64::engine::general_purpose::STANDARD;

use super::*;

fn basic(user: &str, password: &str) -> HeaderMap {
    headers(&[("authorization", &format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))])
}

fn file(password: &str) -> String {
    let hash = PasswordHash::new(password, &[3; 16], NonZeroU32::new(20_000).unwrap());
    format!("users: [{{ name: grafana, password: '{hash}', tenant: home, scopes: [read] }}]")
}

#[tokio::test]
async fn a_user_is_let_in_with_the_right_password_only() {
    let gate = gate_of(&file("sesame: open"));
    for _ in 0..2 {
        let admitted = admit(&gate, &basic("grafana", "sesame: open"), Scope::Read).await.unwrap();
        assert_eq!(admitted.tenant, tenant("home"));
    }
    for (user, password) in [("grafana", "sesame"), ("grafana", ""), ("nobody", "sesame: open"), ("", "")] {
        let admitted = admit(&gate, &basic(user, password), Scope::Read).await;
        assert_eq!(admitted, Err(DeniedReason::Unknown), "{user} {password}");
    }
    // What was right before counts no longer once the file says otherwise.
    gate.install_credentials(Credentials::parse(&file("another")).unwrap());
    let admitted = admit(&gate, &basic("grafana", "sesame: open"), Scope::Read).await;
    assert_eq!(admitted, Err(DeniedReason::Unknown));
    assert!(admit(&gate, &basic("grafana", "another"), Scope::Read).await.is_ok());
}

#[tokio::test]
async fn a_password_that_was_right_is_not_hashed_again() {
    let hash = PasswordHash::new("pass", &[3; 16], NonZeroU32::new(200_000).unwrap());
    let gate = gate_of(&format!("users: [{{ name: g, password: '{hash}', scopes: [read] }}]"));
    let clock = Instant::now();
    admit(&gate, &basic("g", "pass"), Scope::Read).await.unwrap();
    let first = clock.elapsed();
    for _ in 0..10 {
        admit(&gate, &basic("g", "pass"), Scope::Read).await.unwrap();
    }
    assert!(clock.elapsed() - first < first, "ten more took {:?}, the first {first:?}", clock.elapsed());
}

#[test]
fn a_hash_is_read_as_it_was_written() {
    let hash = PasswordHash::new("pass", &[9; 16], NonZeroU32::new(10_000).unwrap());
    let read = PasswordHash::parse(&hash.to_string()).unwrap();
    assert!(read.is_of("pass") && !read.is_of("Pass"));
    assert_eq!(format!("{read:?}"), "PasswordHash");
    for wrong in
        ["", "pass", "pbkdf2-sha256$1$00$00", "md5$10000$0000000000000000$00", "pbkdf2-sha256$99999999$a$b"]
    {
        assert!(PasswordHash::parse(wrong).is_err(), "{wrong}");
    }
}
