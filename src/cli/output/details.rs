//! The lines that `-v` puts below a span: ids, status, attributes, events, links; and the resources at the end.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;

use super::tree::Placed;
use super::{Canvas, DIM, ERROR, STRONG, text, units};

/// Values longer than this are cut, in characters; `--json` has them whole.
const VALUE_CHARS_MAX: usize = 2_000;
/// Deeper values are shown as `…`.
const VALUE_DEPTH_MAX: usize = 16;

/// The lines below a span's own. `indent` holds the tree lines; event times are told from `origin` (Unix nanoseconds).
pub fn of_span(canvas: &Canvas, placed: &Placed<'_>, indent: &str, origin: u64) -> String {
    let span = placed.span;
    let mut page = Page { canvas, indent: canvas.paint(DIM, indent), out: String::new() };
    page.line(&canvas.paint(DIM, &identity(placed)));
    if let Some(status) = span.status.as_ref().filter(|s| s.code != StatusCode::Unset as i32) {
        let word = if status.code == StatusCode::Error as i32 { "error" } else { "ok" };
        let style = if status.code == StatusCode::Error as i32 { ERROR } else { STRONG };
        let colon = if status.message.is_empty() { "" } else { ": " };
        page.line(&format!("{}{colon}{}", canvas.paint(style, word), text::clean(&status.message)));
    }
    page.attributes("", &span.attributes);
    for event in &span.events {
        page.event(event, origin);
    }
    for link in &span.links {
        page.link(link);
    }
    page.dropped(span);
    page.out
}

/// One paragraph for each different resource, in order of appearance.
pub fn of_resources(canvas: &Canvas, spans: &[Placed<'_>]) -> String {
    let mut out = String::new();
    let mut seen: Vec<&opentelemetry_proto::tonic::resource::v1::Resource> = Vec::new();
    for placed in spans {
        let Some(resource) = placed.resource.filter(|r| !seen.contains(r)) else { continue };
        seen.push(resource);
        out.push_str(&format!("\n{} {}\n", canvas.paint(STRONG, "resource"), text::clean(placed.service)));
        let mut page = Page { canvas, indent: "  ".to_owned(), out: String::new() };
        page.attributes("", &resource.attributes);
        out.push_str(&page.out);
    }
    if out.is_empty() { out } else { out + "\n" }
}

fn identity(placed: &Placed<'_>) -> String {
    let mut facts = vec![hex::encode(&placed.span.span_id), kind(placed.span.kind).to_owned()];
    if let Some(scope) = placed.scope.filter(|s| !s.name.is_empty()) {
        facts.push(text::clean(format!("{} {}", scope.name, scope.version).trim()));
    }
    if !placed.span.trace_state.is_empty() {
        facts.push(format!("tracestate {}", text::clean(&placed.span.trace_state)));
    }
    facts.join(" · ")
}

/// A span kind as TraceQL spells it.
pub fn kind(kind: i32) -> &'static str {
    match kind {
        1 => "internal",
        2 => "server",
        3 => "client",
        4 => "producer",
        5 => "consumer",
        _ => "unspecified",
    }
}

struct Page<'c> {
    canvas: &'c Canvas,
    indent: String,
    out: String,
}

impl Page<'_> {
    fn line(&mut self, content: &str) {
        self.out.push_str(&self.indent);
        self.out.push_str(content);
        self.out.push('\n');
    }

    fn attributes(&mut self, lead: &str, attributes: &[KeyValue]) {
        for attribute in attributes {
            let key = self.canvas.paint(DIM, &format!("{} =", text::clean(&attribute.key)));
            match multiline(attribute.value.as_ref()) {
                None => self.line(&format!("{lead}{key} {}", shown(attribute.value.as_ref()))),
                Some(block) => {
                    self.line(&format!("{lead}{key}"));
                    for line in block.lines() {
                        self.line(&format!("{lead}  {}", text::clean(line)));
                    }
                }
            }
        }
    }

    fn event(&mut self, event: &Event, origin: u64) {
        let at = match event.time_unix_nano.checked_sub(origin) {
            Some(after) => format!("+{}", units::duration(after)),
            None => format!("-{}", units::duration(origin - event.time_unix_nano)),
        };
        let name = self.canvas.paint(STRONG, &text::clean(&event.name));
        self.line(&format!("event {name} {}", self.canvas.paint(DIM, &format!("at {at}"))));
        self.attributes("  ", &event.attributes);
    }

    fn link(&mut self, link: &Link) {
        self.line(&format!(
            "link to trace {} span {}",
            hex::encode(&link.trace_id),
            hex::encode(&link.span_id)
        ));
        self.attributes("  ", &link.attributes);
    }

    fn dropped(&mut self, span: &Span) {
        let dropped = [
            (span.dropped_attributes_count, "attributes"),
            (span.dropped_events_count, "events"),
            (span.dropped_links_count, "links"),
        ];
        let told: Vec<String> =
            dropped.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        if !told.is_empty() {
            let line = format!("the sender dropped {}", told.join(", "));
            self.line(&self.canvas.paint(DIM, &line));
        }
    }
}

/// A text of several lines (a stack trace) is shown as such.
fn multiline(value: Option<&AnyValue>) -> Option<String> {
    match value?.value.as_ref()? {
        Value::StringValue(s) if s.trim_end().contains('\n') => Some(cut(s)),
        _ => None,
    }
}

fn cut(s: &str) -> String {
    match s.char_indices().nth(VALUE_CHARS_MAX) {
        Some((end, _)) => format!("{}… ({} more bytes)", &s[..end], s.len() - end),
        None => s.to_owned(),
    }
}

/// An attribute's value in one line: strings in quotes, bytes as `base64:…`, arrays in brackets, lists in braces.
pub fn shown(value: Option<&AnyValue>) -> String {
    let mut out = String::new();
    show(value, VALUE_DEPTH_MAX, &mut out);
    cut(&out)
}

fn show(value: Option<&AnyValue>, depth: usize, out: &mut String) {
    let Some(value) = value.and_then(|v| v.value.as_ref()) else {
        out.push_str("(empty)");
        return;
    };
    match value {
        Value::StringValue(s) => {
            out.push('"');
            out.push_str(&text::clean(s));
            out.push('"');
        }
        Value::BoolValue(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::IntValue(i) => out.push_str(&i.to_string()),
        Value::DoubleValue(d) => out.push_str(&format!("{d:?}")),
        Value::BytesValue(b) => {
            out.push_str("base64:");
            out.push_str(&BASE64.encode(b));
        }
        Value::StringValueStrindex(i) => out.push_str(&format!("string #{i}")),
        Value::ArrayValue(_) | Value::KvlistValue(_) if depth == 0 => out.push('…'),
        Value::ArrayValue(array) => {
            out.push('[');
            for (i, item) in array.values.iter().enumerate() {
                out.push_str(if i > 0 { ", " } else { "" });
                show(Some(item), depth - 1, out);
            }
            out.push(']');
        }
        Value::KvlistValue(list) => {
            out.push('{');
            for (i, item) in list.values.iter().enumerate() {
                out.push_str(if i > 0 { ", " } else { "" });
                out.push_str(&text::clean(&item.key));
                out.push_str(": ");
                show(item.value.as_ref(), depth - 1, out);
            }
            out.push('}');
        }
    }
}
