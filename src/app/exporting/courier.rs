//! Who carries parcels to a backend: OTLP/gRPC or OTLP/HTTP, with the headers it asks for.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::app::connecting::{client_options, http_clients, value_in};
use crate::config::ExportTarget;
use crate::forward::answer::{Belief, Outcome, of_grpc, of_http};
use crate::forward::client::{Client, ClientOptions, EXPORT, Token};
use crate::forward::compress::Compression;
use crate::forward::lane::Courier;
use crate::forward::post::Poster;
use crate::forward::queue::Parcel;
use crate::runtime::{Clock, Disk, Tasks, Tenant};

/// Carries the parcels of one backend.
pub struct ToBackend {
    by: By,
    fixed: HeaderMap,
    in_files: Vec<(HeaderName, Token)>,
    tenant_header: Option<HeaderName>,
    age_max: Duration,
    clock: Arc<dyn Clock>,
}

enum By {
    Grpc(Client),
    Http(Poster),
}

impl ToBackend {
    /// Contacts nobody.
    ///
    /// # Errors
    /// In words: a file that cannot be used.
    pub fn new(
        target: &ExportTarget,
        disk: &Arc<dyn Disk>,
        clock: &Arc<dyn Clock>,
        tasks: &Tasks,
    ) -> Result<Self, String> {
        let name = |name: &str| HeaderName::try_from(name).map_err(|error| error.to_string());
        let mut fixed = HeaderMap::new();
        for (header, value) in &target.headers {
            // What is wrong is not shown: it is a secret.
            let value = HeaderValue::from_str(value.reveal());
            let mut value = value.map_err(|_| format!("headers: the value of {header} cannot be one"))?;
            value.set_sensitive(true);
            fixed.insert(name(header)?, value);
        }
        let in_files = target.header_files.iter().map(|(header, path)| {
            let value = value_in(path, "", disk, clock).map_err(|error| format!("header_files: {error}"))?;
            Ok((name(header)?, value))
        });
        let in_files = in_files.collect::<Result<_, String>>()?;
        let tls = |error: String| format!("tls: {error}");
        let by = if target.grpc {
            let options = client_options(target.tls.as_ref(), None, &target.compression, disk, clock);
            let options = ClientOptions { call_timeout: target.timeout, ..options.map_err(tls)? };
            By::Grpc(Client::new(&address(target), options, tasks.runtime()))
        } else {
            let make = http_clients(target.tls.as_ref(), target.timeout, disk, clock).map_err(tls)?;
            let named = Compression::ALL.into_iter().find(|(name, _)| *name == target.compression);
            By::Http(Poster::new(target.url.clone(), named.unwrap_or_default().1, make))
        };
        let tenant_header = target.tenant_header.as_deref().map(name).transpose()?;
        Ok(Self { by, fixed, in_files, tenant_header, age_max: target.queue_age, clock: clock.clone() })
    }

    fn headers(&self, tenant: &Tenant) -> HeaderMap {
        let mut headers = self.fixed.clone();
        for (name, value) in &self.in_files {
            if let Some(value) = value() {
                headers.insert(name.clone(), value);
            }
        }
        if let (Some(name), Ok(tenant)) = (&self.tenant_header, HeaderValue::from_str(tenant.as_str())) {
            headers.insert(name.clone(), tenant);
        }
        headers
    }

    async fn export(&self, tenant: &Tenant, pieces: &[Bytes]) -> Outcome {
        let headers = self.headers(tenant);
        match &self.by {
            By::Grpc(client) => {
                let metadata: Vec<_> = headers.iter().map(|(name, v)| (name.clone(), v.clone())).collect();
                match client.call(EXPORT, &metadata, pieces).await {
                    Ok(answer) => of_grpc(&answer.headers, &answer.message, Belief::Backend),
                    Err(reason) => Outcome::unreachable(reason),
                }
            }
            By::Http(poster) => match poster.post(headers, pieces).await {
                Ok(posted) => of_http(posted.status, &posted.headers, &posted.body, Belief::Backend),
                Err(reason) => Outcome::unreachable(reason),
            },
        }
    }
}

/// `HOST:PORT` of a backend.
pub fn address(target: &ExportTarget) -> String {
    let host = target.url.host_str().unwrap_or_default();
    // Both schemes have a port of their own.
    format!("{host}:{}", target.url.port_or_known_default().unwrap_or_default())
}

impl Courier for ToBackend {
    fn send<'a>(&'a self, parcels: &'a [Parcel]) -> BoxFuture<'a, Outcome> {
        async move {
            let Some(first) = parcels.first() else {
                return Outcome::Taken { rejected: 0, message: String::new() };
            };
            let pieces: Vec<_> = parcels.iter().map(|parcel| parcel.body.clone()).collect();
            self.export(&first.tenant, &pieces).await
        }
        .boxed()
    }

    fn have_expired(&self, parcels: &[Parcel]) -> bool {
        // The last one has waited least.
        let since = parcels.last().map_or(u64::MAX, |parcel| parcel.received_unix_nano);
        Duration::from_nanos(self.clock.now_unix_nano().saturating_sub(since)) > self.age_max
    }
}
