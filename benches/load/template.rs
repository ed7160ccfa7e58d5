//! Requests that are encoded once and made unique by patching ids, times, route and status in place.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use bytes::{Bytes, BytesMut};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;

/// Spans of one trace, all in one request.
pub const SPANS_PER_TRACE: u64 = 8;
/// Traces of one request.
pub const TRACES_PER_REQUEST: u64 = 64;
/// Spans of one request.
pub const SPANS_PER_REQUEST: u64 = SPANS_PER_TRACE * TRACES_PER_REQUEST;
/// Different requests (in names and attribute values) that take turns.
const VARIANTS: u64 = 16;
/// Routes of one length, so that one can stand for another.
const ROUTES: [&[u8; 6]; 5] = [b"/carts", b"/items", b"/users", b"/stock", b"/feeds"];
const LOGIN: &[u8; 6] = b"/login";
const MILLISECOND: u64 = 1_000_000;

const STATUS_UNSET: u8 = 0;
const STATUS_ERROR: u8 = 2;

/// How many traces, 0 to 1, are of each kind; kinds are independent of each other.
#[derive(Clone, Copy, Debug)]
pub struct Shares {
    pub errors: f64,
    pub slow: f64,
    pub login: f64,
}

/// How many traces were of each kind.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kinds {
    pub traces: u64,
    pub errors: u64,
    pub slow: u64,
    pub login: u64,
    /// Of any of these kinds.
    pub special: u64,
}

/// Where one span's changing bytes lie in an encoded request.
struct Places {
    trace_id: usize,
    span_id: usize,
    /// `None` for a root.
    parent_span_id: Option<usize>,
    start: usize,
    end: usize,
    route: usize,
    /// 16 hex digits of an attribute.
    unique: usize,
    status: usize,
    trace: u64,
    span: u64,
}

struct Template {
    bytes: Bytes,
    places: Vec<Places>,
}

/// The requests of a run: a function of its seed and a request's number.
pub struct Templates {
    seed: u64,
    shares: Shares,
    templates: Vec<Template>,
}

/// What is special about one trace.
struct Trace {
    id: [u8; 16],
    error: bool,
    slow: bool,
    login: bool,
    entropy: u64,
}

impl Templates {
    /// Encodes the variants.
    pub fn new(seed: u64, shares: Shares, services: usize) -> Self {
        let templates = (0..VARIANTS).map(|variant| Template::new(variant, services)).collect();
        Self { seed, shares, templates }
    }

    /// Bytes of the requests, on average.
    pub fn request_bytes(&self) -> u64 {
        self.templates.iter().map(|template| template.bytes.len() as u64).sum::<u64>() / VARIANTS
    }

    /// A copy of the bytes that `write` fills for request `number`.
    pub fn start(&self, number: u64) -> BytesMut {
        BytesMut::from(&self.templates[variant_of(number)].bytes[..])
    }

    /// Makes `bytes`, a request begun by [`Self::start`] for the same variant, request `number`: its spans end about now.
    pub fn write(&self, number: u64, bytes: &mut [u8]) {
        let now = now_unix_nano();
        let mut trace = self.trace(number, 0);
        for places in &self.templates[variant_of(number)].places {
            if places.trace == 0 || places.span == 0 {
                trace = self.trace(number, places.trace);
            }
            write_span(places, &trace, now, bytes);
        }
    }

    /// How many traces of each kind the first `requests` requests hold.
    pub fn kinds(&self, requests: u64) -> Kinds {
        let mut kinds = Kinds { traces: requests * TRACES_PER_REQUEST, ..Kinds::default() };
        for number in 0..requests {
            for trace in (0..TRACES_PER_REQUEST).map(|trace| self.trace(number, trace)) {
                kinds.errors += u64::from(trace.error);
                kinds.slow += u64::from(trace.slow);
                kinds.login += u64::from(trace.login);
                kinds.special += u64::from(trace.error || trace.slow || trace.login);
            }
        }
        kinds
    }

    /// Decodes requests as a server would and compares them with what they ought to be.
    pub fn check(&self) -> anyhow::Result<()> {
        let mut span_ids = std::collections::HashSet::new();
        for number in 0..VARIANTS * 2 {
            let mut bytes = self.start(number);
            self.write(number, &mut bytes);
            let request = ExportTraceServiceRequest::decode(&bytes[..])?;
            let spans = request.resource_spans.iter().flat_map(|r| &r.scope_spans).flat_map(|s| &s.spans);
            let spans: Vec<&Span> = spans.collect();
            ensure!(spans.len() as u64 == SPANS_PER_REQUEST, "{} spans", spans.len());
            for trace in (0..TRACES_PER_REQUEST).map(|trace| self.trace(number, trace)) {
                let mine: Vec<&&Span> = spans.iter().filter(|span| span.trace_id == trace.id).collect();
                ensure!(mine.len() as u64 == SPANS_PER_TRACE, "{} spans in a trace", mine.len());
                let roots: Vec<_> = mine.iter().filter(|span| span.parent_span_id.is_empty()).collect();
                ensure!(roots.len() == 1, "{} roots", roots.len());
                let duration = roots[0].end_time_unix_nano - roots[0].start_time_unix_nano;
                ensure!((duration > 500 * MILLISECOND) == trace.slow, "root of {duration} ns");
                let failed = mine.iter().any(|span| span.status.as_ref().is_some_and(|s| s.code == 2));
                ensure!(failed == trace.error, "error");
                let at_login =
                    |span: &&&Span| span.attributes.iter().any(|a| a.value == Some(text("/login")));
                ensure!(mine.iter().any(at_login) == trace.login, "route");
                let fresh = mine.iter().all(|span| span_ids.insert(span.span_id.clone()));
                ensure!(fresh, "a span id came twice");
            }
        }
        Ok(())
    }

    fn trace(&self, number: u64, trace: u64) -> Trace {
        let number = number * TRACES_PER_REQUEST + trace;
        let draw = |salt: u64| mix(self.seed ^ mix(number.wrapping_mul(8).wrapping_add(salt)));
        let below = |salt: u64, share: f64| unit(draw(salt)) < share;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&draw(0).to_be_bytes());
        id[8..].copy_from_slice(&draw(1).to_be_bytes());
        Trace {
            id,
            error: below(2, self.shares.errors),
            slow: below(3, self.shares.slow),
            login: below(4, self.shares.login),
            entropy: draw(5),
        }
    }
}

/// Which variant a request is made of. A multiple of the number of requests in flight keeps each sender on few of them.
fn variant_of(number: u64) -> usize {
    usize::try_from(number % VARIANTS).expect("few variants")
}

/// Whether requests `a` and `b` are made of the same bytes.
pub fn same_variant(a: u64, b: u64) -> bool {
    variant_of(a) == variant_of(b)
}

fn write_span(places: &Places, trace: &Trace, now: u64, bytes: &mut [u8]) {
    let mut put = |at: usize, what: &[u8]| bytes[at..at + what.len()].copy_from_slice(what);
    put(places.trace_id, &trace.id);
    let id_of = |span: u64| mix(trace.entropy ^ (span + 1)) | 1;
    let id = id_of(places.span);
    put(places.span_id, &id.to_be_bytes());
    if let Some(at) = places.parent_span_id {
        // A binary tree: 0 → 1, 2; 1 → 3, 4; …
        put(at, &id_of((places.span - 1) / 2).to_be_bytes());
    }
    let (length, within) = if trace.slow { (600, 2_400) } else { (20, 300) };
    let root_length = (length + trace.entropy % within) * MILLISECOND;
    // Each level of the tree begins a little later and ends a little earlier than the one above.
    let level = u64::from((places.span + 1).ilog2());
    let inset = root_length / 10 * level;
    put(places.start, &(now - root_length + inset + places.span * 1_000).to_le_bytes());
    put(places.end, &(now - inset / 2).to_le_bytes());
    let other = ROUTES[usize::try_from(trace.entropy % ROUTES.len() as u64).expect("few routes")];
    put(places.route, if trace.login { LOGIN } else { other });
    put(places.unique, &hex16(id));
    // The error shows on a leaf and on the root.
    let failed = trace.error && matches!(places.span, 0 | 7);
    put(places.status, &[if failed { STATUS_ERROR } else { STATUS_UNSET }]);
}

impl Template {
    fn new(variant: u64, services: usize) -> Self {
        let request = request(variant, services as u64);
        let bytes = Bytes::from(request.encode_to_vec());
        let mut places = Vec::new();
        let mut from = 0;
        for span in request.resource_spans.iter().flat_map(|r| &r.scope_spans).flat_map(|s| &s.spans) {
            let encoded = span.encode_to_vec();
            let at = from + find(&bytes[from..], &encoded).expect("the span is in the request");
            from = at + encoded.len();
            places.push(Places::new(span, &encoded, at));
        }
        Self { bytes, places }
    }
}

impl Places {
    fn new(span: &Span, encoded: &[u8], at: usize) -> Self {
        let place = |marker: &[u8]| at + find(encoded, marker).expect("each marker is in the span");
        let attribute =
            |key: &str| match &span.attributes.iter().find(|a| a.key == key).and_then(|a| a.value.clone()) {
                Some(AnyValue { value: Some(Value::StringValue(text)) }) => place(text.as_bytes()),
                _ => unreachable!("the template has this attribute"),
            };
        // Field 15, 2 bytes long: field 3 (code).
        let status = [0x7a, 2, 0x18, STATUS_ERROR];
        let status = encoded.windows(4).rposition(|bytes| bytes == status).expect("the span has a status");
        Self {
            trace_id: place(&span.trace_id),
            span_id: place(&span.span_id),
            parent_span_id: (!span.parent_span_id.is_empty()).then(|| place(&span.parent_span_id)),
            start: place(&span.start_time_unix_nano.to_le_bytes()),
            end: place(&span.end_time_unix_nano.to_le_bytes()),
            route: attribute("http.route"),
            unique: attribute("request.id"),
            status: at + status + 3,
            trace: u64::from_le_bytes(span.trace_id[..8].try_into().expect("16 bytes")),
            span: u64::from_le_bytes(span.trace_id[8..].try_into().expect("16 bytes")),
        }
    }
}

fn request(variant: u64, services: u64) -> ExportTraceServiceRequest {
    let resource_spans = (0..services).map(|service| {
        let mine =
            (0..SPANS_PER_REQUEST).filter(|n| (n % SPANS_PER_TRACE) * services / SPANS_PER_TRACE == service);
        let spans = mine.map(|n| span(variant, n / SPANS_PER_TRACE, n % SPANS_PER_TRACE)).collect();
        let scope = InstrumentationScope {
            name: "io.example.http".into(),
            version: "1.24.0".into(),
            ..Default::default()
        };
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, ..Default::default() }];
        ResourceSpans { resource: Some(resource(service)), scope_spans, ..Default::default() }
    });
    ExportTraceServiceRequest { resource_spans: resource_spans.collect() }
}

fn resource(service: u64) -> Resource {
    let attributes = vec![
        attribute("service.name", text(&format!("service-{service}"))),
        attribute("service.version", text("2.14.3")),
        attribute("service.instance.id", text("b1946ac9-2492-4d23-8b1e-0f2f5a1c9e77")),
        attribute("deployment.environment.name", text("production")),
        attribute("host.name", text("node-17.example.net")),
        attribute("telemetry.sdk.name", text("opentelemetry")),
        attribute("telemetry.sdk.language", text("go")),
        attribute("telemetry.sdk.version", text("1.38.0")),
    ];
    Resource { attributes, ..Default::default() }
}

/// A span of about 600 bytes. Its ids and times are markers: `Places` finds them, and they hold the span's position.
fn span(variant: u64, trace: u64, span: u64) -> Span {
    let draw = |salt: u64| mix(variant << 40 ^ trace << 20 ^ span << 8 ^ salt);
    let marker = |salt: u64| mix(0xfeed ^ draw(salt)) | 0x8000_0000_0000_0080;
    let item = draw(1) % 100_000;
    let attributes = vec![
        attribute("http.request.method", text(if draw(2) % 3 == 0 { "POST" } else { "GET" })),
        attribute("http.route", text("/\u{1}\u{2}\u{3}\u{4}\u{5}")),
        attribute("http.response.status_code", int(200)),
        attribute("url.path", text(&format!("/api/v2/items/{item}"))),
        attribute(
            "url.full",
            text(&format!("https://shop.example.com/api/v2/items/{item}?page={}", draw(3) % 90)),
        ),
        attribute("request.id", text(std::str::from_utf8(&hex16(marker(4))).expect("hex"))),
        attribute("user.id", text(&format!("user-{:06}", draw(5) % 200_000))),
        attribute("server.address", text("shop.example.com")),
        attribute("server.port", int(443)),
        attribute("network.protocol.version", text("1.1")),
        attribute("user_agent.original", text("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Firefox/140.0")),
        attribute("thread.id", int((draw(6) % 64).cast_signed())),
        attribute("cache.hit", AnyValue { value: Some(Value::BoolValue(draw(7).is_multiple_of(2))) }),
        attribute("queue.wait_ms", AnyValue { value: Some(Value::DoubleValue(unit(draw(8)) * 40.0)) }),
    ];
    let mut trace_id = trace.to_le_bytes().to_vec();
    trace_id.extend(span.to_le_bytes());
    Span {
        trace_id,
        span_id: marker(9).to_be_bytes().to_vec(),
        parent_span_id: if span == 0 { Vec::new() } else { marker(10).to_be_bytes().to_vec() },
        name: ["GET /api/v2/items/{id}", "SELECT items", "charge", "render"][(draw(11) % 4) as usize].into(),
        kind: [2, 3, 1][(span % 3) as usize],
        flags: 0x101,
        start_time_unix_nano: marker(12),
        end_time_unix_nano: marker(13),
        attributes,
        status: Some(Status { code: STATUS_ERROR.into(), ..Default::default() }),
        ..Default::default()
    }
}

fn attribute(key: &str, value: AnyValue) -> KeyValue {
    KeyValue { key: key.into(), value: Some(value), ..Default::default() }
}

fn text(value: &str) -> AnyValue {
    AnyValue { value: Some(Value::StringValue(value.into())) }
}

fn int(value: i64) -> AnyValue {
    AnyValue { value: Some(Value::IntValue(value)) }
}

/// Nanoseconds since the Unix epoch.
pub fn now_unix_nano() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970");
    since.ok().and_then(|d| u64::try_from(d.as_nanos()).ok()).unwrap_or(0)
}

/// A bijection that scatters (the finaliser of SplitMix64).
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// A number of [0, 1) from 53 random bits.
fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

fn hex16(value: u64) -> [u8; 16] {
    std::array::from_fn(|digit| b"0123456789abcdef"[(value >> (60 - 4 * digit)) as usize & 15])
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    memchr::memmem::find(haystack, needle)
}
