//! `extract`: matches a string value; what the named groups of a regular expression caught becomes attributes of these
//! names, as strings. A group that took no part in the match changes nothing.

use std::borrow::Cow;

use crate::enrich::attributes::Attributes;
use crate::enrich::config::ExtractPattern;
use crate::wire::{AnyView, put_any};

pub(super) fn edit<'w>(list: &mut Attributes<'w>, key: &[u8], pattern: &'w ExtractPattern) {
    let Some(entry) = list.get(key) else { return };
    let chosen = entry.chosen;
    let caught: Vec<(&'w str, Vec<u8>)> = match AnyView::parse(&entry.any) {
        Ok(AnyView::Str(text)) => caught(pattern, text),
        _ => return,
    };
    for (name, any) in caught {
        list.put(Cow::Borrowed(name.as_bytes()), any.into(), chosen);
    }
}

fn caught<'w>(pattern: &'w ExtractPattern, text: &str) -> Vec<(&'w str, Vec<u8>)> {
    let Some(captures) = pattern.regex().captures(text) else {
        return Vec::new();
    };
    let names = pattern.regex().capture_names().flatten();
    let pairs = names.filter_map(|name| {
        let mut any = Vec::new();
        put_any(&mut any, AnyView::Str(captures.name(name)?.as_str()));
        Some((name, any))
    });
    pairs.collect()
}
