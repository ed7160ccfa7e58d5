//! Credentials for S3 from the usual chain where the environment has none: profiles, web identity, container and instance
//! metadata. The same that the bucket's lifecycle rules are managed with.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use aws_config::SdkConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, ProvideCredentials};
use aws_smithy_http_client::Builder as HttpClientBuilder;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use tokio::sync::Mutex;

use super::backends::s3_endpoint;
use crate::runtime::{Clock, SystemClock};

/// Credentials are asked for anew this long before they expire: a request that is signed now must still count when it arrives.
const EARLY: Duration = Duration::from_secs(300);

/// What the environment and the profile say, credentials not yet looked up.
pub(super) async fn shared_config() -> SdkConfig {
    let http = HttpClientBuilder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12()).http_client(http);
    if let Some(endpoint) = s3_endpoint() {
        loader = loader.endpoint_url(endpoint);
    }
    loader.load().await
}

/// The chain. Contacts nothing until a credential is needed, and keeps it until shortly before it expires.
pub(super) struct Chain {
    clock: SystemClock,
    known: Mutex<Option<Known>>,
}

struct Known {
    credential: Arc<AwsCredential>,
    /// Nanoseconds since the Unix epoch.
    expires: Option<u64>,
}

impl Chain {
    /// A chain that has looked for nothing yet.
    pub(super) fn new() -> Self {
        Self { clock: SystemClock::new(), known: Mutex::default() }
    }

    /// Whether the chain is needed: the environment has no keys of its own, and does not say that requests are not signed.
    pub(super) fn is_needed(env: impl Fn(&str) -> Option<String>) -> bool {
        let is_set = |name: &str| env(name).is_some_and(|value| !value.is_empty());
        !is_set("AWS_ACCESS_KEY_ID") && !is_set("AWS_SKIP_SIGNATURE")
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Chain")
    }
}

#[tonic::async_trait]
impl CredentialProvider for Chain {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let mut known = self.known.lock().await;
        if let Some(known) = known.as_ref().filter(|known| known.is_good_at(self.clock.now_unix_nano())) {
            return Ok(Arc::clone(&known.credential));
        }
        let found = look_up().await?;
        let credential = Arc::clone(&found.credential);
        *known = Some(found);
        Ok(credential)
    }
}

impl Known {
    fn is_good_at(&self, now_unix_nano: u64) -> bool {
        self.expires.is_none_or(|expires| now_unix_nano.saturating_add(EARLY.as_nanos() as u64) < expires)
    }
}

async fn look_up() -> object_store::Result<Known> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| object_store::Error::Unauthenticated {
        path: "credentials: AWS_* variables, profile, web identity, instance metadata".into(),
        source,
    };
    let shared = shared_config().await;
    let provider = shared.credentials_provider().ok_or_else(|| failed("no source of credentials".into()))?;
    let found: Credentials = provider.provide_credentials().await.map_err(|e| failed(e.into()))?;
    let credential = AwsCredential {
        key_id: found.access_key_id().to_owned(),
        secret_key: found.secret_access_key().to_owned(),
        token: found.session_token().map(str::to_owned),
    };
    let since_epoch = found.expiry().and_then(|expiry| expiry.duration_since(UNIX_EPOCH).ok());
    let expires = since_epoch.map(|time| time.as_nanos() as u64);
    Ok(Known { credential: Arc::new(credential), expires })
}

#[cfg(test)]
mod tests;
