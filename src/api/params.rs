//! Query parameters, as Tempo's clients send them.

use std::time::Duration;

use crate::query::{Filter, SearchRequest};
use crate::traceql;

/// A request that cannot be understood; answered with 400 and these words.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadRequest {
    /// TraceQL that does not parse, with its position.
    #[error("invalid TraceQL query: {0}")]
    TraceQl(String),
    /// A parameter with a value it cannot have.
    #[error("invalid {name}: {reason}")]
    Parameter {
        /// The parameter.
        name: &'static str,
        /// What is wrong.
        reason: String,
    },
}

fn bad(name: &'static str, reason: impl Into<String>) -> BadRequest {
    BadRequest::Parameter { name, reason: reason.into() }
}

/// The largest `spss`; more is not an error, there are only never more.
const SPANS_PER_SET_MAX: usize = 1_000;

/// Decoded `name=value` pairs.
#[derive(Debug, Default)]
pub struct Params(Vec<(String, String)>);

impl Params {
    /// Of a URL's query string.
    pub fn parse(query: Option<&str>) -> Self {
        let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        Self(pairs.into_owned().collect())
    }

    /// The first value of a parameter; an empty one counts as absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str()).filter(|v| !v.is_empty())
    }

    /// `start` and `end`, Unix seconds, as a range of nanoseconds; without both, all time.
    pub fn range(&self) -> Result<(u64, u64), BadRequest> {
        let seconds = |name: &'static str| {
            let parse = |text: &str| {
                text.parse::<u32>()
                    .map_err(|_| bad(name, format!("`{text}` is not a number of Unix seconds")))
            };
            self.get(name).map(parse).transpose()
        };
        match (seconds("start")?.filter(|&s| s > 0), seconds("end")?.filter(|&s| s > 0)) {
            (None, None) => Ok((0, u64::MAX)),
            (Some(start), Some(end)) if end > start => {
                Ok((u64::from(start) * 1_000_000_000, u64::from(end) * 1_000_000_000))
            }
            (Some(start), Some(end)) => Err(bad("end", format!("{end} is not after start {start}"))),
            _ => Err(bad("start", "start and end come together or not at all")),
        }
    }

    /// A search, from `q` or from `tags`, `minDuration` and `maxDuration`; `limit`, `spss`, `start` and `end`.
    /// Without `limit` there are at most `limit_default` traces, and never more than `limit_max`.
    pub fn search(&self, limit_default: usize, limit_max: usize) -> Result<SearchRequest, BadRequest> {
        let text = self.traceql()?;
        let query = traceql::parse(&text).map_err(|error| BadRequest::TraceQl(error.to_string()))?;
        let (start, end) = self.range()?;
        let mut request = SearchRequest::new(query);
        (request.start_unix_nano, request.end_unix_nano) = (start, end);
        request.limit = self.count("limit")?.unwrap_or(limit_default).min(limit_max);
        if let Some(spans) = self.count("spss")? {
            request.spans_per_set = spans.min(SPANS_PER_SET_MAX);
        }
        Ok(request)
    }

    /// A number greater than zero.
    fn count(&self, name: &'static str) -> Result<Option<usize>, BadRequest> {
        let parse = |text: &str| match text.parse::<usize>() {
            Ok(0) | Err(_) => Err(bad(name, format!("`{text}` is not a number greater than zero"))),
            Ok(n) => Ok(n),
        };
        self.get(name).map(parse).transpose()
    }

    fn traceql(&self) -> Result<String, BadRequest> {
        let old = ["tags", "minDuration", "maxDuration"].iter().any(|name| self.get(name).is_some());
        match self.get("q") {
            Some(_) if old => Err(bad("q", "it cannot be combined with tags, minDuration or maxDuration")),
            Some(q) if q.len() > traceql::QUERY_BYTES_MAX => {
                let most = traceql::QUERY_BYTES_MAX;
                Err(BadRequest::TraceQl(format!("it has {} bytes, at most {most} are taken", q.len())))
            }
            Some(q) => Ok(q.to_owned()),
            None => self.filter()?.to_traceql().map_err(|error| bad("tags", error.to_string())),
        }
    }

    fn filter(&self) -> Result<Filter, BadRequest> {
        let mut filter = Filter {
            trace_duration_min: self.duration("minDuration")?,
            trace_duration_max: self.duration("maxDuration")?,
            ..Filter::default()
        };
        for (key, value) in logfmt(self.get("tags").unwrap_or_default())? {
            match key.as_str() {
                "service.name" => filter.service = Some(value),
                // Of older interfaces: spans with an error, and spans of this name.
                "error" if value == "true" => filter.status = Some("error".to_owned()),
                "status" => filter.status = Some(value),
                "name" => filter.name = Some(value),
                _ => filter.attributes.push((key, value)),
            }
        }
        Ok(filter)
    }

    fn duration(&self, name: &'static str) -> Result<Option<Duration>, BadRequest> {
        let parse =
            |text: &str| crate::query::parse_duration(text).map_err(|error| bad(name, error.to_string()));
        self.get(name).map(parse).transpose()
    }
}

/// `key=value key2="va lue" …`.
fn logfmt(text: &str) -> Result<Vec<(String, String)>, BadRequest> {
    let mut pairs = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (key, after) =
            rest.split_once('=').ok_or_else(|| bad("tags", format!("no `=` after `{rest}`")))?;
        if key.is_empty() || key.contains(char::is_whitespace) {
            return Err(bad("tags", format!("`{key}` is not a key")));
        }
        let (value, after) = if let Some(quoted) = after.strip_prefix('"') {
            unquote(quoted).ok_or_else(|| bad("tags", format!("the quote after `{key}=` does not end")))?
        } else {
            let end = after.find(char::is_whitespace).unwrap_or(after.len());
            (after[..end].to_owned(), &after[end..])
        };
        pairs.push((key.to_owned(), value));
        rest = after.trim_start();
    }
    Ok(pairs)
}

/// The text up to the closing quote, and what follows it.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((i, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[i + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                't' => '\t',
                other => other,
            }),
            c => value.push(c),
        }
    }
    None
}
