#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use super::*;
use crate::runtime::{RealDisk, SystemClock};

/// A folder with `ca.pem`, and certificates that it signed.
struct World {
    dir: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl World {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        std::fs::write(dir.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { issuer: Issuer::new(params, key), dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes `NAME.pem` and `NAME.key`.
    fn issue(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.path(&format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    fn files(&self, cert: &str, key: &str) -> ServerFiles {
        ServerFiles {
            cert: self.path(cert),
            key: self.path(key),
            client_ca: Some(self.path("ca.pem")),
            crl: None,
            client_auth: ClientAuth::Required,
            min_version: MinVersion::Tls12,
        }
    }

    fn problem(&self, files: &ServerFiles) -> TlsError {
        server_identity(files, &RealDisk, &SystemClock::new()).unwrap_err()
    }
}

#[test]
fn a_pair_and_its_ca_make_a_server_and_a_client() {
    let world = World::new();
    world.issue("good", |_| {});
    let server = server_identity(&world.files("good.pem", "good.key"), &RealDisk, &SystemClock::new());
    let server = server.unwrap();
    assert_eq!(server.config.alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
    assert!(server.validity.not_after > server.validity.not_before);
    let files = ClientFiles {
        ca: Some(world.path("ca.pem")),
        cert: Some(world.path("good.pem")),
        key: Some(world.path("good.key")),
    };
    assert!(
        client_config(&files, &RealDisk, &SystemClock::new()).unwrap().client_auth_cert_resolver.has_certs()
    );
}

#[test]
fn each_wrong_file_is_named_with_what_is_wrong_with_it() {
    let world = World::new();
    world.issue("good", |_| {});
    world.issue("other", |_| {});
    world.issue("old", |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    world.issue("young", |params| params.not_before = rcgen::date_time_ymd(2200, 1, 1));
    std::fs::write(world.path("junk"), "hello").unwrap();
    let torn = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    std::fs::write(world.path("torn"), torn).unwrap();
    for (cert, key, wrong, words) in [
        ("none.pem", "good.key", "none.pem", "cannot be read"),
        ("junk", "good.key", "junk", "there is no certificate in it"),
        ("torn", "good.key", "torn", "not an X.509 certificate"),
        ("good.pem", "good.pem", "good.pem", "no private key"),
        ("good.pem", "other.key", "other.key", "does not belong to the certificate"),
        ("old.pem", "old.key", "old.pem", "expired at 2021-01-01T00:00:00Z"),
        ("young.pem", "young.key", "young.pem", "not valid before 2200-01-01T00:00:00Z"),
    ] {
        let error = world.problem(&world.files(cert, key));
        assert_eq!(error.path, world.path(wrong));
        assert!(error.problem.contains(words), "{cert}: {error}");
    }
    let no_ca = ServerFiles { client_ca: None, ..world.files("good.pem", "good.key") };
    assert!(world.problem(&no_ca).problem.contains("client_ca"));
    let wrong_ca = ServerFiles { client_ca: Some(world.path("junk")), ..world.files("good.pem", "good.key") };
    assert_eq!(world.problem(&wrong_ca).path, world.path("junk"));
}

#[test]
fn a_client_shows_a_certificate_with_its_key_or_none() {
    let world = World::new();
    world.issue("good", |_| {});
    let ca = Some(world.path("ca.pem"));
    let half = [
        ClientFiles { ca: ca.clone(), cert: Some(world.path("good.pem")), key: None },
        ClientFiles { ca, cert: None, key: Some(world.path("good.key")) },
    ];
    for files in half {
        let error = client_config(&files, &RealDisk, &SystemClock::new()).unwrap_err();
        assert!(error.problem.contains("needs its"), "{error}");
    }
}

#[test]
fn every_ca_of_clients_has_signed_a_list_of_those_it_takes_back() {
    let (world, other) = (World::new(), World::new());
    world.issue("good", |_| {});
    let list = |world: &World| {
        let params = rcgen::CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2024, 1, 1),
            next_update: rcgen::date_time_ymd(2100, 1, 1),
            crl_number: rcgen::SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        params.signed_by(&world.issuer).unwrap().pem().unwrap()
    };
    let files = ServerFiles { crl: Some(world.path("crl")), ..world.files("good.pem", "good.key") };
    let load = || server_identity(&files, &RealDisk, &SystemClock::new());
    std::fs::write(world.path("crl"), list(&world)).unwrap();
    assert_eq!(load().unwrap().crl_next_update, Some(4_102_444_800));
    // Of the same name, and another key.
    std::fs::write(world.path("crl"), list(&other)).unwrap();
    assert!(load().unwrap_err().problem.contains("has signed"));
    let ca = |world: &World| std::fs::read_to_string(world.path("ca.pem")).unwrap();
    std::fs::write(world.path("ca.pem"), ca(&world) + &ca(&other)).unwrap();
    assert!(load().unwrap_err().problem.contains("has signed"), "one of two");
    std::fs::write(world.path("crl"), list(&other) + &list(&world)).unwrap();
    load().unwrap();
    std::fs::write(world.path("crl"), vec![b'x'; 5 << 20]).unwrap();
    assert_eq!(load().unwrap_err().problem, "larger than 4096 KiB");
    assert!(files.paths().contains(&world.path("crl")));
}

#[test]
fn a_secret_is_not_shown_where_a_file_is() {
    let world = World::new();
    world.issue("good", |_| {});
    let pem = Pem::read(&RealDisk, Path::new(&world.path("good.key"))).unwrap();
    assert!(!format!("{pem:?}").contains("PRIVATE"));
}
