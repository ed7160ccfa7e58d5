#![allow(clippy::unwrap_used)]

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, TracesData};

use super::table::{Align, Cell};
use super::waterfall::{Options, render};
use super::{Canvas, text, units};

const START: u64 = 1_763_713_880_123_000_000;
const MS: u64 = 1_000_000;
const PLAIN: Canvas = Canvas { width: 100, color: false };
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), key_strindex: 0 }
}

fn string(s: &str) -> Value {
    Value::StringValue(s.into())
}

/// A span by id and parent (0: none), from `start_ms` for `ms` milliseconds.
fn span(id: u8, parent: u8, name: &str, start_ms: i64, ms: u64) -> Span {
    let start = START.checked_add_signed(start_ms * MS as i64).unwrap();
    Span {
        trace_id: hex::decode(TRACE).unwrap(),
        span_id: vec![0, 0, 0, 0, 0, 0, 0, id],
        parent_span_id: if parent == 0 { vec![] } else { vec![0, 0, 0, 0, 0, 0, 0, parent] },
        name: name.into(),
        kind: 2,
        start_time_unix_nano: start,
        end_time_unix_nano: start + ms * MS,
        ..Span::default()
    }
}

fn failed(mut span: Span, message: &str) -> Span {
    span.status = Some(Status { code: 2, message: message.into() });
    span
}

fn service(name: &str, spans: Vec<Span>) -> ResourceSpans {
    let attributes = vec![attribute("service.name", string(name)), attribute("host.name", string("a"))];
    ResourceSpans {
        resource: Some(Resource { attributes, ..Resource::default() }),
        scope_spans: vec![ScopeSpans {
            scope: Some(InstrumentationScope {
                name: "shop".into(),
                version: "1.2".into(),
                ..InstrumentationScope::default()
            }),
            spans,
            schema_url: String::new(),
        }],
        schema_url: String::new(),
    }
}

fn shop() -> TracesData {
    let mut charge = failed(span(6, 5, "POST /charge", 420, 790), "card declined");
    charge.kind = 3;
    charge.attributes = vec![
        attribute("http.request.method", string("POST")),
        attribute("http.response.status_code", Value::IntValue(402)),
        attribute("retries", Value::DoubleValue(2.0)),
    ];
    charge.events = vec![Event {
        time_unix_nano: START + 900 * MS,
        name: "exception".into(),
        attributes: vec![attribute("exception.stacktrace", string("Declined\n  at charge()\n  at main()"))],
        dropped_attributes_count: 0,
    }];
    charge.links = vec![Link { trace_id: vec![1; 16], span_id: vec![2; 8], ..Link::default() }];
    TracesData {
        resource_spans: vec![
            // Sent out of order: the last child first.
            service("payment", vec![charge]),
            service("cart", vec![span(3, 2, "HGETALL", 40, 12), span(2, 1, "GET /cart", 30, 120)]),
            service(
                "checkout",
                vec![failed(span(1, 0, "POST /checkout", 0, 1230), ""), span(5, 1, "pay", 400, 820)],
            ),
            service("cart", vec![span(4, 1, "reserve stock", 160, 200)]),
        ],
    }
}

fn shown(data: &TracesData) -> String {
    let picture = render(&PLAIN, TRACE, data, Options::default());
    let (heading, waterfall) = picture.split_once("\n\n").unwrap();
    assert!(heading.starts_with("trace 4bf92f3577b34da6a3ce929d0e0e4736\n"), "{heading}");
    waterfall.to_owned()
}

fn one_service(spans: Vec<Span>) -> TracesData {
    TracesData { resource_spans: vec![service("s", spans)] }
}

#[test]
fn a_waterfall_shows_tree_bars_durations_and_errors() {
    let expected = "\
trace 4bf92f3577b34da6a3ce929d0e0e4736
6 spans · 3 services · 2 errors · 1.23s · 2025-11-21 08:31:20.123 UTC

                              0                           615ms                      1.23s
✗ checkout POST /checkout     ████████████████████████████████████████████████████████████     1.23s
├─ cart GET /cart              █████▉                                                          120ms
│  └─ cart HGETALL             ▋                                                                12ms
├─ cart reserve stock                █████████▊                                                200ms
└─ checkout pay                                  ████████████████████████████████████████      820ms
   └─ ✗ payment POST /charge                      ██████████████████████████████████████▌      790ms
";
    assert_eq!(render(&PLAIN, TRACE, &shop(), Options::default()), expected);
}

#[test]
fn details_stand_below_their_span() {
    let picture = render(&PLAIN, TRACE, &shop(), Options { verbose: true, facts: None });
    let (_, charge) = picture.split_once("790ms\n").unwrap();
    let expected = "         0000000000000006 · client · shop 1.2
         error: card declined
         http.request.method = \"POST\"
         http.response.status_code = 402
         retries = 2.0
         event exception at +900ms
           exception.stacktrace =
             Declined
               at charge()
               at main()
         link to trace 01010101010101010101010101010101 span 0202020202020202

resource payment
  service.name = \"payment\"
  host.name = \"a\"
";
    assert!(charge.starts_with(expected), "{charge}");
}

#[test]
fn colour_never_changes_the_text() {
    let plain = render(&PLAIN, TRACE, &shop(), Options { verbose: true, facts: None });
    let colored =
        render(&Canvas { color: true, ..PLAIN }, TRACE, &shop(), Options { verbose: true, facts: None });
    assert_ne!(plain, colored);
    assert_eq!(anstream::adapter::strip_str(&colored).to_string(), plain);
}

#[test]
fn spans_of_a_missing_parent_stand_last_below_its_place() {
    let spans = vec![span(4, 9, "late", 20, 5), span(1, 0, "root", 0, 100), span(3, 9, "early", 10, 5)];
    let picture = shown(&one_service(spans));
    let names: Vec<&str> = picture.lines().skip(1).map(|l| l.split("  ").next().unwrap()).collect();
    assert_eq!(
        names,
        [
            "s root",
            "(span 0000000000000009 not received)",
            "├─ s early",
            "└─ s late",
            "note: 1 parent has not been received; the spans that name it stand last",
        ]
    );
    let picture = shown(&one_service(vec![span(3, 9, "orphan", 10, 5)]));
    assert!(picture.ends_with("note: the root span has not been received\n"), "{picture}");
}

#[test]
fn a_clock_that_is_off_is_told_and_harmless() {
    let spans =
        vec![span(1, 0, "root", 0, 100), span(2, 1, "skewed", -30, 50), span(3, 1, "far", -86_400_000, 50)];
    let picture = shown(&one_service(spans));
    let lines: Vec<&str> = picture.lines().collect();
    // The far one is outside the picture; the other one begins it.
    assert!(lines[2].contains("└─") || lines[2].contains("├─ s far"), "{picture}");
    assert!(lines[2].contains('◂'), "{picture}");
    assert!(lines[3].contains("skewed") && lines[3].contains('█'), "{picture}");
    assert!(
        picture.contains("note: 2 spans start before the parent, by up to 1d00h: clocks differ"),
        "{picture}"
    );
}

#[test]
fn times_that_were_never_set_do_no_harm() {
    let mut unset = span(2, 1, "unset", 0, 0);
    (unset.start_time_unix_nano, unset.end_time_unix_nano) = (0, 0);
    let mut backwards = span(3, 1, "backwards", 50, 0);
    backwards.end_time_unix_nano = START;
    let picture = shown(&one_service(vec![span(1, 0, "root", 0, 100), unset, backwards]));
    assert!(picture.contains("100ms\n") && picture.contains("0s\n"), "{picture}");
    render(&PLAIN, TRACE, &TracesData::default(), Options { verbose: true, facts: None });
}

#[test]
fn circles_and_spans_that_are_their_own_parent_come_once() {
    let spans = vec![span(1, 2, "a", 1, 5), span(2, 1, "b", 0, 5), span(3, 3, "own", 9, 1)];
    let picture = shown(&one_service(spans));
    for name in ["s a", "s b", "s own"] {
        let times = picture.lines().filter(|l| l.contains(&format!("{name} "))).count();
        assert_eq!(times, 1, "{picture}");
    }
}

#[test]
fn client_and_server_may_share_an_id() {
    let mut client = span(2, 1, "call", 10, 50);
    client.kind = 3;
    let mut server = span(2, 1, "serve", 15, 40);
    server.kind = 2;
    let spans = vec![span(3, 2, "work", 20, 10), server, client, span(1, 0, "root", 0, 100)];
    let picture = shown(&one_service(spans));
    let names: Vec<&str> =
        picture.lines().skip(1).map(|l| l.split("  █").next().unwrap().trim_end()).collect();
    assert!(names[1].starts_with("└─ s call"), "{picture}");
    assert!(names[2].starts_with("   └─ s serve"), "{picture}");
    assert!(names[3].starts_with("      └─ s work"), "{picture}");
}

#[test]
fn a_chain_of_thousands_stays_narrow() {
    let id = |n: u16| [&[1; 6][..], &n.to_be_bytes()].concat();
    let link = |n: u16| {
        let mut link = span(1, 0, &format!("step {n}"), i64::from(n), 1);
        link.span_id = id(n);
        link.parent_span_id = if n == 0 { Vec::new() } else { id(n - 1) };
        link
    };
    let picture = shown(&one_service((0..5_000).rev().map(link).collect()));
    assert_eq!(picture.lines().count(), 5_001);
    assert!(picture.lines().all(|l| text::width(l) <= PLAIN.width), "{picture:.2000}");
    assert!(picture.contains("step 4999"));
}

#[test]
fn what_senders_write_cannot_steer_the_terminal() {
    let mut evil = span(1, 0, "a\u{1b}[2Jb\u{202e}\n", 0, 5);
    evil.attributes = vec![attribute("k\u{7}", string("x\u{1b}]0;t\u{7}\ny\u{9b}z"))];
    let picture = render(&PLAIN, TRACE, &one_service(vec![evil]), Options { verbose: true, facts: None });
    assert!(picture.chars().all(|c| c == '\n' || !c.is_control()), "{picture}");
    assert!(!picture.contains('\u{202e}'));
}

#[test]
fn long_and_wide_names_are_cut_to_fit() {
    let spans = vec![span(1, 0, &"長い名前".repeat(30), 0, 5), span(2, 1, &"x".repeat(300), 1, 2)];
    let picture = shown(&one_service(spans));
    for line in picture.lines().skip(1) {
        assert_eq!(text::width(line), PLAIN.width, "{line}");
    }
}

#[test]
fn durations_have_three_digits_and_a_unit() {
    for (nanos, expected) in [
        (0, "0s"),
        (850, "850ns"),
        (7_700_000, "7.70ms"),
        (1_000, "1µs"),
        (30_100, "30.1µs"),
        (999_499, "999µs"),
        (999_500, "1ms"),
        (1_230_000, "1.23ms"),
        (120_000_000, "120ms"),
        (999_600_000, "1s"),
        (1_234_000_000, "1.23s"),
        (59_950_000_000, "60s"),
        (125_000_000_000, "2m05s"),
        (3_725_000_000_000, "1h02m"),
        (u64::MAX, "213503d23h"),
    ] {
        assert_eq!(units::duration(nanos), expected);
    }
    assert_eq!(units::time(START), "2025-11-21 08:31:20.123");
}

#[test]
fn tables_shrink_what_may_shrink() {
    let header = [("A", Align::Left), ("LONG", Align::Shrink), ("N", Align::Right)];
    let rows = [vec![Cell::new("a"), Cell::new("x".repeat(40)), Cell::new("7")]];
    let table = super::table::render(&Canvas { width: 30, color: false }, &header, &rows);
    assert_eq!(table, format!("A  LONG                      N\na  {}…  7\n", "x".repeat(23)));
}

#[test]
fn amounts_of_bytes_have_the_unit_that_fits() {
    let cases = [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (1536, "1.50 KiB"),
        (999 * 1024, "999 KiB"),
        (1000 * 1024, "0.98 MiB"),
        (70 << 20, "70.0 MiB"),
        (5 << 40, "5.00 TiB"),
        (u64::MAX, "16384 PiB"),
    ];
    for (bytes, text) in cases {
        assert_eq!(units::bytes(bytes), text);
    }
}
