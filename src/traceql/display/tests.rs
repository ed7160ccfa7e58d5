#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use crate::traceql::ast::*;
use crate::traceql::{fold, parse};

const AT: SourceSpan = SourceSpan::new(0, 0);

fn literal() -> impl Strategy<Value = Literal> {
    prop_oneof![
        any::<String>().prop_map(Literal::Str),
        any::<i64>().prop_map(Literal::Int),
        (-1000i64..1000).prop_map(Literal::Int),
        any::<f64>()
            .prop_filter("only finite numbers can be written", |f| f.is_finite())
            .prop_map(Literal::Float),
        any::<bool>().prop_map(Literal::Bool),
        Just(Literal::Nil),
        (-i64::MAX..).prop_map(Literal::Duration),
        (-100i64..100).prop_map(|seconds| Literal::Duration(seconds * 1_000_000_000)),
        (0i32..3).prop_map(|code| Literal::Status(Status::from_otlp(code))),
        (0i32..6).prop_map(|kind| Literal::Kind(Kind::from_otlp(kind))),
    ]
}

fn attribute() -> impl Strategy<Value = FieldExpr> {
    let name = prop_oneof![
        "[a-z][a-z0-9._/-]{0,8}",
        "(span|resource|parent|event)[.][a-z]{1,3}",
        ".{1,8}".prop_filter("a name is not empty", |name| !name.is_empty()),
    ];
    let scope = prop::sample::select(vec![
        Scope::Unscoped,
        Scope::Span,
        Scope::Resource,
        Scope::Event,
        Scope::Link,
        Scope::Instrumentation,
    ]);
    (any::<bool>(), scope, name).prop_map(|(parent, scope, name)| {
        // Only these two scopes exist at a parent.
        let parent = parent && matches!(scope, Scope::Unscoped | Scope::Span | Scope::Resource);
        FieldExpr::Attribute(Attribute { parent, scope, name, at: AT })
    })
}

fn intrinsic() -> impl Strategy<Value = FieldExpr> {
    prop::sample::select(Intrinsic::all().collect::<Vec<_>>()).prop_map(|i| FieldExpr::Intrinsic(i, AT))
}

fn arithmetic() -> impl Strategy<Value = BinaryOp> {
    use BinaryOp::{Add, Divide, Modulo, Multiply, Power, Subtract};
    prop::sample::select(vec![Add, Subtract, Multiply, Divide, Modulo, Power])
}

fn comparison() -> impl Strategy<Value = BinaryOp> {
    use BinaryOp::{Equal, Greater, GreaterEqual, Less, LessEqual, NotEqual};
    prop::sample::select(vec![Equal, NotEqual, Less, LessEqual, Greater, GreaterEqual])
}

/// An expression as the parser would build it: constants folded. Where folding refuses, the left side is left.
fn binary(op: BinaryOp, left: FieldExpr, right: FieldExpr) -> FieldExpr {
    fold::binary_expr(op, left.clone(), right, AT).unwrap_or(left)
}

/// Numbers only over attributes, so that most of them pass the checks of types.
fn number() -> impl Strategy<Value = FieldExpr> {
    let constant = (-1000i64..1000).prop_map(|value| FieldExpr::Literal(Literal::Int(value), AT));
    let leaf = prop_oneof![3 => attribute(), 1 => constant, 1 => Just(FieldExpr::Intrinsic(Intrinsic::Duration, AT))];
    leaf.prop_recursive(4, 16, 2, |inner| {
        prop_oneof![
            3 => (arithmetic(), inner.clone(), inner.clone()).prop_map(|(op, l, r)| binary(op, l, r)),
            1 => inner.prop_map(|operand| fold::unary_expr(UnaryOp::Negate, operand, AT)),
        ]
    })
}

fn condition() -> impl Strategy<Value = FieldExpr> {
    let matching =
        (any::<bool>(), attribute(), "[a-z.*|\"]{0,6}").prop_filter_map("compiles", |(n, a, p)| {
            let pattern = Pattern::new(&p).ok()?;
            Some(FieldExpr::Match { negated: n, operand: Box::new(a), pattern, at: AT })
        });
    let equality = prop::sample::select(vec![BinaryOp::Equal, BinaryOp::NotEqual]);
    let leaf = prop_oneof![
        attribute(),
        matching,
        (comparison(), number(), number()).prop_map(|(op, l, r)| binary(op, l, r)),
        (equality.clone(), attribute(), literal()).prop_map(|(op, l, value)| binary(
            op,
            l,
            FieldExpr::Literal(value, AT)
        )),
        (equality, literal(), intrinsic()).prop_map(|(op, value, r)| binary(
            op,
            FieldExpr::Literal(value, AT),
            r
        )),
    ];
    leaf.prop_recursive(5, 24, 2, |inner| {
        let logic = prop::sample::select(vec![BinaryOp::And, BinaryOp::Or, BinaryOp::Equal]);
        prop_oneof![
            3 => (logic, inner.clone(), inner.clone()).prop_map(|(op, l, r)| binary(op, l, r)),
            1 => inner.prop_map(|operand| fold::unary_expr(UnaryOp::Not, operand, AT)),
        ]
    })
}

fn spanset_op() -> impl Strategy<Value = SpansetOp> {
    let symbols = "&& || > >> < << ~ !> !>> !< !<< !~ &> &>> &< &<< &~";
    prop::sample::select(symbols.split(' ').filter_map(SpansetOp::from_symbol).collect::<Vec<_>>())
}

fn aggregate() -> impl Strategy<Value = ScalarExpr> {
    let ops =
        prop::sample::select(vec![AggregateOp::Avg, AggregateOp::Max, AggregateOp::Min, AggregateOp::Sum]);
    prop_oneof![
        Just(ScalarExpr::Aggregate { op: AggregateOp::Count, field: None, at: AT }),
        (ops, number()).prop_map(|(op, field)| ScalarExpr::Aggregate { op, field: Some(field), at: AT }),
    ]
}

fn scalar() -> impl Strategy<Value = ScalarExpr> {
    let constant = (-9i64..9).prop_map(|value| ScalarExpr::Literal(Literal::Int(value), AT));
    prop_oneof![3 => aggregate(), 1 => constant].prop_recursive(3, 8, 2, |inner| {
        (arithmetic(), inner.clone(), inner)
            .prop_map(|(op, left, right)| fold::scalar_expr(op, left.clone(), right, AT).unwrap_or(left))
    })
}

fn spansets() -> impl Strategy<Value = SpansetExpr> {
    let filter = prop::option::weighted(0.8, condition()).prop_map(SpansetExpr::Filter);
    filter.prop_recursive(3, 8, 2, |inner| {
        let pipeline = (inner.clone(), aggregate()).prop_map(|(expr, left)| {
            let right = ScalarExpr::Literal(Literal::Int(1), AT);
            let count = ScalarFilter { op: BinaryOp::Greater, left, right, at: AT };
            SpansetExpr::Pipeline(vec![Stage::Spansets(expr), Stage::Scalar(count)])
        });
        let combined = (spanset_op(), inner.clone(), inner).prop_map(|(op, left, right)| {
            SpansetExpr::Binary { op, left: Box::new(left), right: Box::new(right) }
        });
        prop_oneof![1 => pipeline, 3 => combined]
    })
}

fn stage() -> impl Strategy<Value = Stage> {
    let filter = (comparison(), scalar(), scalar());
    let nested = (spansets(), aggregate(), scalar()).prop_map(|(expr, inner, right)| {
        let stages = vec![Stage::Spansets(expr)];
        let left = ScalarExpr::Pipeline { stages, scalar: Box::new(inner), at: AT };
        Stage::Scalar(ScalarFilter { op: BinaryOp::Less, left, right, at: AT })
    });
    prop_oneof![
        spansets().prop_map(Stage::Spansets),
        filter.prop_map(|(op, left, right)| Stage::Scalar(ScalarFilter { op, left, right, at: AT })),
        nested,
        condition().prop_map(Stage::By),
        Just(Stage::Coalesce),
        prop::collection::vec(prop_oneof![attribute(), intrinsic()], 1..4).prop_map(Stage::Select),
    ]
}

fn query() -> impl Strategy<Value = Query> {
    let hint = ("[a-z]{3}_[a-z]{1,5}", literal()).prop_map(|(name, value)| Hint { name, value });
    (spansets(), prop::collection::vec(stage(), 0..3), prop::collection::vec(hint, 0..3)).prop_map(
        |(first, rest, hints)| {
            let mut pipeline = vec![Stage::Spansets(first)];
            pipeline.extend(rest);
            Query { pipeline, hints }
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_reads_back_as_the_same_tree(query in query()) {
        let text = query.to_string();
        match parse(&text) {
            Ok(read) => prop_assert_eq!(read, query, "{}", text),
            // What the checks of types refuse did parse.
            Err(error) => prop_assert_eq!(error.kind, crate::traceql::ParseErrorKind::Type, "{}: {}", text, error),
        }
    }

    #[test]
    fn a_condition_reads_back_as_the_same_tree(condition in condition()) {
        let query = Query { pipeline: vec![Stage::Spansets(SpansetExpr::Filter(Some(condition)))], hints: vec![] };
        let text = query.to_string();
        if let Ok(read) = parse(&text) {
            prop_assert_eq!(read, query, "{}", text);
        }
    }
}

#[test]
fn most_generated_conditions_pass_the_checks() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let accepted = (0..400)
        .filter(|_| parse(&format!("{{ {} }}", condition().new_tree(&mut runner).unwrap().current())).is_ok())
        .count();
    assert!(
        accepted > 100,
        "only {accepted} of 400 generated conditions are valid: the round trip tests little"
    );
}

#[test]
fn literals() {
    for (literal, text) in [
        (Literal::Duration(0), "0s"),
        (Literal::Duration(1_500_000_000), "1500ms"),
        (Literal::Duration(-90_000_000_000), "-90s"),
        (Literal::Duration(172_800_000_000_000), "2d"),
        (Literal::Duration(1_001), "1001ns"),
        (Literal::Float(1.0), "1.0"),
        (Literal::Float(1e300), "1e300"),
        (Literal::Float(1e-7), "1e-7"),
        (Literal::Str("a\"\\\n\u{7f}\u{0}é".into()), "\"a\\\"\\\\\\n\\u007f\\u0000é\""),
        (Literal::Nil, "nil"),
        (Literal::Status(Status::Unset), "unset"),
        (Literal::Kind(Kind::Consumer), "consumer"),
    ] {
        assert_eq!(literal.to_string(), text);
        let query = parse(&format!("{{ .a = {text} }}")).unwrap();
        assert_eq!(query.to_string(), format!("{{ .a = {text} }}"));
    }
}
