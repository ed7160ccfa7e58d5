//! The file of tokens and users.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;

use super::identity::{Identity, Scope, Scopes, Tenants};
use super::password::PasswordHash;
use super::token::Tokens;
use crate::runtime::Tenant;

/// The largest file read, in bytes: tens of thousands of tokens.
pub const CREDENTIALS_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Everybody whom the file knows.
#[derive(Debug, Default)]
pub struct Credentials {
    pub(super) tokens: Tokens,
    pub(super) users: HashMap<String, (PasswordHash, Identity)>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RawFile {
    tokens: Option<Vec<RawToken>>,
    users: Option<Vec<RawUser>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawToken {
    name: String,
    sha256: String,
    tenant: Option<String>,
    scopes: Vec<String>,
    #[serde(default)]
    tenants: Vec<String>,
    expires: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawUser {
    name: String,
    password: String,
    tenant: Option<String>,
    scopes: Vec<String>,
    #[serde(default)]
    tenants: Vec<String>,
    expires: Option<String>,
}

impl Credentials {
    /// Reads the file: YAML with `tokens` (`name`, `sha256` in hex, `tenant`, `scopes`, `tenants`, `expires`) and `users` (the
    /// same with `password` instead of `sha256`).
    ///
    /// # Errors
    /// In words: the entry that is wrong by its name, never a hash.
    pub fn parse(text: &str) -> Result<Self, String> {
        let has_content = |line: &str| !matches!(line.trim_start().chars().next(), None | Some('#'));
        let raw: RawFile = if text.lines().any(has_content) {
            let options = serde_saphyr::options! { with_snippet: false };
            serde_saphyr::from_str_with_options(text, options).map_err(|error| explain(&error))?
        } else {
            RawFile::default()
        };
        let (mut known, mut names) = (Self::default(), HashSet::new());
        for RawToken { name, sha256, tenant, scopes, tenants, expires } in raw.tokens.unwrap_or_default() {
            let wrong = |problem: &str| format!("token `{name}`: {problem}");
            let hash = hex::decode(&sha256).ok().and_then(|hash| <[u8; 32]>::try_from(hash).ok());
            let hash = hash.ok_or_else(|| wrong("`sha256` is not 64 hexadecimal digits"))?;
            let entry = identity(&name, tenant, &scopes, &tenants, expires).map_err(|p| wrong(&p))?;
            if !names.insert(("token", name.clone())) || !known.tokens.add(hash, entry) {
                return Err(wrong("it is there twice"));
            }
        }
        for RawUser { name, password, tenant, scopes, tenants, expires } in raw.users.unwrap_or_default() {
            let wrong = |problem: &str| format!("user `{name}`: {problem}");
            let hash = PasswordHash::parse(&password).map_err(|p| wrong(&p))?;
            let entry = identity(&name, tenant, &scopes, &tenants, expires).map_err(|p| wrong(&p))?;
            if name.contains(':') {
                return Err(wrong("a user's name has no colon"));
            }
            if !names.insert(("user", name.clone())) {
                return Err(wrong("it is there twice"));
            }
            known.users.insert(name, (hash, entry));
        }
        Ok(known)
    }

    /// How many tokens and users there are.
    pub fn counts(&self) -> (usize, usize) {
        (self.tokens.len(), self.users.len())
    }
}

/// The place and the kind of mistake; values are left out, one may be a secret in the wrong place.
fn explain(error: &serde_saphyr::Error) -> String {
    let place = error.location().map(|place| format!("line {}, column {}: ", place.line(), place.column()));
    let problem = match error.without_snippet() {
        serde_saphyr::Error::SerdeUnknownField { field, expected, .. } => {
            format!("unknown key `{field}`; the keys here are: {}", expected.join(", "))
        }
        serde_saphyr::Error::SerdeMissingField { field, .. } => format!("`{field}` is missing"),
        _ => "not a file of credentials: lists of `tokens` and `users`".to_owned(),
    };
    format!("{}{problem}", place.unwrap_or_default())
}

fn identity(
    name: &str,
    tenant: Option<String>,
    scopes: &[String],
    tenants: &[String],
    expires: Option<String>,
) -> Result<Identity, String> {
    if name.is_empty() || name.len() > 200 || name.chars().any(char::is_control) {
        return Err("a name has 1 to 200 characters, without control characters".into());
    }
    let expires = expires.map(|text| {
        let time = text
            .parse::<Timestamp>()
            .map_err(|_| "`expires` is not a time like 2027-01-31T00:00:00Z".to_owned());
        time.map(Timestamp::as_second)
    });
    Ok(Identity {
        name: Arc::from(name),
        tenant: tenant.map_or(Ok(Tenant::default()), |name| tenant_named(&name))?,
        scopes: scopes_named(scopes)?,
        tenants: tenants_named(tenants)?,
        expires_at: expires.transpose()?,
    })
}

fn tenant_named(name: &str) -> Result<Tenant, String> {
    let allowed = "a tenant has 1 to 150 of the characters A-Z a-z 0-9 - _ . and does not begin with a dot";
    Tenant::new(name).ok_or_else(|| format!("`{}` is not a tenant: {allowed}", name.escape_debug()))
}

/// Scopes from their names.
///
/// # Errors
/// In words, when one is not known or there is none.
pub(super) fn scopes_named(names: &[String]) -> Result<Scopes, String> {
    let scope = |name: &String| {
        let unknown = || format!("there is no scope `{}`; write, read or admin", name.escape_debug());
        Scope::named(name).ok_or_else(unknown)
    };
    let scopes: Scopes = names.iter().map(scope).collect::<Result<_, _>>()?;
    if scopes.is_empty() {
        return Err("it has no scope: write, read, admin".into());
    }
    Ok(scopes)
}

/// Other tenants from their names; `*` is all.
///
/// # Errors
/// In words, when one is not a tenant.
pub(super) fn tenants_named(names: &[String]) -> Result<Tenants, String> {
    match names {
        [] => Ok(Tenants::Own),
        names if names.iter().any(|name| name == "*") => Ok(Tenants::All),
        names => {
            let tenants = names.iter().map(|name| tenant_named(name)).collect::<Result<_, _>>()?;
            Ok(Tenants::These(tenants))
        }
    }
}

impl Identity {
    /// From what people write about one: names of its tenant, scopes, and other tenants.
    ///
    /// # Errors
    /// In words, what is wrong.
    pub fn written(
        name: &str,
        tenant: Option<String>,
        scopes: &[String],
        tenants: &[String],
    ) -> Result<Self, String> {
        identity(name, tenant, scopes, tenants, None)
    }
}
