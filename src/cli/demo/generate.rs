//! Traffic of a web shop as OTLP: a pure function of a seed and of the times asked for.

use std::collections::VecDeque;

use fastrand::Rng;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

use super::shop::{self, Fate, Visit};
use super::story::{Elsewhere, Told};

/// How many of a hundred traces fail, and how many are slow.
const PERCENT_ERROR: u32 = 2;
const PERCENT_SLOW: u32 = 2;
/// Orders that the queue's consumer takes at once.
const ORDERS_PER_BATCH: usize = 3;
const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.37.0";

/// Invents traces. The same seed gives the same traces, ids included.
pub struct Generator {
    rng: Rng,
    /// Producer spans of orders that no consumer has taken yet.
    orders: VecDeque<Elsewhere>,
}

impl Generator {
    /// A generator; runs that must not share trace ids need different seeds.
    pub fn new(seed: u64) -> Self {
        Self { rng: Rng::with_seed(seed), orders: VecDeque::new() }
    }

    /// How many traces the next request should have: one to three.
    pub fn traces_now(&mut self) -> u64 {
        self.rng.u64(1..=3)
    }

    /// One export request with a trace for each of `ends`: the time its root ends, nanoseconds since the Unix epoch.
    /// When enough orders wait, the trace of the queue's consumer comes on top.
    pub fn request(&mut self, ends: &[u64]) -> ExportTraceServiceRequest {
        let mut told = Vec::new();
        for &end in ends {
            // Orders of earlier traces only: a consumer starts after its producers.
            if self.orders.len() >= ORDERS_PER_BATCH {
                let orders: Vec<_> = self.orders.drain(..ORDERS_PER_BATCH).collect();
                told.extend(shop::fulfil(&mut self.rng, &orders).end_at(end).0);
            }
            let visit = self.visit();
            let fate = self.fate();
            let (spans, order) = shop::visit(&mut self.rng, visit, fate).end_at(end);
            self.orders.extend(order);
            told.extend(spans);
        }
        ExportTraceServiceRequest { resource_spans: by_service(told) }
    }

    fn visit(&mut self) -> Visit {
        match self.rng.u32(0..100) {
            0..25 => Visit::Home,
            25..50 => Visit::Product,
            50..68 => Visit::Search,
            68..80 => Visit::Cart,
            80..89 => Visit::Checkout,
            89..96 => Visit::Login,
            _ => Visit::Upload,
        }
    }

    fn fate(&mut self) -> Fate {
        match self.rng.u32(0..100) {
            n if n < PERCENT_ERROR => Fate::Error,
            n if n < PERCENT_ERROR + PERCENT_SLOW => Fate::Slow,
            _ => Fate::Well,
        }
    }
}

/// An attribute.
pub(super) fn attribute(key: &str, value: impl Into<AnyValue>) -> KeyValue {
    KeyValue { key: key.into(), value: Some(value.into()), ..KeyValue::default() }
}

/// A text attribute value.
pub(super) fn text(value: impl Into<String>) -> AnyValue {
    AnyValue { value: Some(Value::StringValue(value.into())) }
}

/// An integer attribute value.
pub(super) fn int(value: i64) -> AnyValue {
    AnyValue { value: Some(Value::IntValue(value)) }
}

/// Groups spans under their services, as services export them.
fn by_service(told: Vec<Told>) -> Vec<ResourceSpans> {
    let mut groups: Vec<(&'static shop::Service, Vec<Span>)> = Vec::new();
    for Told { service, span } in told {
        match groups.iter_mut().find(|(known, _)| known.name == service.name) {
            Some((_, spans)) => spans.push(span),
            None => groups.push((service, vec![span])),
        }
    }
    groups.into_iter().map(|(service, spans)| resource_spans(service, spans)).collect()
}

fn resource_spans(service: &shop::Service, spans: Vec<Span>) -> ResourceSpans {
    let attributes = vec![
        attribute("service.name", text(service.name)),
        attribute("service.namespace", text("shop")),
        attribute("service.version", text(service.version)),
        attribute("service.instance.id", text(format!("{}-7d9f8b6c5-x2x4z", service.name))),
        attribute("deployment.environment.name", text("demo")),
        attribute("telemetry.sdk.name", text("opentelemetry")),
        attribute("telemetry.sdk.language", text(service.language)),
        attribute("telemetry.sdk.version", text("1.45.0")),
        attribute("k8s.namespace.name", text("shop")),
        attribute("k8s.pod.name", text(format!("{}-7d9f8b6c5-x2x4z", service.name))),
        attribute("process.pid", int(1)),
        attribute("cloud.region", text("eu-central-1")),
    ];
    let scope = InstrumentationScope {
        name: format!("io.opentelemetry.{}", service.framework),
        version: "2.19.0".into(),
        ..InstrumentationScope::default()
    };
    let scope_spans = ScopeSpans { scope: Some(scope), spans, schema_url: SCHEMA_URL.into() };
    ResourceSpans {
        resource: Some(Resource { attributes, ..Resource::default() }),
        scope_spans: vec![scope_spans],
        schema_url: SCHEMA_URL.into(),
    }
}
