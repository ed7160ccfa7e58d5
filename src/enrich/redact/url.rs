//! URLs: who logs in, and what the query says. Keys of the query stay, their values go, but for those allowed. A
//! fragment with `key=value` in it is treated as a query: that is how tokens are handed to web pages.

use std::ops::Range;

/// What part of a URL an attribute holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// All of it, or at least path and query.
    Url,
    /// The query alone.
    Query,
}

/// The form of the attributes that hold URLs, by the semantic conventions of now and before.
pub(super) fn form_of(key: &[u8]) -> Option<Form> {
    match key {
        b"url.full" | b"http.url" | b"http.target" => Some(Form::Url),
        b"url.query" => Some(Form::Query),
        _ => None,
    }
}

/// The keys whose values may stay.
#[derive(Debug)]
pub(super) struct Urls {
    allowed: Vec<String>,
}

impl Urls {
    pub(super) fn new(allowed: &[String]) -> Self {
        Self { allowed: allowed.to_vec() }
    }

    /// The places in the text that must not stay, in order.
    pub(super) fn secrets(&self, form: Form, text: &str) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        let query = match form {
            Form::Url => {
                found.extend(userinfo(text));
                text.find('?').map(|sign| sign + 1)
            }
            Form::Query => Some(text.len() - text.trim_start_matches('?').len()),
        };
        let fragment = text.find('#');
        if let Some(start) = query.filter(|start| fragment.is_none_or(|sign| *start <= sign)) {
            self.values(text, start..fragment.unwrap_or(text.len()), &mut found);
        }
        if let Some(sign) = fragment {
            self.values(text, sign + 1..text.len(), &mut found);
        }
        found
    }

    /// The values of a query's pairs, between `&` or `;`.
    fn values(&self, text: &str, query: Range<usize>, found: &mut Vec<Range<usize>>) {
        let mut start = query.start;
        for pair in text[query].split(['&', ';']) {
            if let Some((key, value)) = pair.split_once('=')
                && !value.is_empty()
                && !self.allowed.iter().any(|allowed| allowed == key)
            {
                let value_start = start + key.len() + 1;
                found.push(value_start..value_start + value.len());
            }
            start += pair.len() + 1;
        }
    }
}

/// What stands before the `@` of a URL's authority.
fn userinfo(text: &str) -> Option<Range<usize>> {
    let start = text.find("://")? + 3;
    let authority = text[start..].split(['/', '?', '#']).next()?;
    let sign = authority.rfind('@')?;
    (sign > 0).then_some(start..start + sign)
}
