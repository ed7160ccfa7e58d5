//! Actions that depend on the span, on other attributes, or on who sent the request.

use opentelemetry_proto::tonic::common::v1::InstrumentationScope;

use super::*;

fn on(scope: Scope, action: Action) -> ActionConfig {
    ActionConfig { scope, when: None, action }
}

fn when(condition: &str, scope: Scope, action: Action) -> ActionConfig {
    ActionConfig { scope, when: Some(Condition::parse(condition, scope).unwrap()), action }
}

fn insert(key: &str, value: &str) -> Action {
    action_of(ActionKind::Insert, key, Source::Fixed(AttributeValue::Str(value.into())))
}

fn copy(key: &str, from: &str) -> Action {
    action_of(ActionKind::Upsert, key, Source::Attribute(from.into()))
}

fn rename(pairs: &[(&str, &str)]) -> Action {
    Action::Rename { keys: pairs.iter().map(|(old, new)| ((*old).to_owned(), (*new).to_owned())).collect() }
}

/// The attributes of one span after these actions, on a resource with `deployment=prod`.
fn after(actions: Vec<ActionConfig>, attributes: Vec<KeyValue>) -> Vec<String> {
    let body = body_of(&request(vec![text("deployment", "prod")], vec![span("s", attributes)]));
    span_attributes(&with_actions(actions).apply(body).unwrap())
}

#[test]
fn named_groups_become_attributes() {
    let pattern = "^/(?P<tenant.id>[^/]+)/(?P<b>[0-9]+)?";
    let extract = || {
        let pattern = ExtractPattern::new(pattern).unwrap();
        vec![on(Scope::Span, Action::Extract { key: "path".into(), pattern })]
    };
    assert_eq!(
        after(extract(), vec![text("path", "/acme/7/x")]),
        ["path=/acme/7/x", "tenant.id=acme", "b=7"]
    );
    assert_eq!(
        after(extract(), vec![text("path", "/acme/"), text("b", "kept")])[1..],
        ["b=kept", "tenant.id=acme"]
    );
    assert_eq!(after(extract(), vec![text("path", "none")]), ["path=none"]);
    assert_eq!(after(extract(), vec![attribute("path", Value::IntValue(7))]).len(), 1);
    let unnamed = ExtractPattern::new("a(b)").unwrap_err();
    assert!(unnamed.contains("names no group"), "{unnamed}");
    let broken = ExtractPattern::new("a(").unwrap_err();
    assert_eq!(broken, "`a(` is not a regular expression: unclosed group");
}

#[test]
fn values_are_converted_where_nothing_is_lost() {
    let convert = |value: Value, to| {
        let actions = vec![on(Scope::Span, Action::Convert { key: "a".into(), to })];
        let body = body_of(&request(vec![], vec![span("s", vec![attribute("a", value)])]));
        let enriched = with_actions(actions).apply(body).unwrap();
        let mut attributes = decode(&enriched).resource_spans[0].scope_spans[0].spans[0].attributes.clone();
        attributes.remove(0).value.unwrap().value.unwrap()
    };
    let string = |text: &str| Value::StringValue(text.into());
    use ValueType::{Bool, Double, Int, String};
    for (from, to, expected) in [
        (string(" 42 "), Int, Value::IntValue(42)),
        (string("1.5"), Int, string("1.5")),
        (string("1.5"), Double, Value::DoubleValue(1.5)),
        (string("inf"), Double, string("inf")),
        (string("TRUE"), Bool, Value::BoolValue(true)),
        (string("yes"), Bool, string("yes")),
        (Value::IntValue(-3), String, string("-3")),
        (Value::IntValue(i64::MAX), Double, Value::IntValue(i64::MAX)),
        (Value::DoubleValue(3.0), Int, Value::IntValue(3)),
        (Value::DoubleValue(3.5), Int, Value::DoubleValue(3.5)),
        (Value::DoubleValue(1e300), Int, Value::DoubleValue(1e300)),
        (Value::BoolValue(true), Int, Value::IntValue(1)),
        (Value::IntValue(0), Bool, Value::BoolValue(false)),
        (Value::IntValue(2), Bool, Value::IntValue(2)),
        (array(vec![]), Int, array(vec![])),
    ] {
        assert_eq!(convert(from.clone(), to), expected, "{from:?} to {to:?}");
    }
}

#[test]
fn keys_are_renamed_and_nothing_is_lost() {
    let table = || vec![on(Scope::Span, rename(&[("http.method", "http.request.method"), ("a", "b")]))];
    let sent = vec![text("http.method", "GET"), text("c", "d"), text("a", "1")];
    assert_eq!(after(table(), sent), ["http.request.method=GET", "c=d", "b=1"]);
    assert_eq!(after(table(), vec![text("a", "1"), text("b", "2")]), ["a=1", "b=2"]);
    let secret = vec![on(Scope::Span, rename(&[("a", "token")]))];
    assert_eq!(after(secret, vec![text("a", "1")]), ["token=[redacted]"], "what was sent stays secret");
}

#[test]
fn strings_are_cut_at_a_character() {
    let cut = |bytes| vec![on(Scope::Span, Action::Truncate { key: "a".into(), bytes })];
    assert_eq!(after(cut(3), vec![text("a", "abcdef"), text("b", "abcdef")]), ["a=abc", "b=abcdef"]);
    assert_eq!(after(cut(3), vec![text("a", "aéé")]), ["a=aé"]);
    assert_eq!(after(cut(2), vec![text("a", "日本")]), ["a="]);
    assert_eq!(after(cut(6), vec![text("a", "日本")]), ["a=日本"]);
}

#[test]
fn values_come_from_other_attributes_and_stay_secret() {
    let actions = || vec![on(Scope::Span, copy("b", "a")), on(Scope::Span, copy("token", "a"))];
    assert_eq!(after(actions(), vec![text("a", "1")]), ["a=1", "b=1", "token=[redacted]"]);
    assert_eq!(after(actions(), vec![text("c", "1")]), ["c=1"]);
}

#[test]
fn values_come_from_the_request() {
    let actions = vec![
        on(Scope::Resource, action_of(ActionKind::Insert, "client.address", Source::Client)),
        on(Scope::Span, action_of(ActionKind::Upsert, "tenant", Source::header("X-Tenant").unwrap())),
        on(Scope::Span, action_of(ActionKind::Upsert, "none", Source::header("x-none").unwrap())),
    ];
    let enricher = with_actions(actions);
    let headers = http::HeaderMap::from_iter([("x-tenant".parse().unwrap(), "acme".parse().unwrap())]);
    let sender = Sender { client: Some("::ffff:10.1.2.3".parse().unwrap()), headers: Some(&headers) };
    let body = body_of(&request(vec![], vec![span("s", vec![])]));
    let enriched = enricher.apply_from(sender, body.clone()).unwrap();
    assert_eq!(resource_attributes(&enriched), ["client.address=10.1.2.3"]);
    assert_eq!(span_attributes(&enriched), ["tenant=acme"]);
    assert_eq!(enricher.apply(body.clone()).unwrap().body.as_ptr(), body.as_ptr(), "nothing is known");
    for name in ["authorization", "Cookie", "proxy-authorization", "x-api-key", "x-auth-token", "set-cookie"]
    {
        assert!(Source::header(name).unwrap_err().contains("credentials"), "{name}");
    }
}

#[test]
fn conditions_see_span_resource_and_scope_as_they_are_by_then() {
    let actions = || {
        vec![
            when(r#"{ resource.deployment = "prod" }"#, Scope::Span, insert("env", "p")),
            when(r#"{ resource.deployment = "test" }"#, Scope::Span, insert("env2", "t")),
            when(r#"{ span.a = "1" && span.env = "p" }"#, Scope::Span, insert("both", "yes")),
            when(
                r#"{ span.a != nil && kind = unspecified }"#,
                Scope::Span,
                Action::Delete { key: "a".into() },
            ),
            when(r#"{ span.a = "1" }"#, Scope::Span, insert("too late", "")),
        ]
    };
    assert_eq!(after(actions(), vec![text("a", "1")]), ["env=p", "both=yes"]);
    assert_eq!(after(actions(), vec![text("b", "1")]), ["b=1", "env=p"]);
    let chain = vec![
        on(Scope::Resource, insert("team", "orders")),
        when(r#"{ resource.team = "orders" }"#, Scope::Span, insert("seen", "1")),
    ];
    assert_eq!(after(chain, vec![]), ["seen=1"], "the resource's actions come first");
}

fn of(key: &str, owner: Scope, from: &str) -> Action {
    action_of(ActionKind::Upsert, key, Source::Of { scope: owner, key: from.into() })
}

#[test]
fn a_value_comes_from_what_it_belongs_to_as_the_actions_there_have_left_it() {
    let actions = vec![
        on(Scope::Resource, insert("team", "orders")),
        on(Scope::Resource, copy("env", "deployment")),
        on(Scope::Span, of("resource.env", Scope::Resource, "env")),
        on(Scope::Span, of("resource.team", Scope::Resource, "team")),
        on(Scope::Span, of("none", Scope::Resource, "nothing")),
    ];
    let expected = ["a=1", "resource.env=prod", "resource.team=orders"];
    assert_eq!(after(actions, vec![text("a", "1")]), expected);
    // Where that alone asks for the resource, and it comes behind its spans.
    let resource = Resource { attributes: vec![text("a", "1")], ..Resource::default() }.encode_to_vec();
    let spans = ScopeSpans { spans: vec![span("s", vec![]), span("t", vec![])], ..ScopeSpans::default() };
    let (mut resource_spans, mut body) = (Vec::new(), Vec::new());
    put_bytes_field(&mut resource_spans, 2, &spans.encode_to_vec());
    put_bytes_field(&mut resource_spans, 1, &resource);
    put_bytes_field(&mut body, 1, &resource_spans);
    let enricher = with_actions(vec![on(Scope::Span, of("b", Scope::Resource, "a"))]);
    let enriched = decode(&enricher.apply(body.into()).unwrap());
    for span in &enriched.resource_spans[0].scope_spans[0].spans {
        assert_eq!(shown(&span.attributes), ["b=1"]);
    }
    // The next resource has its own.
    let two = |value: &str| request(vec![text("a", value)], vec![span("s", vec![])]).resource_spans.remove(0);
    let body = body_of(&ExportTraceServiceRequest {
        resource_spans: vec![two("1"), two("2"), ResourceSpans::default()],
    });
    let enriched = decode(&enricher.apply(body).unwrap());
    let of_first_span = |at: usize| shown(&enriched.resource_spans[at].scope_spans[0].spans[0].attributes);
    assert_eq!((of_first_span(0), of_first_span(1)), (vec!["b=1".to_owned()], vec!["b=2".to_owned()]));
}

#[test]
fn spans_events_and_scopes_take_from_what_is_around_them() {
    let mut one = span("s", vec![text("user", "ada")]);
    one.events = vec![Event { attributes: vec![text("k", "v")], ..Event::default() }, Event::default()];
    let mut sent = request(vec![text("team", "orders")], vec![one]);
    sent.resource_spans[0].scope_spans[0].scope =
        Some(InstrumentationScope { attributes: vec![text("lib", "x")], ..InstrumentationScope::default() });
    let actions = vec![
        on(Scope::Scope, of("team", Scope::Resource, "team")),
        on(Scope::Span, of("lib", Scope::Scope, "lib")),
        on(Scope::Span, of("team", Scope::Scope, "team")),
        on(Scope::Event, of("user", Scope::Span, "user")),
        on(Scope::Event, of("lib", Scope::Span, "lib")),
        on(Scope::Event, of("team", Scope::Resource, "team")),
    ];
    let enriched = decode(&with_actions(actions).apply(body_of(&sent)).unwrap());
    let scope_spans = &enriched.resource_spans[0].scope_spans[0];
    assert_eq!(shown(&scope_spans.scope.as_ref().unwrap().attributes), ["lib=x", "team=orders"]);
    let span = &scope_spans.spans[0];
    assert_eq!(shown(&span.attributes), ["user=ada", "lib=x", "team=orders"]);
    let expected = ["user=ada", "lib=x", "team=orders"];
    assert_eq!(shown(&span.events[0].attributes)[1..], expected);
    assert_eq!(shown(&span.events[1].attributes), expected);
}

#[test]
fn nothing_is_taken_from_what_is_many() {
    for (owner, scope) in [
        (Scope::Span, Scope::Resource),
        (Scope::Event, Scope::Span),
        (Scope::Scope, Scope::Resource),
        (Scope::Span, Scope::Scope),
    ] {
        let error = Source::of(owner, "a".into(), scope).unwrap_err();
        assert!(error.contains("there may be many"), "{error}");
    }
    assert_eq!(Source::of(Scope::Span, "a".into(), Scope::Span), Ok(Source::Attribute("a".into())));
}

#[test]
fn a_condition_finds_the_resource_behind_the_spans_too() {
    let resource = Resource { attributes: vec![text("a", "1")], ..Resource::default() }.encode_to_vec();
    let spans = ScopeSpans { spans: vec![span("s", vec![])], ..ScopeSpans::default() };
    let (mut resource_spans, mut body) = (Vec::new(), Vec::new());
    put_bytes_field(&mut resource_spans, 2, &spans.encode_to_vec());
    put_bytes_field(&mut resource_spans, 1, &resource);
    put_bytes_field(&mut body, 1, &resource_spans);
    let enricher = with_actions(vec![when(r#"{ resource.a = "1" }"#, Scope::Span, insert("found", "1"))]);
    assert_eq!(span_attributes(&enricher.apply(body.into()).unwrap()), ["found=1"]);
}

#[test]
fn events_and_scopes_have_actions_too() {
    let mut one = span("s", vec![text("a", "1")]);
    one.events = vec![Event { attributes: vec![text("k", "v")], ..Event::default() }, Event::default()];
    let sent = request(vec![], vec![one]);
    let actions = vec![
        when(r#"{ span.a = "1" }"#, Scope::Event, insert("of", "a")),
        on(Scope::Event, Action::Delete { key: "k".into() }),
        on(Scope::Scope, insert("library", "l")),
    ];
    let enriched = with_actions(actions).apply(body_of(&sent)).unwrap();
    let scope_spans = decode(&enriched).resource_spans.remove(0).scope_spans.remove(0);
    assert_eq!(shown(&scope_spans.scope.unwrap().attributes), ["library=l"]);
    let events: Vec<_> = scope_spans.spans[0].events.iter().map(|event| shown(&event.attributes)).collect();
    assert_eq!(events, [["of=a"], ["of=a"]]);
}

#[test]
fn spans_on_which_no_condition_holds_stay_the_same_buffer() {
    let actions = vec![
        when(r#"{ span.a = "2" }"#, Scope::Span, insert("x", "y")),
        when("{ span.missing != nil }", Scope::Span, insert("x", "y")),
        on(Scope::Span, rename(&[("old", "new")])),
        when(r#"{ span.a = "2" }"#, Scope::Event, insert("x", "y")),
    ];
    let mut one = span("s", vec![text("a", "1")]);
    one.events = vec![Event::default()];
    let body = body_of(&request(vec![text("b", "c")], vec![one]));
    let enricher = with_actions(actions);
    assert_eq!(enricher.apply(body.clone()).unwrap().body.as_ptr(), body.as_ptr());
    assert_eq!(enricher.stats().changed, [0; 4]);
}

#[test]
fn changes_are_counted_by_scope() {
    let enricher = with_actions(vec![
        on(Scope::Span, insert("x", "y")),
        on(Scope::Resource, insert("x", "y")),
        on(Scope::Span, Action::Delete { key: "a".into() }),
    ]);
    let invalid = Span { trace_id: vec![], ..span("s", vec![text("a", "1")]) };
    let spans = vec![span("s", vec![text("a", "1")]), span("t", vec![]), invalid];
    enricher.apply(body_of(&request(vec![], spans))).unwrap();
    assert_eq!(enricher.stats().changed, [3, 1, 0, 0]);
}

#[test]
fn conditions_that_cannot_be_asked_are_refused() {
    let refused = |text: &str, scope| Condition::parse(text, scope).unwrap_err();
    let syntax = refused("{ span.a = }", Scope::Span);
    assert!(syntax.contains("column 12") || syntax.contains("`}`"), "{syntax}");
    assert!(refused("{ span.a = 1 } | count() > 1", Scope::Span).contains("one filter"));
    assert!(refused("{ }", Scope::Span).contains("one filter"));
    assert!(refused("{ traceDuration > 1s }", Scope::Span).contains("one span only"));
    assert!(refused("{ parent.a = 1 }", Scope::Span).contains("one span only"));
    assert!(refused("{ span.a = 1 }", Scope::Resource).contains("can only ask for `resource.…`"));
    assert!(refused("{ name = \"x\" }", Scope::Scope).contains("`instrumentation.…`"));
}

#[test]
fn many_conditions_are_more_than_there_are_bits() {
    let actions = (0..100).map(|n| {
        let condition = format!(r#"{{ span.k{n} = "1" && resource.deployment = "prod" }}"#);
        when(&condition, Scope::Span, insert(&format!("found{n}"), "1"))
    });
    let sent = vec![text("k3", "1"), text("k98", "1"), text("k99", "2")];
    assert_eq!(after(actions.collect(), sent)[3..], ["found3=1", "found98=1"]);
}

#[test]
fn server_spans_without_a_route_are_given_one() {
    let with = |name| {
        let http_route = RouteConfig { enabled: true, name };
        Enricher::new(&EnrichConfig { http_route, ..EnrichConfig::default() }, &[])
    };
    let server = |name: &str, attributes| Span { kind: 2, ..span(name, attributes) };
    let path = || vec![text("http.request.method", "GET"), text("url.path", "/users/123")];
    let body = |span| body_of(&request(vec![], vec![span]));
    let named = |enriched: &Enriched| decode(enriched).resource_spans[0].scope_spans[0].spans[0].name.clone();
    let enriched = with(true).apply(body(server("GET /users/123", path()))).unwrap();
    assert_eq!(span_attributes(&enriched)[2], "http.route=/users/{id}");
    assert_eq!(named(&enriched), "GET /users/{id}");
    assert_eq!(named(&with(true).apply(body(server("", path()))).unwrap()), "GET /users/{id}");
    assert_eq!(named(&with(false).apply(body(server("GET", path()))).unwrap()), "GET");
    let known = [path(), vec![text("http.route", "/u")]].concat();
    for other in [span("GET", path()), server("GET", known), server("GET", vec![text("url.path", "*")])] {
        let sent = body(other);
        assert_eq!(with(true).apply(sent.clone()).unwrap().body.as_ptr(), sent.as_ptr());
    }
}
