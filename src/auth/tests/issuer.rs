//! Keys that are asked for over HTTP.

use std::sync::atomic::AtomicUsize;

use axum::Router;
use axum::routing::get;
use parking_lot::Mutex;

use super::*;

/// An issuer's server: what it answers, and how often it was asked.
#[derive(Clone, Default)]
struct Server {
    answer: Arc<Mutex<(u16, String)>>,
    asked: Arc<AtomicUsize>,
}

impl Server {
    async fn start(&self) -> url::Url {
        let server = self.clone();
        let keys = move || {
            server.asked.fetch_add(1, Ordering::Relaxed);
            let (status, body) = server.answer.lock().clone();
            async move { (http::StatusCode::from_u16(status).unwrap(), body) }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let router = Router::new().route("/keys", get(keys));
        let served = axum::serve(listener, router).into_future();
        tokio::spawn(served);
        url.parse().unwrap()
    }

    fn answers(&self, status: u16, body: &str) {
        *self.answer.lock() = (status, body.to_owned());
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn keys_are_asked_for_when_they_are_old_or_unknown_and_no_more_often() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = Server::default();
    let (first, second) = (IssuerKeys::new(), IssuerKeys::new());
    let keys = KeysFrom::Url { url: server.start().await, refresh: Duration::from_secs(300) };
    let config = AuthConfig { jwt: Some(JwtConfig { keys, ..jwt_config() }), ..AuthConfig::default() };
    let clock = clock();
    let gate = Gate::new(config, clock.clone(), Handle::current(), &[7; 32]);
    let later = |seconds: u64| clock.0.fetch_add(seconds * 1_000_000_000, Ordering::Relaxed);
    let good = first.token(&claims(json!({"exp": NOW + 100_000})));

    // Not there at first: nobody is let in, and it is not asked for each of them.
    server.answers(500, "");
    for _ in 0..3 {
        assert_eq!(admit(&gate, &bearer(&good), Scope::Write).await, Err(DeniedReason::Signature));
    }
    assert_eq!(server.asked(), 1);
    let standing = gate.keys_standing().unwrap().now();
    assert!(standing.error.unwrap().contains("500"));

    later(10);
    server.answers(200, &first.jwks().to_string());
    for _ in 0..3 {
        assert!(admit(&gate, &bearer(&good), Scope::Write).await.is_ok());
    }
    assert_eq!((server.asked(), gate.keys_standing().unwrap().now().error), (2, None));

    // Made-up ids of keys are asked for once in a while.
    let made_up = first.sign(&json!({"alg": "ES256", "kid": "made up"}), &claims(json!({})));
    later(10);
    for _ in 0..5 {
        assert_eq!(admit(&gate, &bearer(&made_up), Scope::Write).await, Err(DeniedReason::Signature));
    }
    assert_eq!(server.asked(), 3);

    // New keys take effect for the first token that names one.
    let mut rotated = second.jwks();
    rotated["keys"][0]["kid"] = json!("next");
    server.answers(200, &rotated.to_string());
    later(10);
    let next = second.sign(&json!({"alg": "ES256", "kid": "next"}), &claims(json!({"exp": NOW + 100_000})));
    assert!(admit(&gate, &bearer(&next), Scope::Write).await.is_ok());
    assert_eq!(admit(&gate, &bearer(&good), Scope::Write).await, Err(DeniedReason::Signature));

    // Old ones are asked for again; while that fails, what is known stays.
    let asked = server.asked();
    for answer in ["not keys", &" ".repeat(600 * 1024)] {
        server.answers(200, answer);
        later(301);
        assert!(admit(&gate, &bearer(&next), Scope::Write).await.is_ok());
    }
    assert_eq!(server.asked(), asked + 2);
    assert!(gate.keys_standing().unwrap().now().error.unwrap().contains("larger than 512 KiB"));
}
