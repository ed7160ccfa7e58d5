//! Traces in parts, as several services send them: roots, errors, logins, slow ones, plain ones; parts that come late.

use std::collections::HashMap;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;
use tracewell::runtime::Tenant;
use tracewell::wire::TraceId;

use crate::dice::Dice;

const MILLI: u64 = 1_000_000;
/// Longer makes a trace slow.
pub const SLOW_NANO: u64 = 500 * MILLI;
pub const ERROR: i32 = 2;

/// The rules files that come into force in turn. What must be kept is the same in all.
pub fn rules(number: usize) -> String {
    let (percent, wait, after_root) = [(30, 800, 80), (60, 300, 20), (5, 1500, 300)][number % 3];
    format!(
        r#"version: 1
decision: {{ wait: {wait}ms, after_root: {after_root}ms }}
rules:
  - {{ name: errors, when: '{{ status = error }}', keep: 100%, retention: errors }}
  - {{ name: slow, when: '{{ traceDuration > 500ms }}', keep: 100%, retention: slow }}
  - {{ name: pinned-routes, when: '{{ span.http.route = "/login" }}', keep: 100% }}
  - {{ name: health-checks, when: '{{ span.http.route = "/health" }}', drop: true }}
  - {{ name: chatty, when: '{{ resource.service.name = "search" }}', keep: {{ per_second: 5, by: [resource.service.name] }} }}
  - {{ name: baseline, keep: {percent}% }}
retention: {{ default: 3d, errors: 30d, slow: 14d }}
"#
    )
}

/// What the rules can know of a part of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    pub error: bool,
    pub login: bool,
    pub health: bool,
    pub search: bool,
    pub start: u64,
    pub end: u64,
}

impl Facts {
    pub const NONE: Self =
        Self { error: false, login: false, health: false, search: false, start: u64::MAX, end: 0 };

    pub fn and(self, other: Self) -> Self {
        Self {
            error: self.error | other.error,
            login: self.login | other.login,
            health: self.health | other.health,
            search: self.search | other.search,
            start: self.start.min(other.start),
            end: self.end.max(other.end),
        }
    }

    /// The rule that decides a trace with these facts.
    pub fn rule(self) -> &'static str {
        match self {
            Self { error: true, .. } => "errors",
            _ if self.end.saturating_sub(self.start) > SLOW_NANO => "slow",
            Self { login: true, .. } => "pinned-routes",
            Self { health: true, .. } => "health-checks",
            Self { search: true, .. } => "chatty",
            _ => "baseline",
        }
    }
}

/// A trace, by its number in [`Load`].
pub type TraceNumber = usize;

/// What one request holds of one trace.
pub struct Part {
    pub trace: TraceNumber,
    pub spans: Vec<Span>,
    pub facts: Facts,
}

pub struct Request {
    pub tenant: Tenant,
    pub body: Bytes,
    pub parts: Vec<Part>,
}

pub struct TraceInfo {
    pub tenant: Tenant,
    pub id: TraceId,
    pub service: &'static str,
    /// Not sent yet.
    rest: Vec<Span>,
}

/// The load.
pub struct Load {
    dice: Dice,
    pub traces: Vec<TraceInfo>,
    by_id: HashMap<(Tenant, TraceId), TraceNumber>,
    open: Vec<TraceNumber>,
    tenants: Vec<Tenant>,
}

fn text(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.into())) });
    KeyValue { key: key.into(), value, ..KeyValue::default() }
}

impl Load {
    pub fn new(dice: Dice) -> Self {
        let tenants = ["default", "acme"].map(|name| Tenant::new(name).unwrap()).to_vec();
        Self { dice, traces: Vec::new(), by_id: HashMap::new(), open: Vec::new(), tenants }
    }

    pub fn tenants(&self) -> &[Tenant] {
        &self.tenants
    }

    pub fn find(&self, tenant: &Tenant, id: TraceId) -> Option<TraceNumber> {
        self.by_id.get(&(tenant.clone(), id)).copied()
    }

    fn begin_trace(&mut self, now_unix_nano: u64) {
        let number = self.traces.len();
        let tenant = if self.dice.chance(0.8) { &self.tenants[0] } else { &self.tenants[1] }.clone();
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.dice.bits().to_be_bytes());
        id[8..].copy_from_slice(&self.dice.bits().to_be_bytes());
        let service = *self.dice.pick(&["web", "cart", "search", "web"]);
        let spans = self.dice.between(1..=8);
        let special = self.dice.below(10);
        let marked = self.dice.below(spans as usize) as u64;
        let mut rest: Vec<Span> = (0..spans)
            .map(|n| self.span(number, id, n, now_unix_nano, if n == marked { special } else { 9 }))
            .collect();
        // Parts come in any order.
        for n in (1..rest.len()).rev() {
            rest.swap(n, self.dice.below(n + 1));
        }
        self.by_id.insert((tenant.clone(), TraceId(id)), number);
        self.traces.push(TraceInfo { tenant, id: TraceId(id), service, rest });
        self.open.push(number);
    }

    fn span(&self, trace: TraceNumber, trace_id: [u8; 16], n: u64, now: u64, special: usize) -> Span {
        let span_id = |n: u64| ((trace as u64) << 16 | (n + 1)).to_be_bytes().to_vec();
        let start = now + n * MILLI;
        let (mut code, mut route, mut lasts) = (0, "/shop", self.dice.between(1..=90) * MILLI);
        match special {
            0 => code = ERROR,
            1 => route = "/login",
            2 => lasts = SLOW_NANO + self.dice.between(1..=500) * MILLI,
            3 | 4 => route = "/health",
            _ => {}
        }
        Span {
            trace_id: trace_id.to_vec(),
            span_id: span_id(n),
            parent_span_id: if n == 0 { Vec::new() } else { span_id(0) },
            name: format!("step {n}"),
            kind: 1 + (n % 3) as i32,
            start_time_unix_nano: start,
            end_time_unix_nano: start + lasts,
            attributes: vec![text("http.route", route)],
            status: Some(Status { code, message: String::new() }),
            ..Span::default()
        }
    }

    /// A request with spans that were not sent before.
    pub fn next_request(&mut self, now_unix_nano: u64) -> Request {
        while self.open.len() < 8 {
            self.begin_trace(now_unix_nano);
        }
        let first = self.dice.below(self.open.len());
        let tenant = self.traces[self.open[first]].tenant.clone();
        let mut chosen = vec![self.open[first]];
        for _ in 0..self.dice.below(3) {
            let other = *self.dice.pick(&self.open);
            if self.traces[other].tenant == tenant && !chosen.contains(&other) {
                chosen.push(other);
            }
        }
        let parts: Vec<Part> = chosen.into_iter().map(|trace| self.part(trace)).collect();
        let resource_spans = parts.iter().map(|part| ResourceSpans {
            resource: Some(Resource {
                attributes: vec![text("service.name", self.traces[part.trace].service)],
                ..Resource::default()
            }),
            scope_spans: vec![ScopeSpans { spans: part.spans.clone(), ..ScopeSpans::default() }],
            ..ResourceSpans::default()
        });
        let request = ExportTraceServiceRequest { resource_spans: resource_spans.collect() };
        Request { tenant, body: request.encode_to_vec().into(), parts }
    }

    fn part(&mut self, trace: TraceNumber) -> Part {
        let info = &mut self.traces[trace];
        let takes =
            if self.dice.chance(0.4) { info.rest.len() } else { self.dice.below(info.rest.len()) + 1 };
        let spans: Vec<Span> = info.rest.drain(..takes).collect();
        if info.rest.is_empty() {
            self.open.retain(|open| *open != trace);
        }
        let route_is = |span: &Span, route: &str| span.attributes[0] == text("http.route", route);
        let search = info.service == "search";
        let facts = spans.iter().fold(Facts { search, ..Facts::NONE }, |facts, span| {
            facts.and(Facts {
                error: span.status.as_ref().is_some_and(|status| status.code == ERROR),
                login: route_is(span, "/login"),
                health: route_is(span, "/health"),
                search,
                start: span.start_time_unix_nano,
                end: span.end_time_unix_nano,
            })
        });
        Part { trace, spans, facts }
    }
}
