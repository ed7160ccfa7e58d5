//! `convert`: gives a value another type. A string is read as a number (`42`, `1.5`, `1e3`) or as `true` and `false`; a
//! bool is 1 or 0; a double becomes an integer if it is whole. What cannot be converted without losing something stays.

use crate::enrich::attributes::Attributes;
use crate::enrich::config::ValueType;
use crate::wire::{AnyView, put_any};

pub(super) fn edit(list: &mut Attributes<'_>, key: &[u8], to: ValueType) {
    for entry in list.each(key) {
        if let Some(any) = convert(&entry.any, to) {
            let chosen = entry.chosen;
            entry.set(any.into(), chosen);
        }
    }
}

fn convert(any: &[u8], to: ValueType) -> Option<Vec<u8>> {
    let value = AnyView::parse(any).ok()?;
    let mut out = Vec::new();
    match to {
        ValueType::String => {
            let text = match value {
                AnyView::Int(value) => value.to_string(),
                AnyView::Double(value) => value.to_string(),
                AnyView::Bool(value) => value.to_string(),
                _ => return None,
            };
            put_any(&mut out, AnyView::Str(&text));
        }
        ValueType::Int => put_any(&mut out, AnyView::Int(to_int(value)?)),
        ValueType::Double => put_any(&mut out, AnyView::Double(to_double(value)?)),
        ValueType::Bool => put_any(&mut out, AnyView::Bool(to_bool(value)?)),
    }
    Some(out)
}

fn to_int(value: AnyView<'_>) -> Option<i64> {
    match value {
        AnyView::Str(text) => text.trim().parse().ok(),
        AnyView::Bool(value) => Some(i64::from(value)),
        // 2^63 is the first double beyond.
        AnyView::Double(value) if value.fract() == 0.0 && value.abs() < 9_223_372_036_854_775_808.0 => {
            Some(value as i64)
        }
        _ => None,
    }
}

fn to_double(value: AnyView<'_>) -> Option<f64> {
    match value {
        AnyView::Str(text) => text.trim().parse().ok().filter(|value: &f64| value.is_finite()),
        AnyView::Bool(value) => Some(f64::from(u8::from(value))),
        AnyView::Int(value) if (value as f64) as i128 == i128::from(value) => Some(value as f64),
        _ => None,
    }
}

fn to_bool(value: AnyView<'_>) -> Option<bool> {
    match value {
        AnyView::Str(text) if text.trim().eq_ignore_ascii_case("true") => Some(true),
        AnyView::Str(text) if text.trim().eq_ignore_ascii_case("false") => Some(false),
        AnyView::Str(text) => match text.trim() {
            "1" => Some(true),
            "0" => Some(false),
            _ => None,
        },
        AnyView::Int(value @ (0 | 1)) => Some(value == 1),
        _ => None,
    }
}
