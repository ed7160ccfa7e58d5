#![allow(clippy::unwrap_used)]

use crate::traceql::{FieldExpr, Literal, Query, Reach, SpansetExpr, Stage, parse};

fn condition(query: &Query) -> &FieldExpr {
    match &query.pipeline[0] {
        Stage::Spansets(SpansetExpr::Filter(Some(condition))) => condition,
        other => panic!("no filter: {other}"),
    }
}

#[test]
fn reach() {
    for (source, trace, span, tree) in [
        ("{ true }", false, false, false),
        ("{ traceDuration > 1s }", true, false, false),
        ("{ rootName = \"a\" && rootServiceName =~ \"b\" && trace:id = \"c\" }", true, false, false),
        ("{ status = error && .a + 1 > 2 && !(resource.b = nil) && event:name = \"x\" }", false, true, false),
        ("{ traceDuration > 1s && -duration < 2 }", true, true, false),
        ("{ parent.x = 1 }", false, false, true),
        ("{ span:childCount > 1 || nestedSetParent < 0 }", false, false, true),
        ("{ parent = nil && span:parentID != \"\" }", false, true, false),
    ] {
        let query = parse(source).unwrap();
        let reach = condition(&query).reach();
        assert_eq!(reach, Reach { trace, span, tree }, "{source}");
        assert_eq!(reach.is_constant(), !(trace || span || tree));
        assert_eq!(reach.is_trace_only(), trace && !span && !tree);
        assert_eq!(reach.is_span_only(), span && !trace && !tree);
    }
}

#[test]
fn parts_of_chains() {
    let texts = |parts: Vec<&FieldExpr>| parts.iter().map(ToString::to_string).collect::<Vec<_>>();
    let query = parse("{ .a = 1 && (.b && .c) && (.d || .e) }").unwrap();
    assert_eq!(texts(condition(&query).conjuncts()), [".a = 1", ".b", ".c", ".d || .e"]);
    assert_eq!(condition(&query).disjuncts().len(), 1);
    let query = parse("{ .a && .b || .c || .d }").unwrap();
    assert_eq!(texts(condition(&query).disjuncts()), [".a && .b", ".c", ".d"]);
}

#[test]
fn fields_selection_and_hints() {
    let query = parse(
        "{ .a = 1 && name = \"x\" } > { .a = 2 && span.a = 3 } | by(parent.a) | avg(duration) > 1s \
         | ({ .z } | count()) > 1 | select(.b, status) with(sample=1, sample=2, most_recent=true)",
    )
    .unwrap();
    let texts =
        |fields: Vec<&FieldExpr>| fields.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    assert_eq!(texts(query.fields()), ".a name span.a parent.a duration .z .b status");
    assert_eq!(texts(query.selected()), ".b status");
    assert_eq!(query.hint("sample"), Some(&Literal::Int(2)));
    assert_eq!(query.hint("most_recent"), Some(&Literal::Bool(true)));
    assert_eq!(query.hint("other"), None);
}
