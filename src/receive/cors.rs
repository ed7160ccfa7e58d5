//! Browsers: which pages may send spans (Fetch standard, "CORS protocol").

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::reply::Reply;

/// What browser SDKs send beside what every request has.
const HEADERS: &str =
    "content-type, authorization, content-encoding, x-scope-orgid, traceparent, tracestate, baggage";
/// How long a browser remembers the answer, seconds: what Chrome takes at most.
const MAX_AGE: &str = "7200";

/// Whose pages may send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OriginPattern {
    /// Everybody's.
    Any,
    /// This origin: `https://shop.example`.
    Exact(String),
    /// Those of each host below a domain: scheme and `://`, then what the host ends with, dot first.
    Below(String, String),
}

impl OriginPattern {
    /// Reads `*`, `https://shop.example`, `http://localhost:3000` or `https://*.example.com`.
    ///
    /// # Errors
    /// In words, what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let expected = "write an origin like https://shop.example or https://*.example.com, without a path";
        let Some((scheme, host)) = text.split_once("://") else {
            return Err(format!("`{text}`: {expected}"));
        };
        let is_host = |host: &str| !host.is_empty() && !host.contains(['/', '*', '?', '#', '@', ' ', ',']);
        match host.strip_prefix('*') {
            Some(below) if below.len() > 1 && below.starts_with('.') && is_host(below) => {
                Ok(Self::Below(format!("{scheme}://"), below.to_ascii_lowercase()))
            }
            None if is_host(host) && !scheme.is_empty() => Ok(Self::Exact(text.to_ascii_lowercase())),
            _ => Err(format!("`{text}`: {expected}")),
        }
    }

    fn matches(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => origin.eq_ignore_ascii_case(exact),
            Self::Below(scheme, below) => {
                let host = origin.to_ascii_lowercase();
                let host =
                    host.strip_prefix(scheme.as_str()).and_then(|host| host.strip_suffix(below.as_str()));
                host.is_some_and(|name| !name.is_empty() && !name.contains(['/', ':', '@']))
            }
        }
    }
}

/// The origin of a request, where its page may send; `None` for other programs and other pages.
pub(super) fn allowed(origins: &[OriginPattern], headers: &HeaderMap) -> Option<HeaderValue> {
    let origin = headers.get(ORIGIN)?;
    let text = origin.to_str().ok()?;
    origins.iter().any(|pattern| pattern.matches(text)).then(|| origin.clone())
}

/// Whether a browser asks whether it may ask.
pub(super) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS
        && headers.contains_key(ORIGIN)
        && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to that; to a page that may not send it says nothing, which the browser takes for no.
pub(super) fn preflight(origin: Option<HeaderValue>) -> Response<Reply> {
    let mut response = Response::new(Reply::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    if origin.is_some() {
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(HEADERS));
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE));
    }
    tell(&mut response, origin);
    response
}

/// Lets the page read an answer; says to caches that it depends on the page.
pub(super) fn tell(response: &mut Response<Reply>, origin: Option<HeaderValue>) {
    let headers = response.headers_mut();
    headers.append(VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("retry-after"));
    }
}
