//! `OTEL_RESOURCE_ATTRIBUTES` (`key=value,key=value`, in W3C Baggage's form) and `OTEL_SERVICE_NAME`, which counts
//! before a `service.name` in the former.
//!
//! <https://opentelemetry.io/docs/specs/otel/resource/sdk/#specifying-resource-information-via-an-environment-variable>:
//! `,`, `=` and all but baggage octets are percent-encoded in values; on any error the whole variable is discarded.

use super::{DetectError, Detected, Machine, text};

pub(super) fn detect(machine: &Machine<'_>) -> (Vec<Detected>, Vec<DetectError>) {
    let mut found = Vec::new();
    found.extend(machine.variable("OTEL_SERVICE_NAME").map(|name| text("service.name", name)));
    match parse(&machine.variable("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default()) {
        Ok(attributes) => found.extend(attributes),
        Err(message) => return (found, vec![DetectError::ResourceAttributes(message)]),
    }
    (found, Vec::new())
}

/// The pairs of a list. The error does not repeat values: they may be secret.
fn parse(listed: &str) -> Result<Vec<Detected>, String> {
    let pairs = listed.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    pairs.enumerate().map(|(index, pair)| parse_pair(index + 1, pair)).collect()
}

fn parse_pair(number: usize, pair: &str) -> Result<Detected, String> {
    let (key, value) = pair.split_once('=').ok_or_else(|| format!("entry {number} has no `=`"))?;
    let decode = |text: &str| {
        percent_decode(text.trim()).ok_or_else(|| format!("entry {number} is not percent-encoded UTF-8"))
    };
    match decode(key)? {
        key if key.is_empty() => Err(format!("entry {number} has no key")),
        key => Ok(text(&key, decode(value)?)),
    }
}

/// `None` for a `%` without two hexadecimal digits after it, or for what is not UTF-8 when decoded.
fn percent_decode(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        let mut value = [0];
        hex::decode_to_slice(digits, &mut value).ok()?;
        decoded.push(value[0]);
        rest = after;
    }
    String::from_utf8(decoded).ok()
}
