//! The issuer's keys, where they are now: from a file that others keep fresh, or asked for over HTTP.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use reqwest::redirect::Policy;
use tokio::sync::Mutex;
use url::Url;

use super::keys::{Algorithm, KeySet};
use crate::runtime::Clock;
use crate::runtime::follow::Standing;

/// How long an issuer may take to answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);
/// The longest answer taken, in bytes.
const ANSWER_BYTES_MAX: usize = 512 * 1024;
/// For a key that is not known the issuer is asked no more often than this: anybody can make up ids of keys.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// Keys that may change.
pub(super) struct Jwks {
    keys: RwLock<Arc<KeySet>>,
    remote: Option<Remote>,
    pub(super) standing: Standing,
}

struct Remote {
    url: Url,
    refresh: Duration,
    /// When it was last asked, monotonic. Locked while somebody asks.
    asked: Mutex<Option<Duration>>,
    http: Option<reqwest::Client>,
}

impl Jwks {
    /// Keys that somebody else [installs](Self::install).
    pub(super) fn of_file() -> Self {
        Self { keys: RwLock::default(), remote: None, standing: Standing::new("jwks") }
    }

    /// Keys of a URL. Nothing is asked yet.
    pub(super) fn of_url(url: Url, refresh: Duration) -> Self {
        let http = reqwest::Client::builder()
            .timeout(ANSWER_TIME_MAX)
            .connect_timeout(ANSWER_TIME_MAX)
            .redirect(Policy::none())
            .build()
            .inspect_err(|error| tracing::error!(%error, "cannot make an HTTP client for the issuer's keys"))
            .ok();
        let remote = Remote { url, refresh, asked: Mutex::new(None), http };
        Self { keys: RwLock::default(), remote: Some(remote), standing: Standing::new("jwks") }
    }

    /// From now on these.
    pub(super) fn install(&self, keys: KeySet) {
        *self.keys.write() = Arc::new(keys);
    }

    /// The keys to check a token with. They are asked for again when they are old, or when this one is not among them.
    pub(super) async fn keys_for(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
        clock: &dyn Clock,
    ) -> Arc<KeySet> {
        let known = self.keys.read().clone();
        let Some(remote) = &self.remote else { return known };
        let wait = if known.has(id, algorithm) { remote.refresh } else { ASK_AGAIN };
        let mut asked = match remote.asked.try_lock() {
            Ok(asked) => asked,
            // Somebody asks already; who has keys goes on with them.
            Err(_) if known.has(id, algorithm) => return known,
            Err(_) => remote.asked.lock().await,
        };
        if asked.is_some_and(|asked| clock.monotonic().saturating_sub(asked) < wait) {
            return self.keys.read().clone();
        }
        *asked = Some(clock.monotonic());
        match remote.fetch().await {
            Ok(keys) => {
                self.install(keys);
                self.standing.loaded(clock, None);
            }
            Err(problem) => self.standing.refused(&problem),
        }
        self.keys.read().clone()
    }
}

impl Remote {
    async fn fetch(&self) -> Result<KeySet, String> {
        let host = self.url.host_str().unwrap_or_default();
        let wrong = |problem: String| format!("the issuer's keys from {host}: {problem}");
        let http = self.http.as_ref().ok_or_else(|| wrong("there is no HTTP client".into()))?;
        let unreachable = |error: reqwest::Error| wrong(error.without_url().to_string());
        let mut response = http.get(self.url.clone()).send().await.map_err(unreachable)?;
        if !response.status().is_success() {
            return Err(wrong(format!("the answer is {}", response.status())));
        }
        let mut text = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(unreachable)? {
            text.extend_from_slice(&piece);
            if text.len() > ANSWER_BYTES_MAX {
                return Err(wrong(format!("the answer is larger than {} KiB", ANSWER_BYTES_MAX / 1024)));
            }
        }
        KeySet::parse(&text).map_err(wrong)
    }
}
