//! The step that gives server spans a route, behind all actions: see [`crate::enrich::route`].

use std::borrow::Cow;

use crate::enrich::attributes::Attributes;
use crate::enrich::config::Scope;
use crate::enrich::facts::Facts;
use crate::enrich::route::{name_of, route_of};
use crate::wire::{AnyView, put_any};

/// The attribute that is added.
pub(super) const KEY: &[u8] = b"http.route";
/// The attributes that hold a path, of now and before.
pub(super) const NEEDED_KEYS: [&[u8]; 2] = [b"url.path", b"http.target"];
const METHOD_KEYS: [&[u8]; 2] = [b"http.request.method", b"http.method"];
const KIND_SERVER: i32 = 2;

pub(super) fn edit(facts: &mut Facts<'_>, names_span: bool) {
    let list = facts.list(Scope::Span);
    if facts.span().kind != KIND_SERVER || list.has(KEY) {
        return;
    }
    let Some(target) = first_text(list, NEEDED_KEYS) else { return };
    let Some(route) = route_of(target) else { return };
    if names_span {
        let method = first_text(list, METHOD_KEYS).unwrap_or_default();
        facts.span_name = name_of(facts.span().name, method, target, &route);
    }
    let mut any = Vec::with_capacity(route.len() + 4);
    put_any(&mut any, AnyView::Str(&route));
    facts.list_mut(Scope::Span).put(Cow::Borrowed(KEY), any.into(), false);
}

fn first_text<'l>(list: &'l Attributes<'_>, keys: [&[u8]; 2]) -> Option<&'l str> {
    keys.into_iter().find_map(|key| match AnyView::parse(&list.get(key)?.any) {
        Ok(AnyView::Str(text)) => Some(text),
        _ => None,
    })
}
