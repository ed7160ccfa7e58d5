//! Who is let in to ask. Every route is behind it: what is not named here may be read by those who may read, and what
//! changes something is for those who may.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};

use super::{Api, reply};
use crate::auth::{Admitted, ClientCertificate, Denied, Gate, Scope, Shown};
use crate::runtime::Tenant;

/// The other side of a connection; an extension of each request.
#[derive(Clone, Debug, Default)]
pub(super) struct Peer {
    /// The certificate it showed.
    pub(super) certificate: Option<Arc<ClientCertificate>>,
}

/// Who asks: what every answer is about.
#[derive(Clone, Debug)]
pub struct Asker(Admitted);

impl Asker {
    /// Whose traces are asked for.
    pub fn tenant(&self) -> &Tenant {
        &self.0.tenant
    }

    /// The tenant to which an answer about the daemon is confined; `None`: all of it may be seen.
    pub fn confined_to(&self) -> Option<&Tenant> {
        (!self.0.sees_all).then_some(&self.0.tenant)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Asker {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let nobody = || reply::text(StatusCode::UNAUTHORIZED, "nobody is asking\n");
        parts.extensions.get::<Self>().cloned().ok_or_else(nobody)
    }
}

/// What a request needs; `None`: nothing.
fn needs(gate: &Gate, method: &Method, path: &str) -> Option<Scope> {
    match path {
        "/healthz" | "/ready" | "/api/echo" => None,
        "/status" | "/metrics" => gate.scope_of_status(),
        _ if method == Method::GET || method == Method::HEAD || method == Method::OPTIONS => {
            Some(Scope::Read)
        }
        _ => Some(Scope::Admin),
    }
}

/// Lets a request in, with its [`Asker`], before anything of its body is read.
pub(super) async fn door(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let needs = |gate: &Arc<Gate>| {
        needs(gate, request.method(), request.uri().path()).map(|scope| (gate.clone(), scope))
    };
    let Some((gate, scope)) = api.gate.as_ref().and_then(needs) else {
        // What is open says nothing about a tenant, or is open because somebody wants it to say all.
        let (tenant, name) = (Tenant::default(), Arc::from("anybody"));
        request.extensions_mut().insert(Asker(Admitted { tenant, name, sees_all: true }));
        return next.run(request).await;
    };
    let certificate = request.extensions().get::<Peer>().and_then(|peer| peer.certificate.clone());
    let shown = Shown { headers: request.headers(), certificate: certificate.as_deref() };
    match gate.admit(shown, scope).await {
        Ok(admitted) => {
            request.extensions_mut().insert(Asker(admitted));
            next.run(request).await
        }
        Err(denied) => refused(&gate, &denied),
    }
}

fn refused(gate: &Gate, denied: &Denied) -> Response {
    let status = match () {
        () if denied.is_transient() => StatusCode::SERVICE_UNAVAILABLE,
        () if denied.is_forbidden() => StatusCode::FORBIDDEN,
        () => StatusCode::UNAUTHORIZED,
    };
    let mut response = reply::text(status, format!("{denied}\n"));
    match status {
        StatusCode::UNAUTHORIZED => response.headers_mut().insert(WWW_AUTHENTICATE, gate.challenge()),
        StatusCode::SERVICE_UNAVAILABLE => {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"))
        }
        _ => None,
    };
    response
}
