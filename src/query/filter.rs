//! The short ways to ask (service, route, status, …), written as TraceQL: there is one path behind them all.

use std::time::Duration;

/// What `trace find` and the older search parameters can ask without TraceQL. Everything given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// `resource.service.name` of a span.
    pub service: Option<String>,
    /// The span's name.
    pub name: Option<String>,
    /// `span.http.route` of the span.
    pub route: Option<String>,
    /// Status of the span: `error`, `ok` or `unset`.
    pub status: Option<String>,
    /// The least duration of the whole trace.
    pub trace_duration_min: Option<Duration>,
    /// The largest duration of the whole trace.
    pub trace_duration_max: Option<Duration>,
    /// Attributes of the span or its resource, by key, compared with the value in any type that it can be read as.
    pub attributes: Vec<(String, String)>,
}

/// Why a filter cannot be asked.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FilterError {
    /// Not a status.
    #[error("`{0}` is not a status; it is one of error, ok, unset")]
    Status(String),
    /// An attribute without a key.
    #[error("an attribute needs a key: key=value")]
    Key,
}

impl Filter {
    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The filter as a TraceQL query: `{ … }`. All conditions are about one span, and the trace it is in.
    pub fn to_traceql(&self) -> Result<String, FilterError> {
        let mut parts = Vec::new();
        if let Some(service) = &self.service {
            parts.push(format!("resource.service.name = {}", quoted(service)));
        }
        if let Some(name) = &self.name {
            parts.push(format!("name = {}", quoted(name)));
        }
        if let Some(route) = &self.route {
            parts.push(format!("span.http.route = {}", quoted(route)));
        }
        match self.status.as_deref() {
            None => {}
            Some(status @ ("error" | "ok" | "unset")) => parts.push(format!("status = {status}")),
            Some(other) => return Err(FilterError::Status(other.to_owned())),
        }
        for (key, value) in &self.attributes {
            parts.push(attribute(key, value)?);
        }
        if let Some(least) = self.trace_duration_min {
            parts.push(format!("traceDuration >= {}ns", least.as_nanos()));
        }
        if let Some(most) = self.trace_duration_max {
            parts.push(format!("traceDuration <= {}ns", most.as_nanos()));
        }
        if parts.is_empty() { Ok("{ }".to_owned()) } else { Ok(format!("{{ {} }}", parts.join(" && "))) }
    }
}

/// `key = value`: as text, and as number or truth value too where it reads as one. A key that begins with `span.` or
/// `resource.` is looked for only there.
fn attribute(key: &str, value: &str) -> Result<String, FilterError> {
    let (scopes, name): (&[&str], &str) = match key.split_once('.') {
        Some(("span", name)) => (&["span"], name),
        Some(("resource", name)) => (&["resource"], name),
        _ => (&["span", "resource"], key),
    };
    if name.is_empty() {
        return Err(FilterError::Key);
    }
    let mut literals = vec![quoted(value)];
    if value.parse::<i64>().is_ok()
        || value.parse::<f64>().is_ok_and(|d| d.is_finite() && value.contains('.'))
    {
        literals.push(value.trim_start_matches('+').to_owned());
    }
    if matches!(value, "true" | "false") {
        literals.push(value.to_owned());
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ':');
    let name = if name.chars().all(plain) { name.to_owned() } else { quoted(name) };
    let sides: Vec<String> = scopes
        .iter()
        .flat_map(|scope| literals.iter().map(move |literal| (scope, literal)))
        .map(|(scope, literal)| format!("{scope}.{name} = {literal}"))
        .collect();
    Ok(if sides.len() == 1 { sides.concat() } else { format!("({})", sides.join(" || ")) })
}

/// A TraceQL string literal.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
