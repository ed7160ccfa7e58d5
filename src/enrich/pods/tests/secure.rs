//! The API server behind TLS, as it is in every cluster.

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

use super::*;

/// An issuer and a server's certificate of it: the issuer's certificate as PEM, the server's settings.
fn authority() -> (String, rustls::ServerConfig) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap();
    let issuer = rcgen::Issuer::new(params, key);
    let server_key = rcgen::KeyPair::generate().unwrap();
    let server = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let server = server.signed_by(&server_key, &issuer).unwrap();
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(server_key.serialize_der()));
    let settings = rustls::ServerConfig::builder().with_no_client_auth();
    let settings = settings.with_single_cert(vec![server.der().clone()], private).unwrap();
    (authority.pem(), settings)
}

async fn serve(api: &Api, settings: rustls::ServerConfig) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(settings));
    let router = api.router();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (acceptor, router) = (acceptor.clone(), router.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(socket).await else { return };
                let service = TowerToHyperService::new(router);
                let server = auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    format!("https://{address}")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_must_be_the_issuers() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        std::fs::write(dir.path().join(name), text).unwrap();
        dir.path().join(name)
    };
    let (issuer, settings) = authority();
    let (stranger, _) = authority();
    let (ca_file, other_file) = (file("ca.crt", &issuer), file("other.crt", &stranger));
    let token_file = file("token", "a-token");
    let api = Api::new();
    api.put(pod("web-1", "uid-1", "10.0.0.1"));
    let url = serve(&api, settings).await;
    let trusting = run(PodsConfig { ca_file, token_file: token_file.clone(), ..config(&url) });
    until("the pod is known", || trusting.knows("10.0.0.1")).await;
    assert!(api.world.lock().tokens.iter().all(|token| token == "Bearer a-token"));
    let asked = api.world.lock().asked.len();
    let wary = run(PodsConfig { ca_file: other_file, token_file, ..config(&url) });
    until("another issuer's server is not asked", || wary.pods.stats().failures > 0).await;
    let error = wary.pods.stats().error.unwrap();
    assert!(error.starts_with("the API server cannot be reached") && !error.contains("a-token"), "{error}");
    assert!(api.world.lock().asked.len() <= asked + 2, "only the other one asks");
}
