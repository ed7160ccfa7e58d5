//! `when` of an action: a condition in TraceQL over one span, its resource and its instrumentation scope.

use super::config::Scope;
use super::facts::Facts;
use crate::traceql::{self, FieldExpr, Intrinsic, Scope as Of, SpanAccess, SpansetExpr, Stage, Values};

/// A condition, checked and ready to be asked. Two are equal if they are written alike.
#[derive(Debug, Clone)]
pub struct Condition {
    text: String,
    expr: FieldExpr,
}

impl PartialEq for Condition {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Condition {
    /// Reads `{ … }` for an action in this scope. The error is a sentence for the person who wrote it.
    pub fn parse(text: &str, scope: Scope) -> Result<Self, String> {
        let query = traceql::parse(text).map_err(|error| error.to_string())?;
        let expr = match &query.pipeline[..] {
            [Stage::Spansets(SpansetExpr::Filter(Some(expr)))] if query.hints.is_empty() => expr,
            _ => return Err("`when` is one filter with a condition over the span: `{ … }`".into()),
        };
        let reach = expr.reach();
        if reach.trace || reach.tree {
            return Err("`when` sees one span only, not its trace, its parent or its children".into());
        }
        check_fields(expr, scope)?;
        Ok(Self { text: text.to_owned(), expr: expr.clone() })
    }

    #[cfg(test)]
    pub(super) fn expr(&self) -> &FieldExpr {
        &self.expr
    }

    /// Whether it holds.
    pub(super) fn holds(&self, facts: &Facts<'_>) -> bool {
        traceql::matches(&self.expr, facts)
    }

    /// For each part of it that only asks for attributes of the span: the keys of which one must be there for it to
    /// hold.
    pub(super) fn needed_keys(&self) -> Vec<Vec<&str>> {
        let parts = self.expr.conjuncts().into_iter();
        parts.filter(|part| !traceql::matches(part, &Nothing)).filter_map(span_keys).collect()
    }

    /// Whether those parts of it hold that only ask for the resource.
    pub(super) fn resource_allows(&self, facts: &Facts<'_>) -> bool {
        let mut parts = self.expr.conjuncts().into_iter().filter(|part| is_of_resource(part));
        parts.all(|part| traceql::matches(part, facts))
    }

    /// Whether some part of it only asks for the resource.
    pub(super) fn asks_resource(&self) -> bool {
        self.expr.conjuncts().into_iter().any(is_of_resource)
    }
}

/// Refuses what an action in this scope cannot know.
fn check_fields(expr: &FieldExpr, scope: Scope) -> Result<(), String> {
    let mut problem = None;
    expr.walk(&mut |field| {
        let allowed: &[Of] = match scope {
            Scope::Span | Scope::Event => return,
            Scope::Resource => &[Of::Resource],
            Scope::Scope => &[Of::Resource, Of::Instrumentation],
        };
        let is_known = match field {
            FieldExpr::Attribute(attribute) => allowed.contains(&attribute.scope),
            FieldExpr::Intrinsic(Intrinsic::InstrumentationName | Intrinsic::InstrumentationVersion, _) => {
                allowed.contains(&Of::Instrumentation)
            }
            FieldExpr::Intrinsic(..) => false,
            _ => true,
        };
        if !is_known {
            problem.get_or_insert(match scope {
                Scope::Resource => "an action on the resource can only ask for `resource.…`",
                _ => "an action on the scope can only ask for `resource.…` and `instrumentation.…`",
            });
        }
    });
    problem.map_or(Ok(()), |problem| Err(problem.into()))
}

/// The keys that an expression asks for, if they are attributes of the span and it asks for nothing else.
fn span_keys(expr: &FieldExpr) -> Option<Vec<&str>> {
    let mut keys = Some(Vec::new());
    expr.walk(&mut |field| match field {
        FieldExpr::Attribute(attribute) if attribute.scope == Of::Span => {
            keys.iter_mut().for_each(|keys| keys.push(attribute.name.as_str()));
        }
        FieldExpr::Attribute(_) | FieldExpr::Intrinsic(..) => keys = None,
        _ => {}
    });
    keys.filter(|keys| !keys.is_empty())
}

fn is_of_resource(expr: &FieldExpr) -> bool {
    let (mut some, mut only) = (false, true);
    expr.walk(&mut |field| match field {
        FieldExpr::Attribute(attribute) if attribute.scope == Of::Resource => some = true,
        FieldExpr::Attribute(_) | FieldExpr::Intrinsic(..) => only = false,
        _ => {}
    });
    some && only
}

/// A span of which nothing is there.
struct Nothing;

impl SpanAccess for Nothing {
    fn intrinsic(&self, _: Intrinsic) -> Values<'_> {
        Values::Missing
    }

    fn attribute(&self, _: Of, _: &str) -> Values<'_> {
        Values::Missing
    }
}
