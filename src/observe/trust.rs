//! Who was let in, and how certificates and credentials stand: for metrics and status.

use serde_json::{Map, Value, json};

use crate::auth::{DeniedReason, Gate};
use crate::runtime::follow::StandingNow;
use crate::runtime::net::TlsCounts;

/// Authentication and TLS at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustNow {
    /// Whether anybody is asked for credentials.
    pub asks: bool,
    /// Requests let in.
    pub admitted: u64,
    /// Requests not let in, by reason.
    pub denied: Vec<(&'static str, u64)>,
    /// Tokens and users in the file of credentials.
    pub known: (usize, usize),
    /// What is read from files or asked for, and how it stands.
    pub standings: Vec<StandingNow>,
    /// Handshakes on all listeners.
    pub handshakes: TlsCounts,
}

impl TrustNow {
    /// What a gate says; without files and listeners.
    pub fn of(gate: &Gate) -> Self {
        let stats = gate.stats();
        Self {
            asks: gate.asks(),
            admitted: stats.admitted(),
            denied: DeniedReason::ALL.map(|reason| (reason.name(), stats.denied(reason))).to_vec(),
            known: gate.known(),
            standings: Vec::new(),
            handshakes: TlsCounts::default(),
        }
    }

    /// When the first certificate expires, Unix seconds; 0 when there is none.
    pub(super) fn certificate_expires_at(&self) -> i64 {
        self.first_end(|what| !is_of_lists(what))
    }

    /// When the first revocation list is to be followed by a newer one, Unix seconds; 0 when there is none.
    pub(super) fn crl_next_update(&self) -> i64 {
        self.first_end(is_of_lists)
    }

    fn first_end(&self, is_wanted: impl Fn(&str) -> bool) -> i64 {
        let wanted = self.standings.iter().filter(|standing| is_wanted(standing.what));
        wanted.filter_map(|standing| standing.expires_at).min().unwrap_or(0)
    }
}

fn is_of_lists(what: &str) -> bool {
    what.ends_with("_crl")
}

/// `asks`, `admitted`, `denied` by reason, `tokens`, `users`, `handshakes`, and of each kind of `files`: `loaded_at`,
/// `expires_at`, `error`, `loaded`, `refused`.
pub(super) fn status(trust: &TrustNow) -> Value {
    let denied: Map<String, Value> =
        trust.denied.iter().map(|(reason, times)| ((*reason).to_owned(), json!(times))).collect();
    let files: Map<String, Value> =
        trust.standings.iter().map(|standing| (standing.what.to_owned(), standing.to_json())).collect();
    let TlsCounts { done, failed, plain_text } = trust.handshakes;
    json!({
        "asks": trust.asks,
        "admitted": trust.admitted,
        "denied": denied,
        "tokens": trust.known.0,
        "users": trust.known.1,
        "handshakes": { "done": done, "failed": failed, "plain_text": plain_text },
        "files": files,
    })
}
