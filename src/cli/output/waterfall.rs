//! A trace as a waterfall: the tree on the left, a bar for each span, its duration on the right.

use std::collections::HashMap;

use anstyle::Style;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, TracesData};

use super::tree::{self, Node, Placed, Row};
use super::{Canvas, DIM, ERROR, STRONG, details, service_style, text, units};
use crate::query::{Decision, TraceFacts, TraceSource};

const DURATION_COLUMNS: usize = 8;
const BAR_COLUMNS_MIN: usize = 16;
const LABEL_COLUMNS_MIN: usize = 24;
const EIGHTHS: [&str; 8] = ["▏", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// What of a trace to print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options<'a> {
    /// Attributes, events, links, scopes and resources too.
    pub verbose: bool,
    /// What was decided, and where the spans are from.
    pub facts: Option<&'a TraceFacts>,
}

/// Renders a whole trace. `trace_id` is shown as given.
pub fn render(canvas: &Canvas, trace_id: &str, data: &TracesData, options: Options<'_>) -> String {
    let spans = tree::placed(data);
    let rows = tree::rows(&spans);
    let sheet = Sheet::new(canvas, &spans, &rows);
    let mut out = sheet.heading(trace_id, &spans);
    out.extend(options.facts.map(|facts| sheet.fate(facts)));
    out.push('\n');
    out.push_str(&sheet.scale());
    for row in &rows {
        out.push_str(&sheet.line(row));
        if let (Node::Span(placed), true) = (row.node, options.verbose) {
            out.push_str(&details::of_span(canvas, &placed, &row.below(), sheet.window.start));
        }
    }
    if options.verbose {
        out.push_str(&details::of_resources(canvas, &spans));
    }
    out.push_str(&sheet.notes(&spans, &rows));
    out
}

/// The time that the bars span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    start: u64,
    end: u64,
}

impl Window {
    /// From the first start to the last end. Times that were never set do not count; neither do starts before the root by
    /// more than the root took: those are a clock's fault, and would squeeze everything else into one column.
    fn of(spans: &[Placed<'_>]) -> Self {
        let timed = || spans.iter().map(|p| p.span).filter(|s| s.start_time_unix_nano > 0);
        let root = timed().filter(|s| is_root(s)).min_by_key(|s| s.start_time_unix_nano);
        let earliest = root.map_or(0, |r| r.start_time_unix_nano.saturating_sub(duration_of(r).max(1)));
        let start = timed().map(|s| s.start_time_unix_nano).filter(|&s| s >= earliest).min().unwrap_or(0);
        let end = timed().map(|s| s.end_time_unix_nano.max(s.start_time_unix_nano)).max().unwrap_or(start);
        Self { start, end: end.max(start) }
    }

    fn nanos(self) -> u64 {
        self.end - self.start
    }
}

struct Sheet<'c> {
    canvas: &'c Canvas,
    window: Window,
    label_columns: usize,
    bar_columns: usize,
    services: HashMap<String, usize>,
}

impl<'c> Sheet<'c> {
    fn new(canvas: &'c Canvas, spans: &[Placed<'_>], rows: &[Row<'_>]) -> Self {
        let mut services = HashMap::new();
        for row in rows {
            if let Node::Span(placed) = row.node {
                let next = services.len();
                services.entry(placed.service.to_owned()).or_insert(next);
            }
        }
        let widest =
            rows.iter().map(|row| text::width(&row.branch()) + text::width(&label(row).plain())).max();
        let most = (canvas.width * 55 / 100).max(LABEL_COLUMNS_MIN);
        let label_columns = widest.unwrap_or(0).clamp(LABEL_COLUMNS_MIN, most);
        let taken = label_columns + DURATION_COLUMNS + 4;
        let bar_columns = canvas.width.saturating_sub(taken).max(BAR_COLUMNS_MIN);
        Self { canvas, window: Window::of(spans), label_columns, bar_columns, services }
    }

    fn heading(&self, trace_id: &str, spans: &[Placed<'_>]) -> String {
        let errors = spans.iter().filter(|p| is_error(p.span)).count() as u64;
        let error_text = text::count(errors, "error", "errors");
        let facts = [
            text::count(spans.len() as u64, "span", "spans"),
            text::count(self.services.len() as u64, "service", "services"),
            if errors > 0 { self.canvas.paint(ERROR, &error_text) } else { "no errors".to_owned() },
            units::duration(self.window.nanos()),
            format!("{} UTC", units::time(self.window.start)),
        ];
        format!("{} {}\n{}\n", self.canvas.paint(STRONG, "trace"), trace_id, facts.join(" · "))
    }

    /// What was decided, by which rule, and where the spans are from.
    fn fate(&self, facts: &TraceFacts) -> String {
        let rule = facts.rule.as_deref().map(|rule| {
            let version = facts.rules_version.map(|version| format!(" (rules version {version})"));
            format!(" by rule {}{}", text::clean(rule), version.unwrap_or_default())
        });
        let rule = rule.unwrap_or_default();
        let decision = match facts.decision {
            Decision::Kept => {
                let class =
                    facts.retention.as_deref().map(|class| format!(", retention {}", text::clean(class)));
                format!("kept{rule}{}", class.unwrap_or_default())
            }
            Decision::Dropped => self.canvas.paint(STRONG, &format!("dropped{rule}")),
            Decision::Pending => "waits for its verdict".to_owned(),
            Decision::Unknown => "not kept; by which rule is not known any more".to_owned(),
        };
        let from = match facts.sources[..] {
            [TraceSource::Recorder] => "; from the flight recorder, for as long as that has it",
            _ if facts.sources.contains(&TraceSource::Recorder) => {
                "; a part of it is from the flight recorder"
            }
            _ => "",
        };
        let whole = if facts.complete { "" } else { "; there may be more spans than these" };
        format!("{decision}{from}{whole}\n")
    }

    /// The ruler over the bars: start, middle and end.
    fn scale(&self) -> String {
        let half = units::duration(self.window.nanos() / 2);
        let end = units::duration(self.window.nanos());
        let left = text::fit("0", self.bar_columns / 2 - text::width(&half) / 2);
        let rest = self.bar_columns.saturating_sub(text::width(&left) + text::width(&half));
        let ruler = format!("{left}{half}{}", text::right(&end, rest));
        let line = format!("{}  {ruler}", " ".repeat(self.label_columns));
        format!("{}\n", self.canvas.paint(DIM, &line))
    }

    fn line(&self, row: &Row<'_>) -> String {
        let branch = row.branch();
        let room = self.label_columns.saturating_sub(text::width(&branch));
        let label = label(row);
        let name = match row.node {
            Node::Span(placed) => label.paint(self.canvas, self.style_of(placed.service), room),
            Node::Missing(_) => self.canvas.paint(DIM, &text::fit(&label.plain(), room)),
        };
        let (bar, duration) = match row.node {
            Node::Span(placed) => (self.bar(&placed), units::duration(duration_of(placed.span))),
            Node::Missing(_) => (String::new(), String::new()),
        };
        let duration = text::right(&duration, DURATION_COLUMNS);
        let line = format!("{}{name}  {bar}  {duration}", self.canvas.paint(DIM, &branch));
        format!("{}\n", line.trim_end())
    }

    fn style_of(&self, service: &str) -> Style {
        service_style(self.services.get(service).copied().unwrap_or(0))
    }

    /// The bar, `bar_columns` wide. A span outside the window (a clock far off) is an arrow at the edge it lies behind.
    fn bar(&self, placed: &Placed<'_>) -> String {
        let span = placed.span;
        let columns = self.bar_columns as f64;
        let total = self.window.nanos().max(1) as f64;
        if span.start_time_unix_nano < self.window.start {
            return self.canvas.paint(DIM, &text::fit("◂", self.bar_columns));
        }
        let from = (span.start_time_unix_nano - self.window.start) as f64 / total * columns;
        let length = duration_of(span) as f64 / total * columns;
        let first = (from.floor() as usize).min(self.bar_columns - 1);
        let eighths = ((length * 8.0).round() as usize).min((self.bar_columns - first) * 8);
        let blocks = if eighths < 8 {
            EIGHTHS[eighths].to_owned()
        } else {
            let part = if eighths.is_multiple_of(8) { "" } else { EIGHTHS[eighths % 8] };
            format!("{}{part}", "█".repeat(eighths / 8))
        };
        let style = if is_error(span) { ERROR } else { self.style_of(placed.service) };
        let after = self.bar_columns.saturating_sub(first + text::width(&blocks));
        format!("{}{}{}", " ".repeat(first), self.canvas.paint(style, &blocks), " ".repeat(after))
    }

    /// What a reader should know before trusting the picture.
    fn notes(&self, spans: &[Placed<'_>], rows: &[Row<'_>]) -> String {
        let mut notes = Vec::new();
        let missing = rows.iter().filter(|r| matches!(r.node, Node::Missing(_))).count() as u64;
        if !spans.is_empty() && !spans.iter().any(|p| is_root(p.span)) {
            notes.push("the root span has not been received".to_owned());
        } else if missing > 0 {
            let parents = text::count(missing, "parent has", "parents have");
            let them = if missing == 1 { "it" } else { "them" };
            notes.push(format!("{parents} not been received; the spans that name {them} stand last"));
        }
        let (early, most) = skew(spans);
        if early > 0 {
            let those = text::count(early, "span starts", "spans start");
            let most = units::duration(most);
            notes.push(format!(
                "{those} before the parent, by up to {most}: clocks differ; times are shown as sent"
            ));
        }
        notes.iter().map(|note| format!("{}\n", self.canvas.paint(DIM, &format!("note: {note}")))).collect()
    }
}

/// What stands between the tree lines and the bar: an error mark, the service, the name.
struct Label {
    error: bool,
    service: String,
    name: String,
}

fn label(row: &Row<'_>) -> Label {
    match row.node {
        Node::Span(placed) => Label {
            error: is_error(placed.span),
            service: text::clean(placed.service),
            name: text::clean(&placed.span.name),
        },
        Node::Missing(id) => Label {
            error: false,
            service: "(span".to_owned(),
            name: format!("{} not received)", hex::encode(id)),
        },
    }
}

impl Label {
    fn plain(&self) -> String {
        let mark = if self.error { "✗ " } else { "" };
        format!("{mark}{} {}", self.service, self.name)
    }

    fn paint(&self, canvas: &Canvas, service: Style, room: usize) -> String {
        let mark = if self.error { "✗ " } else { "" };
        let left = room.saturating_sub(text::width(mark));
        let service_text = text::truncate(&self.service, left);
        let left = left.saturating_sub(text::width(&service_text));
        let name = text::fit(&format!(" {}", self.name), left);
        let name_style = if self.error { ERROR } else { Style::new() };
        let mark = canvas.paint(ERROR, mark);
        format!("{mark}{}{}", canvas.paint(service, &service_text), canvas.paint(name_style, &name))
    }
}

/// How many spans start before their parent, and by how much at most, in nanoseconds.
fn skew(spans: &[Placed<'_>]) -> (u64, u64) {
    let starts: HashMap<&[u8], u64> =
        spans.iter().map(|p| (p.span.span_id.as_slice(), p.span.start_time_unix_nano)).collect();
    let early = |p: &Placed<'_>| {
        let parent = *starts.get(p.span.parent_span_id.as_slice())?;
        parent.checked_sub(p.span.start_time_unix_nano).filter(|&by| by > 0)
    };
    spans.iter().filter_map(early).fold((0, 0), |(n, most), by| (n + 1, most.max(by)))
}

fn is_root(span: &Span) -> bool {
    span.parent_span_id.iter().all(|&b| b == 0)
}

fn is_error(span: &Span) -> bool {
    span.status.as_ref().is_some_and(|s| s.code == StatusCode::Error as i32)
}

fn duration_of(span: &Span) -> u64 {
    span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano)
}
