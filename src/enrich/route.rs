//! `http.route` for server spans that came without: their path with everything taken out that may be an id. It is a
//! guess: frameworks know their routes better, and theirs is never replaced.
//!
//! Low cardinality counts more than exactness: what might be an id becomes `{id}`, and after some segments nothing is
//! told apart any more.

/// What stands for an id.
const ID: &str = "{id}";
/// What stands for all further segments.
const REST: &str = "{rest}";
/// The segments told apart.
const SEGMENTS_MAX: usize = 10;
/// The longest segment that is a word, in bytes.
const WORD_BYTES_MAX: usize = 40;
/// So many digits do not stand in a word. `oauth2`, `v1`, `us-east-1`, `h264` are words.
const WORD_DIGITS_MAX: usize = 3;
/// The shortest run of hexadecimal digits that is an id although there are few decimal ones in it.
const HEX_BYTES_MIN: usize = 7;
/// The shortest run of letters in both cases and digits that looks like base64.
const MIXED_BYTES_MIN: usize = 12;

/// The route of a `url.path`, or of an `http.target` (which has a query). `None` if it is no path.
pub(super) fn route_of(target: &str) -> Option<String> {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let segments = path.strip_prefix('/')?.split('/');
    let mut route = String::with_capacity(path.len());
    for (index, segment) in segments.enumerate() {
        route.push('/');
        if index == SEGMENTS_MAX {
            route.push_str(REST);
            break;
        }
        // Parameters of a segment: `;jsessionid=…`.
        let segment = segment.split(';').next().unwrap_or_default();
        route.push_str(if is_id(segment) { ID } else { segment });
    }
    Some(route)
}

/// The name of a server span by the semantic conventions, `{method} {route}`, if the one it has says no more: it is
/// empty, the method, the path, or both.
pub(super) fn name_of(name: &str, method: &str, target: &str, route: &str) -> Option<String> {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let rest = name.strip_prefix("HTTP ").unwrap_or(name);
    let rest = rest.strip_prefix(method).unwrap_or(rest).trim_start();
    let says_no_more = rest.is_empty() || rest == path || rest == target;
    let wanted = if method.is_empty() { route.to_owned() } else { format!("{method} {route}") };
    (says_no_more && wanted != name).then_some(wanted)
}

/// Whether a segment may be an id, or something else that one sees once.
fn is_id(segment: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~:,+=!$*()@".contains(&byte);
    let bytes = segment.as_bytes();
    if bytes.len() > WORD_BYTES_MAX || !bytes.iter().all(|byte| is_plain(*byte)) || bytes.contains(&b'@') {
        return true;
    }
    let digits = bytes.iter().filter(|byte| byte.is_ascii_digit()).count();
    let letters = bytes.iter().filter(|byte| byte.is_ascii_alphabetic()).count();
    digits > WORD_DIGITS_MAX
        || digits > 0 && letters == 0
        || segment.split(['-', '_', '.', '~', ':', ',']).any(is_code)
}

/// Whether a part of a segment is hexadecimal or like base64.
fn is_code(part: &str) -> bool {
    let has = |is: fn(&u8) -> bool| part.as_bytes().iter().any(is);
    let (digit, lower, upper) =
        (has(u8::is_ascii_digit), has(u8::is_ascii_lowercase), has(u8::is_ascii_uppercase));
    let is_hex = part.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex && digit && part.len() >= HEX_BYTES_MIN || part.len() >= MIXED_BYTES_MIN && digit && lower && upper
}

#[cfg(test)]
mod tests;
