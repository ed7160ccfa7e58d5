//! How a command shows who it is: token, tenant, certificates.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::auth::TENANT_HEADER;
use crate::runtime::disk::{RealDisk, read_text};
use crate::runtime::tls::{ClientFiles, client_config};
use crate::runtime::{SystemClock, Tenant};

/// The longest file with a token, in bytes.
const TOKEN_FILE_BYTES_MAX: u64 = 64 * 1024;

/// Flags of the commands that ask a daemon.
#[derive(Clone, Debug, Default, Args)]
pub struct AccessArgs {
    /// The token to show; better in the variable or a file, where no list of processes has it
    #[arg(long, env = "TRACEWELL_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub token: Option<String>,

    /// A file with the token to show
    #[arg(long, env = "TRACEWELL_TOKEN_FILE", value_name = "FILE", conflicts_with = "token")]
    pub token_file: Option<PathBuf>,

    /// Whose traces, where the token may name others than its own tenant
    #[arg(long, env = "TRACEWELL_TENANT", value_name = "NAME", value_parser = tenant)]
    pub tenant: Option<Tenant>,

    /// The CA that signed the daemon's certificate, PEM; without it, those that the system trusts
    #[arg(long, env = "TRACEWELL_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,

    /// The certificate to show, PEM
    #[arg(long, env = "TRACEWELL_CLIENT_CERT", value_name = "FILE", requires = "client_key")]
    pub client_cert: Option<PathBuf>,

    /// Its key, PEM
    #[arg(long, env = "TRACEWELL_CLIENT_KEY", value_name = "FILE", requires = "client_cert")]
    pub client_key: Option<PathBuf>,
}

fn tenant(name: &str) -> Result<Tenant, String> {
    Tenant::new(name).ok_or_else(|| "it is not a tenant's name".to_owned())
}

impl AccessArgs {
    /// Whose traces are asked for where no daemon says it.
    pub fn tenant(&self) -> Tenant {
        self.tenant.clone().unwrap_or_default()
    }

    /// A client that shows all of it.
    ///
    /// # Errors
    /// When a file cannot be used, or the token cannot be sent.
    pub fn client(&self, builder: reqwest::ClientBuilder) -> anyhow::Result<reqwest::Client> {
        let mut builder = builder.default_headers(self.headers()?);
        if self.ca.is_some() || self.client_cert.is_some() {
            let (ca, cert, key) = (self.ca.clone(), self.client_cert.clone(), self.client_key.clone());
            let files = ClientFiles { ca, cert, key };
            builder =
                builder.tls_backend_preconfigured(client_config(&files, &RealDisk, &SystemClock::new())?);
        }
        builder.build().context("cannot make an HTTP client")
    }

    fn headers(&self) -> anyhow::Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        if let Some(token) = self.shown_token()? {
            let value = HeaderValue::from_str(&format!("Bearer {token}"));
            let Ok(mut value) = value else { bail!("the token has characters that no token has") };
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        if let Some(tenant) = &self.tenant {
            let value = HeaderValue::from_str(tenant.as_str()).context("this tenant cannot be sent")?;
            headers.insert(HeaderName::from_static(TENANT_HEADER), value);
        }
        Ok(headers)
    }

    fn shown_token(&self) -> anyhow::Result<Option<String>> {
        let from_file = |path: &Path| {
            let text = read_text(&RealDisk, path, TOKEN_FILE_BYTES_MAX);
            text.with_context(|| format!("cannot read the token from {}", path.display()))
        };
        let token = match (&self.token, &self.token_file) {
            (Some(token), _) => token.clone(),
            (None, Some(path)) => from_file(path)?,
            (None, None) => return Ok(None),
        };
        Ok(Some(token.trim().to_owned()).filter(|token| !token.is_empty()))
    }
}
