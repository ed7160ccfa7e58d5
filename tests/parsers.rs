//! Whatever reads bytes from outside, over a corpus and what damage makes of it: nothing panics, and what is taken is what it
//! says it is. JSON's own is beside its converter, `receive::json::tests`.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "support/corpus.rs"]
mod corpus;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use proptest::prelude::*;
use prost::Message;
use tracewell::enrich::{
    Action, ActionConfig, AttributeValue, Condition, EnrichConfig, Enricher, Put, RedactConfig, RouteConfig,
    Scope, Source, ValueKind,
};
use tracewell::sample::probability::{SamplingState, ThresholdEdit, edit_tracestate};
use tracewell::sample::{Rulebook, Threshold, parse_rules};
use tracewell::traceql;
use tracewell::wire::{Editor, Fields, WireError, WireKind, offset_in, put_tag, put_varint};

const RULES: &str = r#"
rules:
  - { name: errors, when: '{ status = error }', keep: 100% }
  - { name: route, when: '{ span.http.route =~ "/log.*" && resource.service.name != "x" }', keep: 50% }
  - { name: rest, keep: { per_second: 5, by: [resource.service.name] } }
"#;

fn enrichers() -> [Enricher; 4] {
    let on = |scope, action| ActionConfig { scope, when: None, action };
    let key = |key: &str| key.to_owned();
    let value = Source::Fixed(AttributeValue::Str("by an action".into()));
    let busy = EnrichConfig {
        actions: vec![
            on(Scope::Span, Action::Delete { key: key("neg") }),
            on(Scope::Span, Action::Hash { key: key("http.route") }),
            on(Scope::Resource, Action::Put { put: Put::Upsert, key: key("host.ip"), value }),
        ],
        ..EnrichConfig::default()
    };
    let when = Some(Condition::parse("{ span.http.route != nil || kind = server }", Scope::Span).unwrap());
    let rename =
        Action::Rename { keys: vec![(key("neg"), key("negative")), (key("http.route"), key("route"))] };
    let looking = EnrichConfig {
        actions: vec![
            ActionConfig { when, ..on(Scope::Span, rename) },
            on(Scope::Event, Action::Truncate { key: key("exception.message"), bytes: 5 }),
        ],
        redact: RedactConfig {
            values: vec![
                ValueKind::Card,
                ValueKind::Email,
                ValueKind::Bearer,
                ValueKind::Jwt,
                ValueKind::Ssn,
            ],
            urls: true,
            sql: true,
            names: true,
            messages: true,
            ..RedactConfig::default()
        },
        http_route: RouteConfig { enabled: true, name: true },
        ..EnrichConfig::default()
    };
    let open = EnrichConfig {
        redact: RedactConfig { enabled: false, ..RedactConfig::default() },
        ..EnrichConfig::default()
    };
    [EnrichConfig::default(), busy, looking, open].map(|config| Enricher::new(&config, &[]))
}

/// What is true of a request's bytes, whatever they are.
fn check_protobuf(bytes: &[u8]) {
    for enricher in enrichers() {
        let Ok(enriched) = enricher.apply(bytes.to_vec().into()) else { continue };
        let request =
            ExportTraceServiceRequest::decode(enriched.body.clone()).expect("what is taken can be decoded");
        let scopes = request.resource_spans.iter().flat_map(|spans| &spans.scope_spans);
        let spans: u64 = scopes.map(|scope| scope.spans.len() as u64).sum();
        assert_eq!(spans, enriched.spans);
        let notes = Rulebook::new(parse_rules(RULES).unwrap(), false)
            .scan(&enriched.body)
            .expect("what is taken can be scanned");
        assert_eq!(u64::from(notes.spans), spans, "spans whose ids are invalid are out");
        // What was edited is right, and nothing is left to redact or to reject.
        let again = enricher.apply(enriched.body).expect("what was written can be read");
        assert_eq!((again.spans, again.rejected, again.redacted), (spans, 0, 0));
    }
}

/// Edits a request at random, by the editor and by writing it anew.
struct Edits<'b> {
    whole: &'b [u8],
    editor: Editor,
    dice: std::iter::Cycle<std::vec::IntoIter<u8>>,
}

impl<'b> Edits<'b> {
    /// Appends to `anew` what becomes of a message, and says whether something in it was edited. Down to the fields of spans.
    fn message(&mut self, message: &'b [u8], depth: usize, anew: &mut Vec<u8>) -> Result<bool, WireError> {
        let base = offset_in(self.whole, message);
        let (mut fields, mut start, mut is_edited) = (Fields::new(message), 0, false);
        while let Some(field) = fields.read()? {
            let (raw, at) = (&message[start..fields.offset()], base + start..base + fields.offset());
            start = fields.offset();
            is_edited |= match field.kind {
                WireKind::Bytes(content) if [1, 2, 2].get(depth) == Some(&field.number) => {
                    self.nested(field.number, at, raw, content, depth, anew)?
                }
                _ => self.leaf(at, raw, anew),
            };
        }
        Ok(is_edited)
    }

    fn nested(
        &mut self,
        number: u32,
        at: std::ops::Range<usize>,
        raw: &'b [u8],
        content: &'b [u8],
        depth: usize,
        anew: &mut Vec<u8>,
    ) -> Result<bool, WireError> {
        let begin = offset_in(self.whole, content);
        let frame = self.editor.open(number, at.start, begin..begin + content.len());
        let mut inner = Vec::new();
        let is_edited = self.message(content, depth + 1, &mut inner)?;
        if self.dice.next() == Some(0) {
            self.editor.forget(frame);
            self.editor.remove(at);
            return Ok(true);
        }
        assert_eq!(self.editor.close(frame), is_edited, "it tells whether something in it changed");
        if is_edited {
            put_tag(anew, number, 2);
            put_varint(anew, inner.len() as u64);
            anew.extend(inner);
        } else {
            anew.extend(raw);
        }
        Ok(is_edited)
    }

    fn leaf(&mut self, at: std::ops::Range<usize>, raw: &[u8], anew: &mut Vec<u8>) -> bool {
        let piece: Vec<u8> = self.dice.next().map_or_else(Vec::new, |n| vec![n; usize::from(n)]);
        match self.dice.next().unwrap_or_default() % 8 {
            0 => self.editor.remove(at),
            1 => {
                anew.extend(&piece);
                self.editor.replace(at, |out| out.extend(&piece));
            }
            2 => {
                anew.extend(&piece);
                anew.extend(raw);
                self.editor.replace(at.start..at.start, |out| out.extend(&piece));
            }
            _ => {
                anew.extend(raw);
                return false;
            }
        }
        true
    }
}

/// What is true of edits, whatever they are: the lengths around them are right, and nothing else is touched.
fn check_edits(bytes: &[u8], dice: Vec<u8>) {
    let mut edits = Edits { whole: bytes, editor: Editor::new(), dice: dice.into_iter().cycle() };
    let mut anew = Vec::new();
    let Ok(is_edited) = edits.message(bytes, 0, &mut anew) else { return };
    let input = bytes::Bytes::copy_from_slice(bytes);
    assert_eq!(edits.editor.is_unchanged(), !is_edited);
    let edited = edits.editor.finish(input.clone());
    assert_eq!(edited, anew);
    assert!(is_edited || edited.as_ptr() == input.as_ptr(), "without an edit nothing is copied");
}

/// What is true of a tracestate, whatever it is.
fn check_tracestate(text: &str) {
    let before = SamplingState::parse(text);
    let half = Threshold::from_probability(0.5, 4).unwrap();
    for edit in [ThresholdEdit::Leave, ThresholdEdit::Raise(half), ThresholdEdit::Erase] {
        let edited = edit_tracestate(text, edit);
        let after = SamplingState::parse(&edited);
        assert_eq!(after.randomness, before.randomness, "{text:?} → {edited:?}");
        match edit {
            ThresholdEdit::Leave => assert_eq!(edited, text),
            ThresholdEdit::Raise(_) => {
                assert!(after.threshold >= Some(half).max(before.threshold), "{edited:?}")
            }
            ThresholdEdit::Erase => assert_eq!(after.threshold, None, "{text:?} → {edited:?}"),
        }
        assert_eq!(edit_tracestate(&edited, edit), edited, "once is enough");
    }
}

/// What is true of a query, whatever it is.
fn check_query(text: &str) {
    if let Ok(query) = traceql::parse(text) {
        let written = query.to_string();
        let again = traceql::parse(&written).unwrap_or_else(|e| panic!("{text:?} → {written:?}: {e}"));
        assert_eq!(again.to_string(), written);
    }
}

#[test]
fn the_corpus_is_read_or_refused() {
    corpus::inputs("otlp_protobuf").iter().for_each(|(_, bytes)| check_protobuf(bytes));
    for (name, bytes) in corpus::inputs("tracestate") {
        check_tracestate(std::str::from_utf8(&bytes).unwrap_or_else(|e| panic!("{name}: {e}")));
    }
    for (name, bytes) in corpus::inputs("traceql") {
        check_query(std::str::from_utf8(&bytes).unwrap_or_else(|e| panic!("{name}: {e}")));
    }
    // What must be refused is, and the rest is not.
    let refused = ["group", "long_varint", "too_deep"];
    for (name, bytes) in corpus::inputs("otlp_protobuf") {
        let taken = enrichers()[0].apply(bytes.into()).is_ok();
        assert_eq!(taken, !refused.contains(&name.as_str()), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn damaged_requests_are_read_or_refused(bytes in corpus::damaged("otlp_protobuf")) {
        check_protobuf(&bytes);
    }

    #[test]
    fn what_is_edited_in_place_is_what_is_written_anew(
        bytes in corpus::damaged("otlp_protobuf"),
        dice in prop::collection::vec(any::<u8>(), 1..200),
    ) {
        check_edits(&bytes, dice);
    }

    #[test]
    fn damaged_tracestates_are_read_as_far_as_they_are_right(bytes in corpus::damaged("tracestate")) {
        check_tracestate(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn damaged_queries_are_read_or_refused(bytes in corpus::damaged("traceql")) {
        check_query(&String::from_utf8_lossy(&bytes));
    }
}
