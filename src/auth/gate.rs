//! The gate: what a request shows → who it is, and whether that is enough.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use parking_lot::{Mutex, RwLock};
use ring::hmac;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::TENANT_HEADER;
use super::certificate::ClientCertificate;
use super::config::{AuthConfig, KeysFrom, ScopeOfStatus};
use super::counts::AuthStats;
use super::denied::{Denied, DeniedReason};
use super::file::Credentials;
use super::header::{Authorization, authorization};
use super::identity::{Identity, Scope, Tenants};
use super::jwks::Jwks;
use super::jwt::{self, Token};
use super::keys::KeySet;
use super::password::PasswordHash;
use super::token::{Tokens, token_hash};
use crate::runtime::follow::Standing;
use crate::runtime::{Clock, Tenant};

/// Passwords hashed at a time: each keeps a core busy for tenths of a second.
const HASHED_AT_ONCE: usize = 1;
/// How long a password waits for its turn.
const HASH_WAIT_MAX: Duration = Duration::from_secs(5);
/// How many passwords may wait for it.
const HASH_WAITING_MAX: usize = 64;
/// Right passwords remembered, 32 bytes each and what the map needs.
const REMEMBERED_MAX: usize = 1024;

/// What a request shows.
#[derive(Clone, Copy)]
pub struct Shown<'a> {
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// The certificate of its connection.
    pub certificate: Option<&'a ClientCertificate>,
}

/// Somebody who was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// Whose spans this is about.
    pub tenant: Tenant,
    /// What people call the credential.
    pub name: Arc<str>,
    /// Whether it may see every tenant.
    pub sees_all: bool,
}

/// Lets in, or not. Shared by all listeners.
pub struct Gate {
    clock: Arc<dyn Clock>,
    tasks: Handle,
    config: AuthConfig,
    credentials: RwLock<Arc<Credentials>>,
    /// Of what runs in this process.
    own: RwLock<Tokens>,
    jwks: Option<Jwks>,
    /// How the file of credentials stands.
    pub credentials_standing: Standing,
    stats: AuthStats,
    hashing: Semaphore,
    waiting: Semaphore,
    remembered: Mutex<HashMap<[u8; 32], PasswordHash>>,
    /// Of this process only: what is remembered is worth nothing elsewhere.
    memory_key: hmac::Key,
}

impl Gate {
    /// A gate for these kinds of credentials, none of them known yet. Passwords are hashed on `tasks`; `key` are random bytes.
    pub fn new(config: AuthConfig, clock: Arc<dyn Clock>, tasks: Handle, key: &[u8; 32]) -> Self {
        let jwks = config.jwt.as_ref().map(|jwt| match &jwt.keys {
            KeysFrom::File(_) => Jwks::of_file(),
            KeysFrom::Url { url, refresh } => Jwks::of_url(url.clone(), *refresh),
        });
        Self {
            clock,
            tasks,
            config,
            credentials: RwLock::default(),
            own: RwLock::default(),
            jwks,
            credentials_standing: Standing::new("credentials"),
            stats: AuthStats::default(),
            hashing: Semaphore::new(HASHED_AT_ONCE),
            waiting: Semaphore::new(HASH_WAITING_MAX),
            remembered: Mutex::default(),
            memory_key: hmac::Key::new(hmac::HMAC_SHA256, key),
        }
    }

    /// A gate that is open: everybody is the default tenant, and may do everything.
    pub fn open(clock: Arc<dyn Clock>, tasks: Handle) -> Self {
        Self::new(AuthConfig::default(), clock, tasks, &[0; 32])
    }

    /// Whether anybody is asked for credentials.
    pub fn asks(&self) -> bool {
        self.config.is_on()
    }

    /// Who may see `/status` and `/metrics`; `None`: everybody.
    pub fn scope_of_status(&self) -> Option<Scope> {
        match self.config.status {
            ScopeOfStatus::Read => Some(Scope::Read),
            ScopeOfStatus::Admin => Some(Scope::Admin),
            ScopeOfStatus::Open => None,
        }
    }

    /// From now on these tokens and users.
    pub fn install_credentials(&self, credentials: Credentials) {
        *self.credentials.write() = Arc::new(credentials);
        self.remembered.lock().clear();
    }

    /// From now on this token is good for sending as the default tenant, whatever files say.
    pub fn trust_own(&self, token: &str) {
        let identity = Identity {
            name: Arc::from("this process"),
            tenant: Tenant::default(),
            scopes: [Scope::Write].into_iter().collect(),
            tenants: Tenants::Own,
            expires_at: None,
        };
        self.own.write().add(token_hash(token), identity);
    }

    /// From now on these keys of the issuer, where they come from a file.
    pub fn install_keys(&self, keys: KeySet) {
        if let Some(jwks) = &self.jwks {
            jwks.install(keys);
        }
    }

    /// How the issuer's keys stand.
    pub fn keys_standing(&self) -> Option<&Standing> {
        self.jwks.as_ref().map(|jwks| &jwks.standing)
    }

    /// How many tokens and users are known.
    pub fn known(&self) -> (usize, usize) {
        self.credentials.read().counts()
    }

    /// The counters.
    pub fn stats(&self) -> &AuthStats {
        &self.stats
    }

    /// What a client that is not let in is asked for (`WWW-Authenticate`).
    pub fn challenge(&self) -> HeaderValue {
        let has_users = self.known().1 > 0;
        HeaderValue::from_static(match has_users {
            true => "Bearer realm=\"tracewell\", Basic realm=\"tracewell\", charset=\"UTF-8\"",
            false => "Bearer realm=\"tracewell\"",
        })
    }

    /// Who it is, if that one may do this.
    ///
    /// # Errors
    /// Why not. It is counted, and told in the log.
    pub async fn admit(&self, shown: Shown<'_>, needs: Scope) -> Result<Admitted, Denied> {
        let admitted = self.examine(shown, needs).await;
        match &admitted {
            Ok(_) => self.stats.count_admitted(),
            Err(denied) => self.stats.count_denied(denied, &*self.clock),
        }
        admitted
    }

    async fn examine(&self, shown: Shown<'_>, needs: Scope) -> Result<Admitted, Denied> {
        let named = named_tenant(shown.headers)?;
        if !self.asks() {
            return match named {
                Some(tenant) if tenant != Tenant::default() => {
                    let message = "without authentication nobody may name a tenant: configure `auth`";
                    Err(Denied::new(DeniedReason::Tenant, message))
                }
                _ => Ok(Admitted { tenant: Tenant::default(), name: Arc::from("anybody"), sees_all: true }),
            };
        }
        let identity = self.identify(shown).await?;
        if identity.expires_at.is_some_and(|end| end < self.now()) {
            return Err(Denied::new(DeniedReason::Expired, "the credential has expired"));
        }
        if !identity.scopes.has(needs) {
            let message = format!("this credential is not for that: it lacks the scope `{}`", needs.name());
            return Err(Denied::new(DeniedReason::Scope, message));
        }
        let tenant = match named {
            Some(tenant) if !identity.may_name(&tenant) => {
                let message = "this credential may not name that tenant in X-Scope-OrgID";
                return Err(Denied::new(DeniedReason::Tenant, message));
            }
            Some(tenant) => tenant,
            None => identity.tenant.clone(),
        };
        Ok(Admitted { tenant, sees_all: identity.tenants == Tenants::All, name: identity.name })
    }

    fn now(&self) -> i64 {
        i64::try_from(self.clock.now_unix_nano() / 1_000_000_000).unwrap_or(i64::MAX)
    }

    async fn identify(&self, shown: Shown<'_>) -> Result<Identity, Denied> {
        match authorization(shown.headers)? {
            Some(Authorization::Bearer(token)) => self.bearer(&token).await,
            Some(Authorization::Basic { user, password }) => self.user(user, password).await,
            None => self.certificate(shown.certificate),
        }
    }

    async fn bearer(&self, token: &str) -> Result<Identity, Denied> {
        if let Some(identity) = self.credentials.read().tokens.find(token) {
            return Ok(identity.clone());
        }
        if let Some(identity) = self.own.read().find(token) {
            return Ok(identity.clone());
        }
        match (&self.jwks, &self.config.jwt) {
            (Some(jwks), Some(config)) if jwt::looks_like_one(token) => {
                let token = Token::parse(token)?;
                let keys = jwks.keys_for(token.key_id.as_deref(), token.algorithm, &*self.clock).await;
                token.check(&keys, config, self.now())
            }
            _ => Err(Denied::new(DeniedReason::Unknown, "this token is not known here")),
        }
    }

    fn certificate(&self, certificate: Option<&ClientCertificate>) -> Result<Identity, Denied> {
        let Some(certificate) = certificate.filter(|_| !self.config.certificates.is_empty()) else {
            return Err(Denied::new(DeniedReason::Missing, "no credential was sent"));
        };
        let is_it = |rule: &&super::config::CertificateRule| {
            let names = &certificate.alternative_names;
            rule.common_name.as_ref().is_none_or(|name| certificate.common_name.as_ref() == Some(name))
                && rule.alternative_name.as_ref().is_none_or(|name| names.contains(name))
        };
        let rule = self.config.certificates.iter().find(is_it);
        let unknown = || Denied::new(DeniedReason::Unknown, "this client certificate is nobody's here");
        rule.map(|rule| rule.identity.clone()).ok_or_else(unknown)
    }

    async fn user(&self, user: String, password: String) -> Result<Identity, Denied> {
        let wrong = || Denied::new(DeniedReason::Unknown, "wrong user or password");
        let known = self.credentials.read().users.get(&user).cloned();
        let (hash, identity) = match known {
            Some((hash, identity)) => (hash, Some(identity)),
            // A name that does not exist takes as long as one that does.
            None => (self.some_hash().ok_or_else(wrong)?, None),
        };
        let remembered = self.remembered_as(&user, &password);
        if identity.is_some() && self.remembered.lock().get(&remembered) == Some(&hash) {
            return identity.ok_or_else(wrong);
        }
        let is_right = self.is_of(hash.clone(), password).await?;
        let identity = identity.filter(|_| is_right).ok_or_else(wrong)?;
        let mut all = self.remembered.lock();
        if all.len() >= REMEMBERED_MAX {
            all.clear();
        }
        all.insert(remembered, hash);
        Ok(identity)
    }

    fn some_hash(&self) -> Option<PasswordHash> {
        self.credentials.read().users.values().next().map(|(hash, _)| hash.clone())
    }

    fn remembered_as(&self, user: &str, password: &str) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.memory_key);
        context.update(&(user.len() as u64).to_be_bytes());
        context.update(user.as_bytes());
        context.update(password.as_bytes());
        let mut tag = [0; 32];
        tag.copy_from_slice(context.sign().as_ref());
        tag
    }

    /// In its turn, on a thread that may block.
    async fn is_of(&self, hash: PasswordHash, password: String) -> Result<bool, Denied> {
        let busy =
            || Denied::new(DeniedReason::Busy, "too many passwords are being checked; try again in a moment");
        let _place = self.waiting.try_acquire().map_err(|_| busy())?;
        let turn = timeout(HASH_WAIT_MAX, self.hashing.acquire()).await;
        let _turn = turn.map_err(|_| busy())?.map_err(|_| busy())?;
        let checked = self.tasks.spawn_blocking(move || hash.is_of(&password)).await;
        checked.map_err(|_| busy())
    }
}

/// The tenant that the request names, if it names one.
pub(super) fn named_tenant(headers: &HeaderMap) -> Result<Option<Tenant>, Denied> {
    let wrong = |message: &str| Denied::new(DeniedReason::Tenant, message);
    let mut values = headers.get_all(TENANT_HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(wrong("X-Scope-OrgID is there more than once"));
    }
    let tenant = value.to_str().ok().and_then(Tenant::new);
    tenant.map(Some).ok_or_else(|| wrong("X-Scope-OrgID does not name one tenant"))
}
