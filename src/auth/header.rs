//! The `Authorization` header (RFC 9110, section 11.6.2; RFC 6750; RFC 7617).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::denied::{Denied, DeniedReason};

/// The longest header looked at, in bytes: web tokens with many claims are some kilobytes.
const BYTES_MAX: usize = 16 * 1024;

/// What the header holds. `Debug` is left out on purpose.
pub(super) enum Authorization {
    Bearer(String),
    Basic { user: String, password: String },
}

/// Reads the header; `None` when there is none.
pub(super) fn authorization(headers: &HeaderMap) -> Result<Option<Authorization>, Denied> {
    let malformed = |message: &str| Err(Denied::new(DeniedReason::Malformed, message));
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return malformed("there is more than one Authorization header");
    }
    if value.len() > BYTES_MAX {
        return malformed("the Authorization header is too long");
    }
    let Ok(text) = value.to_str() else { return malformed("the Authorization header is not ASCII") };
    let Some((scheme, rest)) = text.trim().split_once(' ') else {
        return malformed("the Authorization header is not `Bearer TOKEN` or `Basic CREDENTIALS`");
    };
    let rest = rest.trim_start();
    if scheme.eq_ignore_ascii_case("bearer") && !rest.is_empty() && !rest.contains(char::is_whitespace) {
        return Ok(Some(Authorization::Bearer(rest.to_owned())));
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let decoded = STANDARD.decode(rest).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        if let Some((user, password)) = decoded.as_deref().and_then(|text| text.split_once(':')) {
            return Ok(Some(Authorization::Basic { user: user.to_owned(), password: password.to_owned() }));
        }
    }
    malformed("the Authorization header is not `Bearer TOKEN` or `Basic CREDENTIALS`")
}
